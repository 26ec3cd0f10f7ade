"""Independent Bernoulli variables, from logits."""

import dataclasses

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Bernoulli:
    """Independent Bernoulli variables over one event, P(x_d = 1) = sigmoid(logits_d).

    logits: [*event]. Log-probabilities are computed from the logits, never from log(sigmoid).
    """

    logits: jax.Array

    @property
    def mean(self) -> jax.Array:
        """The probabilities of one, [*event]."""
        return jax.nn.sigmoid(self.logits)

    def sample(self, key: jax.Array) -> jax.Array:
        """One event of zeros and ones, [*event], in the dtype of the logits."""
        return jax.random.bernoulli(key, self.mean).astype(self.logits.dtype)

    def log_prob(self, value: jax.Array) -> jax.Array:
        """Sum over dimensions of value * logits - softplus(logits), [] nats.

        A probability for values in {0, 1} only. For values in between it is the cross-entropy,
        which is not the logarithm of any normalised density.
        """
        return jnp.sum(value * self.logits - jax.nn.softplus(self.logits))

    def sample_and_log_prob(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One event, [*event], and its log-probability, [] nats."""
        value = self.sample(key)
        return value, self.log_prob(value)

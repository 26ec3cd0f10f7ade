"""Independent Bernoulli variables, from logits."""

import dataclasses
from typing import ClassVar

import jax

from vae_jax.distributions.base import require_same_family, sum_event


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Bernoulli:
    """Independent Bernoulli variables over one event, P(x_d = 1) = sigmoid(logits_d).

    logits: [*event]. Log-probabilities are computed from the logits, never from log(sigmoid).
    """

    is_reparameterised: ClassVar[bool] = False

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
        return sum_event(value * self.logits - _softplus(self.logits))

    def sample_and_log_prob(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One event, [*event], and its log-probability, [] nats."""
        value = self.sample(key)
        return value, self.log_prob(value)

    def relaxed_sample(self, key: jax.Array, temperature: jax.Array | float) -> jax.Array:
        """Values in (0, 1), differentiable in the logits, [*event].

        sigmoid((logits + l) / temperature) with l logistic noise, the binary Concrete distribution
        (Maddison et al. 2017, eq. 16). Rounded it has the distribution of `sample`.
        """
        noise = jax.random.logistic(key, self.logits.shape, self.logits.dtype)
        return jax.nn.sigmoid((self.logits + noise) / temperature)

    def kl_per_dim(self, other: "Bernoulli") -> jax.Array:
        """KL(self || other) of every variable in closed form, [*event] nats.

        Raises:
          TypeError: `other` is not a `Bernoulli`; use a sampled bound then.
        """
        require_same_family(self, other)
        difference = self.mean * (self.logits - other.logits)
        return difference - _softplus(self.logits) + _softplus(other.logits)


@jax.custom_jvp
def _softplus(logits: jax.Array) -> jax.Array:
    """log(1 + exp(logits)), elementwise.

    With its derivative written out as the sigmoid: that of `jax.nn.softplus` is an exponential of
    the difference of two large arrays, which takes 4 % of a training step of a small VAE.
    """
    return jax.nn.softplus(logits)


@_softplus.defjvp
def _softplus_jvp(primals, tangents):
    (logits,), (tangent,) = primals, tangents
    return _softplus(logits), jax.nn.sigmoid(logits) * tangent

"""Independent categorical variables as one-hot vectors, from logits."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from vae_jax.distributions.base import (
    require_event,
    require_same_family,
    require_straight_through,
    sum_event,
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Categorical:
    """Independent categorical variables over one event of one-hot vectors.

    P(x_d = one_hot(c)) = softmax(logits_d)_c. Each variable d has C categories.

    Attributes:
      logits: [*dims, C], which is also the shape of the event.
    """

    is_reparameterised: ClassVar[bool] = False
    support: ClassVar[str] = "one-hot vectors along the last axis"

    logits: jax.Array

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event."""
        return jnp.shape(self.logits)

    @property
    def mean(self) -> jax.Array:
        """The probabilities of the categories, [*dims, C]."""
        return jax.nn.softmax(self.logits)

    def sample(self, key: jax.Array) -> jax.Array:
        """One event of one-hot vectors, [*dims, C], in the dtype of the logits."""
        category = jnp.argmax(self._perturbed_logits(key), axis=-1)
        return jax.nn.one_hot(category, self.logits.shape[-1], dtype=self.logits.dtype)

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether every vector of one event is a one among zeros, [] bool."""
        is_binary = jnp.all((value == 0) | (value == 1))
        return is_binary & jnp.all(jnp.sum(value, axis=-1) == 1)

    def log_prob(self, value: jax.Array) -> jax.Array:
        """Sum over variables of value . log_softmax(logits), [] nats.

        This is a log-probability for one-hot vectors only. For the relaxed vectors between them
        it is the negative cross-entropy, which is the logarithm of no normalised density.

        Raises:
          ValueError: the value does not have the shape of the event.
        """
        require_event(self, value)
        return sum_event(value * jax.nn.log_softmax(self.logits))

    def sample_and_log_prob(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One event, [*dims, C], and its log-probability, [] nats."""
        value = self.sample(key)
        return value, self.log_prob(value)

    def relaxed_sample(self, key: jax.Array, temperature: jax.Array | float) -> jax.Array:
        """Positive vectors that sum to one, differentiable in the logits, [*dims, C].

        softmax((logits + g) / temperature) with g Gumbel noise, the Concrete or Gumbel-softmax
        distribution (Maddison et al. 2017, eq. 10; Jang et al. 2017, eq. 2). A one at the largest
        entry of each vector, which is also its limit at temperature 0, gives `sample(key)`.
        """
        return jax.nn.softmax(self._perturbed_logits(key) / temperature)

    def surrogate_sample(self, key: jax.Array, kind: str) -> jax.Array:
        """`sample(key)` with the gradient of the probabilities (Bengio et al. 2013, section 4).

        Raises:
          TypeError: the kind is another one than "straight_through".
        """
        require_straight_through(self, kind)
        mean = self.mean
        return self.sample(key) + (mean - jax.lax.stop_gradient(mean))

    def kl_per_dim(self, other: "Categorical") -> jax.Array:
        """KL(self || other) of every variable in closed form, [*dims] nats.

        Raises:
          TypeError: `other` is not a `Categorical`; use a sampled bound then.
          ValueError: its events have another shape.
        """
        require_same_family(self, other)
        log_ratio = jax.nn.log_softmax(self.logits) - jax.nn.log_softmax(other.logits)
        return jnp.sum(self.mean * log_ratio, axis=-1)

    def _perturbed_logits(self, key: jax.Array) -> jax.Array:
        """Logits plus Gumbel noise, whose largest entry is a sample (the Gumbel-max trick)."""
        return self.logits + jax.random.gumbel(key, self.logits.shape, self.logits.dtype)

"""A density in other units."""

import dataclasses
from typing import Any, cast

import jax
import jax.numpy as jnp

from vae_jax.distributions.base import Distribution, HasMean, Independent


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Affine(Independent):
    """x = shift + scale y, for y of a distribution with independent dimensions.

    log p(x) = log p(y) - log scale in each dimension, so that it is in the units of x. The support
    must be the same for x and y: finite values, or positive ones where the shift is zero.

    Attributes:
      base: the distribution of y.
      shift: [*event].
      scale: [*event], positive.
    """

    base: Distribution
    shift: jax.Array
    scale: jax.Array

    @property
    def is_reparameterised(self) -> bool:  # type: ignore[override]  # as the base is
        """Whether samples are differentiable in the parameters."""
        return self.base.is_reparameterised

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event."""
        return jnp.shape(self.shift)

    @property
    def support(self) -> str:
        """The support in words."""
        return cast(Any, self.base).support

    @property
    def mean(self) -> jax.Array:
        """The mean, [*event]."""
        return self.shift + self.scale * cast(HasMean, self.base).mean

    def sample(self, key: jax.Array) -> jax.Array:
        """One event, [*event]."""
        return self.shift + self.scale * self.base.sample(key)

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether one event lies in the support, which x and y share, [] bool."""
        return cast(Any, self.base).in_support(value)

    def log_prob_per_dim(self, value: jax.Array) -> jax.Array:
        """The log-density of each dimension in the units of x, [*event] nats."""
        base = cast(Any, self.base)
        return base.log_prob_per_dim(self._standard(value)) - jnp.log(self.scale)

    def _standard(self, value: jax.Array) -> jax.Array:
        return (value - self.shift) / self.scale

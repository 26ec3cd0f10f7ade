"""The continuous Bernoulli distribution: a normalised density of intensities in [0, 1]."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from vae_jax.distributions.base import Independent


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ContinuousBernoulli(Independent):
    """Densities proportional to exp(logits * x) on [0, 1] (Loaiza-Ganem & Cunningham 2019, eq. 6).

    It is what the Bernoulli formula of grey pixels becomes when it is normalised.

    Attributes:
      logits: [*event].
    """

    is_reparameterised: ClassVar[bool] = True
    support: ClassVar[str] = "values in [0, 1]"

    logits: jax.Array

    @property
    def mean(self) -> jax.Array:
        """The mean, 1 / (1 - exp(-logits)) - 1 / logits, [*event]."""
        half = 0.5 * self.logits
        is_small = jnp.abs(half) < 0.3
        safe = jnp.where(is_small, 1.0, half)
        # The Langevin function coth(a) - 1 / a and its series.
        series = half * (1 / 3 - half**2 * (1 / 45 - half**2 * (2 / 945 - half**2 / 4725)))
        return 0.5 + 0.5 * jnp.where(is_small, series, 1.0 / jnp.tanh(safe) - 1.0 / safe)

    def sample(self, key: jax.Array) -> jax.Array:
        """One event by inversion of the distribution function, [*event] in [0, 1]."""
        uniform = jax.random.uniform(key, self.logits.shape, self.logits.dtype)
        # By symmetry x(logits, u) = 1 - x(-logits, 1 - u), so that no exponential overflows.
        is_positive = self.logits > 0
        slope = jnp.abs(self.logits)
        u = jnp.where(is_positive, 1.0 - uniform, uniform)
        is_small = slope < 1e-3
        safe = jnp.where(is_small, 1.0, slope)
        inverse = -jnp.log1p(u * jnp.expm1(-safe)) / safe
        inverse = jnp.where(is_positive, 1.0 - inverse, inverse)
        first_order = uniform + 0.5 * self.logits * uniform * (1.0 - uniform)
        return jnp.clip(jnp.where(is_small, first_order, inverse), 0.0, 1.0)

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether all values of one event lie in [0, 1], [] bool."""
        return jnp.all((value >= 0) & (value <= 1))

    def log_prob_per_dim(self, value: jax.Array) -> jax.Array:
        """logits * (value - 1/2) - log(sinh(logits / 2) / (logits / 2)), [*event] nats."""
        return self.logits * (value - 0.5) - _log_sinhc(0.5 * self.logits)


def _log_sinhc(a: jax.Array) -> jax.Array:
    """log(sinh(a) / a), elementwise, which is 0 at 0."""
    size = jnp.abs(a)
    is_small = size < 0.3
    safe = jnp.where(is_small, 1.0, size)
    square = jnp.square(jnp.where(is_small, a, 0.0))
    series = square * (1 / 6 - square * (1 / 180 - square * (1 / 2835 - square / 37800)))
    return jnp.where(
        is_small, series, safe + jnp.log1p(-jnp.exp(-2.0 * safe)) - jnp.log(2.0 * safe)
    )

"""Distributions of real values beside the normal one."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from vae_jax.distributions.base import Independent
from vae_jax.distributions.normal import Normal


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Laplace(Independent):
    """Densities exp(-|x - mean| / b) / (2 b), b = exp(log_scale). mean, log_scale: [*event]."""

    is_reparameterised: ClassVar[bool] = True
    support: ClassVar[str] = "finite values"

    mean: jax.Array
    log_scale: jax.Array

    def sample(self, key: jax.Array) -> jax.Array:
        """One reparameterised event, [*event]."""
        noise = jax.random.laplace(key, self.mean.shape, self.mean.dtype)
        return self.mean + jnp.exp(self.log_scale) * noise

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether all values of one event are finite, [] bool."""
        return jnp.all(jnp.isfinite(value))

    def log_prob_per_dim(self, value: jax.Array) -> jax.Array:
        """-|value - mean| / b - log(2 b), [*event] nats."""
        distance = jnp.abs(value - self.mean) * jnp.exp(-self.log_scale)
        return -distance - self.log_scale - math.log(2.0)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class StudentT(Independent):
    """Student's t around `mean`, with scale exp(log_scale) and exp(log_df) degrees of freedom.

    Attributes:
      mean: [*event], the centre, which is the mean if there is more than one degree of freedom.
      log_scale: [*event].
      log_df: [*event].
    """

    is_reparameterised: ClassVar[bool] = True
    support: ClassVar[str] = "finite values"

    mean: jax.Array
    log_scale: jax.Array
    log_df: jax.Array

    def sample(self, key: jax.Array) -> jax.Array:
        """One reparameterised event, [*event]."""
        noise = jax.random.t(key, jnp.exp(self.log_df), self.mean.shape, self.mean.dtype)
        return self.mean + jnp.exp(self.log_scale) * noise

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether all values of one event are finite, [] bool."""
        return jnp.all(jnp.isfinite(value))

    def log_prob_per_dim(self, value: jax.Array) -> jax.Array:
        """The log-density, which tends to the normal one for many degrees of freedom, [*event]."""
        df = jnp.exp(self.log_df)
        standardised = (value - self.mean) * jnp.exp(-self.log_scale)
        tail = 0.5 * (df + 1.0) * jnp.log1p(jnp.square(standardised) / df)
        normaliser = _log_gamma_ratio(0.5 * df) - 0.5 * (self.log_df + math.log(math.pi))
        return normaliser - self.log_scale - tail


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LogNormal(Independent):
    """Positive values whose logarithms are N(log_mean, exp(log_std)^2). Both: [*event]."""

    is_reparameterised: ClassVar[bool] = True
    support: ClassVar[str] = "positive values"

    log_mean: jax.Array
    log_std: jax.Array

    @property
    def mean(self) -> jax.Array:
        """exp(log_mean + std^2 / 2), [*event]."""
        return jnp.exp(self.log_mean + 0.5 * jnp.exp(2.0 * self.log_std))

    def sample(self, key: jax.Array) -> jax.Array:
        """One reparameterised event, [*event]."""
        return jnp.exp(Normal(self.log_mean, self.log_std).sample(key))

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether all values of one event are positive and finite, [] bool."""
        return jnp.all((value > 0) & jnp.isfinite(value))

    def log_prob_per_dim(self, value: jax.Array) -> jax.Array:
        """The normal log-density of log(value), minus log(value), [*event] nats."""
        log_value = jnp.log(value)
        return Normal(self.log_mean, self.log_std).log_prob_per_dim(log_value) - log_value


def _log_gamma_ratio(a: jax.Array) -> jax.Array:
    """log Gamma(a + 1/2) - log Gamma(a), elementwise for a > 0.

    For large a the two terms are large and their difference is lost in rounding, so that its
    asymptotic series is used.
    """
    is_large = a > 8.0
    small, large = jnp.where(is_large, 1.0, a), jnp.where(is_large, a, 8.0)
    inverse = 1.0 / large
    series = inverse * (-1 / 8 + inverse**2 * (1 / 192 - inverse**2 / 640))
    return jnp.where(is_large, 0.5 * jnp.log(large) + series, gammaln(small + 0.5) - gammaln(small))

"""The normal distribution with diagonal covariance, and the reparameterisation trick."""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from vae_jax import cpu
from vae_jax.distributions.base import require_event, require_same_family, sum_event

HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


def reparameterise(noise_key: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
    """Samples from N(mean, diag(std^2)) so that gradients pass through the sample.

    z = mean + std * eps, eps ~ N(0, I) (Kingma & Welling 2014, section 2.4). The noise depends on
    the key alone, so d z / d mean = 1 and d z / d std = eps.

    Args:
      noise_key: typed PRNG key of eps.
      mean: [*event], the mean.
      std: [*event], the standard deviation, positive.

    Returns:
      [*event].
    """
    return mean + std * _noise(noise_key, mean)


def _noise(key: jax.Array, mean: jax.Array) -> jax.Array:
    """Standard normal noise, [*event]."""
    return cpu.kept_noise(jax.random.normal(key, jnp.shape(mean), jnp.result_type(mean)), key)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Normal:
    """N(mean, diag(exp(log_std))^2) over one event. mean, log_std: [*event]."""

    is_reparameterised: ClassVar[bool] = True
    support: ClassVar[str] = "finite values"

    mean: jax.Array
    log_std: jax.Array

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event."""
        return jnp.shape(self.mean)

    @property
    def std(self) -> jax.Array:
        """The standard deviations, [*event]."""
        return jnp.exp(self.log_std)

    def sample(self, key: jax.Array) -> jax.Array:
        """One reparameterised event, [*event]."""
        return reparameterise(key, self.mean, jnp.exp(self.log_std))

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether all values of one event are finite, [] bool."""
        return jnp.all(jnp.isfinite(value))

    def log_prob(self, value: jax.Array) -> jax.Array:
        """The sum over dimensions of `log_prob_per_dim`, [] nats.

        Raises:
          ValueError: the value does not have the shape of the event.
        """
        return sum_event(self.log_prob_per_dim(value))

    def log_prob_per_dim(self, value: jax.Array) -> jax.Array:
        """-(value - mean)^2 / (2 std^2) - log std - log(2 pi) / 2, [*event] nats.

        Raises:
          ValueError: the value does not have the shape of the event.
        """
        require_event(self, value)
        standardised = (value - self.mean) * jnp.exp(-self.log_std)
        return -(0.5 * jnp.square(standardised) + self.log_std + HALF_LOG_TWO_PI)

    def sample_and_log_prob(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One reparameterised event, [*event], and its log-density, [] nats.

        The density is computed from the noise, -eps^2 / 2 - log std - log(2 pi) / 2, and not from
        the event.
        """
        noise = _noise(key, self.mean)
        log_prob_per_dim = -(0.5 * jnp.square(noise) + self.log_std + HALF_LOG_TWO_PI)
        return self.mean + jnp.exp(self.log_std) * noise, sum_event(log_prob_per_dim)

    def kl_per_dim(self, other: "Normal") -> jax.Array:
        """KL(self || other) of every dimension in closed form, [*event] nats.

        log(s2/s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2; against the standard normal it is
        Kingma & Welling 2014, appendix B.

        Raises:
          TypeError: `other` is not a `Normal`; use a sampled bound.
          ValueError: the events of `other` have another shape.
        """
        require_same_family(self, other)
        log_ratio = self.log_std - other.log_std
        shift = (self.mean - other.mean) * jnp.exp(-other.log_std)
        # expm1 keeps the small difference exp(2 r) - 1 - 2 r exact near r = 0.
        return 0.5 * (jnp.expm1(2.0 * log_ratio) - 2.0 * log_ratio + jnp.square(shift))


def matched_normal(q: Any, *, num_samples: int = 256) -> Normal:
    """The diagonal normal distribution with the mean and the standard deviations of another.

    If its events are pytrees, those of the normal distribution are all their values in one vector.
    Where they are not known, as those of a flow, they are estimated from samples, whose noise is
    always the same, so that the estimate is a function of the parameters of q alone.

    Args:
      q: a distribution over [L], or over a pytree.
      num_samples: number of samples of a distribution that does not know its `mean` and `std`.
    """
    if isinstance(q, Normal):
        return q
    if hasattr(q, "mean") and hasattr(q, "std"):
        return Normal(q.mean, jnp.log(q.std))
    keys = jax.random.split(jax.random.key(0), num_samples)
    samples = jax.vmap(lambda key: ravel_pytree(q.sample(key))[0])(keys)
    mean = jnp.mean(samples, axis=0)
    variance = jnp.mean(jnp.square(samples - mean[None]), axis=0)
    return Normal(mean, 0.5 * jnp.log(variance + jnp.finfo(variance.dtype).tiny))


def standard_normal(event_shape: tuple[int, ...]) -> Normal:
    """N(0, I) over an event of the given shape: the usual prior."""
    return Normal(mean=jnp.zeros(event_shape), log_std=jnp.zeros(event_shape))

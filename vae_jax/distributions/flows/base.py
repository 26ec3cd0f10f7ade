"""Normalising flows: a distribution that bijections make of normal noise."""

import dataclasses
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp

from vae_jax.distributions.base import require_event, sum_event
from vae_jax.distributions.normal import HALF_LOG_TWO_PI


class Bijection(Protocol):
    """A registered pytree of arrays that describes an invertible map of vectors [L].

    `has_inverse` says whether its inverse can be differentiated, so that it gives the density at
    any value. The others have a numerical inverse, which is good for samples alone.
    """

    has_inverse: ClassVar[bool]

    def forward(self, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The image, [L], and the log of the absolute determinant of the Jacobian, [] nats."""

    def inverse(self, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The y whose image is `value`, [L], and the log-determinant of `forward` at y, []."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Inverse:
    """A bijection the other way round."""

    has_inverse: ClassVar[bool] = True

    of: Any  # a Bijection

    def forward(self, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The inverse of `of`, and its log-determinant."""
        result, log_det = self.of.inverse(value)
        return result, -log_det

    def inverse(self, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        """`of` itself."""
        result, log_det = self.of.forward(value)
        return result, -log_det


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Flow:
    """z = shift + exp(log_scale) f_T(... f_1(eps)), eps ~ N(0, I), over [L].

    log p(z) = log N(eps; 0, I) - sum_t log |det df_t| - sum_l log_scale_l (Rezende & Mohamed 2015,
    eq. 13). Without bijections it is the diagonal normal distribution.

    Attributes:
      shift: [L].
      log_scale: [L].
      bijections: f_1 .. f_T.
    """

    is_reparameterised: ClassVar[bool] = True

    shift: jax.Array
    log_scale: jax.Array
    bijections: tuple[Any, ...]

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event, (L,)."""
        return jnp.shape(self.shift)

    @property
    def has_log_prob(self) -> bool:
        """Whether the density is known at any value, and not at its own samples alone."""
        return all(bijection.has_inverse for bijection in self.bijections)

    @property
    def centre(self) -> jax.Array:
        """The image of eps = 0, [L]: a point in the middle, which is not the mean."""
        return self._image_of(jnp.zeros_like(self.shift))[0]

    def sample(self, key: jax.Array) -> jax.Array:
        """One reparameterised event, [L]."""
        return self.sample_and_log_prob(key)[0]

    def sample_and_log_prob(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One reparameterised event, [L], and its log-density, [] nats, from the noise."""
        noise = jax.random.normal(key, self.event_shape, jnp.result_type(self.shift))
        value, log_det = self._image_of(noise)
        return value, _log_prob_of_noise(noise) - log_det

    def log_prob(self, value: jax.Array) -> jax.Array:
        """The log-density of a given value, [] nats.

        Raises:
          ValueError: the value does not have the shape of the event.
          TypeError: a bijection has no inverse that can be differentiated.
        """
        require_event(self, value)
        log_det = sum_event(self.log_scale)
        value = (value - self.shift) * jnp.exp(-self.log_scale)
        for bijection in self.bijections[::-1]:
            if not bijection.has_inverse:
                raise TypeError(
                    f"A flow of {type(bijection).__name__} bijections has no log-density at a "
                    "given value, only at its own samples."
                )
            value, change = bijection.inverse(value)
            log_det = log_det + change
        return _log_prob_of_noise(value) - log_det

    def _image_of(self, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The event that noise [L] becomes, and the log-determinant of the whole map, []."""
        value, log_det = noise, sum_event(self.log_scale)
        for bijection in self.bijections:
            value, change = bijection.forward(value)
            log_det = log_det + change
        return self.shift + jnp.exp(self.log_scale) * value, log_det


def _log_prob_of_noise(noise: jax.Array) -> jax.Array:
    return -sum_event(0.5 * jnp.square(noise) + HALF_LOG_TWO_PI)


def solve_increasing(function: Any, target: jax.Array, radius: jax.Array) -> jax.Array:
    """The v with v + function(v) = target, elementwise, by bisection.

    Args:
      function: elementwise, with |function| <= radius and v + function(v) increasing.
      target: [...].
      radius: [...].

    Returns:
      [...], without a gradient.
    """
    target, radius = jax.lax.stop_gradient((target, radius))

    def halve(_, ends):
        low, high = ends
        middle = 0.5 * (low + high)
        is_low = middle + function(middle) < target
        return jnp.where(is_low, middle, low), jnp.where(is_low, high, middle)

    num_steps = 2 + jnp.finfo(target.dtype).nmant + 10
    low, high = jax.lax.fori_loop(0, num_steps, halve, (target - radius, target + radius))
    return 0.5 * (low + high)

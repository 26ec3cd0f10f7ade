"""Posteriors on an extended space: the end of a Hamiltonian chain without correction."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from vae_jax.distributions.base import point_of, require_event, sum_event
from vae_jax.distributions.normal import HALF_LOG_TWO_PI


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Annealed:
    """The end of K leapfrog steps from a start q_0 towards a density (Geffner & Domke 2021; Zhang
    et al. 2021).

    Step k partly renews the momentum, rho' = r rho + sqrt(1 - r^2) eps, and moves (z, rho') by one
    leapfrog step with the gradient of (1 - b_k) log q_0 + b_k log f. Every step preserves volume,
    and with the reversed chain as the distribution of all that is before z_K,

        log q = log q_0(z_0) - sum_k log N(rho_k; 0, I) / N(rho'_k; 0, I)

    makes log_w = log f(z_K) - log q one that has E[exp(log_w)] = the integral of f (Geffner & Domke
    2021, eq. 16). It is known along the chain alone, and not at a given z.

    Attributes:
      start: q_0, over [L], with a density that can be differentiated and a `std`.
      log_target: log f, a pytree that is a function of z (`jax.tree_util.Partial`).
      log_step: [L], log step sizes, in units of the standard deviations of q_0.
      increments: [K], unnormalised differences of b_k, as logits; b_K = 1.
      refresh: [], logit of r.
    """

    is_reparameterised: ClassVar[bool] = True
    has_log_prob: ClassVar[bool] = False

    start: Any
    log_target: Any
    log_step: jax.Array
    increments: jax.Array
    refresh: jax.Array

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event, (L,)."""
        return self.start.event_shape

    @property
    def centre(self) -> jax.Array:
        """The middle of the start, [L]."""
        return point_of(self.start)

    def sample(self, key: jax.Array) -> jax.Array:
        """The end of one chain, [L]."""
        return self.sample_and_log_prob(key)[0]

    def log_prob(self, value: jax.Array) -> jax.Array:
        """There is none.

        Raises:
          ValueError: the value does not have the shape of the event.
          TypeError: always.
        """
        require_event(self, value)
        raise TypeError(
            "The end of an annealed chain has no log-density at a given value, only along its own "
            "chains."
        )

    def sample_and_log_prob(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The end of one chain, [L], and the log q of the whole chain, [] nats."""
        start_key, momentum_key, chain_key = jax.random.split(key, 3)
        z, log_q = self.start.sample_and_log_prob(start_key)
        step_size = jnp.exp(self.log_step) * self.start.std
        keep = jax.nn.sigmoid(self.refresh)

        def log_density(z, b):
            return (1.0 - b) * self.start.log_prob(z) + b * self.log_target(z)

        def step(state, inputs):
            z, momentum, log_q = state
            b, noise_key = inputs
            noise = jax.random.normal(noise_key, z.shape, z.dtype)
            before = keep * momentum + jnp.sqrt(1.0 - jnp.square(keep)) * noise
            middle = z + 0.5 * step_size * before
            after = before + step_size * jax.grad(log_density)(middle, b)
            z = middle + 0.5 * step_size * after
            return (z, after, log_q - _log_standard(after) + _log_standard(before)), None

        momentum = jax.random.normal(momentum_key, z.shape, z.dtype)
        b = jnp.cumsum(jax.nn.softmax(self.increments))
        keys = jax.random.split(chain_key, len(b))
        (z, _, log_q), _ = jax.lax.scan(step, (z, momentum, log_q), (b, keys))
        return z, log_q


def _log_standard(momentum: jax.Array) -> jax.Array:
    return -sum_event(0.5 * jnp.square(momentum) + HALF_LOG_TWO_PI)

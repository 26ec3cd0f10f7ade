"""Hamiltonian Monte Carlo transitions of one chain."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vae_jax.distributions.spherical import tangent

LogDensity = Callable[[jax.Array], jax.Array]  # z [L] -> [] nats, normalised or not


class Transition(NamedTuple):
    """One step of a chain."""

    z: jax.Array  # [L], the next state
    acceptance: jax.Array  # [], the probability with which the proposal was accepted


def leapfrog(
    log_density: LogDensity,
    z: jax.Array,
    momentum: jax.Array,
    step_size: jax.Array | float,
    num_steps: int,
) -> tuple[jax.Array, jax.Array]:
    """Hamilton's equations of H = -log_density(z) + |momentum|^2 / 2 (Neal 2011, eq. 2.28-2.30).

    The map is reversible (it runs back with the negative momentum) and preserves volume, for every
    step size.

    Args:
      log_density: differentiable, z [L] -> [].
      z: [L].
      momentum: [L].
      step_size: positive, [].
      num_steps: number of leapfrog steps of the trajectory.

    Returns:
      z and momentum at its end, [L] each.
    """
    gradient = jax.grad(log_density)

    def step(state, _):
        z, momentum = state
        z = z + step_size * momentum
        return (z, momentum + step_size * gradient(z)), None

    momentum = momentum + 0.5 * step_size * gradient(z)
    (z, momentum), _ = jax.lax.scan(step, (z, momentum), length=num_steps - 1)
    z = z + step_size * momentum
    return z, momentum + 0.5 * step_size * gradient(z)


def leapfrog_on_sphere(
    log_density: LogDensity,
    z: jax.Array,
    momentum: jax.Array,
    step_size: jax.Array | float,
    num_steps: int,
) -> tuple[jax.Array, jax.Array]:
    """`leapfrog` of a density on the unit sphere, along great circles (Byrne & Girolami 2013,
    algorithm 1 and section 4.1).

    Args:
      log_density: differentiable, z [L] -> [], that of the measure of the surface.
      z: [L], a unit vector.
      momentum: [L], orthogonal to z.
      step_size: positive, [].
      num_steps: number of steps of the trajectory.

    Returns:
      z and momentum at its end, [L] each.
    """

    def kicked(z, momentum):
        return tangent(z, momentum + 0.5 * step_size * jax.grad(log_density)(z))

    def step(state, _):
        z, momentum = state
        momentum = kicked(z, momentum)
        speed = jnp.sqrt(jnp.sum(jnp.square(momentum)) + jnp.finfo(z.dtype).tiny)
        cosine, sine = jnp.cos(step_size * speed), jnp.sin(step_size * speed)
        moved = cosine * z + sine / speed * momentum
        momentum = cosine * momentum - sine * speed * z
        moved = moved * jax.lax.rsqrt(jnp.sum(jnp.square(moved)))  # else rounding adds up
        return (moved, kicked(moved, momentum)), None

    return jax.lax.scan(step, (z, momentum), length=num_steps)[0]


def transition(
    log_density: LogDensity,
    z: jax.Array,
    key: jax.Array,
    step_size: jax.Array | float,
    num_steps: int = 10,
    *,
    on_sphere: bool = False,
) -> Transition:
    """A transition that leaves the density invariant (Duane et al. 1987; Neal 2011, figure 2).

    A proposal that is not finite is rejected.

    Args:
      log_density: differentiable, z [L] -> [], up to a constant.
      z: [L].
      key: typed PRNG key.
      step_size: step size of the leapfrog, positive, []; it must not depend on the chain's past.
      num_steps: number of leapfrog steps.
      on_sphere: whether the density is one on the unit sphere (`leapfrog_on_sphere`).
    """
    momentum_key, accept_key = jax.random.split(key)
    momentum = jax.random.normal(momentum_key, z.shape, z.dtype)
    momentum = tangent(z, momentum) if on_sphere else momentum
    move = leapfrog_on_sphere if on_sphere else leapfrog
    proposal, end = move(log_density, z, momentum, step_size, num_steps)
    energy = 0.5 * jnp.sum(momentum**2) - log_density(z)
    difference = energy - (0.5 * jnp.sum(end**2) - log_density(proposal))
    acceptance = jnp.exp(jnp.minimum(jnp.where(jnp.isnan(difference), -jnp.inf, difference), 0.0))
    accepted = jax.random.uniform(accept_key, dtype=z.dtype) < acceptance
    return Transition(jnp.where(accepted, proposal, z), acceptance)

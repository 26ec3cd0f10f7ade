"""One chain of annealed importance sampling, of one example.

A chain goes from a normalised start p_0, which is the prior or q(z|x), to the joint density
p(x, z). On its way it passes log p_b(z) = (1 - b) log p_0(z) + b log p(x, z) for rising b, by
transitions that leave each p_b invariant. The mean of its weight is p(x).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from vae_jax.distributions import VonMisesFisher, matched_normal
from vae_jax.evidence import hmc
from vae_jax.models import Model, Params, given
from vae_jax.models.batch import as_batch

STARTS = ("prior", "posterior", "normal")


class Densities(NamedTuple):
    """The two ends of a chain of one example, as densities of a vector z."""

    log_start: hmc.LogDensity  # log p_0, normalised
    log_joint: hmc.LogDensity  # log p(x, z)
    sample_start: Callable[[jax.Array], jax.Array]  # key -> z [L]
    on_sphere: bool = False  # whether both are densities on the unit sphere


def densities_of(model: Model, params: Params, example: Any, start: str) -> Densities:
    """The densities of ONE example.

    example: x [*event], or a `Batch` without the axis N. start: p_0, "prior", "posterior" for
    q(z|x), or "normal" for the diagonal normal distribution with the moments of q(z|x)
    (`distributions.matched_normal`), for a q(z|x) whose density at a given z is slow or unknown.

    Raises:
      ValueError: the start is unknown, or "normal" for latents on a sphere.
    """
    one = as_batch(example)
    model, x = given(model, one.c), one.x
    prior, posterior = model.prior(params), model.posterior(params, x)
    if start not in STARTS:
        raise ValueError(f"start must be one of {', '.join(STARTS)}, not {start!r}.")
    first = prior if start == "prior" else posterior
    on_sphere = isinstance(posterior, VonMisesFisher)
    if start == "normal":
        if on_sphere:
            raise ValueError("start='normal' is not for latents on a sphere: use 'posterior'.")
        first = matched_normal(posterior)
    _, unravel = ravel_pytree(prior.sample(jax.random.key(0)))  # for its structure

    def log_joint(z):
        z = unravel(z)
        return model.likelihood(params, z).log_prob(x) + prior.log_prob(z)

    return Densities(
        log_start=lambda z: first.log_prob(unravel(z)),
        log_joint=log_joint,
        sample_start=lambda key: ravel_pytree(first.sample(key))[0],
        on_sphere=on_sphere,
    )


class Chain(NamedTuple):
    """One chain of T transitions."""

    log_w: jax.Array  # [], nats
    z: jax.Array  # [L], its last state
    acceptance: jax.Array  # [T], the probability with which each proposal was accepted
    log_w_path: jax.Array  # [T], nats, log_w at each temperature after the first
    log_ratio: jax.Array  # [T], nats, log p(x, z) - log p_0(z) after each transition


def require_differentiable(model: Model, params: Params, example: Any) -> None:
    """Raises a TypeError for latents that no chain moves. example: as of `densities_of`."""
    one = as_batch(example)
    posterior = jax.eval_shape(given(model, one.c).posterior, params, one.x)
    if not posterior.is_reparameterised:
        raise TypeError(
            "Annealed importance sampling moves latents by gradients, which those of a "
            f"{type(posterior).__name__} do not have: use importance sampling or enumeration."
        )
    if isinstance(getattr(posterior, "first", None), VonMisesFisher):
        raise TypeError(
            "Annealed importance sampling on a sphere is for one layer of latents: use importance "
            "sampling."
        )


def transition(
    densities: Densities,
    z: jax.Array,
    key: jax.Array,
    inverse_temperature: jax.Array,
    step_size: jax.Array,
    num_leapfrog: int,
) -> hmc.Transition:
    """A transition that leaves p_b invariant, with a random step size from half of `step_size` up.

    With a fixed step size, a trajectory whose length is the period of the motion would always
    return to its beginning (Neal 2011, section 3.2).
    """

    def log_density(z):
        start, joint = densities.log_start(z), densities.log_joint(z)
        return (1.0 - inverse_temperature) * start + inverse_temperature * joint

    jitter_key, transition_key = jax.random.split(key)
    step_size = step_size * jax.random.uniform(jitter_key, minval=0.5)
    return hmc.transition(
        log_density, z, transition_key, step_size, num_leapfrog, on_sphere=densities.on_sphere
    )


def run_chain(
    densities: Densities,
    z: jax.Array,
    key: jax.Array,
    inverse_temperatures: jax.Array,
    step_sizes: jax.Array,
    *,
    num_leapfrog: int = 10,
    reverse: bool = False,
) -> Chain:
    """Runs one chain of annealed importance sampling (Neal 2001, eq. 3-11), or one in reverse.

    E[exp(log_w)] = p(x), and in reverse E[exp(-log_w)] = 1 / p(x).

    Args:
      densities: densities of the example.
      z: [L], a sample of p_0; in reverse a sample of p(z|x), such as the z that x was simulated
        from.
      key: typed PRNG key.
      inverse_temperatures: [T + 1], from 0 to 1.
      step_sizes: [T], largest step size of the transition at each temperature after the first.
      num_leapfrog: number of leapfrog steps of each transition.
      reverse: whether to go from p(z|x) to p_0 (Grosse et al. 2015, section 3).
    """

    def log_ratio(z):
        return densities.log_joint(z) - densities.log_start(z)

    def step(state, inputs):
        z, log_w = state
        index, before, now, step_size = inputs

        if not reverse:
            log_w += (now - before) * log_ratio(z)
        step_key = jax.random.fold_in(key, index)
        moved = transition(densities, z, step_key, now, step_size, num_leapfrog)
        ratio = log_ratio(moved.z)
        if reverse:
            log_w += (now - before) * ratio
        return (moved.z, log_w), (moved.acceptance, log_w, ratio)

    steps = (
        jnp.arange(len(step_sizes)),
        inverse_temperatures[:-1],
        inverse_temperatures[1:],
        step_sizes,
    )
    first = (z, jnp.zeros((), z.dtype))
    (z, log_w), path = jax.lax.scan(step, first, steps, reverse=reverse)
    return Chain(log_w, z, *path)

"""Annealed importance sampling of the evidence, and its reverse: bounds on both sides of log p(x).

A chain goes from a normalised start p_0, the prior or q(z|x), to the joint density p(x, z) through
log p_b(z) = (1 - b) log p_0(z) + b log p(x, z), by transitions that leave each p_b invariant. Its
weight has the mean p(x) whatever the transitions are, as long as they do not depend on the chain:
step sizes are tuned before, on other chains, and then fixed.
"""

from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from vae_jax.evidence import hmc
from vae_jax.models import Model, Params

TARGET_ACCEPTANCE = 0.65  # the best for HMC in many dimensions (Neal 2011, section 4.4)
_WARM_UP, _ADAPTATION_RATE = 50, 0.1


class StepSizes(NamedTuple):
    """Step sizes of the transitions as a function of the inverse temperature."""

    inverse_temperatures: np.ndarray  # [S], rising from 0 to 1
    step_sizes: np.ndarray  # [S], positive

    def at(self, inverse_temperatures: np.ndarray) -> np.ndarray:
        """[T], interpolated on the logarithmic scale."""
        log_sizes = np.interp(
            inverse_temperatures, self.inverse_temperatures, np.log(self.step_sizes)
        )
        return np.exp(log_sizes).astype(np.float32)


class Chain(NamedTuple):
    """One chain of T transitions."""

    log_w: jax.Array  # [], nats
    z: jax.Array  # [L], where it ended
    acceptance: jax.Array  # [T], the probability with which each proposal was accepted
    log_w_path: jax.Array  # [T], nats, log_w as of each temperature but the first
    log_ratio: jax.Array  # [T], nats, log p(x, z) - log p_0(z) after each transition


class Chains(NamedTuple):
    """M chains for each of N examples; float64 on the host."""

    log_w: np.ndarray  # [N, M] nats
    z: np.ndarray  # [N, M, L], where the chains ended
    acceptance: np.ndarray  # [N], the mean over transitions and chains


def linear_schedule(num_temperatures: int) -> np.ndarray:
    """T + 1 equally spaced inverse temperatures from 0 to 1."""
    _require_positive("num_temperatures", num_temperatures)
    return np.linspace(0.0, 1.0, num_temperatures + 1)


def sigmoid_schedule(num_temperatures: int, steepness: float = 4.0) -> np.ndarray:
    """T + 1 inverse temperatures, dense near 0 and 1 (Wu et al. 2017, appendix A).

    sigmoid(steepness (2 t / T - 1)), shifted and scaled to go from 0 to 1.
    """
    _require_positive("num_temperatures", num_temperatures)
    logits = np.linspace(-steepness, steepness, num_temperatures + 1)
    values = 1.0 / (1.0 + np.exp(-logits))
    return (values - values[0]) / (values[-1] - values[0])


class Densities(NamedTuple):
    """What a chain of one example goes between, over z as a vector."""

    log_start: hmc.LogDensity  # log p_0
    log_joint: hmc.LogDensity  # log p(x, z)
    sample_start: Callable[[jax.Array], jax.Array]  # key -> z [L]


def densities_of(model: Model, params: Params, x: jax.Array, start: str) -> Densities:
    """Those of ONE example x [*event]. start: p_0, "prior" or "posterior" for q(z|x).

    Raises:
      ValueError: the start is unknown.
    """
    prior, posterior = model.prior(params), model.posterior(params, x)
    try:
        first = {"prior": prior, "posterior": posterior}[start]
    except KeyError:
        raise ValueError(f"start must be 'prior' or 'posterior', not {start!r}.") from None
    _, unravel = ravel_pytree(prior.sample(jax.random.key(0)))  # for its structure

    def log_joint(z):
        z = unravel(z)
        return model.likelihood(params, z).log_prob(x) + prior.log_prob(z)

    return Densities(
        log_start=lambda z: first.log_prob(unravel(z)),
        log_joint=log_joint,
        sample_start=lambda key: ravel_pytree(first.sample(key))[0],
    )


def run_chain(
    log_start: hmc.LogDensity,
    log_joint: hmc.LogDensity,
    z: jax.Array,
    key: jax.Array,
    inverse_temperatures: jax.Array,
    step_sizes: jax.Array,
    *,
    num_leapfrog: int = 10,
    reverse: bool = False,
) -> Chain:
    """One chain of annealed importance sampling (Neal 2001, eq. 3-11), or one run backwards.

    E[exp(log_w)] = p(x), and in reverse E[exp(-log_w)] = 1 / p(x).

    Args:
      log_start: z [L] -> [], log p_0, normalised.
      log_joint: z [L] -> [], log p(x, z).
      z: [L], a sample of p_0; in reverse one of p(z|x), such as the z that x was simulated from.
      key: typed PRNG key.
      inverse_temperatures: [T + 1], from 0 to 1.
      step_sizes: [T], the largest of the transition at each of them but the first; each transition
        takes one between half of it and it.
      num_leapfrog: steps of each transition.
      reverse: whether to go from p(z|x) to p_0 (Grosse et al. 2015, section 3).
    """

    def log_ratio(z):
        return log_joint(z) - log_start(z)

    def step(state, inputs):
        z, log_w = state
        index, before, now, step_size = inputs

        def log_density(z):
            return (1.0 - now) * log_start(z) + now * log_joint(z)

        if not reverse:
            log_w += (now - before) * log_ratio(z)
        jitter_key, transition_key = jax.random.split(jax.random.fold_in(key, index))
        step_size *= _jitter(jitter_key)
        moved = hmc.transition(log_density, z, transition_key, step_size, num_leapfrog)
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


def make_annealed_sampler(
    model: Model,
    inverse_temperatures: np.ndarray,
    step_sizes: StepSizes,
    *,
    num_chains: int = 16,
    start: str = "posterior",
    num_leapfrog: int = 10,
    examples_at_once: int = 20,
    progress: Callable[[int], object] = lambda num_examples: None,
) -> Callable[..., Chains]:
    """Annealed importance sampling of every example of a data set.

    Memory is bounded by the chunk, examples_at_once x num_chains. The noise of chain m of example i
    depends on the key, i and m alone.

    Args:
      model: the VAE, of latents whose log-density can be differentiated.
      inverse_temperatures: [T + 1], such as `sigmoid_schedule(1000)`.
      step_sizes: from `tune_step_sizes`.
      num_chains: M.
      start: p_0, "posterior" for q(z|x) or "prior".
      num_leapfrog: steps of each transition.
      examples_at_once: examples in a chunk.
      progress: called with the number of examples done after each chunk.

    Returns:
      (params, x [N, *event], key, z=None) -> `Chains`. With z, [N, *latent] samples of p(z|x), the
      chains run backwards from them.

    Raises:
      ValueError: a number is out of range, or the start is unknown.
      TypeError: (when called) the latents are discrete.
    """
    for name, value in (
        ("num_chains", num_chains),
        ("num_leapfrog", num_leapfrog),
        ("examples_at_once", examples_at_once),
    ):
        _require_positive(name, value)
    schedule = jnp.asarray(inverse_temperatures, jnp.float32)
    sizes = jnp.asarray(step_sizes.at(inverse_temperatures[1:]))

    @partial(jax.jit, static_argnames="reverse")
    @jax.default_matmul_precision("highest")
    def run_chunk(params, x, z, example_index, key, reverse):
        def one_chain(x, z, key):
            densities = densities_of(model, params, x, start)
            start_key, chain_key = jax.random.split(key)
            first = ravel_pytree(z)[0] if reverse else densities.sample_start(start_key)
            chain = run_chain(
                densities.log_start,
                densities.log_joint,
                first,
                chain_key,
                schedule,
                sizes,
                num_leapfrog=num_leapfrog,
                reverse=reverse,
            )
            return chain.log_w, chain.z, jnp.mean(chain.acceptance)

        example_keys = jax.vmap(jax.random.fold_in, (None, 0))(key, example_index)
        chain_keys = jax.vmap(lambda key: jax.random.split(key, num_chains))(example_keys)
        return jax.vmap(jax.vmap(one_chain, (None, None, 0)))(x, z, chain_keys)

    def sample(params, x, key, z=None):
        require_differentiable(model, params, x[0])
        chunk, results = min(examples_at_once, len(x)), []
        for begin in range(0, len(x), chunk):
            rows = np.arange(begin, begin + chunk)
            in_data = np.minimum(rows, len(x) - 1)
            first = None if z is None else jax.tree.map(itemgetter(in_data), z)
            found = run_chunk(params, jnp.asarray(x[in_data]), first, rows, key, z is not None)
            results.append(jax.device_get(found))
            progress(min(begin + chunk, len(x)))
        log_w, end, acceptance = (
            np.concatenate(parts)[: len(x)].astype(np.float64)
            for parts in zip(*results, strict=True)
        )
        return Chains(log_w, end, acceptance.mean(axis=1))

    return sample


def tune_step_sizes(
    model: Model,
    params: Params,
    x: jax.Array,
    key: jax.Array,
    inverse_temperatures: np.ndarray,
    *,
    num_chains: int = 4,
    start: str = "posterior",
    num_leapfrog: int = 10,
    first_step_size: float = 0.1,
) -> StepSizes:
    """Step sizes whose transitions are accepted with `TARGET_ACCEPTANCE` in the mean.

    All chains of all examples share a step size, which is raised and lowered along their way. Use
    other examples than those whose evidence is then estimated with these step sizes, or other keys.

    Args:
      model: the VAE.
      params: its parameters.
      x: [B, *event], some examples.
      key: typed PRNG key.
      inverse_temperatures: [S + 1], of the schedule; some 200 suffice for one of thousands.
      num_chains: of each example.
      start: as for `make_annealed_sampler`.
      num_leapfrog: likewise.
      first_step_size: where the search begins.

    Raises:
      TypeError: the latents are discrete.
    """
    require_differentiable(model, params, x[0])
    path = np.concatenate([np.zeros(_WARM_UP), inverse_temperatures[1:]])

    @jax.jit
    def tune(params, x, key):
        def one_transition(x, z, key, step_size, now):
            densities = densities_of(model, params, x, start)

            def log_density(z):
                return (1.0 - now) * densities.log_start(z) + now * densities.log_joint(z)

            jitter_key, transition_key = jax.random.split(key)
            jittered = step_size * _jitter(jitter_key)
            return hmc.transition(log_density, z, transition_key, jittered, num_leapfrog)

        def step(state, inputs):
            z, step_size = state
            index, now = inputs
            keys = jax.random.split(jax.random.fold_in(move_key, index), (len(x), num_chains))
            over_chains = jax.vmap(one_transition, (None, 0, 0, None, None))
            over_examples = jax.vmap(over_chains, (0, 0, 0, None, None))
            moved = over_examples(x, z, keys, step_size, now)
            error = jnp.mean(moved.acceptance) - TARGET_ACCEPTANCE
            return (moved.z, step_size * jnp.exp(_ADAPTATION_RATE * error)), step_size

        start_key, move_key = jax.random.split(key)
        start_keys = jax.random.split(start_key, (len(x), num_chains))
        begin = lambda x, key: densities_of(model, params, x, start).sample_start(key)  # noqa: E731
        z = jax.vmap(jax.vmap(begin, (None, 0)))(x, start_keys)
        steps = (jnp.arange(len(path)), jnp.asarray(path, jnp.float32))
        _, used = jax.lax.scan(step, (z, jnp.asarray(first_step_size)), steps)
        return used

    used = np.asarray(tune(params, x, key), np.float64)[_WARM_UP - 1 :]
    return StepSizes(np.asarray(inverse_temperatures), used)


@jax.default_matmul_precision("highest")  # or z is no sample of the p(z|x) that weighs it
def simulate(model: Model, params: Params, key: jax.Array, num_examples: int) -> tuple:
    """x [N, *event] and the z [N, *latent] they were drawn from, which are samples of p(z|x)."""

    def one(key):
        z_key, x_key = jax.random.split(key)
        z = model.prior(params).sample(z_key)
        return model.likelihood(params, z).sample(x_key), z

    return jax.vmap(one)(jax.random.split(key, num_examples))


def _jitter(key: jax.Array) -> jax.Array:
    """What a step size is multiplied by, in (1/2, 1).

    Trajectories of one length come back to where they began where that is the period of the motion
    (Neal 2011, section 3.2).
    """
    return jax.random.uniform(key, minval=0.5)


def require_differentiable(model: Model, params: Params, x: jax.Array) -> None:
    """Raises a TypeError for discrete latents. x: [*event], one example."""
    posterior = jax.eval_shape(model.posterior, params, x)
    if not posterior.is_reparameterised:
        raise TypeError(
            "Annealed importance sampling moves latents by gradients, which those of a "
            f"{type(posterior).__name__} do not have: use importance sampling or enumeration."
        )


def _require_positive(name, value):
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}.")

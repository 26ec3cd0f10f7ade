"""Annealed importance sampling of the evidence, and its reverse: bounds on both sides of log p(x).

This module runs many chains for many examples. The mean of their weights is p(x) for any
transitions that do not depend on the past of the chain. Step sizes are therefore tuned on other
chains first, and then fixed.
"""

from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from vae_jax.evidence import chunks
from vae_jax.evidence.chain import densities_of, require_differentiable, run_chain, transition
from vae_jax.models import Model, Params, given
from vae_jax.models.batch import Batch, as_batch
from vae_jax.models.checks import given_first

TARGET_ACCEPTANCE = 0.65  # the best value for HMC in many dimensions (Neal 2011, section 4.4)
_WARM_UP, _ADAPTATION_RATE = 50, 0.1


class StepSizes(NamedTuple):
    """The largest step sizes of the transitions as a function of the inverse temperature."""

    inverse_temperatures: np.ndarray  # [S], rising from 0 to 1
    step_sizes: np.ndarray  # [S], positive

    def at(self, inverse_temperatures: np.ndarray) -> np.ndarray:
        """The step sizes [T] at inverse temperatures [T], interpolated on the logarithmic scale."""
        log_sizes = np.interp(
            inverse_temperatures, self.inverse_temperatures, np.log(self.step_sizes)
        )
        return np.exp(log_sizes).astype(np.float32)


class Chains(NamedTuple):
    """M chains for each of N examples; float64 on the host."""

    log_w: np.ndarray  # [N, M] nats
    z: np.ndarray  # [N, M, L], the last state of each chain
    acceptance: np.ndarray  # [N], mean probability of acceptance over transitions and chains


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


class AnnealedSampler(Protocol):
    """A function that anneals chains of examples; see `make_annealed_sampler`."""

    def __call__(
        self, params: Params, x: jax.Array | Batch, key: jax.Array, z: Any = None
    ) -> Chains:
        """Runs chains for each of x [N, *event] or a `Batch`, in reverse from z [N, *latent]."""


def make_annealed_sampler(
    model: Model,
    inverse_temperatures: np.ndarray,
    step_sizes: StepSizes,
    *,
    num_chains: int = 16,
    start: str = "posterior",
    num_leapfrog: int = 10,
    examples_at_once: int | None = None,
    progress: Callable[[int], object] = lambda num_examples: None,
) -> AnnealedSampler:
    """Makes a function that estimates log p(x) of every example of a data set by annealing.

    Memory is bounded by the size of a chunk, examples_at_once x num_chains. The noise of chain m of
    example i depends on the key, i and m alone.

    Args:
      model: the VAE, with latents whose log-density can be differentiated.
      inverse_temperatures: [T + 1], such as `sigmoid_schedule(1000)`.
      step_sizes: step sizes, from `tune_step_sizes`.
      num_chains: M, chains for each example.
      start: start p_0 of the chains, "posterior" for q(z|x), "normal" for the diagonal normal
        distribution with the moments of q(z|x), or "prior".
      num_leapfrog: number of leapfrog steps of each transition.
      examples_at_once: number of examples in a chunk; None for 20 or, if memory allows fewer
        chains, for as many as fit (`chunks.decodings_at_once`).
      progress: function that is called with the number of examples done after each chunk.

    Returns:
      (params, x, key, z=None) -> `Chains`, for x [N, *event] or a `Batch`. Given z, which are
      [N, *latent] samples of p(z|x), the chains run in reverse, from z to p_0.

    Raises:
      ValueError: a number is out of range, or the start is unknown.
      TypeError: (when called) the latents are discrete.
    """
    for name, value in (
        ("num_chains", num_chains),
        ("num_leapfrog", num_leapfrog),
        ("examples_at_once", 20 if examples_at_once is None else examples_at_once),
    ):
        _require_positive(name, value)
    schedule = jnp.asarray(inverse_temperatures, jnp.float32)
    sizes = jnp.asarray(step_sizes.at(inverse_temperatures[1:]))

    @partial(jax.jit, static_argnames="reverse")
    @jax.default_matmul_precision("highest")
    def run_chunk(params, batch, z, example_index, key, reverse):
        def one_chain(example, z, key):
            densities = densities_of(model, params, example, start)
            start_key, chain_key = jax.random.split(key)
            first = ravel_pytree(z)[0] if reverse else densities.sample_start(start_key)
            run = run_chain(
                densities,
                first,
                chain_key,
                schedule,
                sizes,
                num_leapfrog=num_leapfrog,
                reverse=reverse,
            )
            return run.log_w, run.z, jnp.mean(run.acceptance)

        example_keys = jax.vmap(jax.random.fold_in, (None, 0))(key, example_index)
        chain_keys = jax.vmap(lambda key: jax.random.split(key, num_chains))(example_keys)
        return jax.vmap(jax.vmap(one_chain, (None, None, 0)))(batch, z, chain_keys)

    def most_examples(params, data):
        if examples_at_once is not None:
            return examples_at_once
        at_once = chunks.decodings_at_once(given_first(model, data), params)
        return max(1, min(20, at_once // num_chains))

    def sample(params, x, key, z=None):
        data = as_batch(x)
        require_differentiable(model, params, data[0])
        chunk, results = min(most_examples(params, data), len(data)), []
        for begin in range(0, len(data), chunk):
            rows = np.arange(begin, begin + chunk)
            in_data = np.minimum(rows, len(data) - 1)
            batch = jax.tree.map(jnp.asarray, data[in_data])
            first = None if z is None else jax.tree.map(itemgetter(in_data), z)
            found = run_chunk(params, batch, first, rows, key, z is not None)
            results.append(jax.device_get(found))
            progress(min(begin + chunk, len(data)))
        log_w, end, acceptance = (
            np.concatenate(parts)[: len(data)].astype(np.float64)
            for parts in zip(*results, strict=True)
        )
        return Chains(log_w, end, acceptance.mean(axis=1))

    return sample


def tune_step_sizes(
    model: Model,
    params: Params,
    x: jax.Array | Batch,
    key: jax.Array,
    inverse_temperatures: np.ndarray,
    *,
    num_chains: int = 4,
    start: str = "posterior",
    num_leapfrog: int = 10,
    first_step_size: float = 0.1,
) -> StepSizes:
    """Finds step sizes with which the mean probability of acceptance is `TARGET_ACCEPTANCE`.

    All chains of all examples share one step size for each temperature, which is raised and lowered
    as the chains run. The evidence that is then estimated with these step sizes needs other
    examples or another key.

    Args:
      model: the VAE.
      params: parameters of the model.
      x: [B, *event], some examples, or a `Batch` of them.
      key: typed PRNG key.
      inverse_temperatures: [S + 1], schedule of the search; 200 temperatures suffice for an
        annealing with thousands.
      num_chains: number of chains of each example.
      start: the same as for `make_annealed_sampler`.
      num_leapfrog: the same as for `make_annealed_sampler`.
      first_step_size: step size at which the search begins.

    Raises:
      TypeError: the latents are discrete.
    """
    data = as_batch(x)
    require_differentiable(model, params, data[0])
    at_once = chunks.decodings_at_once(given_first(model, data), params)
    most = max(1, at_once // num_chains)
    path = np.concatenate([np.zeros(_WARM_UP), inverse_temperatures[1:]])

    @jax.jit
    def tune(params, batch, key):
        def one_transition(example, z, key, step_size, now):
            densities = densities_of(model, params, example, start)
            return transition(densities, z, key, now, step_size, num_leapfrog)

        def step(state, inputs):
            z, step_size = state
            index, now = inputs
            keys = jax.random.split(jax.random.fold_in(move_key, index), (len(batch), num_chains))

            def of_example(inputs):
                example, z, keys = inputs
                over_chains = jax.vmap(one_transition, (None, 0, 0, None, None))
                return over_chains(example, z, keys, step_size, now)

            moved = chunks.map_in_chunks(of_example, (batch, z, keys), most)
            error = jnp.mean(moved.acceptance) - TARGET_ACCEPTANCE
            return (moved.z, step_size * jnp.exp(_ADAPTATION_RATE * error)), step_size

        start_key, move_key = jax.random.split(key)
        start_keys = jax.random.split(start_key, (len(batch), num_chains))
        begin = lambda one, key: densities_of(model, params, one, start).sample_start(key)  # noqa: E731
        z = jax.vmap(jax.vmap(begin, (None, 0)))(batch, start_keys)
        steps = (jnp.arange(len(path)), jnp.asarray(path, jnp.float32))
        _, used = jax.lax.scan(step, (z, jnp.asarray(first_step_size)), steps)
        return used

    used = np.asarray(tune(params, data, key), np.float64)[_WARM_UP - 1 :]
    return StepSizes(np.asarray(inverse_temperatures), used)


@jax.default_matmul_precision("highest")  # otherwise z is no sample of p(z|x)
def simulate(
    model: Model, params: Params, key: jax.Array, num_examples: int, c: Any = None
) -> tuple:
    """Simulates z [N, *latent] and x [N, *event] from the model. Each z is a sample of p(z|x).

    c: conditions, leaves [N, ...]; None where there are none. Returns (x, z).
    """

    def one(key, c):
        z_key, x_key = jax.random.split(key)
        of_c = given(model, c)
        z = of_c.prior(params).sample(z_key)
        return of_c.likelihood(params, z).sample(x_key), z

    return jax.vmap(one)(jax.random.split(key, num_examples), c)


def _require_positive(name, value):
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}.")

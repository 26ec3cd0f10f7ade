"""The rate-distortion curve of a decoder: the loss of x if z may carry a given number of nats.

For each b, the channel p_b(z|x) ~ p(z) p(x|z)^b has the rate KL(p_b || p(z)) and the distortion
E[-log p(x|z)]. No channel of the same rate has a lower mean distortion. At b = 1 the channel is the
true posterior, and rate plus distortion is -log p(x) (Huang et al. 2020). The encoder of a VAE is
one more channel, with the KL as its rate and minus the reconstruction as its distortion. It lies
above the line rate + distortion = -log p(x), which touches the curve, by exactly its inference gap,
and above the curve by at most that gap.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.evidence import chain, chunks
from vae_jax.evidence.annealed import StepSizes
from vae_jax.models import Model, Params
from vae_jax.models.batch import Batch, as_batch
from vae_jax.models.checks import given_first


class RateDistortion(NamedTuple):
    """The curves of N examples at T values of b; float64 on the host, nats."""

    b: np.ndarray  # [T], rising
    rate: np.ndarray  # [N, T], an upper bound, its mean over chains
    distortion: np.ndarray  # [N, T]


def rate_distortion(
    model: Model,
    params: Params,
    x: jax.Array | Batch,
    key: jax.Array,
    schedule: np.ndarray,
    step_sizes: StepSizes,
    *,
    num_chains: int = 4,
    num_leapfrog: int = 10,
    examples_at_once: int | None = None,
) -> RateDistortion:
    """Points on or above the rate-distortion curve, all from the same annealed chains.

    The chains start at the prior. Their state at b is a channel. Its distortion is computed from
    the state. Its rate is at most E[b log p(x|z) - log_w_b], since log_w_b is a lower bound on the
    logarithm of the integral of p(z) p(x|z)^b (Huang et al. 2020, section 4).

    Args:
      model: the VAE, with continuous latents.
      params: parameters of the model.
      x: [N, *event], the examples, or a `Batch` of them.
      key: typed PRNG key.
      schedule: [T + 1] values of b that rise from 0 and may go beyond 1. More values give points
        closer to the curve.
      step_sizes: step sizes, from `annealed.tune_step_sizes` with start="prior".
      num_chains: M, chains for each example.
      num_leapfrog: number of leapfrog steps of each transition.
      examples_at_once: number of examples whose chains are run together; None for all that fit into
        memory (`chunks.decodings_at_once`).

    Raises:
      ValueError: the schedule does not rise from 0, or `examples_at_once` < 1.
      TypeError: the latents are discrete.
    """
    schedule = np.asarray(schedule)
    if schedule[0] != 0.0 or np.any(np.diff(schedule) <= 0):
        raise ValueError("schedule must rise from 0.")
    if examples_at_once is not None and examples_at_once < 1:
        raise ValueError(f"examples_at_once must be at least 1, not {examples_at_once}.")
    data = as_batch(x)
    chain.require_differentiable(model, params, data[0])
    at_once = chunks.decodings_at_once(given_first(model, data), params)
    most = examples_at_once or max(1, at_once // num_chains)
    sizes = jnp.asarray(step_sizes.at(schedule[1:]))

    @jax.jit
    @jax.default_matmul_precision("highest")
    def run_all(params, batch, schedule, key):
        def one_chain(example, key):
            densities = chain.densities_of(model, params, example, "prior")
            start_key, chain_key = jax.random.split(key)
            run = chain.run_chain(
                densities,
                densities.sample_start(start_key),
                chain_key,
                schedule,
                sizes,
                num_leapfrog=num_leapfrog,
            )
            return schedule[1:] * run.log_ratio - run.log_w_path, -run.log_ratio

        keys = jax.random.split(key, (len(batch), num_chains))
        of_chains = chunks.map_in_chunks(
            lambda inputs: jax.vmap(one_chain, (None, 0))(*inputs), (batch, keys), most
        )
        return [jnp.mean(values, axis=1) for values in of_chains]

    found = run_all(params, data, jnp.asarray(schedule, jnp.float32), key)
    rate, distortion = (np.asarray(values, np.float64) for values in found)
    return RateDistortion(schedule[1:], rate, distortion)

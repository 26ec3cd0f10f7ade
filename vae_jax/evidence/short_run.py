"""Samples closer to p(z|x) than those of the encoder: a few Hamiltonian transitions from q(z|x)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from vae_jax.evidence import chunks
from vae_jax.evidence.annealed import linear_schedule, tune_step_sizes
from vae_jax.evidence.chain import densities_of, require_differentiable, transition
from vae_jax.models import Model, Params, given
from vae_jax.models.batch import Batch, as_batch
from vae_jax.models.checks import given_first

_TUNED_ON, _TUNING_STEPS = 20, 50


class Refined(NamedTuple):
    """Samples of N examples after T transitions; on the host."""

    z: np.ndarray  # [N, M, L]
    log_joint: np.ndarray  # [N, M], log p(x, z), nats
    acceptance: np.ndarray  # [N], mean probability of acceptance


def short_run_hmc(
    model: Model,
    params: Params,
    x: jax.Array | Batch,
    key: jax.Array,
    *,
    num_steps: int = 20,
    num_chains: int = 1,
    step_size: float | None = None,
    num_leapfrog: int = 10,
) -> Refined:
    """Moves samples of q(z|x) by transitions that leave p(z|x) invariant (Hoffman 2017).

    The distribution of z comes closer to p(z|x) with every transition: its KL divergence from it
    never rises (Cover & Thomas 2006, section 4.4). Its density is not known, so that there is no
    bound on log p(x) for it: annealed importance sampling, or the posterior `models.annealed`, has
    one.

    Args:
      model: the VAE, with latents whose log-density can be differentiated.
      params: parameters of the model.
      x: [N, *event], the examples, or a `Batch` of them.
      key: typed PRNG key.
      num_steps: T, transitions of each chain; 0 for samples of q(z|x).
      num_chains: M, samples of each example.
      step_size: largest step size; None to tune it first, on the first examples and other chains.
      num_leapfrog: number of leapfrog steps of each transition.

    Raises:
      ValueError: a number is out of range.
      TypeError: the latents are discrete.
    """
    if num_steps < 0 or num_chains < 1 or num_leapfrog < 1:
        raise ValueError(
            "Short-run HMC needs num_steps >= 0, num_chains >= 1 and num_leapfrog >= 1, not "
            f"{num_steps}, {num_chains} and {num_leapfrog}."
        )
    data = as_batch(x)
    require_differentiable(model, params, data[0])
    tune_key, key = jax.random.split(key)
    if step_size is None:
        schedule, some = linear_schedule(_TUNING_STEPS), data[:_TUNED_ON]
        tuned = tune_step_sizes(
            model, params, some, tune_key, schedule, start="prior", num_leapfrog=num_leapfrog
        )
        step_size = float(tuned.at(np.ones(1))[0])
    most = max(1, chunks.decodings_at_once(given_first(model, data), params) // num_chains)

    @jax.jit
    @jax.default_matmul_precision("highest")
    def move(params, batch, keys):
        def one_chain(example, key):
            densities = densities_of(model, params, example, "prior")
            of_c = given(model, example.c)
            start_key, chain_key = jax.random.split(key)
            z = ravel_pytree(of_c.posterior(params, example.x).sample(start_key))[0]

            def step(z, step_key):
                moved = transition(
                    densities, z, step_key, jnp.ones(()), jnp.asarray(step_size), num_leapfrog
                )
                return moved.z, moved.acceptance

            z, acceptance = jax.lax.scan(step, z, jax.random.split(chain_key, num_steps))
            return z, densities.log_joint(z), jnp.sum(acceptance) / max(1, num_steps)

        over_chains = jax.vmap(one_chain, (None, 0))
        return chunks.map_in_chunks(lambda inputs: over_chains(*inputs), (batch, keys), most)

    found: Any = move(params, data, jax.random.split(key, (len(data), num_chains)))
    z, log_joint, acceptance = (np.asarray(values) for values in found)
    return Refined(z, log_joint, acceptance.mean(axis=1))

"""Uncorrected Hamiltonian annealing: a chain from q(z|x) towards p(z|x) as the posterior."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from vae_jax.distributions.annealed import Annealed
from vae_jax.models.base import Model, given


def annealed(model: Model, latent_dim: int, num_steps: int, *, step_size: float = 0.1) -> Model:
    """The same model, whose posterior is the end of a Hamiltonian chain from q(z|x) towards p(z|x).

    Its bound is that of Geffner & Domke (2021) and Zhang et al. (2021). It is one number log_w like
    any other, so that all bounds hold, tighten with K, and train decoder, encoder and chain
    together. Each step costs a decoding with its gradient, and training differentiates through it.

    Args:
      model: a model whose params are a dict, and whose posterior is over [L], has a density and
        knows its standard deviations, such as a diagonal normal one.
      latent_dim: L.
      num_steps: K, number of steps; 0 for a posterior that is q(z|x) in all but its type.
      step_size: step size at the start, in units of the standard deviations of q(z|x).

    Returns:
      A `Model` with the params of the model and {"chain": {"log_step" [L], "increments" [K],
      "refresh" []}}. It has no `encoder`, since its posterior depends on x by the chain, too.

    Raises:
      ValueError: a number is out of range.
    """
    if latent_dim < 1 or num_steps < 0 or not step_size > 0:
        raise ValueError(
            "An annealed posterior needs latent_dim >= 1, num_steps >= 0 and a positive step_size, "
            f"not {latent_dim}, {num_steps} and {step_size}."
        )

    def init(key, x):
        params = model.init(key, x)
        chain = {
            "log_step": jnp.full(latent_dim, math.log(step_size)),
            "increments": jnp.zeros(num_steps),
            "refresh": jnp.zeros(()),
        }
        return {**params, "chain": chain}

    def log_joint(params, x, c, z):
        of_c = given(model, c)
        return of_c.likelihood(params, z).log_prob(x) + of_c.prior(params).log_prob(z)

    def chain_from(start, params, x, c):
        return Annealed(start, jax.tree_util.Partial(log_joint, params, x, c), **params["chain"])

    def posterior(params, x, c=None):
        return chain_from(given(model, c).posterior(params, x), params, x, c)

    def with_dropout(key, params, x, c=None):
        of_c: Any = given(model, c)
        return chain_from(of_c.posterior_with_dropout(key, params, x), params, x, c)

    return model._replace(
        init=init,
        posterior=posterior,
        posterior_with_dropout=model.posterior_with_dropout and with_dropout,
        encoder=None,
        posterior_of=None,
    )

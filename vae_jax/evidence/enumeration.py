"""The evidence by summing over all values of discrete latents."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.distributions import Bernoulli, Categorical, Distribution
from vae_jax.evidence.chunks import decodings_at_once
from vae_jax.models import Model, Params

_MOST_VALUES = 2**20


def all_values(prior: Distribution) -> jax.Array:
    """All values of latents with this prior, [Z, *latent].

    Raises:
      TypeError: the latents are not discrete.
      ValueError: they have more than a million values.
    """
    if isinstance(prior, Bernoulli):
        choices, num_latents, shape = np.array([0.0, 1.0]), prior.logits.size, prior.logits.shape
    elif isinstance(prior, Categorical):
        shape = prior.logits.shape
        choices, num_latents = np.eye(shape[-1]), prior.logits.size // shape[-1]
    else:
        raise TypeError(
            f"Only discrete latents can be enumerated, not {type(prior).__name__} ones: use "
            "quadrature for one or two of them, or importance sampling."
        )
    if len(choices) ** num_latents > _MOST_VALUES:
        raise ValueError(
            f"{num_latents} latents of {len(choices)} values each have more than {_MOST_VALUES:,} "
            "values together: use importance sampling."
        )
    values = np.array(list(itertools.product(choices, repeat=num_latents)), np.float32)
    return jnp.asarray(values.reshape(-1, *shape))


def log_joint(
    model: Model, params: Params, x: Any, *, values_at_once: int | None = None
) -> tuple[jax.Array, jax.Array]:
    """All values of z, [Z, *latent], and log p(x, z) of each, [Z] nats, for ONE example x [*event].

    model: the VAE; `models.given(model, c)` for a conditional one.
    values_at_once: number of values that are decoded together; None for 2048 or, if memory allows
    fewer, for `chunks.decodings_at_once`.

    Raises:
      TypeError, ValueError: the same as for `all_values`.
    """
    prior = model.prior(params)
    every_z = all_values(prior)
    if values_at_once is None:
        values_at_once = min(2048, decodings_at_once(model, params))

    def of(z):
        return model.likelihood(params, z).log_prob(x) + prior.log_prob(z)

    with jax.default_matmul_precision("highest"):
        return every_z, jax.lax.map(of, every_z, batch_size=values_at_once)


def log_evidence(model: Model, params: Params, x: Any) -> jax.Array:
    """The exact log p(x) of ONE example. x: [*event]. Returns [] nats.

    Raises:
      TypeError, ValueError: the same as for `all_values`.
    """
    return jax.nn.logsumexp(log_joint(model, params, x)[1])


def elbo(model: Model, params: Params, x: Any) -> jax.Array:
    """The exact ELBO of ONE example: the mean over z ~ q(z|x). x: [*event]. Returns [] nats."""
    every_z, values = log_joint(model, params, x)
    log_q = jax.vmap(model.posterior(params, x).log_prob)(every_z)
    return jnp.sum(jnp.exp(log_q) * (values - log_q))

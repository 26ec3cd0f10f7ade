"""A VAE with closed forms of everything, as a test of the lesson's own rules."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vae_jax.evidence.linear_gaussian import LinearGaussian, as_vae
from vae_jax.models import Model, Params

_NUM_DIMS, _LATENT_DIM, _STD = 5, 2, 0.7


class LinearVae(NamedTuple):
    """A linear-Gaussian VAE, its parameters also as the closed forms take them, and an example."""

    model: Model
    params: Params
    truth: LinearGaussian
    x: jax.Array  # [D]


def linear_vae(key: jax.Array) -> LinearVae:
    """Draws weights, mean, an example, and an encoder whose q is far from the posterior."""
    weights_key, mean_key, x_key, encoder_key = jax.random.split(key, 4)
    weights = jax.random.normal(weights_key, (_NUM_DIMS, _LATENT_DIM))
    mean = jax.random.normal(mean_key, (_NUM_DIMS,))
    truth = LinearGaussian(weights, mean, jnp.asarray(_STD))
    model, params = as_vae(truth)
    encoder = {
        "kernel": jnp.zeros((_NUM_DIMS, 2 * _LATENT_DIM)),
        "bias": 0.3 * jax.random.normal(encoder_key, (2 * _LATENT_DIM,)),
    }
    params = {**params, "encoder": {"output": encoder}}
    x = jax.random.normal(x_key, (_NUM_DIMS,))
    return LinearVae(model, params, truth, x)

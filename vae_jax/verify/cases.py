"""The models on which estimators are checked, small enough for exact truth."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import networks
from vae_jax.evidence import linear_gaussian, rainforth
from vae_jax.models import Model, Params, latents, vae


def normal_case(key: jax.Array) -> tuple[Model, Params, jax.Array]:
    """The model of Rainforth et al. 2018 with one latent variable, off its optimum, and x [2, 1].

    q is wider than p(z|x), so that the weights are bounded and their means almost normal.
    """
    x = rainforth.examples(key, 2, 1)
    params = rainforth.optimum(x)
    encoder = {
        "weights": params["encoder"]["weights"] + 0.1,
        "bias": params["encoder"]["bias"] - 0.2,
    }
    return rainforth.model(), {**params, "encoder": encoder}, x


def bits_case(key: jax.Array) -> tuple[Model, Params, jax.Array]:
    """A model with two latent bits and four pixels, and x [1, 4]."""
    model = vae(
        (4,), 2, encoder=networks.mlp(()), decoder=networks.mlp(()), latents=latents.bernoulli()
    )
    return model, model.init(key, jnp.full(4, 0.4)), jnp.array([[1.0, 0.0, 1.0, 1.0]])


def exact_case() -> tuple[Model, Params, linear_gaussian.LinearGaussian, jax.Array]:
    """A linear VAE with one latent variable whose encoder is the exact posterior, and x [3]."""
    truth = linear_gaussian.LinearGaussian(
        weights=jnp.array([[1.2], [-0.7], [0.4]]),
        mean=jnp.array([0.5, 0.1, -0.3]),
        std=jnp.asarray(0.6),
    )
    model, params = linear_gaussian.as_vae(truth)
    return model, params, truth, jnp.array([1.0, -1.0, 0.5])


def all_tuples(values: np.ndarray, length: int) -> np.ndarray:
    """All tuples of the values, [len(values) ** length, length]."""
    return np.array(list(itertools.product(values, repeat=length)))

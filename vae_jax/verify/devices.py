"""Checks of the arithmetic of this machine, against double precision on the host."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import evidence, models, networks
from vae_jax.models import vae
from vae_jax.verify.check import Check, equal


def checks(key: jax.Array) -> list[Check]:
    """Checks the ELBO of a batch of images: one by one, vmapped, compiled, and on the host."""
    init_key, x_key, noise_key = jax.random.split(key, 3)
    model = vae((8, 8, 1), 4, encoder=networks.mlp((32,)), decoder=networks.mlp((32,)))
    params = model.init(init_key, jnp.full((8, 8, 1), 0.3))
    x = jax.random.bernoulli(x_key, 0.3, (8, 8, 8, 1)).astype(jnp.float32)
    keys = jax.random.split(noise_key, len(x))

    def bound(x, key):
        return models.elbo(model, params, x, key)[0]

    def noise(x, key):
        q: Any = model.posterior(params, x)
        draw = models.draw(model, params, x, key[None])
        return (draw.z[0] - q.mean) * jnp.exp(-q.log_std)

    one_by_one = [bound(*pair) for pair in zip(x[:2], keys[:2], strict=True)]
    vmapped = jax.jit(jax.vmap(bound))(x, keys)
    on_host = _elbo_on_host(params, x, jax.jit(jax.vmap(noise))(x, keys))
    sample = evidence.make_importance_sampler(model, 1, examples_at_once=4)
    again = sample(params, np.asarray(x), noise_key)
    whole = evidence.make_importance_sampler(model, 1)(params, np.asarray(x), noise_key)
    return [
        equal("elbo of one example", "float64 on the host", one_by_one, on_host[:2]),
        equal("elbo, vmapped and compiled", "float64 on the host", vmapped, on_host),
        equal("evidence in chunks", "evidence in one piece", again.elbo, whole.elbo),
    ]


def _elbo_on_host(params, x, noise):
    """The definition (Kingma & Welling 2014, eq. 10) in NumPy. noise: [N, L]. Returns [N]."""
    params, x, noise = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (params, x, noise))

    def network(layers, h):
        hidden = h @ layers["Dense_0"]["kernel"] + layers["Dense_0"]["bias"]
        return np.maximum(hidden, 0.0) @ layers["output"]["kernel"] + layers["output"]["bias"]

    x = x.reshape(len(x), -1)
    mean, log_std = np.split(network(params["encoder"], x), 2, axis=1)
    logits = network(params["decoder"], mean + np.exp(log_std) * noise)
    reconstruction = np.sum(x * logits - np.logaddexp(0.0, logits), axis=1)
    kl = 0.5 * np.sum(mean**2 + np.exp(2.0 * log_std) - 1.0 - 2.0 * log_std, axis=1)
    return reconstruction - kl

"""Checks of penalties on the aggregate posterior, against the host and closed forms."""

from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import models, networks, objectives
from vae_jax.distributions import Normal
from vae_jax.models import Draw, DrawFn, vae
from vae_jax.objectives import mmd, total_correlation
from vae_jax.verify.check import Check, equal, mean_is


def checks(key: jax.Array) -> list[Check]:
    """Checks terms of the aggregate posterior against the host and against closed forms."""
    init_key, x_key, noise_key, loss_key, mmd_key = jax.random.split(key, 5)
    model = vae((5,), 3, encoder=networks.mlp(()), decoder=networks.mlp(()))
    params = model.init(init_key, jnp.full(5, 0.5))
    x = jax.random.bernoulli(x_key, 0.5, (6, 5)).astype(jnp.float32)
    keys = jax.random.split(noise_key, (2, 6))
    draw_fn = partial(models.draw_batch, model, params, x, keys)
    draw = jax.jit(draw_fn)()
    return [
        _total_correlation(draw),
        *_covariances(draw, draw_fn, loss_key),
        _mmd_of_normals(mmd_key),
    ]


def _total_correlation(draw: Draw) -> Check:
    """The batch is all of the data, so that the densities of the estimate are exact."""
    parts = jax.jit(partial(total_correlation.decompose_kl, num_examples=6))(draw)
    q = cast(Normal, draw.posterior)
    mean, log_std, z = _on_host(q.mean, q.log_std, draw.z)
    standardised = (z[:, :, None] - mean) / np.exp(log_std)  # [K, B, N, L]
    density = np.exp(-0.5 * standardised**2 - log_std) / np.sqrt(2.0 * np.pi)
    log_q = np.log(np.mean(np.prod(density, axis=3), axis=2))
    log_product = np.sum(np.log(np.mean(density, axis=2)), axis=2)
    log_prior = np.sum(-0.5 * z**2 - 0.5 * np.log(2.0 * np.pi), axis=2)
    log_own = np.log(np.prod(np.stack([density[:, i, i] for i in range(6)], axis=1), axis=2))
    expected = [np.mean(v) for v in (log_own - log_q, log_q - log_product, log_product - log_prior)]
    return equal("decompose_kl of all data", "double precision on the host", parts, expected)


def _covariances(draw: Draw, draw_fn: DrawFn, key: jax.Array) -> list[Check]:
    q = cast(Normal, draw.posterior)
    mean, log_std = _on_host(q.mean, q.log_std)
    covariance = np.cov(mean.T, bias=True)
    checks = []
    for name, objective, added in (
        ("dip_vae_i", objectives.dip_vae_i(10.0, 5.0), 0.0),
        ("dip_vae_ii", objectives.dip_vae_ii(10.0, 5.0), np.mean(np.exp(2.0 * log_std), axis=0)),
    ):
        matrix = covariance + np.diag(np.broadcast_to(added, 3))
        diagonal = np.diagonal(matrix)
        off_diagonal = np.sum(matrix**2) - np.sum(diagonal**2)
        penalty = 10.0 * off_diagonal + 5.0 * np.sum((diagonal - 1.0) ** 2)
        found = objective.loss((), jnp.asarray(0), key, draw_fn)[1][1]["penalty"]
        checks.append(equal(f"{name} penalty", "covariance on the host", found, penalty))
    return checks


def _mmd_of_normals(key: jax.Array) -> Check:
    shift, std = np.array([0.8, -0.4]), 0.5

    def one_estimate(key):
        a, b = jax.random.normal(key, (2, 8, 2))
        return mmd.mmd(mmd.rbf(), a, jnp.asarray(shift, jnp.float32)[None] + std * b)

    def mean_kernel(shift, variance):  # a - b ~ N(shift, variance I), with two latents
        return np.exp(-0.5 * np.sum(shift**2) / (2.0 + variance)) / (1.0 + variance / 2.0)

    closed_form = mean_kernel(0 * shift, 2.0) + mean_kernel(0 * shift, 2.0 * std**2)
    closed_form -= 2.0 * mean_kernel(shift, 1.0 + std**2)
    estimates = jax.jit(jax.vmap(one_estimate))(jax.random.split(key, 10_000))
    return mean_is("mmd of two normals", "closed form", estimates, closed_form)


def _on_host(*arrays: jax.Array) -> list[np.ndarray]:
    return [np.asarray(array, np.float64) for array in arrays]

"""Checks of log_prob, closed-form KL divergences and samples."""

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import distributions
from vae_jax.distributions import Bernoulli, Categorical, Normal
from vae_jax.evidence import enumeration
from vae_jax.verify.check import Check, equal, mean_is


def checks(key: jax.Array) -> list[Check]:
    """Checks densities against integrals and sums on the host, in double precision."""
    normal_key, bits_key, one_hot_key = jax.random.split(key, 3)
    bits = [Bernoulli(jnp.array(v)) for v in ([0.7, -1.3, 2.0], [-0.2, 0.5, 0.1])]
    one_hot = [
        Categorical(jnp.array(v))
        for v in ([[0.7, -1.3, 0.2], [0.0, 1.0, -0.5]], [[0.1, 0.3, -0.9], [1.2, 0.0, 0.4]])
    ]
    return [
        *_of_normals(normal_key),
        *_of_discrete("Bernoulli", bits[0], bits[1], bits_key),
        *_of_discrete("Categorical", one_hot[0], one_hot[1], one_hot_key),
    ]


def _of_normals(key: jax.Array) -> list[Check]:
    q, p = Normal(jnp.array([0.3]), jnp.array([-0.4])), Normal(jnp.array([-0.5]), jnp.array([0.2]))
    grid = np.linspace(-12.0, 12.0, 2001)
    log_q, log_p = (
        _normal_log_density(grid, *map(float, (d.mean[0], d.log_std[0]))) for d in (q, p)
    )
    found = jax.vmap(q.log_prob)(jnp.asarray(grid, jnp.float32)[:, None])
    keys = jax.random.split(key, 20_000)
    z = jax.vmap(q.sample)(keys)[:, 0]
    mean, std = float(q.mean[0]), float(np.exp(q.log_std[0]))
    noise = (z - mean) / std
    slopes = jax.vmap(jax.grad(lambda q, key: q.sample(key)[0]), (None, 0))(q, keys)
    return [
        equal("Normal.log_prob", "its formula", found, log_q),
        equal(
            "Normal.kl_per_dim",
            "numerical integral",
            q.kl_per_dim(p)[0],
            np.trapezoid(np.exp(log_q) * (log_q - log_p), grid),
        ),
        mean_is(
            "Normal.sample, four moments",
            "those of N(0, 1)",
            jnp.stack([noise, noise**2, noise**3, noise**4], axis=1),
            [0.0, 1.0, 0.0, 3.0],
        ),
        equal("d sample / d mean of Normal", "1", slopes.mean, 1.0),
        equal("d sample / d log std of Normal", "std * eps", slopes.log_std[:, 0], z - mean),
    ]


def _of_discrete(name: str, q, p, key: jax.Array) -> list[Check]:
    values = enumeration.all_values(q)
    probabilities, others = (_probabilities(d, values) for d in (q, p))
    kl = np.sum(probabilities * np.log(probabilities / others))
    sampled = jax.vmap(q.sample)(jax.random.split(key, 10_000))
    axes = tuple(range(2, values.ndim + 1))
    is_value = jnp.all(sampled[:, None] == values[None], axis=axes)
    log_prob = jax.vmap(q.log_prob)(values)
    return [
        equal(f"{name}.log_prob", "enumeration", log_prob, np.log(probabilities)),
        equal(f"{name}.kl_per_dim", "enumeration", distributions.kl_divergence(q, p), kl),
        mean_is(f"{name}.sample, frequencies", "probabilities", is_value, probabilities),
    ]


def _normal_log_density(z, mean, log_std):
    return -0.5 * ((z - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * np.log(2.0 * np.pi)


def _probabilities(d, values):
    """The probability of each of values [Z, ...], on the host. Returns [Z]."""
    logits, values = np.asarray(d.logits, np.float64), np.asarray(values, np.float64)
    if isinstance(d, Bernoulli):
        ones = 1.0 / (1.0 + np.exp(-logits))
        return np.prod(np.where(values == 1.0, ones, 1.0 - ones), axis=1)
    weights = np.exp(logits)
    return np.prod(np.sum(values * weights / weights.sum(axis=1, keepdims=True), axis=2), axis=1)

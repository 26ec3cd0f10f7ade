"""Checks of the exact truth that other checks rely on: the same numbers by other formulas."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import models
from vae_jax.evidence import enumeration, linear_gaussian, quadrature, rainforth
from vae_jax.verify.cases import bits_case, exact_case, normal_case
from vae_jax.verify.check import Check, equal, mean_is


def checks(key: jax.Array) -> list[Check]:
    """Checks the truth that other checks rely on: the same numbers by other formulas."""
    normal_key, bits_key, sample_key = jax.random.split(key, 3)
    model, params, truth, x = exact_case()
    exact = linear_gaussian.log_evidence(truth, x)
    summed = jax.jit(lambda x: quadrature.integrate(model, params, x, points_per_axis=1001))(x)
    weights, mean, variance = (np.asarray(v, np.float64) for v in (*truth[:2], truth.std**2))
    covariance = weights @ weights.T + variance * np.eye(3)
    centred = np.asarray(x, np.float64) - mean
    host = -0.5 * (
        centred @ np.linalg.solve(covariance, centred)
        + np.linalg.slogdet(covariance)[1]
        + 3 * np.log(2.0 * np.pi)
    )
    _, other, (other_x, _) = normal_case(normal_key)
    equivalent = linear_gaussian.LinearGaussian(jnp.eye(1), other["prior"]["mean"], jnp.ones(()))
    # Its latent variable is z - mu.
    q: Any = rainforth.model().posterior(other, other_x)
    q_mean = q.mean - other["prior"]["mean"]
    q_covariance = rainforth.POSTERIOR_VARIANCE * jnp.eye(1)
    bits, bits_params, bits_x = bits_case(bits_key)
    enumerated = enumeration.log_evidence(bits, bits_params, bits_x[0])
    keys = jax.random.split(sample_key, 10_000)
    log_w = jax.jit(lambda keys: models.draw(bits, bits_params, bits_x[0], keys).log_w)(keys)
    return [
        equal("linear_gaussian.log_evidence", "double precision on the host", exact, host),
        equal("quadrature.integrate", "linear-Gaussian, closed form", summed.log_evidence, exact),
        equal(
            "rainforth.log_evidence",
            "linear-Gaussian, closed form",
            rainforth.log_evidence(other, other_x),
            linear_gaussian.log_evidence(equivalent, other_x),
        ),
        equal(
            "rainforth.elbo",
            "linear-Gaussian, closed form",
            rainforth.elbo(other, other_x),
            linear_gaussian.elbo(equivalent, other_x, q_mean, q_covariance),
        ),
        mean_is("enumeration.log_evidence", "mean weight", np.exp(log_w - enumerated), 1.0),
        mean_is(
            "enumeration.elbo",
            "mean log-weight",
            log_w,
            enumeration.elbo(bits, bits_params, bits_x[0]),
        ),
    ]

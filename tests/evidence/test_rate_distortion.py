"""The rate-distortion curve of a linear-Gaussian model, whose channels are normal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.exact import linear_vae
from vae_jax.distributions.normal import HALF_LOG_TWO_PI
from vae_jax.evidence import annealed, linear_gaussian, rate_distortion

LINEAR = linear_vae()
SCHEDULE = np.concatenate([[0.0], np.geomspace(1e-3, 3.0, 600)])


def exact_channel(x, b):
    """Rate and distortion of N(m, C) ~ p(z) p(x|z)^b, C^-1 = I + b W'W / s^2."""
    weights, mean, std = (np.asarray(part, np.float64) for part in LINEAR.truth)
    covariance = np.linalg.inv(np.eye(2) + b * weights.T @ weights / std**2)
    centre = covariance @ weights.T @ (x - mean) * b / std**2
    rate = 0.5 * (
        np.trace(covariance) + centre @ centre - 2 - np.linalg.slogdet(covariance).logabsdet
    )
    squared = np.sum((x - mean - weights @ centre) ** 2)
    squared += np.trace(weights @ covariance @ weights.T)
    return rate, 0.5 * squared / std**2 + len(x) * (np.log(std) + HALF_LOG_TWO_PI)


@pytest.fixture(scope="module")
def curve():
    model, params, x = LINEAR.model, LINEAR.exact_params, LINEAR.x
    tune_key, key = jax.random.split(jax.random.key(0))
    sizes = annealed.tune_step_sizes(model, params, x, tune_key, SCHEDULE, start="prior")
    return rate_distortion(model, params, x, key, SCHEDULE, sizes, num_chains=200)


@pytest.mark.slow
def test_rate_and_distortion_are_those_of_the_normal_channels(curve):
    exact = np.array([[exact_channel(np.asarray(x), b) for b in curve.b] for x in LINEAR.x])
    for index in range(0, len(curve.b), 85):
        np.testing.assert_allclose(
            curve.distortion[:, index], exact[:, index, 1], rtol=0.15, atol=0.25
        )
        np.testing.assert_allclose(curve.rate[:, index], exact[:, index, 0], atol=0.4)
    # In the mean over examples, where noise is small, and never below the truth but for that.
    excess = (curve.rate - exact[:, :, 0]).mean(axis=0)
    assert excess.min() > -0.15
    assert excess.mean() > -0.05
    assert excess.max() < 0.15
    # The distortion has a standard deviation of about 1 / b, in each of 5 x 200 chains.
    difference = (curve.distortion - exact[:, :, 1]).mean(axis=0)
    assert np.all(np.abs(difference) < 0.1 + 5.0 / (curve.b * np.sqrt(1000)))


def test_more_rate_less_distortion_and_at_one_the_evidence(curve):
    assert curve.rate.mean(axis=0)[-1] > curve.rate.mean(axis=0)[50] + 1.0
    assert curve.distortion.mean(axis=0)[-1] < curve.distortion.mean(axis=0)[50] - 1.0
    at_one = np.argmin(np.abs(curve.b - 1.0))
    total = (curve.rate + curve.distortion)[:, at_one]
    exact = [linear_gaussian.log_evidence(LINEAR.truth, x) for x in LINEAR.x]
    np.testing.assert_allclose(total, -np.asarray(exact), atol=0.2)


def test_a_schedule_must_rise_from_0():
    for schedule in ([0.1, 1.0], [0.0, 0.5, 0.5]):
        with pytest.raises(ValueError, match="schedule must rise from 0."):
            rate_distortion(
                LINEAR.model, LINEAR.exact_params, jnp.ones((1, 6)), None, schedule, None
            )

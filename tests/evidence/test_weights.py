"""Effective sample size and the Pareto shape, at weights whose truth is known."""

import numpy as np
import pytest
import scipy.stats
from arviz_stats.base import array_stats

from vae_jax.evidence import effective_sample_size, pareto_shape


def test_effective_sample_size_by_its_definition_and_at_its_limits():
    log_w = np.random.default_rng(0).normal(size=(50, 3))
    w = np.exp(log_w)
    expected = w.sum(axis=0) ** 2 / (w**2).sum(axis=0)
    np.testing.assert_allclose(effective_sample_size(log_w - 1e4), expected)
    np.testing.assert_allclose(effective_sample_size(np.zeros(50)), 50)
    np.testing.assert_allclose(effective_sample_size(np.array([0.0, -1e4, -1e4])), 1)


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.7, 1.2])
def test_pareto_shape_recovers_that_of_pareto_weights(shape):
    """Over 100 samples of 4000 weights: a little towards 1/2 by its prior, and by no more."""
    rng = np.random.default_rng(0)
    samples = scipy.stats.genpareto.rvs(shape, size=(100, 4_000), random_state=rng)
    found = [pareto_shape(np.log(w)) for w in samples]
    shrunk = (190 * shape + 5) / 200
    assert abs(np.mean(found) - shrunk) < 0.05
    assert np.std(found) < 1.3 * (1 + shape) / np.sqrt(190)  # that of maximum likelihood


def test_pareto_shape_of_importance_weights_is_one_minus_the_ratio_of_scales():
    """q = Exp(rate a) for p = Exp(rate b < a): w = exp((a - b) z) is Pareto."""
    rng = np.random.default_rng(0)
    for a, b in ((1.0, 0.8), (1.0, 0.4)):
        found = [pareto_shape((a - b) * rng.exponential(1 / a, 4_000)) for _ in range(50)]
        np.testing.assert_allclose(np.mean(found), (190 * (1 - b / a) + 5) / 200, atol=0.04)


WEIGHTS = {
    **{
        f"Pareto of shape {shape}": lambda rng, size, shape=shape: np.log(
            scipy.stats.genpareto.rvs(shape, size=size, random_state=rng)
        )
        for shape in (-0.3, 0.2, 0.5, 0.7, 1.2)
    },
    # The weights of q = N(0, 1) for p = N(0.5, 1.5^2), and far below.
    "normals": lambda rng, size: (
        scipy.stats.norm.logpdf(z := rng.normal(size=size), 0.5, 1.5) - scipy.stats.norm.logpdf(z)
    ),
    "far below": lambda rng, size: 2.0 * rng.normal(size=size) - 1e4,
    "hardly varying": lambda rng, size: 1e-3 * rng.normal(size=size),
}


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("size", [50, 100, 225, 400, 1024, 3600])
def test_pareto_shape_is_that_of_arviz(name, size):
    """For numbers of weights K with a whole min(K / 5, 3 sqrt(K)): ArviZ rounds it down, and we up,
    as in Vehtari et al. 2024. No weights are equal: ArviZ counts those at the threshold as part
    of the tail. It takes log-likelihoods, of which weights are the inverse."""
    log_w = WEIGHTS[name](np.random.default_rng(size), size)
    _, expected = array_stats.psislw(-log_w)
    np.testing.assert_allclose(pareto_shape(log_w), expected, atol=1e-6)


def test_pareto_shape_at_the_edges():
    assert pareto_shape(np.full(100, -87.0)) == -np.inf
    assert pareto_shape(np.array([0.0, -1.0, -2.0])) == np.inf
    log_w = np.random.default_rng(0).normal(size=1000)
    np.testing.assert_allclose(pareto_shape(log_w - 1e4), pareto_shape(log_w), rtol=1e-6)

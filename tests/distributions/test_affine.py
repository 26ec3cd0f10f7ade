"""Densities in other units, and counts with size factors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from vae_jax.distributions import (
    Affine,
    Laplace,
    LogNormal,
    NegativeBinomial,
    Normal,
    Poisson,
    ZeroInflatedNegativeBinomial,
)

SHIFT, SCALE = jnp.array([100.0, -3.0]), jnp.array([7.0, 0.01])
MEAN, LOG_STD = jnp.array([0.3, -1.0]), jnp.array([0.2, -0.5])
X = np.array([95.0, -3.02])


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        (Normal(MEAN, LOG_STD), scipy.stats.norm),
        (Laplace(MEAN, LOG_STD), scipy.stats.laplace),
    ],
)
def test_a_location_and_scale_family_stays_in_its_family(base, expected):
    there = Affine(base, SHIFT, SCALE)
    same = expected(SHIFT + SCALE * MEAN, SCALE * np.exp(LOG_STD))
    np.testing.assert_allclose(there.log_prob(jnp.asarray(X)), same.logpdf(X).sum(), rtol=1e-4)
    np.testing.assert_allclose(there.mean, same.mean(), rtol=1e-6)
    keys = jax.random.split(jax.random.key(0), 20_000)
    samples = np.asarray(jax.vmap(there.sample)(keys))
    for column in range(2):
        cdf = expected(same.mean()[column], (SCALE * jnp.exp(LOG_STD))[column]).cdf
        assert scipy.stats.kstest(samples[:, column], cdf).pvalue > 1e-4
    assert there.event_shape == (2,)
    assert there.is_reparameterised


def test_positive_values_stay_positive():
    there = Affine(LogNormal(MEAN, LOG_STD), jnp.zeros(2), SCALE)
    x = np.array([5.0, 0.02])
    expected = scipy.stats.lognorm.logpdf(x, np.exp(LOG_STD), scale=SCALE * np.exp(MEAN)).sum()
    np.testing.assert_allclose(there.log_prob(jnp.asarray(x)), expected, rtol=1e-5)
    assert there.in_support(jnp.asarray(x))
    assert not there.in_support(jnp.array([5.0, -0.02]))
    assert there.support == "positive values"


LOG_DISPERSION, ZEROS = jnp.array([0.5, 2.0]), jnp.array([-1.0, 0.3])
COUNTS = {
    "poisson": Poisson(MEAN),
    "negative_binomial": NegativeBinomial(MEAN, LOG_DISPERSION),
    "zinb": ZeroInflatedNegativeBinomial(MEAN, LOG_DISPERSION, ZEROS),
}


@pytest.mark.parametrize("name", COUNTS)
def test_size_factors_multiply_means_and_keep_dispersions(name):
    base, size, count = COUNTS[name], jnp.float32(12.5), np.array([3.0, 0.0])
    there = base.scaled(size)
    np.testing.assert_allclose(there.mean, 12.5 * base.mean, rtol=1e-5)
    mean = 12.5 * np.exp(MEAN)
    if name == "poisson":
        mass = scipy.stats.poisson.pmf(count, mean)
    else:
        theta = np.exp(LOG_DISPERSION)
        mass = scipy.stats.nbinom.pmf(count, theta, theta / (theta + mean))
    if name == "zinb":
        zero = 1.0 / (1.0 + np.exp(-ZEROS))
        mass = zero * (count == 0) + (1.0 - zero) * mass
    np.testing.assert_allclose(there.log_prob_per_dim(jnp.asarray(count)), np.log(mass), rtol=2e-5)


@pytest.mark.parametrize("log_mean", [5.0, 17.0, 30.0])
def test_counts_far_below_the_mean_keep_their_digits(log_mean):
    """Where 1 + (count - mean) / (theta + mean) is a small difference."""
    count = np.array([1.0, 2.0, 50.0])
    theta = np.exp(0.5)
    found = NegativeBinomial(jnp.full(3, log_mean), jnp.full(3, 0.5)).log_prob_per_dim(
        jnp.asarray(count)
    )
    mean = np.exp(np.float64(log_mean))
    log_p = np.log(theta) - np.log(theta + mean)
    expected = (
        scipy.special.gammaln(count + theta)
        - scipy.special.gammaln(theta)
        - scipy.special.gammaln(count + 1)
        + theta * log_p
        + count * np.log(mean / (theta + mean))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)

"""The von Mises-Fisher distribution against SciPy's, and the gradients of its samples."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize, special, stats

from tests.monte_carlo import assert_mean
from vae_jax.distributions import (
    VonMisesFisher,
    has_closed_form_kl,
    kl_divergence,
    point_of,
    standard_normal,
    uniform_on_sphere,
)

DIMS, CONCENTRATIONS = (2, 3, 5, 20, 50), (0.0, 0.01, 1.0, 10.0, 100.0, 1e4)
NUM_SAMPLES = 20_000


def direction(dim, seed=0):
    vector = np.random.default_rng(seed).normal(size=dim)
    return vector / np.linalg.norm(vector)


def distribution(dim, k, seed=0, dtype=jnp.float32):
    return VonMisesFisher(jnp.asarray(direction(dim, seed), dtype), jnp.asarray(k, dtype))


def log_surface(dim):
    return np.log(2.0) + 0.5 * dim * np.log(np.pi) - special.gammaln(0.5 * dim)


def log_constant(dim, k):
    """log Z(k) - k by Bessel functions."""
    if k == 0.0:
        return log_surface(dim)
    order = 0.5 * dim - 1.0
    bessel = np.log(special.ive(order, k))
    return bessel - order * np.log(k) + 0.5 * dim * np.log(2.0 * np.pi)


def mean_cosine(dim, k):
    return special.ive(0.5 * dim, k) / special.ive(0.5 * dim - 1.0, k) if k > 0.0 else 0.0


@pytest.mark.parametrize("with_64_bits", [False, True])
@pytest.mark.parametrize("dim", DIMS)
def test_constant_moments_and_kl_are_those_of_bessel_functions(dim, with_64_bits):
    dtype, tolerance = (jnp.float64, 1e-12) if with_64_bits else (jnp.float32, 1e-5)
    with jax.enable_x64(with_64_bits):
        for k in CONCENTRATIONS:
            q = distribution(dim, k, dtype=dtype)
            along = q.log_prob(q.mean_direction)
            np.testing.assert_allclose(along, -log_constant(dim, k), atol=10 * tolerance)
            cosine = mean_cosine(dim, k)
            np.testing.assert_allclose(q.mean, cosine * direction(dim), atol=tolerance)
            across = 1.0 - (1.0 if k == 0.0 else (dim - 1) * cosine / k)  # E[(mu . z)^2], k > 0
            second = 1.0 / dim if k == 0.0 else across
            share = direction(dim) ** 2
            variance = share * (second - cosine**2) + (1 - share) * (1 - second) / (dim - 1)
            np.testing.assert_allclose(q.std**2, variance, atol=tolerance)
            kl = k * (cosine - 1.0) - log_constant(dim, k) + log_surface(dim)
            np.testing.assert_allclose(
                kl_divergence(q, uniform_on_sphere(dim)), kl, rtol=tolerance, atol=10 * tolerance
            )


@pytest.mark.parametrize("dim", [2, 3, 7])
def test_densities_are_those_of_scipy_and_point_of_is_on_the_sphere(dim):
    q, points = distribution(dim, 3.0), np.stack([direction(dim, seed) for seed in range(5)])
    expected = stats.vonmises_fisher(direction(dim), 3.0).logpdf(points)
    np.testing.assert_allclose(jax.vmap(q.log_prob)(jnp.asarray(points)), expected, atol=1e-5)
    np.testing.assert_array_equal(point_of(q), q.mean_direction)
    uniform = jax.vmap(uniform_on_sphere(dim).log_prob)(jnp.asarray(points))
    np.testing.assert_allclose(uniform, -log_surface(dim), atol=1e-5)


@pytest.mark.parametrize(("dim", "k"), [(2, 30.0), (3, 0.0), (40, 500.0)])
def test_samples_have_the_mean_the_covariance_and_the_distribution_of_scipy(dim, k):
    q, keys = distribution(dim, k), jax.random.split(jax.random.key(1), NUM_SAMPLES)
    z, log_q = jax.jit(jax.vmap(q.sample_and_log_prob))(keys)
    np.testing.assert_allclose(jnp.linalg.norm(z, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(log_q, jax.vmap(q.log_prob)(z), rtol=1e-5, atol=1e-5)
    assert_mean(z, q.mean)
    assert_mean(jnp.square(z - q.mean[None]), jnp.square(q.std))
    assert_mean(log_q, -(k * (1.0 - mean_cosine(dim, k))) - log_constant(dim, k))
    if k > 0.0:
        theirs = stats.vonmises_fisher(direction(dim), k).rvs(
            NUM_SAMPLES, random_state=np.random.default_rng(0)
        )
        cosines = [np.asarray(of) @ direction(dim) for of in (z, theirs)]
        assert stats.ks_2samp(*cosines).pvalue > 1e-3


def test_the_divergence_of_two_of_them_is_the_mean_of_their_log_ratio():
    q, p = distribution(6, 20.0), distribution(6, 4.0, seed=1)
    z = jax.vmap(q.sample)(jax.random.split(jax.random.key(0), NUM_SAMPLES))
    assert_mean(jax.vmap(lambda one: q.log_prob(one) - p.log_prob(one))(z), kl_divergence(q, p))
    np.testing.assert_allclose(kl_divergence(q, q), 0.0, atol=1e-5)
    assert not has_closed_form_kl(q, standard_normal((6,)))


@pytest.mark.parametrize(("dim", "k"), [(2, 0.5), (2, 200.0), (3, 5.0), (10, 200.0), (50, 5.0)])
def test_implicit_gradients_are_those_of_quantiles(dim, k):
    """A distance at a given quantile moves with k as the quantile function does."""

    def flank(s, k):
        return np.exp((dim - 1) * -np.log(np.cosh(s)) + k * (np.tanh(s) - 1.0))

    def share_below(s, k, mode):
        options = {"epsabs": 0.0, "epsrel": 1e-12, "limit": 400}
        below = integrate.quad(flank, mode - 12.0, s, args=(k,), **options)[0]
        return below / (below + integrate.quad(flank, s, mode + 25.0, args=(k,), **options)[0])

    with jax.enable_x64(True):
        q = distribution(dim, k, dtype=jnp.float64)

        def distance(k, key):
            of_k = VonMisesFisher(q.mean_direction, k)
            return 0.5 * jnp.sum(jnp.square(of_k.sample(key) - q.mean_direction))

        keys = jax.random.split(jax.random.key(0), 6)
        found = jax.vmap(partial(jax.value_and_grad(distance), q.concentration))(keys)
    half = 0.5 * (dim - 1)
    mode = np.arctanh(k / (half + np.hypot(half, k)))
    for d, slope in zip(*map(np.asarray, found), strict=True):
        s = 0.5 * np.log((2.0 - d) / d)
        share, change = share_below(s, k, mode), 1e-3 * k
        ends = [
            optimize.brentq(
                lambda s, k=k + sign * change, share=share: share_below(s, k, mode) - share,
                s - 1.0,
                s + 1.0,
                xtol=1e-13,
            )
            for sign in (-1.0, 1.0)
        ]
        expected = (np.tanh(ends[0]) - np.tanh(ends[1])) / (2.0 * change)
        np.testing.assert_allclose(slope, expected, rtol=1e-4)


def test_gradients_of_a_mean_through_samples_are_exact():
    """E[a . z] = A(k) a . mu, whose derivatives in k and mu are known."""
    a, mu = jnp.asarray(direction(4, 5), jnp.float32), distribution(4, 6.0).mean_direction

    def value(mu, k, key):
        return a @ VonMisesFisher(mu / jnp.linalg.norm(mu), k).sample(key)

    keys = jax.random.split(jax.random.key(2), 100_000)
    of_mu, of_k = jax.jit(jax.vmap(jax.grad(value, argnums=(0, 1)), in_axes=(None, None, 0)))(
        mu, jnp.asarray(6.0), keys
    )
    cosine = mean_cosine(4, 6.0)
    slope = 1.0 - cosine**2 - 3.0 / 6.0 * cosine
    assert_mean(of_k, slope * (a @ mu))
    assert_mean(of_mu, cosine * (a - (a @ mu) * mu))


def test_a_sphere_of_one_dimension_is_refused():
    with pytest.raises(ValueError, match="needs at least 2 dimensions, and there is 1"):
        uniform_on_sphere(1)
    with pytest.raises(ValueError, match="no density at a value of the shape"):
        uniform_on_sphere(3).log_prob(jnp.zeros(2))

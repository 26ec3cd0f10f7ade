"""Normal distributions with covariances, against SciPy and against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.test_util import check_grads

from tests.monte_carlo import assert_mean
from vae_jax.distributions import (
    Bernoulli,
    FullNormal,
    LowRankNormal,
    Normal,
    has_closed_form_kl,
    kl_divergence,
    standard_normal,
)

DIM, RANK = 4, 2


def random_normal(kind, seed=0, scale=1.0):
    keys = jax.random.split(jax.random.key(seed), 3)
    mean, log_diagonal = (scale * jax.random.normal(key, (DIM,)) for key in keys[:2])
    if kind == "full":
        return FullNormal(mean, log_diagonal, jax.random.normal(keys[2], (DIM, DIM)))
    return LowRankNormal(mean, log_diagonal, jax.random.normal(keys[2], (DIM, RANK)))


def as_scipy(q):
    return scipy.stats.multivariate_normal(np.asarray(q.mean), np.asarray(q.covariance))


@pytest.mark.parametrize("kind", ["full", "low rank"])
@pytest.mark.parametrize("scale", [0.3, 2.0])
def test_log_densities_and_kl_are_exact(kind, scale, float64):
    q = random_normal(kind, scale=scale)
    values = 2.0 * jax.random.normal(jax.random.key(1), (5, DIM))
    found = jax.vmap(q.log_prob)(values)
    np.testing.assert_allclose(found, as_scipy(q).logpdf(np.asarray(values)), rtol=1e-10)
    p = Normal(jnp.linspace(-1.0, 1.0, DIM), jnp.linspace(-0.5, 0.5, DIM))
    # KL(N(m, C) || N(n, D)) = (tr(D^-1 C) + (n - m)' D^-1 (n - m) - L + log det D / det C) / 2.
    covariance, variance = np.asarray(q.covariance), np.exp(2.0 * np.asarray(p.log_std))
    shift = np.asarray(p.mean - q.mean)
    expected = 0.5 * (
        np.trace(covariance / variance[:, None])
        + np.sum(shift**2 / variance)
        - DIM
        + np.log(variance).sum()
        - np.linalg.slogdet(covariance)[1]
    )
    assert has_closed_form_kl(q, p)
    np.testing.assert_allclose(kl_divergence(q, p), expected, rtol=1e-10)
    check_grads(lambda q: q.log_prob(values[0]), (q,), order=1, modes=("rev",))
    check_grads(lambda q: kl_divergence(q, p), (q,), order=1, modes=("rev",))


@pytest.mark.parametrize("kind", ["full", "low rank"])
def test_samples_have_the_moments_and_the_density_that_they_say(kind):
    q = random_normal(kind, scale=0.5)
    z, log_q = jax.vmap(q.sample_and_log_prob)(jax.random.split(jax.random.key(2), 100_000))
    assert_mean(z, q.mean)
    centred = z - q.mean[None]
    assert_mean(centred[:, :, None] * centred[:, None, :], q.covariance)
    np.testing.assert_allclose(log_q[:100], jax.vmap(q.log_prob)(z[:100]), rtol=2e-4, atol=2e-4)
    first = q.sample(jax.random.split(jax.random.key(2), 100_000)[0])
    np.testing.assert_allclose(z[0], first, rtol=1e-5)


@pytest.mark.parametrize("kind", ["full", "low rank"])
def test_gradients_of_samples_are_those_of_the_moments(kind):
    """E[a'z + (b'z)^2] = a'm + (b'm)^2 + b'Cb, whose gradients are known."""
    q = random_normal(kind, scale=0.5)
    a, b = jnp.arange(1.0, DIM + 1), jnp.linspace(1.0, -1.0, DIM)

    def of_sample(q, key):
        z = q.sample(key)
        return a @ z + (b @ z) ** 2

    def exact(q):
        return a @ q.mean + (b @ q.mean) ** 2 + b @ q.covariance @ b

    keys = jax.random.split(jax.random.key(3), 50_000)
    gradients = jax.vmap(jax.grad(of_sample), (None, 0))(q, keys)
    jax.tree.map(assert_mean, gradients, jax.grad(exact)(q))


def test_without_dependence_they_are_the_diagonal_normal():
    mean, log_std = jnp.array([0.3, -1.0]), jnp.array([-0.4, 0.2])
    diagonal, z = Normal(mean, log_std), jnp.array([0.1, 0.7])
    for q in (
        FullNormal(mean, log_std, jnp.triu(jnp.ones((2, 2)))),
        LowRankNormal(mean, log_std, jnp.zeros((2, 3))),
    ):
        np.testing.assert_allclose(q.log_prob(z), diagonal.log_prob(z), rtol=1e-6)
        expected = kl_divergence(diagonal, standard_normal((2,)))
        np.testing.assert_allclose(kl_divergence(q, standard_normal((2,))), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["full", "low rank"])
def test_what_has_no_closed_form_or_another_shape_is_refused(kind):
    q = random_normal(kind)
    assert not has_closed_form_kl(q, q)
    assert not has_closed_form_kl(q, Bernoulli(jnp.zeros(DIM)))
    with pytest.raises(ValueError, match=r"shape \(4,\) to events of the shape \(3,\)"):
        kl_divergence(q, standard_normal((3,)))
    with pytest.raises(ValueError, match="no density at a value of the shape"):
        q.log_prob(jnp.zeros(3))

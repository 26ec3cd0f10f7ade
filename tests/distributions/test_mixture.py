"""Mixtures, their densities by SciPy and their gradients by closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scipy.special import logsumexp

from tests.monte_carlo import assert_mean
from vae_jax.distributions import Mixture, Normal, NormalMixture, normal_mixture

LOGITS = jnp.array([0.2, -0.5, 1.0])
MEANS = jnp.array([[-1.0, 0.5], [0.5, 2.0], [1.0, -1.0]])
LOG_STDS = jnp.array([[-0.5, 0.0], [0.2, -1.0], [-0.2, 0.3]])
MIXTURE = normal_mixture(LOGITS, MEANS, LOG_STDS)
WEIGHTS = np.asarray(jax.nn.softmax(LOGITS))


def test_the_log_density_is_that_of_scipy(float64):
    z = np.array([[0.0, 0.0], [3.0, -8.0], [-0.7, 1.2]])
    normals = scipy.stats.norm(np.asarray(MEANS)[:, None], np.exp(np.asarray(LOG_STDS))[:, None])
    expected = logsumexp(np.log(WEIGHTS)[:, None] + normals.logpdf(z).sum(axis=-1), axis=0)
    np.testing.assert_allclose(jax.vmap(MIXTURE.log_prob)(jnp.asarray(z)), expected, rtol=1e-6)


@pytest.mark.parametrize("family", [Mixture, NormalMixture])
def test_samples_have_the_moments_of_the_mixture(family):
    mixture = family(LOGITS, Normal(MEANS, LOG_STDS))
    z, log_p = jax.vmap(mixture.sample_and_log_prob)(jax.random.split(jax.random.key(0), 100_000))
    mean = WEIGHTS @ np.asarray(MEANS)
    np.testing.assert_allclose(mixture.mean, mean, rtol=1e-6)
    assert_mean(z, mean)
    second = WEIGHTS @ (np.asarray(MEANS) ** 2 + np.exp(2.0 * np.asarray(LOG_STDS)))
    assert_mean(z**2, second)
    product = np.sum(WEIGHTS * np.asarray(MEANS).prod(axis=1))
    assert_mean(z[:, 0] * z[:, 1], product)
    np.testing.assert_allclose(log_p[:50], jax.vmap(mixture.log_prob)(z[:50]), rtol=1e-5)


def test_gradients_of_samples_are_unbiased_for_weights_means_and_scales():
    """E[f(z)] for f(z) = z_1 z_2 + z_1^2 - sin(z_2) by quadrature in each dimension."""
    nodes, node_weights = np.polynomial.hermite_e.hermegauss(40)
    node_weights = node_weights / node_weights.sum()

    def exact(q):
        means, stds = q.components.mean, jnp.exp(q.components.log_std)
        sine = jnp.sin(means[:, 1, None] + stds[:, 1, None] * nodes[None]) @ node_weights
        of_each = means.prod(axis=1) + means[:, 0] ** 2 + stds[:, 0] ** 2 - sine
        return jax.nn.softmax(q.logits) @ of_each

    def of_sample(q, key):
        z = q.sample(key)
        return z[0] * z[1] + z[0] ** 2 - jnp.sin(z[1])

    keys = jax.random.split(jax.random.key(1), 200_000)
    values, gradients = jax.vmap(jax.value_and_grad(of_sample), (None, 0))(MIXTURE, keys)
    assert_mean(values, exact(MIXTURE))
    jax.tree.map(assert_mean, gradients, jax.grad(exact)(MIXTURE))


def test_the_gradient_of_one_component_is_that_of_a_normal_distribution():
    one = normal_mixture(jnp.zeros(1), MEANS[:1], LOG_STDS[:1])
    key = jax.random.key(5)
    gradients = jax.jacrev(lambda q: q.sample(key))(one)
    noise = (one.sample(key) - MEANS[0]) * jnp.exp(-LOG_STDS[0])
    of_mean, of_log_std = gradients.components.mean[:, 0], gradients.components.log_std[:, 0]
    np.testing.assert_allclose(of_mean, np.eye(2), atol=1e-5)
    np.testing.assert_allclose(of_log_std, np.diag(noise * jnp.exp(LOG_STDS[0])), atol=1e-5)


def test_samples_of_a_mixture_of_any_family_carry_no_gradient():
    mixture = Mixture(LOGITS, Normal(MEANS, LOG_STDS))
    gradient = jax.grad(lambda q: jnp.sum(q.sample(jax.random.key(0))))(mixture)
    jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf, 0.0), gradient)
    assert mixture.event_shape == (2,)


def test_derivatives_of_the_density_are_those_of_the_plain_formula(float64):
    """First and second ones, in z and in all parameters; one component has no weight at all."""

    def plain(z, logits, mean, log_std):
        of_each = jax.vmap(lambda m, s: jnp.sum(Normal(m, s).log_prob_per_dim(z)))(mean, log_std)
        return jax.nn.logsumexp(jax.nn.log_softmax(logits) + of_each)

    def ours(z, logits, mean, log_std):
        return Mixture(logits, Normal(mean, log_std)).log_prob(z)

    keys = jax.random.split(jax.random.key(2), 3)
    z, mean = (
        jax.random.normal(key, shape)
        for key, shape in zip(keys[:2], [(2, 3), (4, 2, 3)], strict=True)
    )
    log_std = 0.3 * jax.random.normal(keys[2], (4, 2, 3)) - 1.0
    point = (z, jnp.array([0.3, -jnp.inf, 0.0, 1.0]), mean, log_std)
    every = (0, 1, 2, 3)
    np.testing.assert_allclose(ours(*point), plain(*point), rtol=1e-13)
    for derivative in (jax.grad, jax.hessian):
        found, expected = derivative(ours, every)(*point), derivative(plain, every)(*point)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10),
                     found, expected)  # fmt: skip
    with pytest.raises(ValueError, match="has no density at a value of the shape"):
        ours(z[0], *point[1:])

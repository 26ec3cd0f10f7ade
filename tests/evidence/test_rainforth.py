"""The exact truth of the model of Rainforth et al. 2018, against SciPy and quadrature."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from tests.monte_carlo import assert_mean
from vae_jax.evidence import rainforth


def example(num_dims=2):
    """Parameters far from the optimum, and an example."""
    params_key, x_key = jax.random.split(jax.random.key(0))
    mean = jnp.linspace(-1.0, 1.5, num_dims)
    params = rainforth.model().init(None, mean)
    np.testing.assert_array_equal(params["prior"]["mean"], mean)
    return rainforth.perturb(params_key, params, std=0.5), jax.random.normal(x_key, (num_dims,))


def test_elbo_is_the_mean_of_the_log_weight(float64):
    """By Gauss-Hermite quadrature, exact for a quadratic, of densities from SciPy, which are those
    of the model."""
    params, x = example()
    model = rainforth.model()
    encoder = params["encoder"]
    q_mean = np.asarray(encoder["weights"] @ x + encoder["bias"])
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    expected = 0.0
    for (e1, w1), (e2, w2) in itertools.product(zip(nodes, weights, strict=True), repeat=2):
        z = q_mean + np.sqrt(2.0 / 3.0) * np.array([e1, e2])
        log_w = multivariate_normal(z, np.eye(2)).logpdf(x)
        log_w += multivariate_normal(params["prior"]["mean"], np.eye(2)).logpdf(z)
        log_w -= multivariate_normal(q_mean, 2.0 / 3.0 * np.eye(2)).logpdf(z)
        of_model = model.likelihood(params, z).log_prob(x) + model.prior(params).log_prob(z)
        of_model -= model.posterior(params, x).log_prob(z)
        np.testing.assert_allclose(of_model, log_w, rtol=1e-12)
        expected += w1 * w2 / (2.0 * np.pi) * log_w
    np.testing.assert_allclose(rainforth.elbo(params, x), expected, rtol=1e-12)


def test_log_evidence_is_the_marginal(float64):
    params, x = example(num_dims=3)
    expected = multivariate_normal(params["prior"]["mean"], 2.0 * np.eye(3)).logpdf(x)
    np.testing.assert_allclose(rainforth.log_evidence(params, x), expected, rtol=1e-12)
    assert rainforth.elbo(params, x) < rainforth.log_evidence(params, x)


@pytest.mark.parametrize("function", [rainforth.elbo, rainforth.log_evidence])
def test_gradients_are_those_of_finite_differences(float64, function):
    params, x = example(num_dims=3)
    flat, unflatten = jax.flatten_util.ravel_pytree(params)
    gradient, _ = jax.flatten_util.ravel_pytree(jax.grad(function)(params, x))
    for direction, expected in zip(1e-4 * np.eye(flat.size), gradient, strict=True):
        up, down = (function(unflatten(flat + sign * direction), x) for sign in (1, -1))
        np.testing.assert_allclose((up - down) / 2e-4, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_the_optimum_is_the_maximum_of_elbo_and_evidence(float64):
    x = rainforth.examples(jax.random.key(0), num_examples=50, num_dims=3)
    optimum = rainforth.optimum(x)
    near = [rainforth.perturb(key, optimum) for key in jax.random.split(jax.random.key(1), 5)]
    for function in (rainforth.elbo, rainforth.log_evidence):

        def mean(params, function=function):
            return jnp.mean(jax.vmap(function, (None, 0))(params, x))

        for leaf in jax.tree.leaves(jax.grad(mean)(optimum)):
            np.testing.assert_allclose(leaf, 0.0, atol=1e-12)
        assert all(mean(params) < mean(optimum) for params in near)


def test_examples_are_drawn_from_the_model():
    x = np.asarray(rainforth.examples(jax.random.key(0), num_examples=4000, num_dims=3))
    assert_mean((x - np.mean(x, axis=0)) ** 2, 2.0)
    keys = jax.random.split(jax.random.key(1), 400)
    means = np.mean(jax.vmap(lambda key: rainforth.examples(key, 50, 3))(keys), axis=1)
    assert_mean(means, np.zeros(3))
    assert_mean(means**2, np.full(3, 1.0 + 2.0 / 50.0))  # mu ~ N(0, I), and the error of the mean


def test_perturbations_have_the_given_size_and_are_independent():
    params = rainforth.model().init(None, jnp.ones(30))
    noise = jax.tree.map(jnp.subtract, rainforth.perturb(jax.random.key(0), params), params)
    assert_mean(np.ravel(noise["encoder"]["weights"]) ** 2, 0.01**2)
    leaves = [noise["encoder"]["weights"][0], noise["encoder"]["bias"], noise["prior"]["mean"]]
    correlations = np.corrcoef(leaves)[np.triu_indices(3, 1)]
    assert np.all(np.abs(correlations) < 0.6)

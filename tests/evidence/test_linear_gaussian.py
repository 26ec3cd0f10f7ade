"""The exact truth itself, against scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from vae_jax.evidence import linear_gaussian
from vae_jax.evidence.linear_gaussian import LinearGaussian

pytestmark = pytest.mark.usefixtures("float64")


def example(num_dims=4, latent_dim=2):
    weights_key, mean_key, x_key = jax.random.split(jax.random.key(0), 3)
    model = LinearGaussian(
        jax.random.normal(weights_key, (num_dims, latent_dim)),
        jax.random.normal(mean_key, (num_dims,)),
        jnp.asarray(0.6),
    )
    return model, jax.random.normal(x_key, (num_dims,))


def joint(model):
    """The covariance of (z, x), from the generative equations alone."""
    num_dims, latent_dim = model.weights.shape
    to_joint = np.block(
        [
            [np.eye(latent_dim), np.zeros((latent_dim, num_dims))],
            [np.asarray(model.weights), model.std * np.eye(num_dims)],
        ]
    )
    return to_joint @ to_joint.T


def test_log_evidence_is_the_marginal_of_the_joint():
    model, x = example()
    covariance = joint(model)[2:, 2:]
    expected = scipy.stats.multivariate_normal(model.mean, covariance).logpdf(x)
    np.testing.assert_allclose(linear_gaussian.log_evidence(model, x), expected, rtol=1e-12)


def test_posterior_is_the_joint_conditioned_on_x():
    model, x = example()
    covariance = joint(model)
    to_z = covariance[:2, 2:] @ np.linalg.inv(covariance[2:, 2:])
    mean, z_covariance = linear_gaussian.posterior(model, x)
    np.testing.assert_allclose(mean, to_z @ (x - model.mean), rtol=1e-10)
    np.testing.assert_allclose(z_covariance, covariance[:2, :2] - to_z @ covariance[2:, :2])


def test_bayes_theorem():
    """log p(x|z) + log p(z) = log p(x) + log p(z|x) at any z."""
    model, x = example()
    mean, covariance = linear_gaussian.posterior(model, x)
    for z in jax.random.normal(jax.random.key(1), (5, 2)):
        noise = model.std**2 * np.eye(4)
        likelihood = scipy.stats.multivariate_normal(model.weights @ z + model.mean, noise)
        prior = scipy.stats.multivariate_normal(np.zeros(2), np.eye(2))
        posterior = scipy.stats.multivariate_normal(mean, covariance)
        left = likelihood.logpdf(x) + prior.logpdf(z)
        right = linear_gaussian.log_evidence(model, x) + posterior.logpdf(z)
        np.testing.assert_allclose(left, right, rtol=1e-10)


def test_maximum_is_where_an_optimiser_ends():
    data_model, _ = example()
    z_key, noise_key = jax.random.split(jax.random.key(2))
    x = jax.random.normal(z_key, (200, 2)) @ data_model.weights.T
    x += data_model.std * jax.random.normal(noise_key, x.shape)

    def loss(flat):
        model = LinearGaussian(flat[:8].reshape(4, 2), flat[8:12], jnp.exp(flat[12]))
        return -jnp.mean(jax.vmap(lambda x: linear_gaussian.log_evidence(model, x))(x))

    start = np.concatenate([np.asarray(data_model.weights).ravel(), np.zeros(5)])
    found = scipy.optimize.minimize(jax.jit(jax.value_and_grad(loss)), start, jac=True, tol=1e-12)
    maximum, std = linear_gaussian.maximum_log_evidence(x, latent_dim=2)
    np.testing.assert_allclose(-found.fun, maximum, rtol=1e-8)
    np.testing.assert_allclose(np.exp(found.x[12]), std, rtol=1e-4)

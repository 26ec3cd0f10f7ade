"""The exact truth itself, against scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from vae_jax.evidence import linear_gaussian
from vae_jax.evidence.linear_gaussian import LinearGaussian
from vae_jax.models import draw

pytestmark = pytest.mark.usefixtures("float64")


STDS = {"one": 0.6, "per dimension": np.array([0.6, 0.2, 1.1, 0.4])}


def example(num_dims=4, latent_dim=2, std=0.6):
    weights_key, mean_key, x_key = jax.random.split(jax.random.key(0), 3)
    model = LinearGaussian(
        jax.random.normal(weights_key, (num_dims, latent_dim)),
        jax.random.normal(mean_key, (num_dims,)),
        jnp.asarray(std),
    )
    return model, jax.random.normal(x_key, (num_dims,))


def joint(model):
    """The covariance of (z, x), from the generative equations alone."""
    num_dims, latent_dim = model.weights.shape
    to_joint = np.block(
        [
            [np.eye(latent_dim), np.zeros((latent_dim, num_dims))],
            [np.asarray(model.weights), np.diag(np.full(num_dims, model.std))],
        ]
    )
    return to_joint @ to_joint.T


@pytest.mark.parametrize("std", STDS)
def test_log_evidence_is_the_marginal_of_the_joint(std):
    model, x = example(std=STDS[std])
    covariance = joint(model)[2:, 2:]
    expected = scipy.stats.multivariate_normal(model.mean, covariance).logpdf(x)
    np.testing.assert_allclose(linear_gaussian.log_evidence(model, x), expected, rtol=1e-12)


@pytest.mark.parametrize("std", STDS)
def test_posterior_is_the_joint_conditioned_on_x(std):
    model, x = example(std=STDS[std])
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


@pytest.mark.parametrize("learned_scale", [False, True])
def test_as_a_vae_it_has_the_densities_of_its_equations_and_the_best_diagonal_encoder(
    learned_scale,
):
    truth, x = example()
    truth = truth._replace(weights=truth.weights @ jnp.array([[1.0, 0.8], [0.0, 1.0]]))
    model, params = linear_gaussian.as_vae(truth, learned_scale=learned_scale)
    initial = model.init(jax.random.key(3), x)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, initial)
    z = jnp.array([0.4, -1.1])
    noise = scipy.stats.multivariate_normal(truth.weights @ z + truth.mean, truth.std**2)
    likelihood = model.likelihood(params, z).log_prob(x)
    np.testing.assert_allclose(likelihood, noise.logpdf(x), rtol=1e-12)
    prior = scipy.stats.norm.logpdf(z).sum()
    np.testing.assert_allclose(model.prior(params).log_prob(z), prior, rtol=1e-12)
    for example_of_x in (x, -2.0 * x):
        mean, variances, gap = linear_gaussian.best_diagonal(truth, example_of_x)
        q = model.posterior(params, example_of_x)
        np.testing.assert_allclose(q.mean, mean, rtol=1e-10)
        np.testing.assert_allclose(np.exp(2.0 * q.log_std), variances, rtol=1e-10)
        assert gap > 0.05  # the columns of W are not orthogonal


def test_as_a_vae_of_orthogonal_weights_every_log_weight_is_the_log_evidence():
    truth, x = example()
    basis, _ = jnp.linalg.qr(truth.weights)
    truth = truth._replace(weights=basis * jnp.array([[1.5, 0.8]]))
    model, params = linear_gaussian.as_vae(truth)
    log_w = draw(model, params, x, jax.random.split(jax.random.key(4), 20)).log_w
    expected = np.full(20, linear_gaussian.log_evidence(truth, x))
    np.testing.assert_allclose(log_w, expected, rtol=1e-10)


def test_only_a_learned_scale_follows_its_parameter():
    truth, x = example()
    z = jnp.zeros(2)
    for learned_scale in (False, True):
        model, params = linear_gaussian.as_vae(truth, learned_scale=learned_scale)
        wider = {**params, "likelihood": {"log_std": jnp.log(2.0 * truth.std)}}
        std = 2.0 * truth.std if learned_scale else truth.std
        expected = scipy.stats.norm.logpdf(x, truth.mean, std).sum()
        np.testing.assert_allclose(model.likelihood(wider, z).log_prob(x), expected, rtol=1e-12)

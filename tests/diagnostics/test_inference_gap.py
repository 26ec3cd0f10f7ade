"""The two causes of the inference gap, on a linear-Gaussian model whose posterior is correlated."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.diagnostics import inference_gap
from vae_jax.distributions import Bernoulli, Normal, kl_divergence
from vae_jax.evidence import linear_gaussian

TRUTH = linear_gaussian.LinearGaussian(
    weights=jnp.array([[1.0, 0.8], [0.5, 1.0], [0.3, -0.4]]),
    mean=jnp.array([0.1, 0.2, 0.3]),
    std=jnp.asarray(0.6),
)
MODEL, EXACT_PARAMS = linear_gaussian.as_vae(TRUTH)
X = jnp.array([[0.5, -1.0, 0.7], [2.0, 1.0, 0.0], [-1.0, 0.3, 0.2]])


@pytest.fixture(scope="module")
def params():
    """The true decoder, and an encoder that is deliberately bad."""
    params = MODEL.init(jax.random.key(0), X[0])
    params["encoder"]["output"]["bias"] = jnp.array([0.5, -0.5, -1.5, 0.2])
    return {**EXACT_PARAMS, "encoder": params["encoder"]}


def exact_elbo(x, q):
    return linear_gaussian.elbo(TRUTH, x, q.mean, jnp.diag(jnp.exp(2.0 * q.log_std)))


@pytest.mark.slow
def test_the_gaps_of_a_bad_encoder_are_those_of_the_closed_forms(params):
    """log p(x) - ELBO(q*) is the gap of the best diagonal q, the rest is the encoder's."""
    encoded = jax.vmap(functools.partial(MODEL.posterior, params))(X)
    best = jax.jit(jax.vmap(functools.partial(inference_gap.best_normal, MODEL, params)))(
        X, encoded, jax.random.split(jax.random.key(0), len(X))
    )
    log_evidence = jax.vmap(functools.partial(linear_gaussian.log_evidence, TRUTH))(X)
    _, _, gap = linear_gaussian.best_diagonal(TRUTH, X[0])
    assert gap > 0.1
    approximation = log_evidence - jax.vmap(exact_elbo)(X, best)
    np.testing.assert_allclose(approximation, gap, atol=2e-3)
    amortisation = jax.vmap(exact_elbo)(X, best) - jax.vmap(exact_elbo)(X, encoded)
    expected = log_evidence - gap - jax.vmap(exact_elbo)(X, encoded)
    assert np.all(expected > 1.0)
    np.testing.assert_allclose(amortisation, expected, atol=2e-3)
    for x, mean, log_std in zip(X, best.mean, best.log_std, strict=True):
        exact_mean, variances, _ = linear_gaussian.best_diagonal(TRUTH, x)
        np.testing.assert_allclose(mean, exact_mean, atol=0.03)
        np.testing.assert_allclose(log_std, 0.5 * jnp.log(variances), atol=0.03)


def test_the_elbo_of_a_posterior_of_its_own_has_its_exact_mean(params):
    q = Normal(mean=jnp.array([0.3, -0.2]), log_std=jnp.array([-0.5, 0.1]))
    keys = jax.random.split(jax.random.key(1), 4_000)
    values = jax.vmap(
        lambda key: inference_gap.elbo_of(MODEL, params, X[0], q, key, num_samples=2)
    )(keys)
    error = np.std(values) / np.sqrt(len(keys))
    assert abs(np.mean(values) - exact_elbo(X[0], q)) < 4 * error
    # In closed form the KL term has no part in the noise.
    one = inference_gap.elbo_of(MODEL, params, X[0], q, keys[0], num_samples=1)
    z = q.sample(jax.random.split(keys[0], 1)[0])
    expected = MODEL.likelihood(params, z).log_prob(X[0]) - kl_divergence(q, MODEL.prior(params))
    np.testing.assert_allclose(one, expected, rtol=1e-5)


def test_discrete_posteriors_are_refused(params):
    with pytest.raises(TypeError, match="and Bernoulli is none: for discrete latents the exact"):
        inference_gap.best_normal(MODEL, params, X[0], Bernoulli(jnp.zeros(2)), jax.random.key(0))

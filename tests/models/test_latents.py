"""VAEs with few discrete latents, against the truth by summing over all of them."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.monte_carlo import assert_mean
from vae_jax.distributions import Bernoulli, Categorical, Normal, kl_divergence
from vae_jax.evidence import make_importance_sampler
from vae_jax.models import Model, draw, elbo, heads, latents, vae
from vae_jax.networks import mlp

NUM_DIMS = 5
X = jnp.array([1.0, 0.0, 0.0, 1.0, 1.0])


class DiscreteVae(NamedTuple):
    model: Model
    params: dict
    every_z: jax.Array  # [Z, *latent], all values of z


def discrete_vae(family, latent_dim, values):
    """A VAE with random weights, large enough that x and z tell much of each other."""
    model = vae(
        (NUM_DIMS,),
        latent_dim,
        encoder=mlp((6,), jnp.tanh),
        decoder=mlp((6,), jnp.tanh),
        latents=family,
    )
    params = model.init(jax.random.key(0), jnp.full(NUM_DIMS, 0.5))
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    leaves = [x + jax.random.normal(key, x.shape) for x, key in zip(leaves, keys, strict=True)]
    every_z = jnp.array(list(itertools.product(values, repeat=latent_dim)))
    return DiscreteVae(model, jax.tree.unflatten(structure, leaves), every_z)


DISCRETE = {
    "bernoulli": discrete_vae(latents.bernoulli(), 3, [0.0, 1.0]),
    "categorical": discrete_vae(latents.categorical(3), 2, np.eye(3)),
}


@pytest.fixture(params=DISCRETE)
def case(request):
    return DISCRETE[request.param]


def log_joint(case):
    """log p(x, z) of all z, [Z]."""
    prior = case.model.prior(case.params)
    return jax.vmap(
        lambda z: prior.log_prob(z) + case.model.likelihood(case.params, z).log_prob(X)
    )(case.every_z)


def log_posterior(case):
    """log q(z|x) of all z, [Z]."""
    return jax.vmap(case.model.posterior(case.params, X).log_prob)(case.every_z)


def exact_elbo(case):
    """E_q[log p(x, z) - log q(z|x)], summed over all z."""
    log_q = log_posterior(case)
    return jnp.sum(jnp.exp(log_q) * (log_joint(case) - log_q))


def test_the_prior_is_uniform_over_all_z(case):
    log_prior = jax.vmap(case.model.prior(case.params).log_prob)(case.every_z)
    np.testing.assert_allclose(log_prior, np.full(len(case.every_z), -np.log(len(case.every_z))))


def test_the_posterior_sums_to_one_and_depends_on_x(case):
    np.testing.assert_allclose(jax.nn.logsumexp(log_posterior(case)), 0.0, atol=1e-6)
    other = case.model.posterior(case.params, 1.0 - X)
    assert np.max(np.abs(other.mean - case.model.posterior(case.params, X).mean)) > 0.1


def test_the_likelihood_depends_on_every_latent(case):
    """p(x|z) differs between any two z."""
    log_likelihood = np.sort(log_joint(case))
    assert np.min(np.diff(log_likelihood)) > 1e-4


def test_importance_weights_have_the_mean_of_the_enumerated_evidence(case):
    """E[exp(log_w)] = p(x)."""
    estimate = make_importance_sampler(case.model, 5)
    copies = np.repeat(np.asarray(X)[None], 4_000, axis=0)
    scores = estimate(case.params, copies, jax.random.key(2))
    log_evidence = float(jax.nn.logsumexp(log_joint(case)))
    assert np.std(scores.log_evidence) > 0.01
    assert_mean(np.exp(scores.log_evidence - log_evidence), 1.0)
    # The mean of their logarithms is between the ELBO and log p(x), by more than its noise.
    noise = 4 * scores.log_evidence.std() / np.sqrt(len(copies))
    assert exact_elbo(case) + noise < scores.log_evidence.mean() < log_evidence - noise
    assert_mean(scores.elbo, exact_elbo(case))


def test_log_evidence_is_elbo_plus_kl_to_the_posterior(case):
    """log p(x) = ELBO + KL(q(z|x) || p(z|x)), the ELBO with the closed-form KL of the library."""
    log_evidence = jax.nn.logsumexp(log_joint(case))
    log_q = log_posterior(case)
    gap = jnp.sum(jnp.exp(log_q) * (log_q - (log_joint(case) - log_evidence)))
    assert gap > 0.01
    prior = case.model.prior(case.params)
    log_likelihood = jax.vmap(lambda z: case.model.likelihood(case.params, z).log_prob(X))
    reconstruction = jnp.sum(jnp.exp(log_q) * log_likelihood(case.every_z))
    kl = kl_divergence(case.model.posterior(case.params, X), prior)
    np.testing.assert_allclose(reconstruction - kl + gap, log_evidence, rtol=0, atol=1e-5)


def test_sampled_elbos_have_the_enumerated_mean(case):
    """With the KL term in closed form, and by the log-weights."""

    @jax.jit
    @jax.vmap
    def both(key):
        closed, _ = elbo(case.model, case.params, X, key)
        return closed, draw(case.model, case.params, X, key[None]).log_w[0]

    for values in both(jax.random.split(jax.random.key(3), 20_000)):
        assert_mean(values, exact_elbo(case))


@pytest.mark.parametrize(
    ("family", "posterior", "latent_shape"),
    [
        (None, Normal, (4,)),
        (latents.normal(), Normal, (4,)),
        (latents.bernoulli(), Bernoulli, (4,)),
        (latents.categorical(3), Categorical, (4, 3)),
    ],
    ids=["default", "normal", "bernoulli", "categorical"],
)
def test_posterior_and_prior_are_of_one_family_and_shape(family, posterior, latent_shape):
    model = vae((NUM_DIMS,), 4, latents=family)
    params = model.init(jax.random.key(0), X)
    q, p = model.posterior(params, X), model.prior(params)
    assert type(q) is type(p) is posterior
    assert q.mean.shape == p.mean.shape == latent_shape
    assert kl_divergence(q, p) > 0


def test_a_categorical_likelihood_starts_at_the_mean_that_init_was_given():
    mean = jax.nn.softmax(jax.random.normal(jax.random.key(0), (NUM_DIMS, 4)))
    model = vae((NUM_DIMS, 4), 2, decoder=mlp(()), likelihood=heads.categorical())
    params = model.init(jax.random.key(0), mean)
    np.testing.assert_allclose(model.likelihood(params, jnp.zeros(2)).mean, mean, rtol=1e-5)
    # A category that never occurs keeps a little probability.
    params = model.init(jax.random.key(0), jnp.eye(4)[jnp.arange(NUM_DIMS) % 4])
    assert np.isfinite(model.likelihood(params, jnp.zeros(2)).log_prob(mean))


def test_fewer_than_two_categories_are_refused():
    with pytest.raises(ValueError, match="num_categories must be at least 2, not 1"):
        latents.categorical(1)
    model = vae((NUM_DIMS, 1), 2, likelihood=heads.categorical())
    params = model.init(jax.random.key(0), jnp.ones((NUM_DIMS, 1)))
    with pytest.raises(ValueError, match=r"at least 2 of them, which event_shape=\(5, 1\) has not"):
        model.likelihood(params, jnp.zeros(2))

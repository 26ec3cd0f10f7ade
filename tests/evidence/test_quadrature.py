"""Quadrature and enumeration of the evidence against closed forms."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.exact import linear_vae, random_encoder
from vae_jax.distributions import Normal, standard_normal
from vae_jax.evidence import enumeration, linear_gaussian, quadrature
from vae_jax.models import Model, latents, vae
from vae_jax.networks import mlp

LINEAR = linear_vae()


@pytest.mark.parametrize("dtype", [pytest.param(jnp.float32, marks=pytest.mark.slow), jnp.float64])
def test_quadrature_is_the_closed_form_of_a_linear_gaussian_model(dtype):
    with jax.enable_x64(dtype == jnp.float64):
        params, x, truth = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, dtype), (LINEAR.exact_params, LINEAR.x, LINEAR.truth)
        )
        found = jax.jit(jax.vmap(lambda x: quadrature.integrate(LINEAR.model, params, x)))(x)
        exact = jax.vmap(lambda x: linear_gaussian.log_evidence(truth, x))(x)
        tolerance = 1e-4 if dtype == jnp.float32 else 1e-10
        np.testing.assert_allclose(found.log_evidence, exact, rtol=0, atol=tolerance)
        assert np.all(found.error < tolerance)
        # Bayes' theorem at every point of the grid: the encoder is the exact posterior.
        q = jax.vmap(LINEAR.model.posterior, (None, 0))(params, x)
        log_q = jax.vmap(lambda q, z: jax.vmap(q.log_prob)(z))(q, found.z)
        np.testing.assert_allclose(found.log_posterior, log_q, rtol=1e-4, atol=10 * tolerance)


# One latent, x = z^2 + noise: two narrow modes far from the origin, or one at it.
NARROW = Model(
    init=lambda key, x: {"log_std": jnp.zeros(1)},
    posterior=lambda params, x: standard_normal((1,)),
    prior=lambda params: standard_normal((1,)),
    likelihood=lambda params, z: Normal(z**2, params["log_std"]),
)


@partial(jax.jit, static_argnames="points_per_axis")
def integrate_narrow(std, x, points_per_axis=None):
    params = {"log_std": jnp.log(std)[None]}
    return quadrature.integrate(NARROW, params, x[None], points_per_axis=points_per_axis)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("std", [0.3, 0.01])
@pytest.mark.parametrize("x", [4.0, 0.0, -0.2])
def test_quadrature_finds_several_narrow_modes(std, x):
    """The mean over u = z^2, which is chi-squared distributed, by an independent rule."""
    nodes = np.linspace(-8.0, 8.0, 4_000_001)
    log_terms = -0.5 * ((x - nodes**2) / std) ** 2 - 0.5 * nodes**2
    spacing = nodes[1] - nodes[0]
    highest = log_terms.max()
    exact = highest + np.log(np.exp(log_terms - highest).sum() * spacing)
    exact -= np.log(2 * np.pi * std)
    found = integrate_narrow(std, jnp.asarray(x))
    np.testing.assert_allclose(found.log_evidence, exact, rtol=1e-6)
    assert found.error < 1e-5


def test_the_error_of_a_grid_that_is_too_coarse_is_reported():
    found = integrate_narrow(0.01, jnp.asarray(4.0), points_per_axis=101)
    exact = integrate_narrow(0.01, jnp.asarray(4.0), points_per_axis=2001)
    assert found.error > 0.3 * abs(found.log_evidence - exact.log_evidence)
    assert found.error > 1e-3


DISCRETE = {"bernoulli": (latents.bernoulli(), 3), "categorical": (latents.categorical(3), 2)}


@pytest.mark.parametrize("name", DISCRETE)
def test_enumeration_counts_every_value_once_and_bounds_the_elbo(name):
    family, latent_dim = DISCRETE[name]
    model = vae((5,), latent_dim, encoder=mlp((6,)), decoder=mlp((6,)), latents=family)
    x = jnp.array([1.0, 0.0, 0.0, 1.0, 1.0])

    @jax.jit
    def measure():
        params = model.init(jax.random.key(0), jnp.full(5, 0.4))
        params = jax.tree.map(lambda leaf: 2.0 * leaf, params)
        prior = model.prior(params)
        every_z, values = enumeration.log_joint(model, params, x)
        # The likelihoods of many samples of the prior, whose mean is p(x).
        z = jax.vmap(prior.sample)(jax.random.split(jax.random.key(1), 20_000))
        return {
            "every_z": every_z,
            "values": values,
            "log_prior": jax.vmap(prior.log_prob)(every_z),
            "log_q": jax.vmap(model.posterior(params, x).log_prob)(every_z),
            "log_evidence": enumeration.log_evidence(model, params, x),
            "elbo": enumeration.elbo(model, params, x),
            "likelihood": jax.vmap(lambda z: jnp.exp(model.likelihood(params, z).log_prob(x)))(z),
        }

    found = jax.device_get(measure())
    every_z = found["every_z"]
    np.testing.assert_allclose(np.exp(found["log_prior"]).sum(), 1.0, atol=1e-6)
    assert len(np.unique(every_z.reshape(len(every_z), -1), axis=0)) == len(every_z)
    evidence = np.exp(found["log_evidence"])
    error = np.std(found["likelihood"]) / np.sqrt(len(found["likelihood"]))
    assert abs(np.mean(found["likelihood"]) - evidence) < 4 * error
    np.testing.assert_allclose(np.exp(found["values"]).sum(), evidence, rtol=1e-6)
    gap = np.sum(
        np.exp(found["log_q"]) * (found["log_q"] - found["values"] + found["log_evidence"])
    )
    np.testing.assert_allclose(found["elbo"] + gap, found["log_evidence"], atol=1e-5)


def test_the_best_diagonal_posterior_is_the_one_that_a_search_finds():
    """And its gap is what its exact ELBO lacks of log p(x)."""
    weights = jnp.array([[1.0, 0.8], [0.5, 1.0], [0.3, -0.4]])
    truth = linear_gaussian.LinearGaussian(weights, jnp.array([0.1, 0.2, 0.3]), jnp.asarray(0.6))
    x = jnp.array([0.5, -1.0, 0.7])
    mean, variances, gap = linear_gaussian.best_diagonal(truth, x)
    assert gap > 0.05

    @jax.jit
    def elbo(q):
        return linear_gaussian.elbo(truth, x, q["mean"], jnp.diag(jnp.exp(q["log_variances"])))

    best = {"mean": mean, "log_variances": jnp.log(variances)}
    exact = linear_gaussian.log_evidence(truth, x)
    np.testing.assert_allclose(exact - elbo(best), gap, rtol=1e-3)
    gradient = jax.grad(elbo)(best)
    assert all(np.max(np.abs(leaf)) < 1e-4 for leaf in jax.tree.leaves(gradient))
    for key in jax.random.split(jax.random.key(0), 20):
        noise = 0.1 * jax.random.normal(key, (2, 2))
        assert elbo({"mean": mean + noise[0], "log_variances": jnp.log(variances) + noise[1]}) < (
            elbo(best)
        )


def test_the_exact_elbo_is_the_mean_log_weight():
    params = random_encoder(LINEAR.exact_params, 0)
    q = LINEAR.model.posterior(params, LINEAR.x[0])
    exact = linear_gaussian.elbo(
        LINEAR.truth, LINEAR.x[0], q.mean, jnp.diag(jnp.exp(2.0 * q.log_std))
    )
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)  # exact for quadratic functions
    z = jnp.stack(jnp.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2) * jnp.exp(q.log_std)[None]
    weight = jnp.outer(weights, weights).reshape(-1) / (2 * np.pi)

    def log_w(z):
        likelihood = LINEAR.model.likelihood(params, z).log_prob(LINEAR.x[0])
        return likelihood + standard_normal((2,)).log_prob(z) - q.log_prob(z)

    expected = jnp.sum(weight * jax.vmap(log_w)(z + q.mean[None]))
    np.testing.assert_allclose(exact, expected, rtol=1e-4)


def test_what_cannot_be_summed_is_refused_with_the_alternative():
    three = vae((4,), 3, encoder=mlp(()), decoder=mlp(()))
    params = three.init(jax.random.key(0), jnp.full(4, 0.5))
    with pytest.raises(ValueError, match="one or two latent variables, not 3: use importance"):
        quadrature.integrate(three, params, jnp.ones(4))
    with pytest.raises(TypeError, match="Only discrete latents can be enumerated, not Normal"):
        enumeration.log_evidence(three, params, jnp.ones(4))
    bits = vae((4,), 21, encoder=mlp(()), decoder=mlp(()), latents=latents.bernoulli())
    params = bits.init(jax.random.key(0), jnp.full(4, 0.5))
    with pytest.raises(ValueError, match="21 latents of 2 values each have more than 1,048,576"):
        enumeration.log_evidence(bits, params, jnp.ones(4))
    with pytest.raises(TypeError, match="use enumeration for discrete ones"):
        quadrature.integrate(bits, params, jnp.ones(4))
    with pytest.raises(ValueError, match="points_per_axis must be odd and at least 5, not 100."):
        quadrature.integrate(LINEAR.model, LINEAR.exact_params, LINEAR.x[0], points_per_axis=100)

"""The ELBO and log-weights, against the exact truth of linear-Gaussian VAEs.

The means of their gradients are in the group `gradients` of vae_jax.verify.
"""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from tests.exact import exact_elbo, linear_vae, random_encoder, with_sampled_kl
from tests.monte_carlo import assert_mean
from vae_jax.distributions import Bernoulli, kl_divergence
from vae_jax.evidence import linear_gaussian
from vae_jax.models import draw, draw_batch, elbo, kl_form, mean_elbo


def log_evidence(linear):
    return jax.jit(jax.vmap(linear_gaussian.log_evidence, (None, 0)))(linear.truth, linear.x)


compiled_batch = jax.jit(draw_batch, static_argnums=0)
compiled_draw = jax.jit(draw, static_argnums=0)
compiled_elbo = jax.jit(elbo, static_argnums=0)


@functools.partial(jax.jit, static_argnums=0)
def posterior_kl(model, params, others, x):
    """KL between the posteriors of two sets of parameters."""
    return kl_divergence(model.posterior(params, x), model.posterior(others, x))


def many_elbos(model, params, x, count):
    keys = jax.random.split(jax.random.key(5), count)
    return jax.jit(jax.vmap(lambda key: elbo(model, params, x, key)))(keys)


@pytest.mark.parametrize(("double", "tolerance"), [(True, 1e-10), (False, 1e-4)])
def test_at_the_exact_posterior_every_log_weight_is_the_log_evidence(double, tolerance):
    with jax.enable_x64(double):
        linear = linear_vae()
        keys = jax.random.split(jax.random.key(1), (50, 5))
        draws = compiled_batch(linear.model, linear.exact_params, linear.x, keys)
        assert draws.log_w.dtype == (jnp.float64 if double else jnp.float32)
        expected = np.broadcast_to(log_evidence(linear), (50, 5))
        np.testing.assert_allclose(draws.log_w, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("double", "tolerance"), [(True, 1e-10), (False, 1e-4)])
@pytest.mark.parametrize("seed", range(3))
def test_log_evidence_is_elbo_plus_kl_to_the_posterior(double, tolerance, seed):
    """log p(x) = ELBO + KL(q(z|x) || p(z|x)) for any q."""
    with jax.enable_x64(double):
        linear = linear_vae()
        params = random_encoder(linear.exact_params, seed)
        for x, expected in zip(linear.x, log_evidence(linear), strict=True):
            gap = posterior_kl(linear.model, params, linear.exact_params, x)
            assert gap > 1e-3
            total = exact_elbo(linear.model, params, x) + gap
            np.testing.assert_allclose(total, expected, rtol=0, atol=tolerance)


@pytest.mark.usefixtures("float64")
def test_bayes_holds_for_every_sample_of_any_posterior():
    """log_w = log p(x) + log p(z|x) - log q(z|x), sample by sample."""
    linear = linear_vae()
    params = random_encoder(linear.exact_params, 0)
    x = linear.x[0]
    sample = compiled_draw(linear.model, params, x, jax.random.split(jax.random.key(0), 20))

    @jax.jit
    def exact_log_posterior(z):
        return jax.vmap(linear.model.posterior(linear.exact_params, x).log_prob)(z)

    log_posterior = exact_log_posterior(sample.z)
    expected = log_evidence(linear)[0] + log_posterior - sample.log_posterior
    np.testing.assert_allclose(sample.log_w, expected, rtol=0, atol=1e-10)


def test_both_forms_of_the_elbo_have_the_exact_mean_and_are_below_the_evidence():
    linear = linear_vae()
    params = random_encoder(linear.exact_params, 0)
    x = linear.x[0]
    exact = exact_elbo(linear.model, params, x)
    assert exact < log_evidence(linear)[0]
    for model in (linear.model, with_sampled_kl(linear.model)):
        values, terms = many_elbos(model, params, x, 20_000)
        assert_mean(values, exact)
        np.testing.assert_allclose(values, terms.reconstruction - terms.kl, rtol=1e-6)
        assert_mean(
            terms.kl, kl_divergence(linear.model.posterior(params, x), linear.model.prior(params))
        )


def test_the_closed_form_kl_has_no_noise_and_shares_the_sample_of_the_sampled_one():
    linear = linear_vae()
    params, x = random_encoder(linear.exact_params, 0), linear.x[0]
    _, closed = many_elbos(linear.model, params, x, 100)
    _, sampled = many_elbos(with_sampled_kl(linear.model), params, x, 100)
    assert np.ptp(closed.kl) == 0
    assert np.ptp(sampled.kl) > 0.1
    np.testing.assert_array_equal(closed.reconstruction, sampled.reconstruction)


def test_the_fully_sampled_elbo_is_the_log_weight():
    linear = linear_vae()
    params, x, key = random_encoder(linear.exact_params, 0), linear.x[0], jax.random.key(2)
    value, _ = compiled_elbo(with_sampled_kl(linear.model), params, x, key)
    log_w = compiled_draw(linear.model, params, x, key[None]).log_w
    np.testing.assert_allclose(value, log_w[0], rtol=1e-6)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("form", [lambda model: model, with_sampled_kl], ids=["closed", "sampled"])
def test_gradients_equal_finite_differences(form):
    linear = linear_vae()
    params = random_encoder(linear.exact_params, 0)
    key = jax.random.key(0)

    @jax.jit
    def value(params):
        return elbo(form(linear.model), params, linear.x[0], key)[0]

    check_grads(value, (params,), order=1, modes=["rev"])


def test_jit_equals_eager_and_a_batch_equals_a_loop():
    linear = linear_vae()
    params = random_encoder(linear.exact_params, 0)
    keys = jax.random.split(jax.random.key(0), (3, 5))
    batch = compiled_batch(linear.model, params, linear.x, keys)
    values, terms = mean_elbo(batch)
    for b in range(5):
        one = draw(linear.model, params, linear.x[b], keys[:, b])
        chex.assert_trees_all_close(batch.z[:, b], one.z, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(batch.log_w[:, b], one.log_w, rtol=1e-5)
        value, one_terms = mean_elbo(one)
        np.testing.assert_allclose(values[b], value, rtol=1e-5)
        np.testing.assert_allclose(terms.kl[b], one_terms.kl, rtol=1e-5)
    prior = linear.model.prior(params)
    chex.assert_trees_all_equal(batch.prior, prior)


def test_one_compilation_serves_all_keys_and_parameters():
    linear = linear_vae()
    chex.clear_trace_counter()
    traced = jax.jit(
        chex.assert_max_traces(
            lambda params, key: elbo(linear.model, params, linear.x[0], key), n=1
        )
    )
    values = [
        traced(random_encoder(linear.exact_params, seed), jax.random.key(seed))[0]
        for seed in range(3)
    ]
    assert len({float(value) for value in values}) == 3


def test_a_discrete_prior_of_a_normal_posterior_is_refused():
    linear = linear_vae()
    model = linear.model._replace(prior=lambda params: Bernoulli(jnp.zeros(2)))
    with pytest.raises(TypeError, match="posterior is a Normal and the prior a Bernoulli: one is"):
        elbo(model, linear.exact_params, linear.x[0], jax.random.key(0))


def test_the_form_of_the_kl_term_is_said():
    linear = linear_vae()
    q = linear.model.posterior(linear.exact_params, linear.x[0])
    assert kl_form(q, linear.model.prior(linear.exact_params)) == "closed form"
    for other in (with_sampled_kl(linear.model).prior(linear.exact_params), Bernoulli(q.mean)):
        assert kl_form(q, other) == kl_form(other, q) == "sampled"

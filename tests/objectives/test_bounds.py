"""Bounds as functions of the log-weights. A new bound is a new row of BOUNDS."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.exact import linear_vae, random_encoder
from tests.monte_carlo import assert_mean
from vae_jax.evidence import linear_gaussian
from vae_jax.models import draw
from vae_jax.objectives import bounds

# name -> (bound, its definition computed naively in float64)
BOUNDS = {
    "elbo": (bounds.elbo, lambda log_w: log_w.mean(axis=0)),
    "iwae": (bounds.iwae, lambda log_w: np.log(np.exp(log_w).mean(axis=0))),
}


@pytest.fixture(params=BOUNDS)
def case(request):
    return BOUNDS[request.param]


def log_weights(params, linear, num_draws, num_samples, seed=0):
    """[num_draws, K] log-weights of one example."""
    keys = jax.random.split(jax.random.key(seed), (num_draws, num_samples))
    one = lambda keys: draw(linear.model, params, linear.x[0], keys).log_w  # noqa: E731
    return jax.jit(jax.vmap(one))(keys)


def test_equals_its_definition(case):
    bound, definition = case
    log_w = jax.random.normal(jax.random.key(0), (7, 4)) * 3.0
    np.testing.assert_allclose(bound(log_w), definition(np.asarray(log_w, np.float64)), rtol=1e-5)


def test_of_equal_weights_is_that_weight_and_of_one_sample_that_sample(case):
    bound, _ = case
    np.testing.assert_allclose(bound(jnp.full((5, 3), -87.5)), np.full(3, -87.5), rtol=1e-6)
    log_w = jnp.array([[-1.0, 3.0, -90.0]])
    np.testing.assert_allclose(bound(log_w), log_w[0], rtol=1e-6)


@pytest.mark.parametrize(
    "log_w",
    [[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [1e4, 0.0, 1e4 - 1.0]],
)
def test_extreme_weights_give_finite_bounds_and_gradients(case, log_w):
    bound, _ = case
    log_w = jnp.array(log_w)[:, None]
    value, gradient = jax.value_and_grad(lambda w: bound(w)[0])(log_w)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))


def test_iwae_weighs_samples_by_their_normalised_weights():
    log_w = jnp.array([[-3.0], [0.0], [1.0]])
    gradient = jax.grad(lambda w: bounds.iwae(w)[0])(log_w)
    np.testing.assert_allclose(gradient, jax.nn.softmax(log_w, axis=0), rtol=1e-6)
    assert np.argmax(gradient) == 2  # the best sample gets the most weight


def test_at_the_exact_posterior_every_bound_is_the_log_evidence(case):
    bound, _ = case
    linear = linear_vae()
    log_w = log_weights(linear.exact_params, linear, 10, 20)
    exact = linear_gaussian.log_evidence(linear.truth, linear.x[0])
    np.testing.assert_allclose(bound(log_w.T), np.full(10, exact), atol=1e-4)


def test_iwae_does_not_decrease_in_the_number_of_samples_and_converges():
    linear = linear_vae()
    params = random_encoder(linear.exact_params, 0)
    exact = linear_gaussian.log_evidence(linear.truth, linear.x[0])
    log_w = log_weights(params, linear, 4_000, 512)
    previous = None
    gaps = []
    for num_samples in (1, 2, 8, 32, 128, 512):
        value = np.asarray(bounds.iwae(log_w[:, :num_samples].T), np.float64)
        if previous is not None:
            # Paired: the same samples serve both.
            increase = value - previous
            error = increase.std(ddof=1) / np.sqrt(len(increase))
            assert increase.mean() > -4 * error, (num_samples, increase.mean(), error)
        error = value.std(ddof=1) / np.sqrt(len(value))
        assert value.mean() < exact + 4 * error, (num_samples, value.mean(), exact, error)
        gaps.append(exact - value.mean())
        previous = value
    assert gaps[0] > 0.1  # it began well below
    assert abs(gaps[-1]) < 0.05 * gaps[0]


def test_the_mean_weight_is_the_evidence():
    """E[exp(log_w)] = p(x), whatever q is."""
    linear = linear_vae()
    log_w = log_weights(random_encoder(linear.exact_params, 0), linear, 100_000, 1)[:, 0]
    exact = linear_gaussian.log_evidence(linear.truth, linear.x[0])
    assert_mean(jnp.exp(log_w - exact), 1.0)

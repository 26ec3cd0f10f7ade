"""A table of distributions x the laws that each must keep. A new distribution is a new row."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as numpyro_dist
import pytest
import scipy.stats

from tests.monte_carlo import assert_mean
from vae_jax.distributions import (
    Bernoulli,
    Categorical,
    Normal,
    UnnormalisedBernoulli,
    kl_divergence,
    standard_normal,
)

MEAN = jnp.array([[-1.0, 0.0, 2.5]])
LOG_STD = jnp.array([[0.3, -1.2, 0.0]])
LOGITS = jnp.array([[-2.0, 0.0], [0.5, 3.0]])
CATEGORY_LOGITS = jnp.array([[-1.0, 0.0, 2.0], [1.5, 1.0, 0.0]])
CATEGORY_PROBABILITIES = scipy.special.softmax(np.float64(CATEGORY_LOGITS), axis=-1)

# name -> (distribution, scipy log-density of a value, numpyro distribution, extreme parameters)
DISTRIBUTIONS = {
    "normal": (
        Normal(MEAN, LOG_STD),
        lambda value: scipy.stats.norm.logpdf(value, MEAN, np.exp(LOG_STD)).sum(),
        numpyro_dist.Normal(MEAN, jnp.exp(LOG_STD)).to_event(2),
        [Normal(jnp.full((3,), m), jnp.full((3,), s)) for m in (-1e4, 1e4) for s in (-5.0, 5.0)],
    ),
    "standard_normal": (
        standard_normal((4,)),
        lambda value: scipy.stats.norm.logpdf(value).sum(),
        numpyro_dist.Normal(jnp.zeros(4), 1.0).to_event(1),
        [],
    ),
    "bernoulli": (
        Bernoulli(LOGITS),
        lambda value: scipy.stats.bernoulli.logpmf(value, scipy.special.expit(LOGITS)).sum(),
        numpyro_dist.Bernoulli(logits=LOGITS).to_event(2),
        [Bernoulli(jnp.full((2,), logit)) for logit in (-1e4, -90.0, 90.0, 1e4)],
    ),
    "categorical": (
        Categorical(CATEGORY_LOGITS),
        lambda value: scipy.stats.multinomial.logpmf(value, 1, CATEGORY_PROBABILITIES).sum(),
        numpyro_dist.Multinomial(1, logits=CATEGORY_LOGITS).to_event(1),
        [Categorical(jnp.array([[0.0, logit, -logit]])) for logit in (-1e4, -90.0, 90.0, 1e4)],
    ),
}


@pytest.fixture(params=DISTRIBUTIONS)
def case(request):
    return DISTRIBUTIONS[request.param]


def samples_of(distribution, count, seed=0):
    keys = jax.random.split(jax.random.key(seed), count)
    return jax.jit(jax.vmap(lambda d, key: d.sample(key), (None, 0)))(distribution, keys)


def test_log_prob_equals_scipy_and_numpyro(case):
    distribution, scipy_log_prob, numpyro_distribution, _ = case
    for value in samples_of(distribution, 10):
        log_prob = distribution.log_prob(value)
        assert log_prob.shape == ()
        np.testing.assert_allclose(log_prob, scipy_log_prob(np.asarray(value)), rtol=2e-6)
        # NumPyro's multinomial is rounded by its factorials.
        np.testing.assert_allclose(log_prob, numpyro_distribution.log_prob(value), rtol=5e-6)


def test_sample_moments_equal_numpyro(case):
    distribution, _, reference, _ = case
    samples = np.asarray(samples_of(distribution, 20_000), np.float64)
    assert_mean(samples, reference.mean)
    assert_mean((samples - np.asarray(reference.mean)) ** 2, reference.variance)


def test_sample_and_log_prob_is_sample_with_log_prob(case):
    distribution = case[0]
    key = jax.random.key(3)
    value, log_prob = distribution.sample_and_log_prob(key)
    np.testing.assert_array_equal(value, distribution.sample(key))
    np.testing.assert_array_equal(log_prob, distribution.log_prob(value))


def test_samples_depend_on_the_key_alone(case):
    distribution = case[0]
    first, again = (distribution.sample(jax.random.key(1)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(samples_of(distribution, 10, 1), samples_of(distribution, 10, 2))


def test_samples_are_differentiable_if_and_only_if_they_say_so(case):
    distribution = case[0]
    weights = jax.random.normal(jax.random.key(4), distribution.mean.shape)
    gradients = jax.grad(lambda d: jnp.sum(weights * d.sample(jax.random.key(0))))(distribution)
    for gradient in jax.tree.leaves(gradients):
        assert np.all(gradient != 0) if distribution.is_reparameterised else not np.any(gradient)


def test_jit_equals_eager_and_vmap_equals_a_loop(case):
    distribution = case[0]
    values = samples_of(distribution, 7)
    loop = jnp.stack([distribution.log_prob(value) for value in values])
    np.testing.assert_allclose(jax.vmap(distribution.log_prob)(values), loop, rtol=1e-6)
    jitted = jax.jit(lambda d, value: d.log_prob(value))
    np.testing.assert_allclose(jitted(distribution, values[0]), loop[0], rtol=1e-6)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * 7), distribution)
    over_both = jax.vmap(lambda d, value: d.log_prob(value))(stacked, values)
    np.testing.assert_allclose(over_both, loop, rtol=1e-6)


def test_one_compilation_serves_all_parameters(case):
    distribution = case[0]
    traced = jax.jit(chex.assert_max_traces(lambda d, value: d.log_prob(value), n=1))
    chex.clear_trace_counter()
    value = distribution.sample(jax.random.key(0))
    for scale in (1.0, 2.0):
        traced(jax.tree.map(lambda leaf, scale=scale: leaf * scale, distribution), value)


def test_extreme_parameters_give_finite_gradients(case):
    for distribution in case[3]:
        shape = jax.tree.leaves(distribution)[0].shape
        for value in (jnp.zeros(shape), jnp.ones(shape)):
            gradients = jax.grad(lambda d, v: d.log_prob(v), argnums=(0, 1))(distribution, value)
            assert np.isfinite(distribution.log_prob(value))
            chex.assert_tree_all_finite(gradients)


@pytest.mark.parametrize("num_dims", [3, 784, 12_288, 200_000])
def test_sums_over_long_events_are_as_exact_as_short_ones(num_dims):
    logits = jax.random.normal(jax.random.key(0), (num_dims,)) - 3.0
    value = (jax.random.uniform(jax.random.key(1), (num_dims,)) < 0.1).astype(jnp.float32)
    exact = np.sum(np.float64(value) * np.float64(logits) - np.logaddexp(0.0, np.float64(logits)))
    for log_prob in (Bernoulli(logits).log_prob, jax.jit(Bernoulli(logits).log_prob)):
        np.testing.assert_allclose(log_prob(value), exact, rtol=1e-6)


def test_bernoulli_mean_is_the_probability_of_one():
    np.testing.assert_allclose(Bernoulli(LOGITS).mean, scipy.special.expit(LOGITS), rtol=1e-6)


def test_bernoulli_gradient_is_value_minus_mean():
    value = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    gradient = jax.grad(lambda logits: Bernoulli(logits).log_prob(value))(LOGITS)
    np.testing.assert_allclose(gradient, value - Bernoulli(LOGITS).mean, atol=1e-6)


@pytest.mark.parametrize("num_pixels", [1, 6, 16, 784])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 20.0])
def test_logarithms_of_products_of_pixels_are_exact(num_pixels, scale):
    """Saturated and balanced pixels, in groups of one to sixteen."""
    rng = np.random.default_rng(num_pixels)
    logits = np.float32(scale * rng.normal(size=num_pixels))
    value = (logits > 0).astype(np.float32)  # the probable one, whose log-probability may be small
    expected = -np.sum(np.log1p(np.exp(-np.abs(np.float64(logits)))))
    np.testing.assert_allclose(Bernoulli(logits).log_prob(value), expected, rtol=2e-6)


def test_bernoulli_second_derivative_is_minus_the_variance():
    value, logits = jnp.array([1.0, 0.0, 1.0, 0.0]), jnp.array([0.3, -2.0, 0.0, 4.0])
    hessian = jax.hessian(lambda logits: Bernoulli(logits).log_prob(value))(logits)
    mean = Bernoulli(logits).mean
    np.testing.assert_allclose(hessian, -np.diag(mean * (1 - mean)), atol=1e-6)


def test_a_value_of_another_shape_than_the_event_is_refused(case):
    distribution = case[0]
    shape = distribution.event_shape
    assert shape == distribution.sample(jax.random.key(0)).shape
    for other in ((), (1, *shape), shape[:-1], (*shape, 1), (*shape[:-1], shape[-1] + 1)):
        if other == shape:
            continue
        message = f"{shape} has no density at a value of the shape {other}".replace("(", "\\(")
        with pytest.raises(ValueError, match=message.replace(")", "\\)")):
            distribution.log_prob(jnp.zeros(other))
    batch = samples_of(distribution, 3)
    with pytest.raises(ValueError, match="has no density"):
        distribution.log_prob(batch)
    assert jax.vmap(distribution.log_prob)(batch).shape == (3,)


def test_a_divergence_between_events_of_different_shapes_is_refused(case):
    distribution = case[0]
    wider = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), distribution)
    with pytest.raises(ValueError, match="no KL divergence .* over events of the shape"):
        kl_divergence(distribution, wider)


# name -> (distribution, events in its support, events outside it)
SUPPORTS = {
    "normal": (DISTRIBUTIONS["normal"][0], [0.0, -1e30], [np.nan, np.inf, -np.inf]),
    "bernoulli": (Bernoulli(LOGITS), [0.0, 1.0], [0.5, 1.0 + 1e-6, -1.0, 255.0, np.nan]),
    "unnormalised": (
        UnnormalisedBernoulli(LOGITS),
        [0.0, 0.5, 1.0],
        [1.0 + 1e-6, -1e-6, 255.0, np.nan, np.inf],
    ),
}


@pytest.mark.parametrize("name", SUPPORTS)
def test_one_value_outside_the_support_puts_the_event_outside(name):
    distribution, inside, outside = SUPPORTS[name]
    event = jnp.full(distribution.event_shape, inside[0])
    for values, expected in ((inside, True), (outside, False)):
        for value in values:
            assert distribution.in_support(event.at[0, 1].set(value)) == expected


def test_categories_are_a_one_among_zeros():
    distribution = Categorical(CATEGORY_LOGITS)
    for i, j in np.ndindex(3, 3):
        assert distribution.in_support(jnp.eye(3)[jnp.array([i, j])])
    for wrong in ([1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.5, 0.5, 0.0], [2.0, -1.0, 0.0]):
        assert not distribution.in_support(jnp.array([[0.0, 1.0, 0.0], wrong]))


def test_samples_are_in_the_support(case):
    assert np.all(jax.vmap(case[0].in_support)(samples_of(case[0], 100)))


def test_the_unnormalised_formula_is_that_of_bernoulli_variables():
    value = jnp.array([[0.2, 0.9], [1.0, 0.0]])
    np.testing.assert_array_equal(
        UnnormalisedBernoulli(LOGITS).log_prob(value), Bernoulli(LOGITS).log_prob(value)
    )
    # The integral over [0, 1] of exp(v l - log(1 + e^l)) is (e^l - 1) / (l (1 + e^l)), not 1.
    grid = jnp.linspace(0.0, 1.0, 10_001)[:, None]
    density = UnnormalisedBernoulli(jnp.array([3.0]))
    integral = jnp.mean(jnp.exp(jax.vmap(density.log_prob)(grid)))
    np.testing.assert_allclose(integral, np.expm1(3.0) / (3.0 * (1 + np.exp(3.0))), rtol=1e-3)

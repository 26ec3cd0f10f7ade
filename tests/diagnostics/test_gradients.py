"""Statistics of gradients whose truth is planted.

Those of estimators whose truth is known are in the group `gradients` of vae_jax.verify.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from tests.exact import jit_once, linear_vae, random_encoder
from tests.objectives.cases import ESTIMATORS
from vae_jax.diagnostics import gradients
from vae_jax.diagnostics.gradients import GradientMoments
from vae_jax.objectives import bounds

KEY = jax.random.key(0)
TRUE = np.linspace(-2.0, 3.0, 400)  # a gradient, of 400 parameters
STD = np.linspace(1.0, 5.0, 400)  # of the estimates


def planted(mean=TRUE, std=STD):
    """A gradient estimator with this mean and standard deviation."""

    def gradient(params, key):
        return {"a": params + mean + std * jax.random.normal(key, np.shape(mean))}

    return gradient


def measured(num_keys, seed=0, mean=TRUE, std=STD):
    key = jax.random.key(seed)
    return gradients.gradient_moments(planted(mean, std), jnp.zeros(len(mean)), key, num_keys)


def exact(mean=TRUE):
    return gradients.exactly({"a": mean})


@pytest.mark.parametrize("keys_at_once", [1, 7, 23, 100])
def test_moments_are_those_of_the_gradients_of_all_keys(keys_at_once):
    """Also around a large mean, where a difference of squares would cancel."""

    def gradient(params, key):
        noise = jax.random.normal(key, (3, 2))
        return {"a": params["a"] * noise + 1e4, "b": [noise[0], jnp.sum(noise)]}

    params = {"a": jnp.arange(1.0, 7.0).reshape(3, 2)}
    progress = []
    moments = gradients.gradient_moments(
        gradient, params, KEY, 23, keys_at_once=keys_at_once, progress=progress.append
    )
    every = [gradient(params, jax.random.fold_in(KEY, i)) for i in range(23)]
    every = jax.tree.map(lambda *leaves: np.stack(leaves).astype(np.float64), *every)
    mean = jax.tree.map(lambda leaf: leaf.mean(axis=0), every)
    variance = jax.tree.map(lambda leaf: leaf.var(axis=0, ddof=1), every)
    for found, expected in ((moments.mean, mean), (moments.variance, variance)):
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, 3e-4, 1e-6), found, expected)
    np.testing.assert_allclose(moments.squared_error["a"], moments.variance["a"] / 23)
    assert progress == [min(done + keys_at_once, 23) for done in range(0, 23, keys_at_once)]


def test_one_key_has_a_mean_and_no_variance():
    moments = measured(num_keys=1)
    np.testing.assert_allclose(
        moments.mean["a"], planted()(0.0, jax.random.fold_in(KEY, 0))["a"], rtol=1e-5, atol=1e-6
    )
    assert np.all(np.isnan(moments.variance["a"]))


@pytest.mark.parametrize("numbers", [(0, 1), (1, 0)])
def test_no_keys_are_refused(numbers):
    num_keys, keys_at_once = numbers
    with pytest.raises(ValueError, match=f"at least 1, not {num_keys} and {keys_at_once}"):
        gradients.gradient_moments(planted(), 0.0, KEY, num_keys, keys_at_once=keys_at_once)


@pytest.mark.parametrize("reference", ["exact", "estimated"])
def test_t_of_an_unbiased_estimator_is_standard_normal(reference):
    """With the errors of both sides, of different sizes and numbers of keys."""
    reference = exact() if reference == "exact" else measured(150, seed=1, std=2.0 * STD[::-1])
    t = gradients.t_statistics(measured(400), reference)["a"]
    assert scipy.stats.kstest(t, "norm").pvalue > 0.01
    assert np.max(np.abs(t)) < gradients.largest_by_chance(len(t))


def test_a_planted_bias_is_found_in_its_standard_errors():
    biased = measured(400, mean=TRUE + 0.25 * STD)  # 5 standard errors of 400 keys
    t = gradients.t_statistics(biased, exact())["a"]
    assert scipy.stats.kstest(t - 5.0, "norm").pvalue > 0.01
    found = gradients.quality(biased, exact(), exact(), biased)
    np.testing.assert_allclose(found.rms_t, np.sqrt(26.0), rtol=0.05)
    assert found.largest_t == np.max(np.abs(t)) > gradients.largest_by_chance(len(t))
    by_chance = np.sqrt(np.mean(STD**2) / 400)
    np.testing.assert_allclose(found.bias_by_chance, by_chance, rtol=0.05)
    np.testing.assert_allclose(found.bias, np.sqrt(26.0) * by_chance, rtol=0.05)


def test_rounding_makes_no_bias():
    deterministic = GradientMoments({"a": np.array([1.0 + 1e-7, 0.0])}, {"a": np.zeros(2)}, 100)
    t = gradients.t_statistics(deterministic, exact(np.array([1.0, 0.0])))["a"]
    assert abs(t[0]) < 1.0
    assert np.isnan(t[1])


def test_quality_recovers_what_was_planted():
    rms_gradient, rms_std = np.sqrt(np.mean(TRUE**2)), np.sqrt(np.mean(STD**2))
    moments = measured(100)
    for truth in (exact(), moments, measured(1000, seed=1, std=0.1 * STD)):
        found = gradients.quality(moments, exact(), truth, truth)
        assert found.num_parameters == 400
        np.testing.assert_allclose(found.gradient, rms_gradient, rtol=0.05)
        np.testing.assert_allclose(found.signal_to_noise, rms_gradient / rms_std, rtol=0.05)
        np.testing.assert_allclose(found.variance, np.mean(STD**2), rtol=0.05)
        np.testing.assert_allclose(found.rms_t, 1.0, rtol=0.1)
        np.testing.assert_allclose(found.bias, found.bias_by_chance, rtol=0.1)
        assert found.largest_t < gradients.largest_by_chance(400)
        floor = 1.0 / np.sqrt(truth.num_keys) * np.sqrt(np.mean(truth.variance["a"])) / rms_std
        np.testing.assert_allclose(found.noise_floor, floor, rtol=0.05)


def test_chance_has_the_errors_of_both_sides():
    reference = measured(150, seed=1, std=3.0 * STD)
    found = gradients.quality(measured(400), reference, exact(), exact())
    expected = np.sqrt(np.mean(STD**2) * (1.0 / 400.0 + 9.0 / 150.0))
    np.testing.assert_allclose(found.bias_by_chance, expected, rtol=0.05)
    np.testing.assert_allclose(found.bias, expected, rtol=0.1)


def test_the_expectation_of_a_biased_estimator_is_its_own():
    moments = measured(100, mean=TRUE + 10.0)
    found = gradients.quality(moments, exact(), exact(), moments)
    expected = np.sqrt(np.mean((TRUE + 10.0) ** 2) / np.mean(STD**2))
    np.testing.assert_allclose(found.signal_to_noise, expected, rtol=0.05)
    np.testing.assert_allclose(found.gradient, np.sqrt(np.mean(TRUE**2)), rtol=1e-6)


def test_the_error_of_the_mean_is_no_signal():
    """With 100 keys, ratios of 0.05 are lost in errors of 0.1; ratios of 0.2 are found."""
    lost = measured(100, mean=0.05 * STD)
    found = gradients.quality(lost, exact(0.05 * STD), lost, lost)
    assert np.isnan(found.signal_to_noise)
    assert np.isnan(found.gradient)
    np.testing.assert_allclose(found.noise_floor, 0.1)
    clear = measured(100, mean=0.2 * STD)
    found = gradients.quality(clear, exact(0.2 * STD), clear, clear)
    np.testing.assert_allclose(found.signal_to_noise, 0.2, rtol=0.1)
    ratio = gradients.signal_to_noise(clear, exact(0.2 * STD))["a"]
    np.testing.assert_allclose(np.mean(ratio), 0.2, rtol=0.02)


def test_parameters_without_influence_are_left_out_but_a_missing_gradient_is_not():
    half = np.arange(400) < 200
    mean, std = np.where(half, TRUE, 0.0), np.where(half, STD, 0.0)
    found = gradients.quality(measured(100, mean=mean, std=std), *[exact(mean)] * 3)
    assert found.num_parameters == 200
    np.testing.assert_allclose(found.variance, np.mean(STD[:200] ** 2), rtol=0.1)
    np.testing.assert_allclose(found.rms_t, 1.0, rtol=0.1)

    nothing = exact(np.zeros(400))
    found = gradients.quality(nothing, nothing, nothing, nothing)
    assert found.num_parameters == 0
    assert np.all(np.isnan(found[1:]))
    for reference in (exact(), measured(400)):
        forgotten = gradients.quality(nothing, reference, exact(), exact())
        assert forgotten.num_parameters == 400
        assert forgotten.rms_t > 5.0
        assert np.isnan(forgotten.signal_to_noise)


def test_parts_are_selected():
    moments = GradientMoments({"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}, 5)
    assert moments.select(lambda tree: tree["b"]) == (2.0, 4.0, 5)


@pytest.mark.parametrize("count", [1, 20, 420])
def test_the_largest_of_many_stays_below_its_limit_as_often_as_said(count):
    t = np.abs(np.random.default_rng(0).standard_normal((20_000, count))).max(axis=1)
    for probability in (0.5, 0.95):
        share = np.mean(t < gradients.largest_by_chance(count, probability))
        np.testing.assert_allclose(share, probability, atol=0.015)


def test_slopes_are_those_of_least_squares():
    k = np.array([1, 2, 5, 10, 20])
    values = 3.0 * k**-0.5 * np.exp([0.1, -0.2, 0.05, 0.0, 0.15])
    expected = scipy.stats.linregress(np.log(k), np.log(values))
    found = gradients.log_log_slope(k, values)
    np.testing.assert_allclose(found, (expected.slope, expected.stderr), rtol=1e-10)
    slope, error = gradients.log_log_slope([1, 100], [1.0, 10.0])
    np.testing.assert_allclose(slope, 0.5)
    assert np.isnan(error)
    assert np.all(np.isnan(gradients.log_log_slope([1], [1.0])))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_all_estimators_see_the_same_noise(name):
    """The gradient of the decoder is that of the bound at fixed z, whatever the estimator."""
    linear = linear_vae()
    params = random_encoder(linear.exact_params, 0)

    def gradient_of(estimator):
        gradient = gradients.bound_gradient(linear.model, bounds.elbo, estimator, linear.x, 4)
        return jit_once(gradient)(params, KEY)["decoder"]

    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4),
        gradient_of(ESTIMATORS[name]),
        gradient_of(ESTIMATORS["pathwise"]),
    )

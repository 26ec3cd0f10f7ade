import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.exact import linear_vae, random_encoder, with_sampled_kl
from tests.monte_carlo import assert_mean
from vae_jax import data
from vae_jax.distributions import Normal, kl_divergence
from vae_jax.errors import BadInputError
from vae_jax.evidence import (
    bits_per_dim,
    linear_gaussian,
    log_weights,
    make_importance_sampler,
    mean_and_standard_error,
)
from vae_jax.models import Model, vae
from vae_jax.networks import mlp

LINEAR = linear_vae(num_examples=7)
SAMPLED = with_sampled_kl(LINEAR.model)
PARAMS = random_encoder(LINEAR.exact_params, 0)
X = np.asarray(LINEAR.x)
KEY = jax.random.key(0)
PARTS = [slice(0, 4), slice(4, 7), slice(2, 3), slice(5, 5), slice(7, 9)]


def log_evidence():
    return jax.vmap(lambda x: linear_gaussian.log_evidence(LINEAR.truth, x))(LINEAR.x)


@pytest.mark.parametrize(
    ("num_samples", "examples_at_once", "samples_at_once"),
    [
        (1, 3, 50),
        (5, 3, 4),
        (13, 100, 4),
        pytest.param(5, 1, 1, marks=pytest.mark.slow),
        pytest.param(13, 7, 50, marks=pytest.mark.slow),
        pytest.param(12, 2, 4, marks=pytest.mark.slow),
    ],
)
def test_the_chunk_does_not_change_the_result(num_samples, examples_at_once, samples_at_once):
    """Ragged last chunks of examples and of samples included."""
    whole = make_importance_sampler(LINEAR.model, num_samples)(PARAMS, X, KEY)
    estimate = make_importance_sampler(
        LINEAR.model,
        num_samples,
        examples_at_once=examples_at_once,
        samples_at_once=samples_at_once,
    )
    for chunked, expected in zip(estimate(PARAMS, X, KEY), whole, strict=True):
        assert chunked.shape == (7,)
        np.testing.assert_allclose(chunked, expected, rtol=2e-6)


def test_an_example_gets_the_same_estimate_in_a_longer_data_set():
    estimate = make_importance_sampler(LINEAR.model, 5, examples_at_once=4)
    for part, whole in zip(estimate(PARAMS, X[:5], KEY), estimate(PARAMS, X, KEY), strict=True):
        np.testing.assert_allclose(part, whole[:5], rtol=1e-6)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_gets_the_same_estimates_as_in_the_whole(part):
    """With chunks that begin elsewhere, and none of an empty part."""
    seen = []
    estimate = make_importance_sampler(LINEAR.model, 5, examples_at_once=3)
    whole = estimate(PARAMS, X, KEY)
    found = estimate(PARAMS, X, KEY, part, seen.append)
    for values, expected in zip(found, whole, strict=True):
        assert values.dtype == np.float64
        np.testing.assert_allclose(values, expected[part], rtol=1e-6)
    assert seen[-1:] == [len(X[part])] * (len(X[part]) > 0)


def test_a_part_at_the_exact_posterior_is_the_log_evidence_of_its_examples():
    estimate = make_importance_sampler(LINEAR.model, 3, examples_at_once=2)
    scores = estimate(LINEAR.exact_params, X, KEY, slice(3, 6))
    np.testing.assert_allclose(scores.log_evidence, log_evidence()[3:6], atol=1e-4)


def test_at_the_exact_posterior_it_is_the_log_evidence():
    scores = make_importance_sampler(LINEAR.model, 3)(LINEAR.exact_params, X, KEY)
    np.testing.assert_allclose(scores.log_evidence, log_evidence(), atol=1e-4)


def test_it_converges_to_the_log_evidence():
    scores = make_importance_sampler(LINEAR.model, 20_000)(PARAMS, X, KEY)
    np.testing.assert_allclose(scores.log_evidence, log_evidence(), atol=0.05)
    assert np.all(scores.elbo < scores.log_evidence)


@pytest.mark.parametrize("model", [LINEAR.model, SAMPLED], ids=["closed form", "sampled"])
def test_elbo_terms_have_their_exact_means(model):
    estimate = make_importance_sampler(model, 4)
    scores = estimate(PARAMS, np.repeat(X[:1], 4_000, axis=0), KEY)
    q = LINEAR.model.posterior(PARAMS, X[0])
    assert_mean(scores.kl, kl_divergence(q, LINEAR.model.prior(PARAMS)))
    # E_q |x - W z - m|^2 in closed form.
    weights, mean, std = LINEAR.truth
    residual = X[0] - weights @ q.mean - mean
    spread = jnp.sum(weights**2 @ jnp.exp(2 * q.log_std))
    reconstruction = -0.5 * (jnp.sum(residual**2) + spread) / std**2
    reconstruction -= X.shape[1] * (jnp.log(std) + 0.5 * jnp.log(2 * jnp.pi))
    assert_mean(scores.reconstruction, reconstruction)
    np.testing.assert_allclose(scores.elbo, scores.reconstruction - scores.kl)


def test_the_sampled_kl_makes_the_elbo_the_mean_log_weight():
    one = make_importance_sampler(SAMPLED, 1)(PARAMS, X, KEY)
    np.testing.assert_allclose(one.elbo, one.log_evidence, rtol=1e-5)
    closed = make_importance_sampler(LINEAR.model, 1)(PARAMS, X, KEY)
    assert np.min(np.abs(closed.kl - one.kl)) > 1e-4
    np.testing.assert_array_equal(closed.reconstruction, one.reconstruction)


def test_every_example_is_binarised_by_a_key_of_its_own():
    """Whatever the chunk; noise in the binarisation is drawn anew for each."""
    noisy = lambda key, x: x + jax.random.normal(key, x.shape)  # noqa: E731
    same = np.repeat(X[:1], 6, axis=0)
    estimates = [
        make_importance_sampler(LINEAR.model, 2, binarise=noisy, examples_at_once=size)
        for size in (2, 6)
    ]
    first, second = (estimate(PARAMS, same, KEY).kl for estimate in estimates)
    np.testing.assert_allclose(first, second, rtol=1e-5)
    assert len(np.unique(first.round(5))) == 6


def test_extreme_log_weights_stay_finite():
    decoder = PARAMS["decoder"]["output"]
    far = {**PARAMS, "decoder": {"output": {**decoder, "bias": decoder["bias"] + 1e3}}}
    scores = make_importance_sampler(LINEAR.model, 60)(far, X, KEY)
    assert np.all(scores.log_evidence < -1e5)
    assert np.all(np.isfinite(scores.log_evidence))


def test_progress_counts_every_example_once():
    seen = []
    estimate = make_importance_sampler(LINEAR.model, 2, examples_at_once=3)
    estimate(PARAMS, X, KEY, progress=seen.append)
    assert seen == [3, 6, 7]


def test_one_sampler_takes_parameters_of_several_shapes():
    """The shapes of the event follow from them. Of every other call, the model is not traced."""
    traced = []

    def standard(params=None, *arguments, c=None):
        return Normal(jnp.zeros(1), jnp.zeros(1))

    def likelihood_of(params, z, c=None):
        traced.append(params.shape)
        return Normal(params, jnp.zeros_like(params))

    model = Model(init=None, posterior=standard, prior=standard, likelihood=likelihood_of)
    estimate = make_importance_sampler(model, 3)
    for size in (2, 3, 2, 3):
        found = estimate(jnp.zeros(size), np.ones((5, size), np.float32), KEY)
        exact = -0.5 * size * (1.0 + np.log(2.0 * np.pi))
        np.testing.assert_allclose(found.log_evidence, exact, rtol=1e-6)
    once = len(traced)
    estimate(jnp.ones(3), np.ones((5, 3), np.float32), KEY)
    assert len(traced) == once


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="num_samples must be at least 1, not 0"):
        make_importance_sampler(LINEAR.model, 0)
    with pytest.raises(ValueError, match="samples_at_once must be at least 1, not 0"):
        make_importance_sampler(LINEAR.model, 1, samples_at_once=0)


BITS = vae((4, 3), 2, encoder=mlp((5,)), decoder=mlp((5,)))
BITS_PARAMS = BITS.init(jax.random.key(0), jnp.full((4, 3), 0.4))
WHITE = (np.arange(7 * 12).reshape(7, 4, 3) % 2).astype(np.float32)


@pytest.mark.parametrize("shape", [(7, 12), (7, 4), (7, 3, 4), (4, 3), (7, 1, 4, 3)])
def test_pixels_of_another_shape_are_refused(shape):
    with pytest.raises(BadInputError, match=r"pixels has the shape .* \(N, 4, 3\)"):
        make_importance_sampler(BITS, 2)(BITS_PARAMS, np.zeros(shape, np.float32), KEY)


@pytest.mark.parametrize("shape", [(12,), (4,), (3, 4), (7, 4, 3)])
def test_weights_of_an_example_of_another_shape_are_refused(shape):
    with pytest.raises(BadInputError, match=r"x has the shape .* \(4, 3\)"):
        log_weights(BITS, BITS_PARAMS, jnp.zeros(shape), KEY, 3)


def test_an_example_outside_the_support_is_named():
    """After binarisation, and whichever chunk it is in."""
    grey = WHITE.copy()
    grey[5, 1, 2] = 0.5
    message = "Example 5 of 7 is outside the support of the Bernoulli likelihood"
    for chunk in (2, 3, 100):
        estimate = make_importance_sampler(BITS, 2, examples_at_once=chunk)
        with pytest.raises(BadInputError, match=message):
            estimate(BITS_PARAMS, grey, KEY)
        found = estimate(BITS_PARAMS, grey, KEY, slice(0, 5))
        expected = estimate(BITS_PARAMS, WHITE, KEY, slice(0, 5))
        np.testing.assert_array_equal(found.log_evidence, expected.log_evidence)
    with pytest.raises(BadInputError, match=r"between 0 and 1\) outside .* Bernoulli likelihood"):
        log_weights(BITS, BITS_PARAMS, grey[5], KEY, 3)
    drawn = make_importance_sampler(BITS, 2, binarise=data.dynamic)(BITS_PARAMS, grey, KEY)
    assert np.all(np.isfinite(drawn.log_evidence))
    with pytest.raises(TypeError, match="division by 255, not uint8"):
        make_importance_sampler(BITS, 2)(BITS_PARAMS, np.uint8(255 * WHITE), KEY)


def test_mean_and_standard_error():
    mean, error = mean_and_standard_error(np.array([1.0, 2.0, 6.0]))
    assert mean == 3.0
    np.testing.assert_allclose(error, np.sqrt(7.0 / 3.0))
    mean, error = mean_and_standard_error(np.array([2.0]))
    assert mean == 2.0
    assert np.isnan(error)


def test_a_fair_coin_has_one_bit_per_dimension():
    np.testing.assert_allclose(bits_per_dim(784 * np.log(0.5), 784), 1.0)

"""Autoregressive distributions over a grid, by enumeration of all images of 2 x 2 pixels."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.distributions import Bernoulli, Categorical, UniformIndices
from vae_jax.models import heads, priors
from vae_jax.networks import pixelcnn, transformer

NETWORKS = {"pixelcnn": pixelcnn(6, 2, 3), "transformer": transformer(8, 2, 2)}


def noisy(params, scale=1.0):
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return jax.tree.unflatten(
        structure,
        [
            of + scale * jax.random.normal(key, of.shape)
            for of, key in zip(leaves, keys, strict=True)
        ],
    )


def distribution_of(prior):
    params = noisy(prior.init(jax.random.key(0), None))
    return prior.apply(params, None, None)


def pixels_of(head, network, event_shape):
    """p(x|z) of an image at some features of the decoder."""
    of = heads.autoregressive(head, network, 2)
    params, outputs = of.init(jax.random.key(0), jnp.full(event_shape, 0.4))
    params = noisy(params, 0.4)
    features = jax.random.normal(jax.random.key(2), outputs.shape)
    return of.apply(params, features, event_shape)


def all_of(values, shape):
    return np.array(list(itertools.product(values, repeat=int(np.prod(shape))))).reshape(-1, *shape)


def sum_of_probabilities(distribution, events):
    log_probs = jax.jit(jax.vmap(distribution.log_prob))(jnp.asarray(events))
    return float(np.exp(np.asarray(log_probs, np.float64)).sum()), log_probs


def assert_samples_follow(distribution, events, log_probs, number=4000):
    """The frequencies of samples are the probabilities, each within five standard errors."""
    keys = jax.random.split(jax.random.key(7), number)
    samples = np.asarray(jax.jit(jax.vmap(distribution.sample))(keys)).reshape(number, -1)
    known = {tuple(event.ravel()): index for index, event in enumerate(np.asarray(events))}
    found = np.bincount([known[tuple(row)] for row in samples.tolist()], minlength=len(events))
    p = np.exp(np.asarray(log_probs, np.float64))
    error = np.sqrt(p * (1.0 - p) / number)
    assert (np.abs(found / number - p) <= 5.0 * error + 1.0 / number).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_probabilities_of_all_images_of_three_levels_sum_to_one(name):
    pixels = pixels_of(heads.categorical_levels(3), NETWORKS[name], (2, 2, 1))
    events = (all_of(range(3), (2, 2, 1)) / 2.0).astype(np.float32)
    total, log_probs = sum_of_probabilities(pixels, events)
    assert total == pytest.approx(1.0, abs=1e-5)
    assert np.ptp(np.asarray(log_probs)) > 1.0  # they differ
    assert_samples_follow(pixels, events, log_probs)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_probabilities_of_all_black_and_white_images_sum_to_one(name):
    pixels = pixels_of(heads.bernoulli(), NETWORKS[name], (2, 3, 1))
    total, _ = sum_of_probabilities(pixels, all_of((0, 1), (2, 3, 1)).astype(np.float32))
    assert total == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("usual", "events"),
    [
        (UniformIndices((2, 1, 2), 3), all_of(range(3), (2, 1, 2))),  # two codes at each place
        (UniformIndices((3, 1), 4), all_of(range(4), (3, 1))),
        (Bernoulli(jnp.zeros(5)), all_of((0, 1), (5,)).astype(np.float32)),
        (Categorical(jnp.zeros((3, 3))), np.eye(3, dtype=np.float32)[all_of(range(3), (3,))]),
    ],
    ids=["codes in the plane", "codes on a line", "bits", "one-hot vectors"],
)
def test_priors_of_discrete_latents_sum_to_one(name, usual, events):
    prior = distribution_of(priors.causal(usual, NETWORKS[name]))
    assert prior.event_shape == events.shape[1:]
    total, log_probs = sum_of_probabilities(prior, events)
    assert total == pytest.approx(1.0, abs=1e-5)
    assert_samples_follow(prior, events, log_probs)


def test_a_prior_starts_at_the_usual_one():
    for usual in (
        UniformIndices((3, 2), 4),
        Bernoulli(jnp.zeros(5)),
        Categorical(jnp.zeros((3, 3))),
    ):
        prior = priors.causal(usual, NETWORKS["pixelcnn"])
        p = prior.apply(prior.init(jax.random.key(0), None), None, None)
        z = usual.sample(jax.random.key(1))
        np.testing.assert_allclose(p.log_prob(z), usual.log_prob(z), rtol=1e-6)


def test_pixels_start_at_the_distribution_of_the_head_alone():
    event = jax.random.uniform(jax.random.key(0), (3, 2, 1))
    of = heads.autoregressive(heads.bernoulli(), NETWORKS["pixelcnn"], 4)
    params, outputs = of.init(jax.random.key(1), event)
    head_params, bias = heads.bernoulli().init(jax.random.key(1), event)
    x = (event > 0.5).astype(jnp.float32)
    alone = heads.bernoulli().apply(head_params, bias, event.shape)
    np.testing.assert_allclose(
        of.apply(params, outputs, event.shape).log_prob(x), alone.log_prob(x), rtol=1e-5
    )


def test_teacher_forcing_is_the_product_over_steps_for_every_likelihood_of_pixels():
    key = jax.random.key(4)
    cases = {
        "bernoulli": (heads.bernoulli(), 1),
        "categorical": (heads.categorical_levels(4), 3),
        "logistic_mixture": (heads.logistic_mixture(2), 3),
        "discretised_logistic": (heads.discretised_logistic(), 3),
        "gaussian": (heads.normal_learned_scale(0.3), 1),
    }
    for name, (head, channels) in cases.items():
        pixels = pixels_of(head, NETWORKS["pixelcnn"], (3, 2, channels))
        value = pixels.sample(key)

        def product(value, pixels=pixels):
            flat = value.reshape(pixels.num_places, -1)
            cache, total = pixels.start(), 0.0
            for t in range(pixels.num_places):
                before = flat[max(t - 1, 0)]
                cache, one = pixels.of_place(cache, jnp.int32(t), before)
                total += one.log_prob(flat[t][None, None])
            return total

        np.testing.assert_allclose(
            jax.jit(product)(value), pixels.log_prob(value), rtol=2e-5, err_msg=name
        )
        assert not hasattr(pixels, "in_support") or bool(pixels.in_support(value))


def test_heads_with_a_parameter_for_each_pixel_and_other_events_are_refused():
    per_dim = heads.autoregressive(heads.normal_scale_per_dim(0.3), NETWORKS["pixelcnn"])
    with pytest.raises(ValueError, match="parameters for each pixel"):
        per_dim.init(jax.random.key(0), jnp.zeros((2, 2, 1)))
    of = heads.autoregressive(heads.bernoulli(), NETWORKS["pixelcnn"])
    with pytest.raises(ValueError, match="is no image"):
        of.init(jax.random.key(0), jnp.zeros(4))
    with pytest.raises(ValueError, match="must be positive"):
        heads.autoregressive(heads.bernoulli(), NETWORKS["pixelcnn"], 0)


def test_the_prior_hears_its_condition():
    usual = UniformIndices((2, 2, 1), 3)
    prior = priors.causal(usual, NETWORKS["pixelcnn"], condition_size=2)
    params = noisy(prior.init(jax.random.key(0), None))
    z = jnp.zeros((2, 2, 1), jnp.int32)
    one, other = (prior.apply(params, None, c).log_prob(z) for c in jnp.eye(2))
    assert abs(float(one - other)) > 1e-3
    of_one = prior.apply(params, None, jnp.eye(2)[0])
    total, _ = sum_of_probabilities(of_one, all_of(range(3), (2, 2, 1)))
    assert total == pytest.approx(1.0, abs=1e-5)


def test_continuous_latents_have_no_causal_prior():
    from vae_jax.distributions import standard_normal

    with pytest.raises(ValueError, match="discrete latents"):
        priors.causal(standard_normal((3,)), NETWORKS["pixelcnn"])

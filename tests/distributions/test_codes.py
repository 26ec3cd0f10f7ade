"""Codes: their gradients against the formulas of the papers, their use, and their densities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.distributions import (
    Bernoulli,
    Categorical,
    Code,
    CodePrior,
    Indices,
    UniformIndices,
    kl_divergence,
    perplexity,
    usage,
)
from vae_jax.models import quantisers

KEY = jax.random.key(0)
QUANTISER = quantisers.vector_quantiser(7, 6, groups=2)
PARAMS = {"codebook": jax.random.normal(jax.random.key(5), (2, 1, 7, 3))}
OUTPUTS = jax.random.normal(jax.random.key(6), (4, 6))
WEIGHTS = jax.random.normal(jax.random.key(7), (4, 6))


def surrogate_gradient(kind, outputs=OUTPUTS):
    def of(outputs):
        code = QUANTISER.quantise(PARAMS, outputs).surrogate_sample(KEY, kind)
        return jnp.sum(WEIGHTS * jnp.sin(code.vector))

    return jax.grad(of)(outputs)


def at_code():
    q = QUANTISER.quantise(PARAMS, OUTPUTS).vector
    return q, WEIGHTS * jnp.cos(q)  # the gradient with respect to the vectors


def test_straight_through_takes_the_gradient_of_the_vectors_for_that_of_the_outputs():
    _, of_vectors = at_code()
    np.testing.assert_allclose(surrogate_gradient("straight_through"), of_vectors, rtol=1e-5)


def test_the_rotation_gradient_is_that_of_a_scaled_rotation_matrix():
    """|q| / |e| R' g with R = I - 2 r r' + 2 q^ e^' (Fifty et al. 2024, eq. 4), written out."""
    q, of_vectors = at_code()
    expected = np.zeros((4, 2, 3))
    for place in range(4):
        for group in range(2):
            at = slice(3 * group, 3 * group + 3)
            e, to = (np.asarray(of[place, at], np.float64) for of in (OUTPUTS, q))
            scale, e, to = (
                np.linalg.norm(to) / np.linalg.norm(e),
                e / np.linalg.norm(e),
                (to / np.linalg.norm(to)),
            )
            r = (e + to) / np.linalg.norm(e + to)
            rotation = np.eye(3) - 2.0 * np.outer(r, r) + 2.0 * np.outer(to, e)
            np.testing.assert_allclose(rotation @ e, to, atol=1e-6)
            np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
            expected[place, group] = scale * rotation.T @ np.asarray(of_vectors[place, at])
    np.testing.assert_allclose(
        surrogate_gradient("rotation"), expected.reshape(4, 6), rtol=2e-4, atol=1e-5
    )


@pytest.mark.parametrize("kind", ["straight_through", "rotation"])
def test_surrogates_have_the_value_of_the_code_to_the_bit(kind):
    q = QUANTISER.quantise(PARAMS, OUTPUTS)
    np.testing.assert_array_equal(q.surrogate_sample(KEY, kind).vector, q.vector)
    np.testing.assert_array_equal(q.surrogate_sample(KEY, kind).index, q.index)


def test_the_code_itself_has_no_gradient():
    def of(outputs):
        return jnp.sum(QUANTISER.quantise(PARAMS, outputs).sample(KEY).vector)

    assert not np.asarray(jax.grad(of)(OUTPUTS)).any()


@pytest.mark.parametrize("family", [Bernoulli, Categorical])
def test_bits_and_one_hot_vectors_have_the_gradient_of_their_probabilities(family):
    logits, weights = jax.random.normal(KEY, (2, 3, 4))

    def of_sample(logits):
        return jnp.sum(weights * family(logits).surrogate_sample(KEY, "straight_through"))

    def of_mean(logits):
        return jnp.sum(weights * family(logits).mean)

    np.testing.assert_allclose(jax.grad(of_sample)(logits), jax.grad(of_mean)(logits), rtol=1e-5)
    sample = family(logits).surrogate_sample(KEY, "straight_through")
    np.testing.assert_array_equal(sample, family(logits).sample(KEY))
    with pytest.raises(TypeError, match="codes of a codebook"):
        family(logits).surrogate_sample(KEY, "rotation")


def test_rotation_needs_a_codebook():
    q = quantisers.binary_quantiser(3).quantise({}, jnp.ones((2, 3)))
    with pytest.raises(TypeError, match="straight_through"):
        q.surrogate_sample(KEY, "rotation")


def test_a_code_has_mass_one_and_its_kl_is_minus_log_p():
    q = QUANTISER.quantise(PARAMS, OUTPUTS)
    code = q.sample(KEY)
    other = Code(code.index.at[0, 0].add(1) % 7, code.vector)
    assert float(q.log_prob(code)) == 0.0
    assert float(q.log_prob(other)) == -np.inf
    logits = jax.random.normal(KEY, (4, 2, 7))
    for of_index in (UniformIndices((4, 2), 7), Indices(logits)):
        p = CodePrior(of_index, jax.tree_util.Partial(QUANTISER.vectors, PARAMS))
        np.testing.assert_allclose(kl_divergence(q, p), -p.log_prob(code), rtol=1e-6)
        drawn, log_prob = p.sample_and_log_prob(KEY)
        np.testing.assert_allclose(log_prob, p.log_prob(drawn), rtol=1e-6)
        assert drawn.vector.shape == p.event_shape == (4, 6)


def test_indices_are_categorical_variables():
    logits = jax.random.normal(KEY, (3, 5))
    value = jnp.array([0, 4, 2])
    expected = Categorical(logits).log_prob(jax.nn.one_hot(value, 5))
    np.testing.assert_allclose(Indices(logits).log_prob(value), expected, rtol=1e-6)
    uniform = UniformIndices((3,), 5)
    np.testing.assert_allclose(uniform.log_prob(value), -3 * np.log(5), rtol=1e-6)
    assert float(uniform.log_prob(jnp.array([0, 5, 2]))) == -np.inf
    for distribution in (Indices(logits), uniform):
        with pytest.raises(ValueError, match="no density"):
            distribution.log_prob(jnp.zeros(2, jnp.int32))


def test_usage_and_perplexity():
    index = jnp.array([[0, 1], [0, 2], [3, 1], [0, 1]])
    counts = usage(index, 4)
    np.testing.assert_array_equal(counts, [[3, 0, 0, 1], [0, 3, 1, 0]])
    share = np.array([0.75, 0.25])
    expected = np.exp(-(share * np.log(share)).sum())
    np.testing.assert_allclose(perplexity(counts), [expected, expected], rtol=1e-6)
    np.testing.assert_allclose(perplexity(jnp.ones((1, 8))), [8.0], rtol=1e-6)

"""Quantisers, against search through all codes and against formulas."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.models import quantisers


def test_the_vector_quantiser_takes_the_nearest_entry_of_each_group():
    quantiser = quantisers.vector_quantiser(9, 6, groups=2)
    params = {"codebook": jax.random.normal(jax.random.key(0), (2, 1, 9, 3))}
    outputs = jax.random.normal(jax.random.key(1), (4, 5, 6))
    q = quantiser.quantise(params, outputs)
    books = np.asarray(params["codebook"])[:, 0]
    for place in np.ndindex(4, 5):
        for group in range(2):
            e = np.asarray(outputs[place])[3 * group : 3 * group + 3]
            nearest = np.square(books[group] - e).sum(axis=1).argmin()
            assert int(q.index[place][group]) == nearest
            np.testing.assert_array_equal(
                q.vector[place][3 * group : 3 * group + 3], books[group, nearest]
            )
    np.testing.assert_array_equal(quantiser.vectors(params, q.index), q.vector)


def test_residual_codebooks_round_what_is_left():
    quantiser = quantisers.vector_quantiser(6, 4, residual=3)
    params = {"codebook": jax.random.normal(jax.random.key(0), (1, 3, 6, 4))}
    outputs = jax.random.normal(jax.random.key(1), (20, 4))
    q = quantiser.quantise(params, outputs)
    rest = np.asarray(outputs)
    for stage in range(3):
        book = np.asarray(params["codebook"])[0, stage]
        index = np.square(rest[:, None] - book[None]).sum(axis=-1).argmin(axis=1)
        np.testing.assert_array_equal(q.index[:, stage], index)
        np.testing.assert_allclose(q.inputs[:, 0, stage], rest, atol=1e-6)
        rest = rest - book[index]
    np.testing.assert_allclose(q.vector, np.asarray(outputs) - rest, atol=1e-5)
    np.testing.assert_allclose(quantiser.vectors(params, q.index), q.vector, atol=1e-6)


@pytest.mark.parametrize("levels", [(3, 4, 2), (8, 6, 5), (2, 2), (7,)])
def test_fsq_is_a_bijection_of_indices_and_vectors(levels):
    quantiser = quantisers.finite_scalar_quantiser(levels)
    index = jnp.arange(int(np.prod(levels)))[:, None]
    vectors = np.asarray(quantiser.vectors({}, index))
    assert quantiser.num_codes == len(np.unique(vectors, axis=0)) == len(index)
    assert vectors.min() >= -1.0
    assert vectors.max() <= 1.0
    for dim, level in enumerate(levels):
        assert len(np.unique(vectors[:, dim])) == level
    # Outputs that are bounded to a vector are rounded to it.
    each = np.asarray(levels)
    half, offset = (each - 1) * 1.001 / 2, np.where(each % 2 == 0, 0.5, 0.0)
    bounded = vectors * (each // 2)
    outputs = np.arctanh((bounded + offset) / half) - np.arctanh(offset / half)
    q = quantiser.quantise({}, jnp.asarray(outputs, jnp.float32))
    np.testing.assert_array_equal(q.index, index)
    np.testing.assert_allclose(q.vector, vectors, atol=1e-6)


def test_fsq_reaches_every_code_from_outputs_of_any_size():
    quantiser = quantisers.finite_scalar_quantiser((4, 3))
    grid = jnp.asarray(list(itertools.product(np.linspace(-6, 6, 61), repeat=2)), jnp.float32)
    q = quantiser.quantise({}, grid)
    assert set(np.asarray(q.index).ravel()) == set(range(12))


def test_lfq_takes_the_signs():
    quantiser = quantisers.binary_quantiser(5)
    outputs = jax.random.normal(jax.random.key(0), (30, 5))
    q = quantiser.quantise({}, outputs)
    np.testing.assert_array_equal(q.vector, np.sign(outputs))
    np.testing.assert_array_equal(
        q.index[:, 0], (np.asarray(outputs > 0) * 2 ** np.arange(5)).sum(axis=1)
    )
    everything = jnp.arange(32)[:, None]
    vectors = quantiser.vectors({}, everything)
    np.testing.assert_array_equal(quantiser.quantise({}, vectors).index, everything)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: quantisers.vector_quantiser(1), "at least 2"),
        (lambda: quantisers.vector_quantiser(4, 6, groups=4), "divide dim"),
        (lambda: quantisers.vector_quantiser(4, 6, residual=0), "positive"),
        (lambda: quantisers.finite_scalar_quantiser(()), "at least 2 each"),
        (lambda: quantisers.finite_scalar_quantiser((8, 1)), "at least 2 each"),
        (lambda: quantisers.finite_scalar_quantiser((1000,) * 4), "largest index"),
        (lambda: quantisers.binary_quantiser(31), "largest index"),
        (lambda: quantisers.binary_quantiser(0), "positive"),
    ],
)
def test_codes_that_are_none_or_too_many_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()

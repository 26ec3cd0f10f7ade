"""The unrolled generator against JAX's own, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.keys import unrolled

KEYS = [jax.random.key(0), jax.random.key(2**32 - 1), jax.random.split(jax.random.key(7))[1]]
DRAWS = {
    "bits": lambda key: jax.random.bits(key, (3, 5, 7)),
    "bits of 8": lambda key: jax.random.bits(key, (33,), jnp.uint8),
    "bits of 16": lambda key: jax.random.bits(key, (33,), jnp.uint16),
    "normal": lambda key: jax.random.normal(key, (4, 3)),
    "one": lambda key: jax.random.uniform(key),
    "permutation": lambda key: jax.random.permutation(key, 100),
    "split": lambda key: jax.random.key_data(jax.random.split(key, (3, 4))),
    "fold_in": lambda key: jax.random.key_data(jax.random.fold_in(key, jnp.int32(-3))),
    "split, vmapped": lambda key: jax.vmap(jax.random.normal)(jax.random.split(key, 5)),
    "seed": lambda key: jax.random.key_data(
        jax.random.key(5, impl=jax.random.key_impl(key)),
    ),
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("compiled", [False, True])
def test_all_draws_are_those_of_jax(name, key, compiled):
    draw = jax.jit(DRAWS[name]) if compiled else DRAWS[name]
    np.testing.assert_array_equal(draw(unrolled(key)), DRAWS[name](key))


def test_words_of_64_bits():
    with jax.enable_x64(True):
        key = jax.random.key(3)
        expected = jax.random.bits(key, (9,), jnp.uint64)
        np.testing.assert_array_equal(jax.random.bits(unrolled(key), (9,), jnp.uint64), expected)


def test_arrays_of_keys_and_other_generators():
    keys = jax.random.split(jax.random.key(0), (2, 3))
    np.testing.assert_array_equal(jax.random.key_data(unrolled(keys)), jax.random.key_data(keys))
    other = jax.random.key(0, impl="rbg")
    assert unrolled(other) is other
    assert unrolled(unrolled(keys)).dtype == unrolled(keys).dtype

"""The installed JAX computes what this project is made of."""

import jax
import jax.numpy as jnp
import numpy as np


def test_vmapped_products_followed_by_a_reduction_are_not_miscompiled():
    """JAX 0.9.1, 0.9.2 and 0.10.* fail here on the CPU (jax-ml/jax #39103)."""
    weights = jnp.arange(9.0, dtype=jnp.float32).reshape(3, 3) / 7.0
    v = jax.random.normal(jax.random.key(0), (40_000, 3))
    result = jax.jit(jax.vmap(lambda v: jnp.sum(weights @ v)))(v)
    expected = np.asarray(v, np.float64) @ np.asarray(weights, np.float64).sum(axis=0)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_two_host_devices_are_there():
    """tests/conftest.py asks for them, so that several devices are tested on any machine."""
    assert jax.device_count() >= 2

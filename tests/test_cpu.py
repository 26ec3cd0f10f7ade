"""What is written for the CPU has the values of the plain computation of other platforms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax import cpu, data, keys
from vae_jax.distributions import Normal


@pytest.fixture(params=["cpu", "gpu"])
def platform(request, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: request.param)
    return request.param


def primitives(function, *arguments):
    program = jax.make_jaxpr(lambda *own: function(*own))(*arguments)  # traced anew
    return {equation.primitive.name for equation in program.eqns}


def test_sums_are_products_on_the_cpu_alone(platform):
    values = jax.random.normal(jax.random.key(0), (3, 50))
    np.testing.assert_allclose(cpu.sum_of(values), np.sum(values, axis=1), rtol=1e-5)
    assert ("dot_general" in primitives(cpu.sum_of, values)) == (platform == "cpu")


def test_noise_is_the_same_bits_on_every_platform(platform):
    key = jax.random.key(3)
    expected = np.asarray(jax.random.normal(key, (5,)))
    np.testing.assert_array_equal(cpu.kept_noise(jnp.asarray(expected), key), expected)
    q = Normal(jnp.zeros(5), jnp.zeros(5))
    np.testing.assert_array_equal(q.sample(key), expected)
    assert ("div" in primitives(cpu.kept_noise, expected, key)) == (platform == "cpu")


def test_bits_are_the_same_on_every_platform(platform):
    key, pixels = jax.random.key(4), np.arange(256, dtype=np.uint8)
    drawn = data.dynamic(key, pixels)
    limits = pixels.astype(np.uint32) * np.uint32(0x01010101)
    np.testing.assert_array_equal(drawn, jax.random.bits(key, (256,)) < limits)
    assert ("sqrt" in primitives(cpu.kept_bits, drawn)) == (platform == "cpu")
    is_other = jax.random.key_impl(keys.unrolled(key)) != jax.random.key_impl(key)
    assert is_other == (platform == "cpu")

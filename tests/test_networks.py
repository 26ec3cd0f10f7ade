import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.networks import gated_mlp, mlp

X = jnp.linspace(-1.0, 1.0, 12).reshape(2, 3, 2)


def dense(params, h):
    return h @ params["kernel"] + params["bias"]


def sigmoid(h):
    return 1 / (1 + np.exp(-h))


def test_mlp_is_affine_maps_with_activations_between():
    network = mlp((5, 4), jnp.tanh)(3)
    params = network.init(jax.random.key(0), X, 0.0)
    h = np.tanh(dense(params["Dense_0"], np.ravel(X)))
    h = np.tanh(dense(params["Dense_1"], h))
    np.testing.assert_allclose(network.apply(params, X), dense(params["output"], h), rtol=1e-5)


@pytest.mark.parametrize("activation", [None, jax.nn.relu])
def test_gated_mlp_multiplies_values_by_sigmoid_gates(activation):
    network = gated_mlp((5, 4), activation)(3)
    params = network.init(jax.random.key(0), X, 0.0)
    h = np.ravel(X)
    for layer, width in (("Dense_0", 5), ("Dense_1", 4)):
        both = dense(params[layer], h)
        value = both[:width] if activation is None else np.maximum(both[:width], 0)
        h = value * sigmoid(both[width:])
    np.testing.assert_allclose(network.apply(params, X), dense(params["output"], h), rtol=1e-5)


@pytest.mark.parametrize("architecture", [mlp((7,)), gated_mlp((7,)), mlp(())])
def test_output_bias_shifts_the_untrained_output(architecture):
    network = architecture(3)
    bias = jnp.array([1.0, -2.0, 0.5])
    plain, shifted = (network.init(jax.random.key(1), X, b) for b in (0.0, bias))
    np.testing.assert_allclose(network.apply(shifted, X) - network.apply(plain, X), bias, rtol=1e-5)


def test_no_hidden_layer_is_an_affine_map():
    network = mlp(())(3)
    params = network.init(jax.random.key(0), X, 0.0)
    assert set(params) == {"output"}
    np.testing.assert_allclose(
        network.apply(params, X), dense(params["output"], jnp.ravel(X)), rtol=1e-6
    )

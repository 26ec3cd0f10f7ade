"""Convolutions as products, against XLA's, and the networks made of them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.networks import conv
from vae_jax.networks.convolution import by_products, by_xla, convolve, convolve_transposed

KEY = jax.random.key(0)
# (H, W), kernel, stride
CASES = [
    ((8, 8), 4, 2),
    ((7, 9), 4, 2),
    ((5, 6), 3, 1),
    ((6, 5), 3, 2),
    ((9, 7), 5, 3),
    ((4, 5), 1, 1),
    ((6, 7), 2, 2),
    ((7, 7), 1, 2),
    ((3, 2), 5, 1),
]


def inputs(size, kernel_size, channels=3, outputs=4):
    x_key, kernel_key = jax.random.split(KEY)
    x = jax.random.normal(x_key, (*size, channels))
    return x, jax.random.normal(kernel_key, (kernel_size, kernel_size, channels, outputs))


@pytest.mark.parametrize(("size", "kernel_size", "stride"), CASES)
def test_products_are_the_convolution_of_xla_with_its_gradients(size, kernel_size, stride):
    x, kernel = inputs(size, kernel_size)
    weights = jnp.cos(jnp.arange(1000.0))

    @partial(jax.jit, static_argnums=0)
    def value_and_gradients(function, x, kernel):
        def total(x, kernel):
            y = function(x, kernel, stride)
            return jnp.sum(weights[: y.size].reshape(y.shape) * y**2), y

        (_, y), gradients = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(x, kernel)
        return y, *gradients

    found = value_and_gradients(by_products, x, kernel)
    for one, other in zip(found, value_and_gradients(by_xla, x, kernel), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(convolve(x, kernel, stride), by_products(x, kernel, stride))
    rows, columns = (-(-length // stride) for length in size)
    assert found[0].shape == (rows, columns, 4)


@pytest.mark.parametrize(("size", "kernel_size", "stride"), CASES)
def test_the_transposed_convolution_is_the_transpose(size, kernel_size, stride):
    """<conv(x), y> = <x, transposed(y)>, and the transpose of XLA's convolution is the same."""
    x, kernel = inputs(size, kernel_size)

    @jax.jit
    def both(x, kernel):
        forward = convolve(x, kernel, stride)
        y = jnp.sin(jnp.arange(forward.size, dtype=x.dtype)).reshape(forward.shape)
        (of_xla,) = jax.linear_transpose(lambda x: by_xla(x, kernel, stride), x)(y)
        return forward, y, convolve_transposed(y, kernel, size, stride), of_xla

    forward, y, found, of_xla = both(x, kernel)
    np.testing.assert_allclose(jnp.sum(forward * y), jnp.sum(x * found), rtol=1e-4)
    np.testing.assert_allclose(found, of_xla, rtol=1e-4, atol=1e-4)


def test_vmap_is_a_loop():
    x, kernel = inputs((7, 9), 4)
    many = jnp.stack([x, 2.0 * x, x[::-1]])
    found = jax.jit(jax.vmap(lambda x: convolve(x, kernel, 2)))(many)
    for one, image in zip(found, many, strict=True):
        np.testing.assert_allclose(one, by_xla(image, kernel, 2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(28, 28), (13, 20)])
def test_networks_are_their_layers_and_keep_the_variance(size):
    """Each by hand with XLA's convolutions, encoder and decoder."""
    relu, image = jax.nn.relu, (*size, 3)
    architecture = conv((8, 16), (32,))
    encoder, decoder = architecture(image, (6,)), architecture((6,), image)
    params = jax.jit(encoder.init)(KEY, jnp.arange(6.0))
    x = jax.random.normal(jax.random.key(1), image)
    h = x
    for name in ("_Convolution_0", "_Convolution_1"):
        layer = params[name]
        h = relu(by_xla(h, layer["kernel"], 2) + layer["bias"][None, None])
    assert h.shape == (-(-size[0] // 4), -(-size[1] // 4), 16)
    h = relu(jnp.ravel(h) @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"])
    expected = h @ params["output"]["kernel"] + params["output"]["bias"]
    np.testing.assert_allclose(jax.jit(encoder.apply)(params, x), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(params["output"]["bias"], np.arange(6.0))

    bias = jax.random.normal(KEY, image)
    params = jax.jit(decoder.init)(KEY, bias)
    z = jax.random.normal(jax.random.key(2), (6,))
    module = params["module"]
    h = relu(z @ module["Dense_0"]["kernel"] + module["Dense_0"]["bias"])
    h = h @ module["Dense_1"]["kernel"] + module["Dense_1"]["bias"]
    h = h.reshape(-(-size[0] // 4), -(-size[1] // 4), 16)
    middle = (-(-size[0] // 2), -(-size[1] // 2))
    for name, shape in (("0", (*middle, 8)), ("1", image)):
        layer = module[f"_TransposedConvolution_{name}"]
        forward = partial(by_xla, kernel=layer["kernel"], stride=2)
        (h,) = jax.linear_transpose(forward, jnp.zeros(shape))(relu(h))
        if "bias" in layer:
            h = h + layer["bias"][None, None]
    found = jax.jit(decoder.apply)(params, z)
    np.testing.assert_allclose(found, h + bias, rtol=1e-4, atol=1e-4)
    outputs = jax.jit(jax.vmap(partial(decoder.apply, params)))(
        jax.random.normal(jax.random.key(3), (200, 6))
    )
    assert 0.05 < np.var(np.asarray(outputs - bias[None])) < 1.0


def test_networks_without_an_image_are_refused():
    with pytest.raises(ValueError, match=r"for images \[H, W, C\], but the shapes here are \(5,\)"):
        conv()((5,), (6,))

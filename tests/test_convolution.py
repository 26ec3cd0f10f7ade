"""Convolutions as products, against XLA's, and the networks made of them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.networks import conv, resnet
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


def normalised(x, layer, num_groups):
    """Group normalisation by hand; x where there are no groups."""
    if num_groups is None:
        return x
    groups = x.reshape(*x.shape[:2], num_groups, -1)
    mean, variance = (f(groups, axis=(0, 1, 3), keepdims=True) for f in (jnp.mean, jnp.var))
    groups = (groups - mean) / jnp.sqrt(variance + 1e-6)
    return groups.reshape(x.shape) * layer["scale"][None, None] + layer["bias"][None, None]


@pytest.mark.parametrize(("size", "num_groups"), [((28, 28), None), ((13, 20), None), ((7, 9), 4)])
def test_networks_are_their_layers_and_keep_the_variance(size, num_groups):
    """Each by hand with XLA's convolutions, encoder and decoder."""
    relu, image = jax.nn.relu, (*size, 3)
    architecture = conv((8, 16), (32,), num_groups=num_groups)
    encoder, decoder = architecture(image, (6,)), architecture((6,), image)
    params = jax.jit(encoder.init)(KEY, jnp.arange(6.0))
    x = jax.random.normal(jax.random.key(1), image)
    h = x
    for i in range(2):
        layer = params[f"_Convolution_{i}"]
        h = by_xla(h, layer["kernel"], 2) + layer["bias"][None, None]
        h = relu(normalised(h, params.get(f"GroupNorm_{i}"), num_groups))
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
    for i, shape in enumerate(((*middle, 8), image)):
        layer = module[f"_TransposedConvolution_{i}"]
        forward = partial(by_xla, kernel=layer["kernel"], stride=2)
        h = relu(normalised(h, module.get(f"GroupNorm_{i}"), num_groups))
        (h,) = jax.linear_transpose(forward, jnp.zeros(shape))(h)
        if "bias" in layer:
            h = h + layer["bias"][None, None]
    found = jax.jit(decoder.apply)(params, z)
    np.testing.assert_allclose(found, h + bias, rtol=1e-4, atol=1e-4)
    outputs = jax.jit(jax.vmap(partial(decoder.apply, params)))(
        jax.random.normal(jax.random.key(3), (200, 6))
    )
    assert 0.05 < np.var(np.asarray(outputs - bias[None])) < 1.0


def test_an_encoder_takes_images_as_channels_and_values_as_shifts():
    """By hand, with a condition that is an image and one that is not."""
    encoder = conv((8,), ())((6, 5, 2), (4,), (6, 5, 1), (3,))
    params = jax.jit(encoder.init)(KEY, 0.0)
    x_key, image_key, values_key = jax.random.split(KEY, 3)
    x = jax.random.normal(x_key, (6, 5, 2))
    image, values = jax.random.normal(image_key, (6, 5, 1)), jax.random.normal(values_key, (3,))
    layer = params["_Convolution_0"]
    h = by_xla(jnp.concatenate([x, image], axis=-1), layer["kernel"], 2)
    h = jax.nn.relu(h + (layer["bias"] + values @ layer["values"]["kernel"])[None, None])
    expected = jnp.ravel(h) @ params["output"]["kernel"] + params["output"]["bias"]
    found = jax.jit(encoder.apply)(params, x, image, values)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_many_values_of_a_condition_cost_no_more_than_a_dense_layer():
    def cost(*condition_shape):
        encoder = conv((16, 32), (30,))((28, 28, 1), (40,), *condition_shape)
        params = jax.eval_shape(lambda: encoder.init(KEY, 0.0))
        inputs = [jnp.zeros(shape) for shape in ((28, 28, 1), *condition_shape)]
        return jax.jit(encoder.apply).lower(params, *inputs).compile().cost_analysis()["flops"]

    dense = 2 * 100 * 16  # operations of 100 values, one for each of 16 channels
    assert dense <= cost((100,)) - cost() < 4 * dense


@pytest.mark.parametrize("num_groups", [None, 2])
def test_a_residual_network_is_its_blocks(num_groups):
    """One stage of one block by hand, encoder and decoder."""
    relu, image = jax.nn.relu, (7, 8, 2)
    architecture = resnet((4,), (), num_blocks=1, num_groups=num_groups)
    encoder, decoder = architecture(image, (3,)), architecture((3,), image)
    params = jax.jit(encoder.init)(KEY)
    x = jax.random.normal(jax.random.key(1), image)

    def convolved(x, layer, stride):
        return by_xla(x, layer["kernel"], stride) + layer["bias"][None, None]

    def block(x, params, first):
        h = x
        for layer in (0, 1):
            norm = params.get(f"GroupNorm_{layer}")
            h = convolved(
                relu(normalised(h, norm, num_groups)), params[f"_Convolution_{first + layer}"], 1
            )
        return relu(x + h)

    h = block(convolved(x, params["_Convolution_0"], 2), params, 1)
    expected = jnp.ravel(h) @ params["output"]["kernel"]
    np.testing.assert_allclose(jax.jit(encoder.apply)(params, x), expected, rtol=1e-4, atol=1e-4)

    z = jnp.array([0.3, -1.0, 2.0])
    params = jax.jit(decoder.init)(KEY)["module"]
    h = (z @ params["Dense_0"]["kernel"]).reshape(4, 4, 4)
    kernel = params["_TransposedConvolution_0"]["kernel"]
    (expected,) = jax.linear_transpose(lambda x: by_xla(x, kernel, 2), jnp.zeros(image))(
        block(h, params, 0)
    )
    found = jax.jit(decoder.apply)({"module": params, "output_bias": 0.0}, z)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_residual_blocks_keep_the_variance_over_fifty_layers():
    """With the identity as activation the variance grows by (1 + 1/N)^N < e for N blocks."""
    num_blocks, image = 25, (8, 8, 16)
    of_blocks = resnet((16,), (), lambda x: x, num_blocks=num_blocks)(image, (1,))
    params = jax.jit(of_blocks.init)(KEY)
    x = jax.random.normal(jax.random.key(1), image)
    h = by_xla(x, params["_Convolution_0"]["kernel"], 2)
    before = float(jnp.var(h))
    for i in range(num_blocks):
        first, second = (params[f"_Convolution_{2 * i + j}"]["kernel"] for j in (1, 2))
        h = h + by_xla(by_xla(h, first, 1), second, 1) / np.sqrt(num_blocks)
    assert 0.5 * before < jnp.var(h) < 3.0 * before
    expected = jnp.ravel(h) @ params["output"]["kernel"]
    np.testing.assert_allclose(of_blocks.apply(params, x), expected, rtol=1e-3, atol=1e-3)


def test_groups_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match=r"num_groups=3 must divide the channels, \(32, 64\)"):
        resnet((32, 64), num_groups=3)
    with pytest.raises(ValueError, match=r"num_groups=3 must divide the channels, \(32, 64\)"):
        conv((32, 64), num_groups=3)


def test_networks_without_an_image_are_refused():
    with pytest.raises(ValueError, match=r"for images \[H, W, C\], but the shapes here are \(5,\)"):
        conv()((5,), (6,))

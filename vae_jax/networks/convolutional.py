"""Convolutional encoders and decoders of images of any size."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from vae_jax.networks.base import Architecture, Shape, joined, zeros_of
from vae_jax.networks.convolution import convolve, convolve_transposed
from vae_jax.networks.dense import with_dense_output
from vae_jax.networks.own_modules import with_output_bias


def conv(
    channels: Sequence[int] = (32, 64),
    hidden: Sequence[int] = (256,),
    activation: Callable[[jax.Array], jax.Array] = nn.relu,
    *,
    kernel_size: int = 4,
    stride: int = 2,
    num_groups: int | None = None,
) -> Architecture:
    """A convolutional encoder of images [H, W, C], or the decoder that mirrors it.

    The encoder has strided convolutions and then dense layers. The decoder has dense layers and
    then transposed convolutions. Sizes that the stride does not divide are rounded up by the
    encoder, and the decoder cuts off what is too much. Images of any size can be taken.

    Args:
      channels: channels of the encoder's convolutions; the decoder has them in reverse.
      hidden: widths of the encoder's dense layers; the decoder has them in reverse.
      activation: elementwise activation function.
      kernel_size: side of all kernels.
      stride: stride of all convolutions.
      num_groups: number of groups of channels that are normalised together (Wu & He 2018) before
        each activation between convolutions, which must divide the channels; None for no
        normalisation.

    Returns:
      A function (input_shape, output_shape) -> `Network`: an encoder if the input is an image, a
      decoder if the output is one. Between an image and one as small as the stages make it, such as
      a grid of codes, there are no dense layers.

    Raises:
      ValueError: `num_groups` does not divide a number of channels; or (when called) neither the
        input nor the output is an image [H, W, C].
    """
    return _encoder_or_decoder(
        channels=tuple(channels),
        hidden=tuple(hidden),
        kernel_size=kernel_size,
        stride=stride,
        activation=activation,
        blocks=_Blocks(0, 0, _groups(num_groups, channels)),
    )


def resnet(
    channels: Sequence[int] = (64, 64, 64),
    hidden: Sequence[int] = (256,),
    activation: Callable[[jax.Array], jax.Array] = nn.relu,
    *,
    num_blocks: int = 2,
    num_groups: int | None = None,
) -> Architecture:
    """A residual convolutional encoder of images [H, W, C], or the decoder that mirrors it.

    A stage of the encoder halves the image (4 x 4, stride 2) and has residual blocks
    x + conv(f(conv(f(x)))) / sqrt(number of blocks) with 3 x 3 kernels, f the activation after
    group normalisation, if any. The division keeps the variance within a factor of e over any
    number of blocks. Sizes are treated as by `conv`.

    Args:
      channels: channels of the encoder's stages; the decoder has them in reverse.
      hidden: widths of the encoder's dense layers; the decoder has them in reverse.
      activation: elementwise activation function.
      num_blocks: number of residual blocks of a stage.
      num_groups: number of groups of channels that are normalised together (Wu & He 2018), which
        must divide the channels; None for no normalisation.

    Returns:
      A function (input_shape, output_shape) -> `Network`: an encoder if the input is an image, a
      decoder if the output is one. Between an image and one as small as the stages make it, such as
      a grid of codes, there are no dense layers.

    Raises:
      ValueError: `num_groups` does not divide a number of channels; or (when called) neither the
        input nor the output is an image [H, W, C].
    """
    blocks = _Blocks(num_blocks, num_blocks * len(channels), _groups(num_groups, channels))
    return _encoder_or_decoder(
        channels=tuple(channels),
        hidden=tuple(hidden),
        kernel_size=4,
        stride=2,
        activation=activation,
        blocks=blocks,
    )


def _groups(num_groups: int | None, channels: Sequence[int]) -> int | None:
    if num_groups is not None and any(number % num_groups for number in channels):
        raise ValueError(f"num_groups={num_groups} must divide the channels, {tuple(channels)}.")
    return num_groups


class _Blocks(NamedTuple):
    """The residual blocks of a stage, if any, and the groups that it normalises."""

    number: int
    of_all_stages: int
    num_groups: int | None


def _encoder_or_decoder(**layers: Any) -> Architecture:
    """The architecture of layers, the fields that `_Encoder` and `_Decoder` have in common."""

    def architecture(input_shape, output_shape, *condition_shape):
        inputs = zeros_of(input_shape, *condition_shape)
        if len(input_shape) == 3 and len(output_shape) == 3:
            module = _in_the_plane(layers, tuple(input_shape), tuple(output_shape))
        elif len(input_shape) == 3:
            encoder = _Encoder(**layers, num_outputs=math.prod(output_shape))
            return with_dense_output(encoder, input_shape, output_shape, *condition_shape)
        elif len(output_shape) == 3:
            module = _Decoder(**layers, output_shape=tuple(output_shape))
        else:
            raise ValueError(
                "A convolutional network is for images [H, W, C], but the shapes here are "
                f"{input_shape} and {output_shape}: use networks.mlp."
            )
        return with_output_bias(
            "The convolutional network",
            inputs,
            output_shape,
            init=lambda key: module.init(key, *inputs)["params"],
            apply=lambda params, *inputs: module.apply({"params": params}, *inputs),
        )

    return architecture


def grid_of(event_shape: Shape, num_stages: int) -> tuple[int, int]:
    """The height and width of an image behind a number of stages, each of which halves it."""
    height, width = event_shape[:2]
    for _ in range(num_stages):
        height, width = -(-height // 2), -(-width // 2)
    return height, width


def _in_the_plane(layers: dict[str, Any], input_shape: Shape, output_shape: Shape) -> nn.Module:
    """The encoder, or decoder, between an image and a small one that its stages make of it."""
    stages = len(layers["channels"])
    if layers["stride"] == 2 and output_shape[:2] == grid_of(input_shape, stages):
        return _PlaneEncoder(**layers, num_outputs=output_shape[2])
    if layers["stride"] == 2 and input_shape[:2] == grid_of(output_shape, stages):
        return _PlaneDecoder(**layers, output_shape=output_shape)
    raise ValueError(
        f"{stages} stages of stride {layers['stride']} do not lead from {input_shape} to "
        f"{output_shape}."
    )


class _Stages(nn.Module):
    """What encoders and decoders are made of."""

    channels: tuple[int, ...]
    hidden: tuple[int, ...]
    kernel_size: int
    stride: int
    activation: Callable[[jax.Array], jax.Array]
    blocks: _Blocks


class _PlaneEncoder(_Stages):
    """An encoder that keeps the plane: stages, and then an affine map of each pixel."""

    num_outputs: int

    @nn.compact
    def __call__(self, x, *condition):
        return nn.Dense(self.num_outputs, name="output")(_reduced(x, self, *condition))


class _PlaneDecoder(_Stages):
    """The decoder that mirrors `_PlaneEncoder`."""

    output_shape: Shape

    @nn.compact
    def __call__(self, z, *condition):
        x = _Convolution(self.channels[-1], 3, 1)(z, *condition)
        return _enlarged(x, self)


class _Encoder(_Stages):
    num_outputs: int

    @nn.compact
    def __call__(self, x, *condition):
        h = _reduced(x, self, *condition)
        h = joined(h) if self.channels else joined(h, *condition)
        for width in self.hidden:
            h = self.activation(nn.Dense(width)(h))
        return nn.Dense(self.num_outputs, name="output")(h)


class _Decoder(_Stages):
    output_shape: Shape

    @nn.compact
    def __call__(self, z, *condition):
        height, width = _sizes(self)[-1]
        h = joined(z, *condition)
        for num_units in self.hidden[::-1]:
            h = self.activation(nn.Dense(num_units)(h))
        number = self.channels[-1] if self.channels else self.output_shape[-1]
        x = nn.Dense(height * width * number)(h).reshape(height, width, number)
        return _enlarged(x, self)


def _reduced(x: jax.Array, encoder: Any, *condition: jax.Array) -> jax.Array:
    """The stages of an encoder, in its compact method. x: [H, W, C]."""
    for number in encoder.channels:
        x = _Convolution(number, encoder.kernel_size, encoder.stride)(x, *condition)
        x = encoder.activation(_residual(x, encoder.blocks, encoder.activation))
        condition = ()  # which the first stage takes
    return x


def _sizes(decoder: Any) -> list[tuple[int, int]]:
    """The heights and widths of a decoder's images, the last one first."""
    height, width, _ = decoder.output_shape
    sizes = [(height, width)]
    for _ in decoder.channels:
        height, width = -(-height // decoder.stride), -(-width // decoder.stride)
        sizes.append((height, width))
    return sizes


def _enlarged(x: jax.Array, decoder: Any) -> jax.Array:
    """The stages of a decoder behind its first layers, in its compact method. x: [h, w, C]."""
    sizes, channels = _sizes(decoder), (decoder.output_shape[-1], *decoder.channels)
    for layer in reversed(range(len(decoder.channels))):
        x = decoder.activation(_residual(x, decoder.blocks, decoder.activation))
        x = _TransposedConvolution(
            channels[layer],
            sizes[layer],
            decoder.kernel_size,
            decoder.stride,
            use_bias=layer > 0,
        )(x)
    return x  # the output bias, one for each pixel, is added to it


def _residual(x: jax.Array, blocks: _Blocks, activation: Callable) -> jax.Array:
    """A stage behind its strided convolution, in the compact method of a module. x: [H, W, C]."""

    def normalised(x):
        if blocks.num_groups is None:
            return x
        return nn.GroupNorm(blocks.num_groups)(x[None])[0]

    if blocks.number == 0:
        return normalised(x)
    channels = x.shape[-1]
    for _ in range(blocks.number):
        h = _Convolution(channels, 3, 1)(activation(normalised(x)))
        h = _Convolution(channels, 3, 1)(activation(normalised(h)))
        x = x + h / math.sqrt(blocks.of_all_stages)
    return x


class _Convolution(nn.Module):
    """A convolution of x [H, W, C], given a condition or several.

    Images of the size of x are more channels. All other values shift each channel, which is what
    channels that are constant do, but at the border, and costs no more than a dense layer.
    """

    features: int
    kernel_size: int
    stride: int

    @nn.compact
    def __call__(self, x, *condition):
        size = x.shape[:2]
        images = [c for c in condition if c.ndim == 3 and c.shape[:2] == size]
        values = [c for c in condition if c.ndim != 3 or c.shape[:2] != size]
        x = jnp.concatenate([x, *images], axis=-1)
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel: Any = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias: Any = self.param("bias", nn.initializers.zeros, (self.features,))
        if values:
            bias = bias + nn.Dense(self.features, use_bias=False, name="values")(joined(*values))
        return convolve(x, kernel, self.stride) + bias[None, None]


class _TransposedConvolution(nn.Module):
    features: int
    size: tuple[int, int]
    kernel_size: int
    stride: int
    use_bias: bool

    @nn.compact
    def __call__(self, x):
        shape = (self.kernel_size, self.kernel_size, self.features, x.shape[-1])
        # A pixel of the output is the sum over one in s^2 of the entries of the kernel.
        scale = float(self.stride**2)
        init = nn.initializers.variance_scaling(
            scale, "fan_in", "truncated_normal", in_axis=-1, out_axis=-2
        )
        kernel: Any = self.param("kernel", init, shape)
        x = convolve_transposed(x, kernel, self.size, self.stride)
        if not self.use_bias:
            return x
        bias: Any = self.param("bias", nn.initializers.zeros, (self.features,))
        return x + bias[None, None]

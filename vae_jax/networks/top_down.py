"""The networks of a very deep VAE: a path of residual blocks from the top down (Child 2021)."""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from vae_jax.networks.base import Params, Shape
from vae_jax.networks.convolution import blocks_as_channels, channels_as_blocks, convolve

Features = Any  # what the encoder knows of x: size of a layer -> [size, size, C]
_KEPT = "convolution"  # name of the arrays that the gradient of a block keeps in memory


class TopDown(NamedTuple):
    """The networks of a very deep VAE of images [H, W, C], as pure functions.

    Layers are counted from 0, the one next to x. A path h [h, w, C] goes from the top down. At each
    layer `open` reads the parameters of p(z_l|h) and q(z_l|h, x) from it, and `close` adds z_l.

    Attributes:
      init: (key, output_bias) -> params. output_bias: [*output_shape].
      encode: (params, x) -> features of x.
      start: (params) -> h above the top layer.
      of_layers: (params, layers) -> parameters of a stage, leaves [n, ...].
      open: (parameters of one layer, layer, h, features) -> (h, outputs of p, outputs of q), each
        [h, w, 2 z]; the outputs of q are None if the features are.
      close: (parameters of one layer, h, z) -> h.
      leave: (params, layer, h) -> h for the layer below, or [*output_shape] behind the last.
      shapes: shape [h, w, z] of the latents of each layer.
      stages: runs of neighbouring layers with one shape, the one next to x first. Any layer of a
        stage stands for all in `open`.
    """

    init: Callable[[jax.Array, jax.Array], Params]
    encode: Callable[[Params, jax.Array], Features]
    start: Callable[[Params], jax.Array]
    of_layers: Callable[[Params, range], Params]
    open: Callable[..., tuple[jax.Array, jax.Array, jax.Array | None]]
    close: Callable[[Params, jax.Array, jax.Array], jax.Array]
    leave: Callable[[Params, int, jax.Array], jax.Array]
    shapes: tuple[Shape, ...]
    stages: tuple[range, ...]


def top_down(
    input_shape: Shape,
    output_shape: Shape,
    layer_sizes: Sequence[int],
    layer_channels: Sequence[int],
    *,
    width: int = 64,
    bottleneck: int = 4,
    num_blocks: int = 2,
    patch_size: int = 1,
    activation: Callable[[jax.Array], jax.Array] = nn.gelu,
    dtype: Any = jnp.float32,
) -> TopDown:
    """The networks of VDVAE (Child 2021, section 3 and figure 3).

    A block is a bottleneck of four convolutions, 1x1, 3x3, 3x3, 1x1, each behind an activation. The
    encoder has residual blocks at each size and averages pixels between sizes; the path from the
    top down has a block for p, one for q and one behind z at each layer, is enlarged by copying
    pixels, and starts at a learned bias. The last convolutions of residual blocks and of what z
    adds are divided at the start by the square root of the number of layers.

    Gradients keep the result of each convolution and compute the rest of a block anew.

    Args:
      input_shape: shape [H, W, C] of x.
      output_shape: shape [H, W, n] of the outputs for the likelihood.
      layer_sizes: height of each layer, the one next to x first; each divides the one before, and
        all divide H / patch_size.
      layer_channels: number of latents of each pixel of each layer.
      width: channels of the path.
      bottleneck: number by which the channels inside a block are fewer.
      num_blocks: number of residual blocks of the encoder at each size.
      patch_size: side s of the squares of pixels of x that are the channels of one pixel of the
        path, whose largest size is then H / s.
      activation: elementwise activation function.
      dtype: type of the activations, such as `jnp.bfloat16` on accelerators; parameters, sums and
        outputs stay float32.

    Raises:
      ValueError: sizes that do not divide each other, or numbers that are not positive.
    """
    sizes, channels = tuple(layer_sizes), tuple(layer_channels)
    numbers = (*sizes, *channels, width, bottleneck, num_blocks, patch_size)
    _require_sizes(input_shape, sizes, channels, numbers, patch_size)
    height, image_width = input_shape[0] // patch_size, input_shape[1] // patch_size
    num_inputs, num_outputs = (shape[-1] * patch_size**2 for shape in (input_shape, output_shape))
    middle = max(1, width // bottleneck)
    shapes = tuple(
        (size, image_width * size // height, number)
        for size, number in zip(sizes, channels, strict=True)
    )
    stages = _runs(shapes)
    levels = list(dict.fromkeys(sizes))  # the sizes that the encoder goes through, from x upwards
    small = 1.0 / math.sqrt(len(sizes))

    def kernels_of_block(number: int, inputs: int, outputs: int, size: int, scale: float = 1.0):
        side = 3 if size > 2 else 1
        return [
            _Kernel((number, 1, 1, inputs, middle)),
            _Kernel((number, side, side, middle, middle)),
            _Kernel((number, side, side, middle, middle)),
            _Kernel((number, 1, 1, middle, outputs), scale),
        ]

    kernels = {
        "encoder": {
            "stem": _Kernel((3, 3, num_inputs, width)),
            "levels": [kernels_of_block(num_blocks, width, width, size, small) for size in levels],
            "q": [
                kernels_of_block(len(stage), 2 * width, 2 * channels[stage[0]], sizes[stage[0]])
                for stage in stages
            ],
        },
        "decoder": {
            "p": [
                kernels_of_block(
                    len(stage), width, 2 * channels[stage[0]] + width, sizes[stage[0]], 0.0
                )
                for stage in stages
            ],
            "z": [
                _Kernel((len(stage), 1, 1, channels[stage[0]], width), small) for stage in stages
            ],
            "behind": [
                kernels_of_block(len(stage), width, width, sizes[stage[0]], small)
                for stage in stages
            ],
            "last": _Kernel((1, 1, width, num_outputs)),
        },
    }

    def convolution(params: Params, x: jax.Array) -> jax.Array:
        y = convolve(x.astype(dtype), params["kernel"].astype(dtype))
        return checkpoint_name(y + params["bias"].astype(dtype)[None, None], _KEPT)

    @functools.partial(
        jax.checkpoint,
        policy=jax.checkpoint_policies.save_only_these_names(_KEPT),
        prevent_cse=False,  # which only matters outside of loops over layers
    )
    def block(params: Params, *inputs: jax.Array) -> jax.Array:
        x = jnp.concatenate(inputs, axis=-1)
        for of_convolution in params:
            x = convolution(of_convolution, activation(x))
        return x

    def init(key, output_bias):
        params = _drawn(key, kernels)
        top = (*shapes[-1][:2], width)
        more = {"bias": jnp.zeros(top), "output_bias": jnp.asarray(output_bias, jnp.float32)}
        return {**params, "decoder": {**params["decoder"], **more}}

    def encode(params, x):
        def residual(h, of_block):
            return h + block(of_block, h), None

        params = params["encoder"]
        x = blocks_as_channels(x, patch_size)
        h, below, features = convolution(params["stem"], x), height, {}
        for size, of_blocks in zip(levels, params["levels"], strict=True):
            h, _ = jax.lax.scan(residual, _pooled(h, below // size), of_blocks)
            features[size], below = h, size
        return features

    def start(params):
        return params["decoder"]["bias"].astype(dtype)

    def of_layers(params, layers):
        index, stage = next((i, s) for i, s in enumerate(stages) if layers[0] in s)
        of_stage = {
            "q": params["encoder"]["q"][index],
            **{name: params["decoder"][name][index] for name in ("p", "z", "behind")},
        }
        chosen = slice(layers[0] - stage[0], layers[-1] + 1 - stage[0])
        return jax.tree.map(lambda leaf: leaf[chosen], of_stage)

    def open(of_layer, layer, h, features):
        outputs_of_q = None
        if features is not None:
            outputs_of_q = block(of_layer["q"], h, features[sizes[layer]]).astype(jnp.float32)
        outputs = block(of_layer["p"], h)
        outputs_of_p, added = jnp.split(outputs, [2 * channels[layer]], axis=-1)
        return h + added, outputs_of_p.astype(jnp.float32), outputs_of_q

    def close(of_layer, h, z):
        h = h + convolution(of_layer["z"], z)
        return h + block(of_layer["behind"], h)

    def leave(params, layer, h):
        if layer > 0:
            return _enlarged(h, sizes[layer - 1] // sizes[layer])
        params = params["decoder"]
        outputs = convolution(params["last"], _enlarged(h, height // sizes[0]))
        outputs = channels_as_blocks(outputs.astype(jnp.float32), patch_size)
        return outputs + params["output_bias"]

    return TopDown(init, encode, start, of_layers, open, close, leave, shapes, stages)


def _require_sizes(
    shape: Shape, sizes: Shape, channels: Shape, numbers: Shape, patch_size: int
) -> None:
    if not sizes or len(sizes) != len(channels) or min(numbers) < 1:
        raise ValueError(
            "A top-down path needs a positive size and a positive number of latents for each "
            f"layer, and other positive numbers, not {numbers} with layer_sizes={sizes} and "
            f"layer_channels={channels}."
        )
    if problem := size_problem(shape, sizes, patch_size):
        raise ValueError(problem)


def size_problem(shape: Shape, sizes: Sequence[int], patch_size: int) -> str | None:
    """A sentence that says why images [H, W, C] cannot have layers of these heights; else None."""
    height, width = shape[:2]
    image = f"images of {height} x {width} pixels"
    if height % patch_size or width % patch_size:
        return f"patch_size={patch_size} must divide both sides of {image}."
    height, width = height // patch_size, width // patch_size
    for below, above in zip((height, *sizes), sizes, strict=False):
        if below % above or width * above % height:
            return (
                f"layer_sizes={','.join(map(str, sizes))} with patch_size={patch_size}: {above} "
                f"must divide {below}, the size below it, into equal squares, for {image}."
            )
    return None


def _runs(shapes: tuple[Shape, ...]) -> tuple[range, ...]:
    """The indices of neighbours that are equal."""
    lengths = [len(list(run)) for _, run in itertools.groupby(shapes)]
    ends = list(itertools.accumulate(lengths))
    return tuple(range(end - length, end) for end, length in zip(ends, lengths, strict=True))


class _Kernel(NamedTuple):
    """A kernel [..., k, k, C, D] of a convolution, and the factor of its usual size."""

    shape: Shape
    scale: float = 1.0


def _drawn(key: jax.Array, kernels: Any) -> Params:
    """The parameters of convolutions: kernels from a truncated normal, as of linen, biases zero.

    They all come from one draw, since each draw takes XLA a second to compile.
    """
    leaves, structure = jax.tree.flatten(kernels, is_leaf=lambda leaf: isinstance(leaf, _Kernel))
    ends = list(itertools.accumulate(math.prod(kernel.shape) for kernel in leaves))
    noise = nn.initializers.truncated_normal(1.0)(key, ends[-1:])
    params = []
    for kernel, of_kernel in zip(leaves, jnp.split(noise, ends[:-1]), strict=True):
        std = kernel.scale / math.sqrt(math.prod(kernel.shape[-4:-1]))
        bias = jnp.zeros((*kernel.shape[:-4], kernel.shape[-1]))
        params.append({"kernel": std * of_kernel.reshape(kernel.shape), "bias": bias})
    return jax.tree.unflatten(structure, params)


def _pooled(x: jax.Array, factor: int) -> jax.Array:
    """The means of squares of pixels. x: [h, w, C]."""
    if factor == 1:
        return x
    rows, columns, channels = x.shape
    squares = x.reshape(rows // factor, factor, columns // factor, factor, channels)
    return jnp.mean(squares, axis=(1, 3))


def _enlarged(x: jax.Array, factor: int) -> jax.Array:
    """Each pixel as a square of equal ones. x: [h, w, C]."""
    if factor == 1:
        return x
    rows, columns, channels = x.shape
    shape = (rows, factor, columns, factor, channels)
    copies = jnp.broadcast_to(x[:, None, :, None], shape)
    return copies.reshape(rows * factor, columns * factor, channels)

"""Convolutions of one image, as matrix products on the CPU.

Inside a compiled loop XLA's own convolutions are ten to twenty times slower on the CPU than the
product of a matrix of patches with the kernel. On accelerators they are the fast ones.
"""

import functools

import jax
import jax.numpy as jnp


def convolve(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Convolves one image with padding "SAME".

    Args:
      x: [H, W, C].
      kernel: [k, k, C, D].
      stride: s.

    Returns:
      [ceil(H / s), ceil(W / s), D].
    """
    return jax.lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(by_products, stride=stride),
        default=functools.partial(by_xla, stride=stride),
    )


def convolve_transposed(
    x: jax.Array, kernel: jax.Array, size: tuple[int, int], stride: int = 1
) -> jax.Array:
    """The transpose of `convolve` as a linear map of images: it enlarges one image.

    Args:
      x: [ceil(H / s), ceil(W / s), D].
      kernel: [k, k, C, D].
      size: (H, W).
      stride: s.

    Returns:
      [H, W, C].
    """

    def transpose_of(function, x, kernel):
        image = jax.ShapeDtypeStruct((*size, kernel.shape[2]), x.dtype)
        forward = functools.partial(function, kernel=kernel, stride=stride)
        return jax.linear_transpose(forward, image)(x)[0]

    return jax.lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(transpose_of, by_products),
        default=functools.partial(transpose_of, by_xla),
    )


def by_xla(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """`convolve` by XLA's convolution."""
    found = jax.lax.conv_general_dilated(
        x[None], kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return jnp.squeeze(found, axis=0)  # whose transpose is no padding, as that of [0] is


def by_products(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """`convolve` as one product of patches and kernel.

    Blocks of s x s pixels become channels, so that every patch is made of contiguous slices: k / s
    of them (rounded up) along each axis.
    """
    size, channels, outputs = kernel.shape[0], kernel.shape[2], kernel.shape[3]
    blocks = -(-size // stride)  # along each axis of a patch
    rows, columns = (-(-length // stride) for length in x.shape[:2])
    pads = [
        _padding(length, number, size, blocks, stride)
        for length, number in zip(x.shape[:2], (rows, columns), strict=True)
    ]
    x = blocks_as_channels(jnp.pad(x, (*pads, (0, 0))), stride)
    missing = blocks * stride - size
    kernel = jnp.pad(kernel, ((0, missing), (0, missing), (0, 0), (0, 0)))
    kernel = kernel.reshape(blocks, stride, blocks, stride, channels, outputs)
    kernel = kernel.transpose(0, 2, 1, 3, 4, 5).reshape(-1, outputs)
    patches = [x[i : i + rows, j : j + columns] for i in range(blocks) for j in range(blocks)]
    return jnp.dot(jnp.concatenate(patches, axis=-1), kernel)


def _padding(length: int, number: int, size: int, blocks: int, stride: int) -> tuple[int, int]:
    """The padding of an axis before and after it, which begins as that of "SAME" does."""
    before = max((number - 1) * stride + size - length, 0) // 2
    return before, (number + blocks - 1) * stride - length - before


def blocks_as_channels(x: jax.Array, stride: int) -> jax.Array:
    """[s H, s W, C] -> [H, W, s s C], without copies where s is 1."""
    if stride == 1:
        return x
    rows, columns, channels = x.shape[0] // stride, x.shape[1] // stride, x.shape[2]
    x = x.reshape(rows, stride, columns, stride, channels)
    return x.transpose(0, 2, 1, 3, 4).reshape(rows, columns, -1)


def channels_as_blocks(x: jax.Array, stride: int) -> jax.Array:
    """[H, W, s s C] -> [s H, s W, C], the inverse of `blocks_as_channels`."""
    rows, columns, channels = x.shape[0], x.shape[1], x.shape[2] // stride**2
    x = x.reshape(rows, columns, stride, stride, channels)
    return x.transpose(0, 2, 1, 3, 4).reshape(rows * stride, columns * stride, channels)

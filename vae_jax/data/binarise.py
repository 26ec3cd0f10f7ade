"""Binarisation: from stored pixels to examples.

Dynamic, static, thresholded and grey pixels are four different data sets, whose results are not
comparable. Pixels are uint8 in 0..255 or floats in [0, 1]; examples are float32.
"""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import cpu
from vae_jax.data.rows import Rows
from vae_jax.data.splits import Kind
from vae_jax.keys import unrolled

#: A function (key, pixels) -> x of one shape, which makes examples of stored pixels.
Binarise = Callable[[jax.Array, jax.Array], jax.Array]

_DRAW_ONCE = 0x0D12A35  # any number that is not used as an index
#: The number of examples that are read at once, so that a large data set needs little memory.
CHUNK = 4096


def dynamic(key: jax.Array, pixels: jax.Array) -> jax.Array:
    """A fresh Bernoulli draw of every pixel, P(x = 1) = intensity (Burda et al. 2016, sec. 5.1).

    Args:
      key: typed PRNG key.
      pixels: [*shape] uint8 or float in [0, 1].

    Returns:
      [*shape] float32, zeros and ones.
    """
    if pixels.dtype == jnp.uint8:
        # Comparing 32 random bits with a multiple of (2^32 - 1) / 255 gives each of the 256
        # intensities its probability to 2^-32, with no conversion to floats.
        bits = jax.random.bits(unrolled(key), pixels.shape, jnp.uint32)
        white = bits < pixels.astype(jnp.uint32) * jnp.uint32(0x01010101)
    else:
        white = jax.random.bernoulli(key, pixels)
    return cpu.kept_bits(white.astype(jnp.float32))


def threshold(key: jax.Array, pixels: jax.Array) -> jax.Array:
    """1 where the intensity is at least 1/2. Arguments as for `dynamic`; the key is not used."""
    return (grey(key, pixels) >= 0.5).astype(jnp.float32)


def grey(key: jax.Array, pixels: jax.Array) -> jax.Array:
    """The intensities in [0, 1] themselves. Arguments as for `dynamic`; the key is not used."""
    del key
    x = pixels.astype(jnp.float32)
    return x / 255.0 if pixels.dtype == jnp.uint8 else x


def as_floats(key: jax.Array, values: jax.Array) -> jax.Array:
    """Real numbers and counts [*shape] as float32. The key is not used."""
    del key
    return values.astype(jnp.float32)


def draw_once(pixels: np.ndarray | Rows, seed: int, out: np.ndarray | None = None) -> np.ndarray:
    """One fixed Bernoulli draw of a whole data set, on the host.

    Static binarisation uses this draw for all splits. A run with dynamic binarisation is evaluated
    on it, so that all runs with the same data are evaluated on the same images.

    Args:
      pixels: [N, ...] uint8 or float in [0, 1].
      seed: seed of the draw.
      out: [N, ...] uint8, array for the draw, such as a memory map; None for a new array.

    Returns:
      `out`, whose pixels are 0 or 255. `grey` and `threshold` turn them into 0 and 1.

    Raises:
      ValueError: `out` has another shape or dtype.
    """
    if out is None:
        out = np.empty(pixels.shape, np.uint8)
    if out.shape != pixels.shape or out.dtype != np.uint8:
        raise ValueError(f"out is {out.dtype} {out.shape} but must be uint8 {pixels.shape}.")
    # Not the key of the seed itself, since a run with the same seed may derive its keys from it.
    key = jax.random.fold_in(jax.random.key(seed), _DRAW_ONCE)
    draw = jax.jit(dynamic)
    for start, chunk in _chunks(pixels):
        white = draw(jax.random.fold_in(key, start), jnp.asarray(chunk))
        out[start : start + CHUNK] = np.asarray(white, np.uint8) * np.uint8(255)
    return out


def mean_example(pixels: np.ndarray | Rows, binarise: Binarise = grey) -> np.ndarray:
    """The mean of the examples, at which an untrained decoder should start (see `Model.init`).

    Args:
      pixels: [N, *event].
      binarise: binarisation without randomness. For `dynamic`, use `grey`, which has the same mean.

    Returns:
      [*event] float32.
    """
    return np.asarray(sum_of_examples(pixels, binarise) / len(pixels), np.float32)


def sum_of_examples(
    pixels: np.ndarray | Rows, binarise: Binarise = grey, part: slice = slice(None)
) -> np.ndarray:
    """The sum of the examples or of a part of them, from which several readers get the mean.

    Args:
      pixels: [N, *event].
      binarise: the same function as for `mean_example`.
      part: slice of the examples, without a step. For uint8 images, the sums of parts that begin at
        multiples of CHUNK add up to the sum of all, to the bit.

    Returns:
      [*event] float64.
    """
    key = jax.random.key(0)  # which a binarisation without randomness does not use
    total = np.zeros(pixels.shape[1:], np.float64)
    for _, chunk in _chunks(pixels, part):
        # A NumPy array: adding a JAX array would make the total one of float32.
        total += np.asarray(jnp.sum(binarise(key, jnp.asarray(chunk)), axis=0))
    return total


def pixel_kind(pixels: np.ndarray | Rows) -> Kind:
    """The kind of pixels [N, *event]; as soon as a grey one is found, no more are read."""
    if is_binary(pixels):
        return "binary"
    return "8-bit" if pixels.dtype == np.uint8 else "intensities"


def is_binary(pixels: np.ndarray | Rows) -> bool:
    """Whether every pixel is black or white, so that no binarisation is needed."""
    white = 255 if pixels.dtype == np.uint8 else 1.0
    return all(np.all((chunk == 0) | (chunk == white)) for _, chunk in _chunks(pixels))


def _chunks(
    pixels: np.ndarray | Rows, part: slice = slice(None)
) -> Iterator[tuple[int, np.ndarray]]:
    begin, end, _ = part.indices(len(pixels))
    for start in range(begin, end, CHUNK):
        yield start, pixels[start : min(start + CHUNK, end)]

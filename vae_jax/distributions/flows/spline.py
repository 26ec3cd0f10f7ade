"""Monotonic rational-quadratic splines of one number."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

BOUND = 5.0  # beyond which a spline is the identity
_LEAST = 1e-3  # width and height of a bin relative to its share, and slope at a knot
# softplus(_UNIT) + _LEAST = 1: the slope of a spline whose numbers are zero.
_UNIT = 0.5397423


class _Bin(NamedTuple):
    """A piece of a spline between two knots, all []."""

    left: jax.Array
    width: jax.Array
    bottom: jax.Array
    height: jax.Array
    slopes: tuple[jax.Array, jax.Array]  # at both knots


def spline(value: jax.Array, numbers: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A monotonic rational-quadratic spline with linear tails (Durkan et al. 2019, eq. 4 and 5).

    Args:
      value: [].
      numbers: [3 K - 1], of K bins: their widths and heights before a softmax, and the slopes at
        the knots between them before a softplus. All zero they give the identity.

    Returns:
      The image and the logarithm of the slope, both [].
    """
    inside = jnp.clip(value, -BOUND, BOUND)
    piece = _bin_of(inside, numbers, along="x")
    share = (inside - piece.left) / piece.width
    steep = piece.height / piece.width
    first, last = piece.slopes
    between = share * (1.0 - share)
    below = steep + (last + first - 2.0 * steep) * between
    image = piece.bottom + piece.height * (steep * share**2 + first * between) / below
    log_slope = _log_slope(share, steep, first, last, below)
    is_inside = jnp.abs(value) < BOUND
    return jnp.where(is_inside, image, value), jnp.where(is_inside, log_slope, 0.0)


def spline_inverse(value: jax.Array, numbers: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The inverse of `spline`, by the root of a quadratic equation (eq. 6 to 8).

    Returns:
      The preimage, and the logarithm of the slope of `spline` there, both [].
    """
    inside = jnp.clip(value, -BOUND, BOUND)
    piece = _bin_of(inside, numbers, along="y")
    steep = piece.height / piece.width
    first, last = piece.slopes
    above = inside - piece.bottom
    curved = above * (last + first - 2.0 * steep)
    a = piece.height * (steep - first) + curved
    b = piece.height * first - curved
    c = -steep * above
    share = 2.0 * c / (-b - jnp.sqrt(jnp.maximum(b**2 - 4.0 * a * c, 0.0)))
    below = steep + (last + first - 2.0 * steep) * share * (1.0 - share)
    log_slope = _log_slope(share, steep, first, last, below)
    is_inside = jnp.abs(value) < BOUND
    found = piece.left + share * piece.width
    return jnp.where(is_inside, found, value), jnp.where(is_inside, log_slope, 0.0)


def _log_slope(share, steep, first, last, below) -> jax.Array:
    """The logarithm of eq. 5."""
    above = last * share**2 + 2.0 * steep * share * (1.0 - share) + first * (1.0 - share) ** 2
    return 2.0 * jnp.log(steep) + jnp.log(above) - 2.0 * jnp.log(below)


def _bin_of(value: jax.Array, numbers: jax.Array, along: str) -> _Bin:
    """The bin that holds a value of x or of y in [-BOUND, BOUND]."""
    num_bins = (numbers.size + 1) // 3
    widths, heights, slopes = jnp.split(numbers, [num_bins, 2 * num_bins])
    slopes = jnp.pad(_LEAST + jax.nn.softplus(slopes + _UNIT), 1, constant_values=1.0)
    x, y = _knots(widths), _knots(heights)
    inner = (x if along == "x" else y)[1:-1]
    # A sum over one-hot numbers instead of an index: it has a fast gradient.
    chosen = jax.nn.one_hot(jnp.sum(value >= inner), num_bins, dtype=numbers.dtype)

    def of_bin(values):
        return jnp.sum(chosen * values)

    return _Bin(
        left=of_bin(x[:-1]),
        width=of_bin(x[1:] - x[:-1]),
        bottom=of_bin(y[:-1]),
        height=of_bin(y[1:] - y[:-1]),
        slopes=(of_bin(slopes[:-1]), of_bin(slopes[1:])),
    )


def _knots(logits: jax.Array) -> jax.Array:
    """K + 1 increasing numbers from -BOUND to BOUND."""
    num_bins = logits.size
    shares = _LEAST / num_bins + (1.0 - _LEAST) * jax.nn.softmax(logits)
    inner = jnp.cumsum(shares)[:-1]
    return 2.0 * BOUND * jnp.concatenate([jnp.zeros(1), inner, jnp.ones(1)]) - BOUND

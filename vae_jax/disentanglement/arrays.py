"""What all the metrics do with codes and factors before they measure anything."""

import numpy as np
from numpy.typing import ArrayLike

# A latent whose posterior mean has a smaller variance is inactive (Burda et al. 2016).
_LEAST_VARIANCE = 0.01


def checked(codes: ArrayLike, factors: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Codes as float64 [N, L], and factors [N, F] as places 0 .. K_j - 1 among their K_j values.

    Raises:
      ValueError: the shapes are others, L or F is less than 2, a code is not finite, or a factor
        is not of integers, has one value only or a value that only one example has.
    """
    codes, factors = np.asarray(codes, np.float64), np.asarray(factors)
    shapes_fit = codes.ndim == factors.ndim == 2 and len(codes) == len(factors)
    if not (shapes_fit and codes.shape[1] >= 2 and factors.shape[1] >= 2):
        raise ValueError(
            "codes must be [N, L] and factors [N, F] with L and F of 2 or more, "
            f"not of shapes {codes.shape} and {factors.shape}."
        )
    if len(codes) == 0:
        raise ValueError("codes and factors must hold at least one example.")
    if not np.isfinite(codes).all():
        raise ValueError("codes must be finite, but some are NaN or infinite.")
    if factors.dtype.kind not in "iu":
        raise ValueError(f"factors must be integers, not {factors.dtype}.")
    places = np.empty(factors.shape, np.int64)
    for j, column in enumerate(factors.T):
        values, places[:, j], counts = np.unique(column, return_inverse=True, return_counts=True)
        if len(values) < 2:
            raise ValueError(f"Factor {j} has only one value, {values[0]}, but must have more.")
        if counts.min() < 2:
            raise ValueError(
                f"Value {values[counts.argmin()]} of factor {j} must be that of 2 or more examples."
            )
    return codes, places


def is_active(codes: np.ndarray) -> np.ndarray:
    """Which latents vary. codes: [N, L] posterior means; the prior has variance 1. Returns [L]."""
    return codes.var(axis=0) > _LEAST_VARIANCE


def without_inactive(codes: np.ndarray) -> np.ndarray:
    """Zeros for inactive latents: their means may echo a factor far below their own noise. [N, L]
    -> [N, L]."""
    return np.where(is_active(codes), codes, 0.0)


def standardised(codes: np.ndarray) -> np.ndarray:
    """The active latents alone, in units of their standard deviation. [N, L] -> [N, active]."""
    active = codes[:, is_active(codes)]
    return active / active.std(axis=0)


def draw_alike(rng: np.random.Generator, values: np.ndarray, examples: np.ndarray) -> np.ndarray:
    """For each of the examples one, drawn with replacement, in which the factor has the same value.

    Args:
      rng: a source of random numbers.
      values: [N] places, as of `checked`, of one factor.
      examples: indices into `values`, of any shape.

    Returns:
      Indices of that shape.
    """
    by_value = np.argsort(values, kind="stable")
    counts = np.bincount(values)
    starts = np.cumsum(counts) - counts
    value = values[examples]
    return by_value[starts[value] + rng.integers(counts[value])]

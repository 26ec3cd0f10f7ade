"""Checks and preparations of codes and factors that all metrics share."""

import numpy as np
from numpy.typing import ArrayLike

# A latent whose posterior mean has a smaller variance is inactive (Burda et al. 2016).
_LEAST_VARIANCE = 0.01


def checked(codes: ArrayLike, factors: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns codes as float64 [N, L], and factors [N, F] as indices 0 .. K_j - 1 of K_j values.

    Raises:
      ValueError: the arrays have other shapes, L or F is less than 2, a code is not finite, or a
        factor does not consist of integers, has one value only, or has a value of one example only.
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
    """Whether each latent varies, [L]. codes: [N, L] posterior means; the prior has variance 1."""
    return codes.var(axis=0) > _LEAST_VARIANCE


def without_inactive(codes: np.ndarray) -> np.ndarray:
    """Sets inactive latents to zero, [N, L] -> [N, L].

    Their means may depend on a factor by far less than the noise of the posterior.
    """
    return np.where(is_active(codes), codes, 0.0)


def standardised(codes: np.ndarray) -> np.ndarray:
    """The active latents in units of their standard deviation, [N, L] -> [N, active]."""
    active = codes[:, is_active(codes)]
    return active / active.std(axis=0)


def draw_alike(rng: np.random.Generator, values: np.ndarray, examples: np.ndarray) -> np.ndarray:
    """Draws for each example, with replacement, one in which the factor has the same value.

    Args:
      rng: a source of random numbers.
      values: [N], one factor from `checked`.
      examples: indices into `values`, an array of any shape.

    Returns:
      Indices of that shape.
    """
    by_value = np.argsort(values, kind="stable")
    counts = np.bincount(values)
    starts = np.cumsum(counts) - counts
    value = values[examples]
    return by_value[starts[value] + rng.integers(counts[value])]

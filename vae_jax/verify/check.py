"""A check: a number of the library, its true value, and the largest distance that is allowed."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike

from vae_jax.diagnostics import gradients

# The probability that a correct library fails one check. A hundred checks together fail for one
# seed in a thousand.
_FALSE_ALARM = 1e-5
_ROUNDING = 1e-6  # rounding error of single precision, relative to the numbers


class Check(NamedTuple):
    """The distance of a number of the library from the truth, and the largest allowed distance."""

    what: str  # what is checked
    oracle: str  # source of the truth
    kind: str  # "z": in standard errors; "residual": relative; "excess": above a limit
    value: float  # the distance
    tolerance: float  # the largest distance that is allowed

    @property
    def holds(self) -> bool:
        """Whether the distance is allowed; nan never is."""
        return bool(self.value <= self.tolerance)


#: A function that makes checks of one kind: key -> checks.
Group = Callable[[jax.Array], list[Check]]


def mean_is(what: str, oracle: str, samples: ArrayLike, expected: ArrayLike) -> Check:
    """Checks that the mean of samples [N, ...] is the expected one [...], in standard errors.

    The value is the largest over all entries, and the tolerance grows with their number.
    """
    z = _errors_off(samples, expected)
    return largest_z(what, oracle, np.max(np.abs(z)), z.size)


def mean_is_at_most(what: str, oracle: str, samples: ArrayLike, bound: ArrayLike = 0.0) -> Check:
    """Checks that the mean of samples [N] is at most a bound []; excess in standard errors."""
    excess = np.maximum(_errors_off(samples, bound), 0.0)
    return largest_z(what, oracle, excess, 1)._replace(kind="excess")


def largest_z(what: str, oracle: str, value: float, count: int) -> Check:
    """The limit for the largest of `count` values |z| that are standard normal."""
    tolerance = gradients.largest_by_chance(count, 1.0 - _FALSE_ALARM)
    return Check(what, oracle, "z", float(value), tolerance)


def equal(
    what: str, oracle: str, found: ArrayLike, expected: ArrayLike, tolerance: float = 2e-5
) -> Check:
    """Checks that numbers are the expected ones: the largest difference relative to 1 + |truth|."""
    truth = np.asarray(expected, np.float64)
    residual = np.abs(np.asarray(found, np.float64) - truth) / (1.0 + np.abs(truth))
    return Check(what, oracle, "residual", float(np.max(residual)), tolerance)


def not_above(what: str, oracle: str, lower: ArrayLike, upper: ArrayLike) -> Check:
    """Checks that no number of `lower` is above that of `upper`: the largest excess."""
    excess = np.max(np.asarray(lower, np.float64) - np.asarray(upper, np.float64))
    return Check(what, oracle, "excess", float(np.maximum(excess, 0.0)), 2e-5)


def _errors_off(samples: ArrayLike, expected: ArrayLike) -> np.ndarray:
    """(mean - expected) / standard error, which includes the error of rounding."""
    values, truth = np.asarray(samples, np.float64), np.asarray(expected, np.float64)
    squared_error = values.var(axis=0, ddof=1) / len(values)
    rounding = _ROUNDING * (1.0 + np.abs(truth))
    return (values.mean(axis=0) - truth) / np.sqrt(squared_error + rounding**2)

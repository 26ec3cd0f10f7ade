"""Probabilities of the symbols of an array, from which a stack pushes and pops them."""

import functools
from typing import NamedTuple, Protocol

import numpy as np
from scipy.special import ndtr, ndtri

from vae_jax.compression.stack import Stack


class Table(Protocol):
    """The probabilities of n symbols."""

    def push(self, stack: Stack, symbols: np.ndarray) -> None:
        """Pushes the symbols [n]."""

    def pop(self, stack: Stack) -> np.ndarray:
        """Pops n symbols."""


class Bits(NamedTuple):
    """Zeros and ones. probabilities: [n], of ones."""

    probabilities: np.ndarray

    def push(self, stack: Stack, symbols: np.ndarray) -> None:
        """See `Table`."""
        stack.push_bits(symbols, self.probabilities)

    def pop(self, stack: Stack) -> np.ndarray:
        """See `Table`."""
        return stack.pop_bits(self.probabilities)


class Masses(NamedTuple):
    """Symbols below K. masses: [n, K]."""

    masses: np.ndarray

    def push(self, stack: Stack, symbols: np.ndarray) -> None:
        """See `Table`."""
        stack.push_masses(symbols, self.masses)

    def pop(self, stack: Stack) -> np.ndarray:
        """See `Table`."""
        return stack.pop_masses(self.masses)


class Uniform(NamedTuple):
    """n symbols below `size`, all of them equally probable."""

    number: int
    size: int

    def push(self, stack: Stack, symbols: np.ndarray) -> None:
        """See `Table`."""
        stack.push_uniform(symbols, self.size)

    def pop(self, stack: Stack) -> np.ndarray:
        """See `Table`."""
        return stack.pop_uniform(self.number, self.size)


class Grid(NamedTuple):
    """Bins of a real variable that have the same mass under N(mean, std^2).

    Attributes:
      bits: there are 2^bits bins; an even number.
      mean: [n].
      std: [n].
    """

    bits: int
    mean: np.ndarray
    std: np.ndarray

    def centres(self, bins: np.ndarray) -> np.ndarray:
        """The value that stands for each of the bins, [n]: the median of the bin."""
        middles = (np.asarray(bins, np.float64) + 0.5) / 2**self.bits
        return self.mean + self.std * ndtri(middles)

    def prior(self) -> Uniform:
        """The table of variables with this N(mean, std^2)."""
        return Uniform(len(self.mean), 2**self.bits)


class OnGrid(NamedTuple):
    """Bins of real variables, each a mixture of C normal ones.

    A bin is coded as one of 2^(bits / 2) parts of the grid, and one of as many bins of the part.

    Attributes:
      grid: the bins.
      mean: [n, C].
      std: [n, C].
      weights: [n, C], which sum to one.
    """

    grid: Grid
    mean: np.ndarray
    std: np.ndarray
    weights: np.ndarray

    def push(self, stack: Stack, symbols: np.ndarray) -> None:
        """See `Table`."""
        half = 2 ** (self.grid.bits // 2)
        parts, rest = np.divmod(np.asarray(symbols, np.int64), half)
        stack.push_masses(rest, self._of_bins(parts))
        stack.push_masses(parts, self._of_parts())

    def pop(self, stack: Stack) -> np.ndarray:
        """See `Table`."""
        half = 2 ** (self.grid.bits // 2)
        parts = stack.pop_masses(self._of_parts()).astype(np.int64)
        return parts * half + stack.pop_masses(self._of_bins(parts))

    def component_masses(self, symbols: np.ndarray) -> np.ndarray:
        """The mass of each component in bins [n], [n, C]."""
        edges = _edges(self.grid.bits)
        first = np.asarray(symbols, np.int64)
        return self._between(np.stack([edges[first], edges[first + 1]], axis=1))[:, 0]

    def _of_parts(self) -> np.ndarray:
        half = 2 ** (self.grid.bits // 2)
        edges = _edges(self.grid.bits)[::half]
        return self._mixed(np.broadcast_to(edges, (len(self.mean), len(edges))))

    def _of_bins(self, parts: np.ndarray) -> np.ndarray:
        half = 2 ** (self.grid.bits // 2)
        index = parts[:, None] * half + np.arange(half + 1)[None]
        return self._mixed(_edges(self.grid.bits)[index])

    def _mixed(self, edges: np.ndarray) -> np.ndarray:
        masses = np.einsum("nkc,nc->nk", self._between(edges), self.weights)
        largest = masses.max(axis=1, keepdims=True)
        # Far from all components there is nothing to go by.
        is_empty = largest < 1e-200
        return np.where(is_empty, 1.0, masses / np.where(is_empty, 1.0, largest))

    def _between(self, edges: np.ndarray) -> np.ndarray:
        """The masses between edges [n, k + 1] of the standard grid, [n, k, C]."""
        at = self.grid.mean[:, None] + self.grid.std[:, None] * edges
        at = (at[:, :, None] - self.mean[:, None]) / self.std[:, None]
        below, above = at[:, :-1], at[:, 1:]
        # In the upper half the complement, whose differences keep their digits.
        is_upper = below > 0.0
        low = np.where(is_upper, -above, below)
        high = np.where(is_upper, -below, above)
        return ndtr(high) - ndtr(low)


def one_normal(grid: Grid, mean: np.ndarray, std: np.ndarray) -> OnGrid:
    """The table of normal variables with means and standard deviations [n]."""
    return OnGrid(grid, mean[:, None], std[:, None], np.ones((len(mean), 1)))


@functools.cache
def _edges(bits: int) -> np.ndarray:
    """The edges of the bins of N(0, 1), [2^bits + 1], with infinite ends."""
    return ndtri(np.arange(2**bits + 1) / 2**bits)

"""The stack of bits and its tables: what is popped was pushed, at the price of its probability."""

import numpy as np
import pytest
from scipy.stats import norm

from vae_jax.compression.stack import Stack
from vae_jax.compression.tables import Bits, Grid, Masses, OnGrid, Uniform, one_normal

RNG = np.random.default_rng(0)
WORDS = RNG.integers(0, 1 << 32, 200, np.uint32)
N = 500
GRID = Grid(16, RNG.normal(size=N), np.exp(RNG.normal(size=N)))
TABLES = {
    "bits": (Bits(RNG.random(N)), 2),
    "masses": (Masses(RNG.dirichlet(np.full(7, 0.3), N)), 7),
    "uniform": (Uniform(N, 1000), 1000),
    "large uniform": (Uniform(N, 2**31 - 1), 2**31 - 1),
    "one value": (Uniform(N, 1), 1),
    "normal": (one_normal(GRID, RNG.normal(size=N), np.full(N, 0.05)), 2**16),
    "mixture": (
        OnGrid(GRID, RNG.normal(size=(N, 3)), np.full((N, 3), 0.3), RNG.dirichlet(np.ones(3), N)),
        2**16,
    ),
    "prior of the grid": (GRID.prior(), 2**16),
}


@pytest.mark.parametrize("name", TABLES)
def test_symbols_come_back_and_leave_the_stack_as_it_was(name):
    table, size = TABLES[name]
    stack = Stack(WORDS, is_start=True)
    symbols = RNG.integers(0, size, N)  # also those of tiny probability
    table.push(stack, symbols)
    again = Stack(stack.words())
    np.testing.assert_array_equal(table.pop(again), symbols)
    assert again.is_at_start(WORDS)
    assert not again.is_at_start(WORDS + 1)


@pytest.mark.parametrize("name", ["bits", "masses", "normal", "mixture"])
def test_popping_what_was_not_pushed_draws_from_the_table_and_is_undone(name):
    table, _ = TABLES[name]
    stack = Stack(np.random.default_rng(1).integers(0, 1 << 32, 2000, np.uint32), is_start=True)
    before = stack.words()
    symbols = table.pop(stack)
    if name == "bits":
        p = table.probabilities
        error = (symbols.mean() - p.mean()) / np.sqrt((p * (1 - p)).sum() / N**2)
        assert abs(error) < 4.5
    table.push(stack, symbols)
    np.testing.assert_array_equal(stack.words(), before)


def test_symbols_take_their_information():
    table, _ = TABLES["masses"]
    stack = Stack(WORDS, is_start=True)
    cumulative = table.masses.cumsum(axis=1)
    symbols = (RNG.random((N, 1)) > cumulative).sum(axis=1).clip(0, 6)
    start = stack.num_bits
    table.push(stack, symbols)
    expected = -np.log2(table.masses[np.arange(N), symbols]).sum()
    assert stack.num_bits - start == pytest.approx(expected, abs=40)


def test_the_masses_of_bins_are_differences_of_the_distribution_function():
    mean, std, bins = np.array([0.3, -2.0, 6.0]), np.array([0.5, 0.01, 1.0]), 2**8
    grid = Grid(8, np.array([0.1, 0.0, 0.0]), np.array([2.0, 1.0, 1.0]))
    edges = grid.mean[:, None] + grid.std[:, None] * norm.ppf(np.arange(bins + 1) / bins)[None]
    expected = np.diff(norm.cdf((edges - mean[:, None]) / std[:, None]), axis=1)
    table = one_normal(grid, mean, std)
    found = np.stack([table.component_masses(np.full(3, at))[:, 0] for at in range(bins)], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)
    # Each bin has the same mass under the prior of the grid, and its centre halves it.
    of_prior = norm.cdf((grid.centres(np.array([7, 7, 7])) - grid.mean) / grid.std)
    np.testing.assert_allclose(of_prior, 7.5 / bins, rtol=1e-12)


def test_an_empty_stack_is_one():
    stack = Stack()
    assert stack.is_at_start(np.zeros(0, np.uint32))
    Bits(np.full(3, 0.5)).push(stack, np.array([1, 0, 1]))
    assert not stack.is_at_start(np.zeros(0, np.uint32))

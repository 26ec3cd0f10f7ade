"""Checks that hold and that do not, and how often a correct library fails by chance."""

import numpy as np

from vae_jax.verify import equal, largest_z, mean_is, mean_is_at_most, not_above


def test_checks_hold_of_what_is_right_and_not_of_what_is_wrong_or_nan():
    samples = np.random.default_rng(0).normal(size=(1_000, 2)) + np.array([1.0, 2.0])
    right = mean_is("", "", samples, [1.0, 2.0])
    error = samples.std(axis=0, ddof=1) / np.sqrt(1_000)
    z = np.abs(samples.mean(axis=0) - [1.0, 2.0]) / error
    np.testing.assert_allclose(right.value, z.max(), rtol=1e-3)
    assert right.holds
    assert not mean_is("", "", samples, [1.0, 2.2]).holds
    assert not mean_is("", "", samples, [1.0, np.nan]).holds
    assert mean_is_at_most("", "", samples[:, 0], 1.5).value == 0.0
    assert not mean_is_at_most("", "", samples[:, 0], 0.8).holds
    assert not mean_is_at_most("", "", samples[:, 0], np.nan).holds
    assert equal("", "", [1.0, 1e3], [1.0, 1e3 + 1e-3]).holds
    assert not equal("", "", [1.0, 1e3], [1.0001, 1e3]).holds
    assert not equal("", "", np.nan, 1.0).holds
    assert not_above("", "", [0.0, 1.0], [0.5, 1.0]).holds
    assert not not_above("", "", [0.0, 1.1], [0.5, 1.0]).holds
    assert not not_above("", "", np.nan, 1.0).holds


def test_tolerances_are_such_that_a_thousand_tables_are_right():
    """There are 95 checks of normal numbers, each the largest of any number of them."""
    for count in (1, 7, 50):
        tolerance = largest_z("", "", 0.0, count).tolerance
        z = np.random.default_rng(0).normal(size=(20_000, count))
        assert np.mean(np.max(np.abs(z), axis=1) > tolerance) < 1e-3
        assert tolerance < 5.5

"""Balanced accuracies of thresholds, against all thresholds there are, and the gap by hand."""

import itertools

import numpy as np
import pytest

from vae_jax.disentanglement import sap
from vae_jax.disentanglement.sap import balanced_accuracy


def by_trying_all(latent, values):
    """The best balanced accuracy of intervals in the order of the means of their latents."""
    num_values = values.max() + 1
    order = np.argsort([latent[values == k].mean() for k in range(num_values)], kind="stable")
    places = np.concatenate([[-np.inf], np.unique(latent)])
    best = 0.0
    for thresholds in itertools.combinations_with_replacement(places, num_values - 1):
        # Interval m is that of the examples with m thresholds below them.
        predicted = order[np.sum(latent[:, None] > np.array(thresholds)[None], axis=1)]
        right = [np.mean(predicted[values == k] == k) for k in range(num_values)]
        best = max(best, float(np.mean(right)))
    return best


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("has_ties", [False, True])
def test_no_thresholds_are_better(seed, has_ties):
    rng = np.random.default_rng(seed)
    values = np.concatenate([np.arange(4), rng.choice(4, size=12, p=[0.1, 0.2, 0.3, 0.4])])
    latent = rng.normal(size=16) + 0.7 * rng.permutation(4)[values]
    if has_ties:
        latent = np.round(latent)
    np.testing.assert_allclose(balanced_accuracy(latent, values), by_trying_all(latent, values))


def test_accuracies_by_hand():
    values = np.array([0, 0, 0, 0, 1, 1])
    # The threshold after the third example: 3 of 4 and 2 of 2 are right.
    np.testing.assert_allclose(
        balanced_accuracy(np.array([1.0, 2.0, 3.0, 8.0, 7.0, 9.0]), values), (3 / 4 + 2 / 2) / 2
    )
    # Nothing divides equal latents.
    np.testing.assert_allclose(balanced_accuracy(np.ones(6), values), 1 / 2)


def test_a_gap_by_hand():
    """The second latent takes the middle one of three values for its neighbours'."""
    factors = np.stack([np.arange(12) % 3, np.arange(12) // 6], axis=1)
    codes = np.stack([factors[:, 0], factors[:, 0] // 2], axis=1)
    # Both know nothing about the second factor.
    np.testing.assert_allclose(sap(codes, factors), ((1 - 2 / 3) + (1 / 2 - 1 / 2)) / 2)

"""The mutual information gap, against scikit-learn and by hand."""

import numpy as np
import scipy.stats
from sklearn.metrics import mutual_info_score

from vae_jax.disentanglement import mig
from vae_jax.disentanglement.mig import mutual_information


def test_the_information_of_a_discrete_joint_distribution():
    rng = np.random.default_rng(0)
    # 20 different integers have a bin each.
    codes = rng.integers(20, size=(300, 3))
    codes[:2] = [[0] * 3, [19] * 3]
    factors = np.stack([codes[:, 0] // 5, rng.integers(3, size=300)], axis=1)
    information = mutual_information(codes, factors)
    for i in range(3):
        for j in range(2):
            expected = mutual_info_score(codes[:, i], factors[:, j])
            np.testing.assert_allclose(information[i, j], expected, atol=1e-12)
    entropy = [scipy.stats.entropy(np.bincount(column)) for column in factors.T]
    ordered = np.sort(information, axis=0)
    np.testing.assert_allclose(
        mig(codes, factors), np.mean((ordered[2] - ordered[1]) / entropy), rtol=1e-12
    )


def test_continuous_codes_are_in_twenty_bins_of_equal_width():
    codes = np.random.default_rng(0).normal(size=(500, 2)) * [1.0, 100.0] + [0.0, 7.0]
    factors = (codes[:, [1, 0]] > [[20.0, 0.5]]).astype(int)
    information = mutual_information(codes, factors)
    for i in range(2):
        edges = np.histogram_bin_edges(codes[:, i], bins=20)
        bins = np.digitize(codes[:, i], edges[1:-1])
        for j in range(2):
            expected = mutual_info_score(bins, factors[:, j])
            np.testing.assert_allclose(information[i, j], expected, atol=1e-12)


def test_a_gap_by_hand():
    """One latent knows both bits of four equally probable values, one a bit, and one nothing."""
    factors = np.stack([np.arange(8) % 4, np.arange(8) // 4], axis=1)
    codes = np.stack([factors[:, 0], factors[:, 0] // 2, np.zeros(8)], axis=1)
    # Nothing is known of the other factor, the gap of which is 0.
    np.testing.assert_allclose(mig(codes, factors), (0.5 + 0.0) / 2)

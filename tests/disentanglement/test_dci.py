"""Disentanglement and completeness of given importances, by formula and by hand."""

import numpy as np
import scipy.stats

from tests.disentanglement.codes import every_combination
from vae_jax.disentanglement import dci, disentanglement_and_completeness


def test_the_scores_of_a_matrix_of_importances():
    importance = np.random.default_rng(0).gamma(0.5, size=(5, 3))
    of_latent = 1.0 - scipy.stats.entropy(importance, base=3, axis=1)
    of_factor = 1.0 - scipy.stats.entropy(importance, base=5, axis=0)
    weights = importance.sum(axis=1) / importance.sum()
    np.testing.assert_allclose(
        disentanglement_and_completeness(importance), (weights @ of_latent, of_factor.mean())
    )


def test_scores_by_hand():
    # Each latent is of use for one factor, the first factor needs two latents of four.
    split = np.array([[0.5, 0.0], [0.5, 0.0], [0.0, 1.0], [0.0, 0.0]])
    np.testing.assert_allclose(disentanglement_and_completeness(split), (1.0, (0.5 + 1.0) / 2))
    # One latent is of use for both factors, the other (a quarter of the weight) for one.
    shared = np.array([[3.0, 3.0], [2.0, 0.0]])
    of_first = 1.0 - scipy.stats.entropy([0.6, 0.4], base=2)
    np.testing.assert_allclose(
        disentanglement_and_completeness(shared), (2.0 / 8.0, (of_first + 1.0) / 2)
    )
    np.testing.assert_allclose(disentanglement_and_completeness(np.zeros((4, 2))), 0.0, atol=1e-12)
    np.testing.assert_allclose(disentanglement_and_completeness(np.ones((4, 2))), 0.0, atol=1e-12)


def test_a_latent_of_two_factors_and_a_factor_of_no_latent():
    """Latent 0 knows factors 0 and 1 (of 2 and 3 values), latent 1 factor 2; nobody factor 3."""
    rng = np.random.default_rng(0)
    factors = np.tile(every_combination(2, 3, 4, 5), (5, 1))
    factors[:, 3] = rng.integers(5, size=len(factors))
    codes = np.stack(
        [3 * factors[:, 0] + factors[:, 1], factors[:, 2], rng.normal(size=len(factors))], axis=1
    )
    scores = dci(codes, factors[:, :3])
    # Rows (1, 1, 0), (0, 0, 1), (0, 0, 0).
    np.testing.assert_allclose(scores.disentanglement, (2 * (1 - np.log(2) / np.log(3)) + 1) / 3)
    np.testing.assert_allclose(scores.completeness, 1.0)
    assert scores.informativeness == 1.0
    # It is measured on examples of which the forest knows nothing: one in five is right by chance.
    unknown = 4 * dci(codes, factors).informativeness - 3
    assert abs(unknown - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 150)


def test_three_quarters_of_the_examples_train_and_the_others_test():
    """Twins have the same code and the same random values, which a forest can only remember.

    So it is right if the twin of a test example was in training, and else by chance, once in ten.
    """
    rng = np.random.default_rng(0)
    codes, factors = rng.normal(size=(600, 2)), rng.integers(10, size=(600, 2))
    informativeness = dci(np.tile(codes, (2, 1)), np.tile(factors, (2, 1))).informativeness
    expected = 3 / 4 + 1 / 4 * 1 / 10
    assert abs(informativeness - expected) < 4 * np.sqrt(expected * (1 - expected) / 300)

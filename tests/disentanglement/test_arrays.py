"""The shared parts of the metrics: places of values, activity, and examples that are alike."""

import numpy as np

from vae_jax.disentanglement.arrays import checked, draw_alike, is_active, standardised


def test_factors_become_places_among_their_values():
    codes, places = checked(np.zeros((4, 2), np.float32), [[5, -1], [9, 7], [9, -1], [5, 7]])
    np.testing.assert_array_equal(places, [[0, 0], [1, 1], [1, 0], [0, 1]])
    assert codes.dtype == np.float64


def test_a_latent_is_active_if_its_variance_is_more_than_a_hundredth():
    codes = np.array([-1.0, 1.0])[:, None] * np.array([0.099, 0.101, 0.0, 5.0])[None] + 3.0
    np.testing.assert_array_equal(is_active(codes), [False, True, False, True])
    np.testing.assert_allclose(np.abs(standardised(codes) - standardised(codes).mean(axis=0)), 1.0)
    assert standardised(codes).shape == (2, 2)


def test_examples_that_are_alike_are_drawn_equally_often():
    values = np.array([2, 0, 1, 0, 2, 2, 0, 2, 1])
    examples = np.tile(np.arange(9), (20_000, 1))
    alike = draw_alike(np.random.default_rng(0), values, examples)
    assert alike.shape == examples.shape
    for i in range(9):
        frequencies = np.bincount(alike[:, i], minlength=9) / 20_000
        expected = (values == values[i]) / np.sum(values == values[i])
        error = np.sqrt(expected * (1 - expected) / 20_000)
        assert np.all(np.abs(frequencies - expected) <= 4.5 * error)
    # Draws for different examples are independent.
    correlation = np.corrcoef((alike == alike.min(axis=0)).astype(float), rowvar=False)
    assert np.max(np.abs(correlation - np.eye(9))) < 4.5 / np.sqrt(20_000)

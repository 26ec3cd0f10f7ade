"""The beta-VAE score of codes whose points can be counted."""

import numpy as np
import pytest

from tests.disentanglement.codes import every_combination
from vae_jax.disentanglement import beta_vae_score


@pytest.mark.parametrize("num_pairs", [1, 2, 3])
def test_the_probability_that_a_point_says_nothing(num_pairs):
    """A perfect code of two bits: the latent of the factor that is not shared differs in half of
    the pairs. If it differs in any, the classifier is right, otherwise in half of the cases."""
    codes = every_combination(2, 2)
    factors = np.tile(codes, (2, 1))
    score = beta_vae_score(
        np.tile(codes, (2, 1)), factors, seed=0, num_points=20_000, num_pairs=num_pairs
    )
    silent = 0.5**num_pairs
    # Among points that say nothing, those of one factor are all right, the others all wrong.
    error = np.sqrt(2 * silent * (1 - silent) / 20_000) / 2
    assert abs(score - (1 - silent / 2)) < 4 * error


def test_differences_are_absolute_and_relative():
    """Signed ones would have mean zero whatever is shared, and large ones would hide the others."""
    rng = np.random.default_rng(0)
    factors = rng.integers(5, size=(1_000, 3))
    codes = factors * [1e4, -1.0, 0.2]
    assert beta_vae_score(codes, factors) == 1.0

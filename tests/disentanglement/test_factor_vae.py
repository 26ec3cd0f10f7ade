"""The FactorVAE score of codes whose votes can be counted."""

import numpy as np

from tests.disentanglement.codes import every_combination
from vae_jax.disentanglement import factor_vae_score


def test_a_latent_without_a_factor_gets_votes_by_chance():
    """Latent 0 is factor 0; latent 1 is independent of both; batches have two examples.

    With factor 0 fixed, latent 0 does not vary. With factor 1 fixed, each latent varies with
    probability 1/2, and latent 1 gets the vote if it does not while latent 0 does: 1/4.
    """
    factors = every_combination(2, 2, 2)
    codes = np.stack([factors[:, 0], 10.0 * factors[:, 2]], axis=1)
    score = factor_vae_score(codes, factors[:, :2], seed=0, num_votes=50_000, batch_size=2)
    assert abs(score - (1 + 1 / 4) / 2) < 4 * np.sqrt(1 / 4 * 3 / 4 / 50_000) / 2


def test_variances_are_relative_to_those_of_all_examples():
    """Latent 0 is half of factor 0 and all of factor 2, in a unit that makes it seem still.

    Fixed, the first takes a fifth of its variance; factor 1 takes all of that of latent 1.
    """
    factors = every_combination(2, 2, 2)
    codes = np.stack([factors[:, 0] + 2.0 * factors[:, 2], 100.0 * factors[:, 1]], axis=1)
    for scales in ([1.0, 1.0], [1.0, 1e-2], [1e3, 1e-2]):
        score = factor_vae_score(codes * scales, factors[:, :2], batch_size=2_000, num_votes=100)
        assert score == 1.0


def test_the_classifier_is_judged_by_other_votes():
    """For a code without information it is right once in F, however few the votes."""
    rng = np.random.default_rng(0)
    factors = rng.integers(2, size=(2_000, 4))
    codes = rng.normal(size=(2_000, 12))
    scores = [factor_vae_score(codes, factors, rng, num_votes=10) for _ in range(200)]
    assert abs(np.mean(scores) - 0.25) < 4 * np.std(scores) / np.sqrt(200)

"""All the metrics on perfect, rotated, random and inactive codes, whose scores are known."""

import subprocess
import sys

import numpy as np
import pytest

from tests.disentanglement.codes import every_combination, perfect, rotated
from tests.monte_carlo import assert_mean
from vae_jax.disentanglement import all_scores, beta_vae_score, factor_vae_score, mig, sap

SIZES = np.array([3, 4, 6, 5])
FACTORS = every_combination(*SIZES)


def random_factors(rng, num_examples):
    return rng.integers(SIZES, size=(num_examples, len(SIZES)))


def test_a_perfect_code_in_any_order_and_on_any_scale():
    scores = all_scores(perfect(FACTORS), FACTORS)
    # The second best latent knows nothing, and is right once in K.
    chance = np.mean(1.0 / SIZES)
    assert scores.keys() == {
        "mig",
        "dci_disentanglement",
        "dci_completeness",
        "dci_informativeness",
        "sap",
        "factor_vae",
        "beta_vae",
    }
    for name, score in scores.items():
        assert isinstance(score, float)
        np.testing.assert_allclose(score, 1.0 - chance if name == "sap" else 1.0, atol=1e-12)


def test_latents_that_do_not_vary_change_nothing_but_the_second_best():
    rng = np.random.default_rng(0)
    inactive = 0.02 * rng.normal(size=(len(FACTORS), 2))
    codes = np.concatenate([np.zeros((len(FACTORS), 1)), perfect(FACTORS), inactive], axis=1)
    assert factor_vae_score(codes, FACTORS) == 1.0
    assert beta_vae_score(codes, FACTORS) == 1.0
    np.testing.assert_allclose(sap(codes, FACTORS), np.mean(1.0 - 1.0 / SIZES))
    factors = FACTORS[:, :2]
    one_active = np.stack([factors[:, 0], np.zeros(len(FACTORS))], axis=1)
    # The best latent, and then none: 1 of one factor, chance of the other.
    np.testing.assert_allclose(sap(one_active, factors), (1.0 + 1.0 / SIZES[1]) / 2.0)


def test_faint_echoes_of_factors_in_inactive_latents_count_for_nothing():
    """Their posterior means differ by a thousandth of their posterior standard deviation."""
    codes = np.concatenate([perfect(FACTORS), 1e-3 * perfect(FACTORS)], axis=1)
    scores = all_scores(codes, FACTORS)
    for name in ("mig", "dci_disentanglement", "dci_completeness"):
        np.testing.assert_allclose(scores[name], 1.0, atol=1e-12)


def test_a_code_without_an_active_latent_is_at_chance():
    scores = all_scores(np.full(FACTORS.shape, 3.0), FACTORS)
    assert scores.pop("factor_vae") == scores.pop("beta_vae") == 1.0 / len(SIZES)
    # Nobody can do better than to guess.
    assert scores.pop("dci_informativeness") < 1.2 * np.mean(1.0 / SIZES)
    np.testing.assert_allclose(list(scores.values()), 0.0, atol=1e-12)


def test_a_code_that_is_rotated_by_equal_parts_knows_all_and_tells_nothing_apart():
    """Every latent has the same joint distribution with every factor, but for its mirror image."""
    factors = every_combination(6, 6, 6, 6)
    scores = all_scores(rotated(factors), factors)
    np.testing.assert_allclose([scores["mig"], scores["sap"]], 0.0, atol=1e-12)
    # The rest is the noise of the forests.
    assert 0.0 <= scores["dci_disentanglement"] < 0.002
    assert 0.0 <= scores["dci_completeness"] < 0.002
    # A neighbouring combination is often taken for the right one; chance is 1/6.
    assert scores["dci_informativeness"] > 0.5
    seeds = range(10)
    assert_mean([factor_vae_score(rotated(factors), factors, seed) for seed in seeds], 0.25)
    assert_mean([beta_vae_score(rotated(factors), factors, seed) for seed in seeds], 0.25)


def test_a_random_code_is_at_chance():
    num_examples, num_latents = 5_000, 6
    votes, pairs = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        factors = random_factors(rng, num_examples)
        codes = rng.normal(size=(num_examples, num_latents))
        # 2 N I is chi-square with 19 (K - 1) degrees of freedom, if not fewer for empty bins; the
        # gap between the largest two of six is less than five standard deviations.
        freedom = 19 * (SIZES - 1)
        entropy = np.log(SIZES)
        assert mig(codes, factors) < np.mean(
            5 * np.sqrt(2 * freedom) / (2 * num_examples * entropy)
        )
        # The part of a value's examples that is in an interval has a variance of at most K / 4 N.
        assert sap(codes, factors) < np.mean(5 * np.sqrt(0.25 / num_examples))
        votes.append(factor_vae_score(codes, factors, rng))
        pairs.append(beta_vae_score(codes, factors, rng))
    assert_mean(votes, 0.25)
    assert_mean(pairs, 0.25)


def test_the_forests_of_a_random_code_are_at_chance():
    rng = np.random.default_rng(0)
    factors = random_factors(rng, 2_000)
    scores = all_scores(rng.normal(size=(2_000, 6)), factors)
    assert 0.0 <= scores["dci_disentanglement"] < 0.002
    assert 0.0 <= scores["dci_completeness"] < 0.002
    # Whatever a forest says of 500 examples, it is right with probability 1 / K.
    p = 1.0 / SIZES
    error = np.sqrt(np.sum(p * (1.0 - p)) / 500) / len(SIZES)
    assert abs(scores["dci_informativeness"] - np.mean(p)) < 4 * error


def test_the_seed_fixes_what_is_random_and_scales_and_names_change_nothing():
    rng = np.random.default_rng(0)
    factors = random_factors(rng, 300)
    codes = factors @ rng.normal(size=(4, 5)) + rng.normal(size=(300, 5))
    scales = 2.0 ** np.array([3, -1, 0, 5, 1])  # exact in floating point
    names = np.array([-7, 2, 3, 50, 51, 1000])  # in the same order
    first = all_scores(codes, factors, seed=3)
    assert all_scores(codes * scales, names[factors], seed=3) == first
    other = all_scores(codes, factors, seed=4)
    assert {name for name in first if first[name] == other[name]} == {"mig", "sap"}


@pytest.mark.parametrize("metric", [mig, sap, factor_vae_score, beta_vae_score, all_scores])
@pytest.mark.parametrize(
    ("codes", "factors", "said"),
    [
        (np.zeros(360), FACTORS, r"not of shapes \(360,\) and \(360, 4\)"),
        (np.zeros((360, 1)), FACTORS, r"L and F of 2 or more, not of shapes \(360, 1\)"),
        (np.zeros((360, 2)), FACTORS[:, :1], r"and \(360, 1\)"),
        (np.zeros((360, 2)), FACTORS[1:], r"\(360, 2\) and \(359, 4\)"),
        (np.where(FACTORS == 2, np.nan, 0.0), FACTORS, "codes must be finite"),
        (np.where(FACTORS == 2, np.inf, 0.0), FACTORS, "codes must be finite"),
        (np.zeros((360, 2)), FACTORS / 2.0, "factors must be integers, not float64"),
        (np.zeros((360, 2)), FACTORS * [1, 1, 0, 1], "Factor 2 has only one value, 0"),
        (np.zeros((360, 2)), FACTORS + 5 * np.eye(360, 4, dtype=int), "Value 5 of factor 0 "),
        (np.zeros((0, 2)), FACTORS[:0], "at least one example"),
    ],
)
def test_bad_input_is_one_sentence(metric, codes, factors, said):
    with pytest.raises(ValueError, match=said) as caught:
        metric(codes, factors)
    assert str(caught.value).endswith(".")


def test_importing_the_library_does_not_import_scikit_learn():
    code = "import sys, vae_jax.disentanglement; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

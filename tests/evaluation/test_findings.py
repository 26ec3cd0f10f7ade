"""The sentences of an evaluation, for numbers whose meaning is known."""

import math

import numpy as np
import pytest

from vae_jax.diagnostics.aggregate import Surgery, Units
from vae_jax.evaluation import findings, numbers, page
from vae_jax.evaluation.annealing import Bounds


def surgery(information=3.0, num_examples=1000):
    return Surgery(
        num_examples=num_examples,
        kl=5.0,
        sampled_kl=5.0,
        mutual_information=information,
        marginal_kl=5.0 - information,
        total_correlation=1.5,
        dimension_kl=np.array([0.5, 0.0]),
        mutual_information_error=0.1,
        marginal_kl_error=0.1,
    )


def units(*variances):
    variances = np.array(variances)
    return Units(
        kl=np.where(variances > 0.01, 2.0, 0.003),
        mean_variance=variances,
        aggregate_mean=np.zeros(len(variances)),
        aggregate_std=np.ones(len(variances)),
    )


def gaps(amortisation, approximation, train=-80.0, error=0.1):
    test = {
        "amortisation": [amortisation, error],
        "approximation": [approximation, error],
        "log_evidence": [-80.0, error],
    }
    return {"test": test, "train": test | {"log_evidence": [train, error]}}


@pytest.mark.parametrize(
    ("variances", "words"),
    [
        ((0.5, 0.9), "No posterior collapse: all 2 latents vary with x."),
        (
            (0.5, 0.009),
            "POSTERIOR COLLAPSE in part: 1 of 2 latents do not vary with x, with a KL of 0.003 "
            "nats together.",
        ),
        (
            (0.0, 0.01),
            "POSTERIOR COLLAPSE: none of the 2 latents varies with x (mean KL 5 nats); the decoder "
            "ignores z, so that there is nothing to encode.",
        ),
    ],
)
def test_posterior_collapse_is_named_where_it_is(variances, words):
    first, *_, last = findings.state_of_latents(surgery(), units(*variances))
    assert first == words
    assert "z carries 3.00 nats of which of 1,000 examples it is (at most log N = 6.91)" in last
    assert last.endswith("of a mean KL of 5.00.")


def test_latents_that_vary_are_told_from_those_that_carry_the_kl():
    found = units(0.5, 0.9, 0.02, 0.0)._replace(kl=np.array([2.0, 1.0, 0.01, 0.0]))
    words = findings.state_of_latents(surgery(), found)[1]
    assert words == (
        "3 of 4 latents are active (variance of the posterior mean over the examples above 0.01, "
        "Burda et al. 2016); 2 carry 98% of the KL."
    )
    one = units(0.5, 0.9)._replace(kl=np.array([2.0, 0.001]))
    assert findings.state_of_latents(surgery(), one)[1].endswith("; 1 carries 98% of the KL.")


def test_nothing_carries_where_nothing_varies():
    words = findings.state_of_latents(surgery(), units(0.0, 0.0))
    assert len(words) == 2
    assert not any("98%" in sentence for sentence in words)


def test_saturated_information_is_not_taken_for_knowledge():
    saturated = surgery(information=math.log(1000) - 0.5)
    assert findings.state_of_latents(saturated, units(0.5))[-1].endswith("with so few examples.")
    ranked, remarks = findings.causes(gaps(1.0, 0.5), saturated, uncertainty=0.1)
    assert not [cause for cause in ranked if cause.name.startswith("marginal")]
    assert "cannot be told from 1,000 examples" in remarks[0]


@pytest.mark.parametrize(
    ("given", "first"),
    [
        (gaps(4.0, 0.5), "First of all a larger encoder"),
        (gaps(0.5, 4.0), "First of all a richer family of q(z|x)"),
        (gaps(0.5, 0.4, train=-70.0), "First of all more data"),
        (gaps(0.5, 0.4), "First of all a learned prior"),
        (gaps(9.0, 0.4, error=5.0), "First of all a learned prior"),
    ],
)
def test_what_to_change_first_is_the_largest_that_is_sure(given, first):
    ranked, _ = findings.causes(given, surgery(), uncertainty=0.1)
    assert [cause.nats for cause in ranked] == sorted((c.nats for c in ranked), reverse=True)
    assert findings.first_advice(ranked, units(0.5), 100).startswith(first)


def test_where_nothing_is_sure_the_decoder_remains():
    ranked, remarks = findings.causes(gaps(0.1, 0.1, error=1.0), surgery(6.9), uncertainty=0.3)
    advice = findings.first_advice(ranked, units(0.5), 100)
    assert advice.startswith(
        "Nothing here is larger than twice its standard error with 100 examples"
    )
    assert any("may be up to 0.30 nats higher" in remark for remark in remarks)


def test_collapse_comes_before_all_else():
    ranked, _ = findings.causes(gaps(9.0, 9.0), surgery(), uncertainty=0.0)
    advice = findings.first_advice(ranked, units(0.0, 0.005), 100)
    assert advice.startswith("First of all undo the collapse")


def test_uncertainty_is_compared_with_the_approximation_gap():
    for uncertainty, is_said in ((0.4, False), (0.6, True)):
        _, remarks = findings.causes(gaps(2.0, 0.5), surgery(), uncertainty)
        assert any("may be up to" in remark for remark in remarks) == is_said


def test_surgery_in_words_gives_no_parts_where_information_is_saturated():
    most = math.log(1000)
    words = findings.surgery_in_words(surgery(most - 1.5))
    assert words == (
        "Mean KL 5.00 = mutual information 5.41 + marginal KL -0.41 (+- 0.10), which is 0.50 "
        "within the dimensions and 1.50 between them."
    )
    assert "so that the marginal KL is at most -0.91" in findings.surgery_in_words(
        surgery(most - 1.0 + 0.001)
    )


def test_trust_in_weights_counts_the_bad_ones():
    words = findings.trust_in_weights([0.1, 0.9, np.inf], [3.0, 100.0, 50.0], 5000)
    assert "for 2 of 3 examples" in words
    assert "is 50 of 5,000" in words


def test_the_interval_is_annealing_and_the_gap_on_simulated_images():
    """Weights by hand: log of the mean weight from below, minus that of inverse ones above."""
    test = Bounds(np.log([[1.0, 3.0], [2.0, 2.0]]), np.array([0.6, 0.8]))
    forward = Bounds(np.log([[1.0, 3.0], [1.0, 1.0]]), np.ones(2))
    reverse = Bounds(np.log([[4.0, 4.0], [2.0, 1.0]]), np.ones(2))
    importance = {
        "log_evidence": np.log([1.0, 2.0]),
        "pareto_shape": np.array([0.2, 0.9]),
        "effective_sample_size": np.array([10.0, 30.0]),
    }
    found = numbers.log_evidence(test, importance, (forward, reverse), None)
    gap = 0.5 * (np.log(4.0) - np.log(2.0) + np.log(4.0 / 3.0) - 0.0)
    np.testing.assert_allclose(found["annealed"][0], np.log(2.0))
    np.testing.assert_allclose(found["simulated_gap"][0], gap)
    np.testing.assert_allclose(found["interval"], [np.log(2.0), np.log(2.0) + gap])
    np.testing.assert_allclose(found["annealed_minus_importance"][0], 0.5 * np.log(2.0))
    # Weights 1 and 3: mean 2, variance 2, so that the log of the mean of two has variance 1/4.
    np.testing.assert_allclose(found["interval_errors"][0], 0.5 / 2)
    gaps = np.array([np.log(2.0), np.log(4.0 / 3.0)])
    np.testing.assert_allclose(
        found["interval_errors"][1], np.hypot(0.25, gaps.std(ddof=1) / np.sqrt(2))
    )
    assert found["pareto_shape_above_0.7"] == 1
    assert found["effective_sample_size_median"] == 20.0
    assert found["acceptance"] == pytest.approx(0.7)


def test_the_better_lower_bound_and_no_negative_gap_make_the_interval():
    test = Bounds(np.log([[1.0, 1.0], [1.0, 1.0]]), np.ones(2))
    crossed = (Bounds(np.log([[4.0, 4.0]] * 2), np.ones(2)), Bounds(np.zeros((2, 2)), np.ones(2)))
    importance = {
        "log_evidence": np.array([0.2, 0.4]),
        "pareto_shape": np.zeros(2),
        "effective_sample_size": np.ones(2),
    }
    found = numbers.log_evidence(test, importance, crossed, None)
    assert found["simulated_gap"][0] < -1.0
    np.testing.assert_allclose(found["interval"], [0.3, 0.3])
    importance["log_evidence"] -= 10.0
    found = numbers.log_evidence(test, importance, crossed, None)
    np.testing.assert_allclose(found["interval"], [0.0, 0.0])


def test_the_page_puts_every_number_in_its_row():
    split = {
        "elbo": [-91.0, 0.11],
        "amortisation": [2.0, 0.12],
        "best_elbo": [-89.0, 0.13],
        "approximation": [4.0, 0.14],
        "log_evidence": [-85.0, 0.15],
    }
    other = {name: [mean - 50.0, error] for name, (mean, error) in split.items()}
    known = {
        "start": "posterior",
        "interval": [-85.0, -84.0],
        "interval_errors": [0.21, 0.22],
        "annealed": [-85.0, 0.15],
        "importance": [-86.0, 0.23],
        "annealed_minus_importance": [1.0, 0.24],
        "simulated_gap": [1.0, 0.25],
        "simulated_gap_median": 0.5,
        "simulated_lower": [-97.0, 0.0],
        "simulated_upper": [-96.0, 0.0],
        "exact": None,
    }
    found = {
        "run": "runs/x",
        "dataset": "mnist",
        "binarisation": "static",
        "likelihood": "bernoulli",
        "data_kind": "binary",
        "posterior": "diagonal normal",
        "settings": {"num_examples": 7, "chains": 3, "temperatures": 9, "iwae_samples": 11},
        "log_evidence": known,
        "gaps": {"test": split, "train": other},
        "rate_distortion": {"num_examples": 5},
        "latent_space": {"layer_kl": [[20.5, 0.31], [0.004, 0.001]]},
        "disentanglement": {"mig": 0.25},
        "outliers": None,
        "against": None,
        "not_measured": {"quadrature": "Three latents."},
    }
    importance = {"pareto_shape": np.zeros(7), "effective_sample_size": np.full(7, 4.0)}
    text = page.page(found, importance, surgery(), units(0.5))
    for line in (
        "| ELBO of the encoder | -91.00 +- 0.11 | -141.00 +- 0.11 |",
        "| amortisation gap | 2.00 +- 0.12 | -48.00 +- 0.12 |",
        "| ELBO of the best diagonal normal | -89.00 +- 0.13 | -139.00 +- 0.13 |",
        "| approximation gap | 4.00 +- 0.14 | -46.00 +- 0.14 |",
        "| log p(x), lower bound | -85.00 +- 0.15 | -135.00 +- 0.15 |",
        "- Layer z_1 has a mean KL of 20.50 +- 0.31 nats.",
        "- Layer z_2 has a mean KL of 0.00 +- 0.00 nats: POSTERIOR COLLAPSE of this layer.",
        "- mig: 0.250",
        "Not measured: quadrature. Three latents.",
    ):
        assert line in text.splitlines()
    assert "lies between -85.00 and -84.00 nats** (its ends +- 0.21 and +- 0.22 by" in text
    assert "The lower end is annealed importance sampling, 3 chains of 9 temperatures" in text
    assert "8-bit" not in text
    known["importance"] = [-84.5, 0.2]
    text = page.page(found | {"likelihood": "gaussian"}, importance, surgery(), units(0.5))
    assert "The lower end is importance sampling: annealing, 3 chains" in text
    assert "not of 8-bit pixels" in text


def test_gaps_add_up_to_the_inference_gap():
    bounds = Bounds(np.log([[2.0, 2.0], [4.0, 4.0]]), np.ones(2))
    found = numbers.gaps(bounds, {"encoder": np.array([-1.0, 0.0]), "best": np.array([0.0, 0.5])})
    np.testing.assert_allclose(found["amortisation"][0], 0.75)
    np.testing.assert_allclose(found["approximation"][0], np.log(8.0) / 2 - 0.25)
    assert found["inference"][0] == found["amortisation"][0] + found["approximation"][0]

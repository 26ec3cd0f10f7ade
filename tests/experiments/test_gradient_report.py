"""The report of the gradient laboratory: curves, slopes, theory and words."""

import math

import jax
import numpy as np
import pytest

from experiments import gradient_cases, gradient_report, gradients
from experiments.gradient_report import Result, Row
from vae_jax.diagnostics.gradients import GradientQuality


def row(part="encoder", bound="iwae", estimator="pathwise", num_samples=1, **quality):
    numbers = dict.fromkeys(GradientQuality._fields, 1.0) | {"num_parameters": 3} | quality
    return Row(
        part, bound, estimator, num_samples, "exact", "exact", GradientQuality(**numbers), 1.0, {}
    )


def test_estimators_with_the_same_numbers_are_one_curve():
    rows = [
        row("encoder", "iwae", "pathwise", 1),
        row("encoder", "iwae", "vimco", 2),
        *(row("decoder", "iwae", name, k) for name in ("pathwise", "stl") for k in (1, 2)),
        row("decoder", "iwae", "vimco", 2),
        *(row("decoder", "elbo", "pathwise", k) for k in (1, 2)),
        row("decoder", "elbo", "concrete", 2, variance=1.01),
    ]
    curves = gradient_report.curves([row for row in rows if row.bound == "iwae"])
    assert list(curves) == [
        ("encoder", "pathwise"),
        ("encoder", "vimco"),
        ("decoder", "all estimators"),
    ]
    assert [row.num_samples for row in curves["decoder", "all estimators"]] == [1, 2]
    curves = gradient_report.curves([row for row in rows if row.part == "decoder"])
    assert list(curves) == [
        ("decoder", "iwae, all estimators"),
        ("decoder", "elbo, pathwise"),
        ("decoder", "elbo, concrete"),
    ]


def test_slopes_are_fitted_to_what_is_above_the_noise_from_a_k_on():
    ratios = {1: 9.0, 10: 1.0, 20: math.nan, 40: 2.0, 90: 3.0}
    rows = [row(num_samples=k, signal_to_noise=ratio) for k, ratio in ratios.items()]
    (found,) = gradient_report.slopes(Result("", 1, 2, 0, fit_from=10, rows=rows))
    assert found["num_points"] == 3
    np.testing.assert_allclose(found["slope"], 0.5)
    assert found["theory"] == -0.5
    text = gradient_report.table(Result("", 1, 2, 0, fit_from=10, rows=rows))
    assert "+0.500 +- 0.000   theory -0.5" in text
    (noise,) = (line for line in text.splitlines() if line[30:].split()[:1] == ["20"])
    assert noise.endswith(" <1")


@pytest.mark.parametrize(
    ("part", "bound", "estimator", "exponent"),
    [
        ("encoder", "iwae", "pathwise", -0.5),
        ("encoder", "miwae:4", "pathwise", -0.5),
        ("encoder", "iwae", "dreg", 0.5),
        ("encoder", "iwae", "stl", None),
        ("encoder", "elbo", "stl", 0.5),
        ("encoder", "elbo", "score_function", None),
        ("decoder", "iwae", "vimco", 0.5),
        ("decoder", "iwae", "concrete:0.1", None),
        ("decoder", "renyi:0.5", "pathwise", None),
    ],
)
def test_theory(part, bound, estimator, exponent):
    assert gradient_report.theory(part, bound, estimator) == exponent


@pytest.mark.parametrize(
    ("part", "bound", "estimator", "unbiased"),
    [
        ("encoder", "iwae", "pathwise", True),
        ("encoder", "iwae", "stl", False),
        ("decoder", "iwae", "stl", True),
        ("encoder", "elbo", "stl", True),
        ("encoder", "renyi:0.5", "dreg", True),
        ("encoder", "renyi:-inf", "dreg", False),
        ("encoder", "renyi:-inf", "pathwise", True),
        ("encoder", "iwae", "concrete", False),
        ("decoder", "elbo", "concrete:0.1", False),
    ],
)
def test_which_estimators_are_unbiased(part, bound, estimator, unbiased):
    assert gradient_cases.is_unbiased(part, bound, estimator) == unbiased


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.0123, "0.012"),
        (3.14, "3.1"),
        (314.15, "314"),
        (99999.0, "99999"),
        (1.234e7, "1.2e7"),
        (1.234e-5, "1.2e-5"),
        (math.nan, "-"),
        (math.inf, "-"),
    ],
)
def test_numbers_of_the_table_are_short(value, text):
    assert gradient_report._short(value) == text


def test_a_gradient_that_is_not_finite_is_named():
    case = gradient_cases.linear_gaussian(jax.random.key(0), num_examples=2, num_dims=2)
    broken = case._replace(params=jax.tree.map(lambda leaf: leaf * math.inf, case.params))
    bounds = gradient_cases.named_bounds(["elbo"])
    (step,) = gradients.plan(broken, bounds, [2], gradient_cases.named_estimators(["pathwise"]))
    with pytest.raises(gradients.DivergenceError, match="elbo, K=2 by pathwise is not finite"):
        gradients.measure(broken, step, 3, jax.random.key(0), progress=lambda keys: None)

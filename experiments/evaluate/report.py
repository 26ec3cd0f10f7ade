"""The results of an evaluation: numbers for evidence.json, and a page in words."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from experiments.evaluate import findings
from experiments.evaluate.measure import CURVE_EXAMPLES, Bounds
from vae_jax import evidence, figures
from vae_jax.diagnostics import outliers
from vae_jax.diagnostics.aggregate import Surgery, Units
from vae_jax.runs.files import write_json, writing

Numbers = dict[str, Any]


def log_evidence(
    test: Bounds,
    importance: dict[str, np.ndarray],
    simulated: tuple[Bounds, Bounds],
    exact: dict[str, np.ndarray] | None,
) -> Numbers:
    """All that is known of log p(x); pairs are a mean over images and its standard error."""
    gap = simulated[1].upper - simulated[0].lower
    gap_mean, gap_error = _mean(gap)
    lower, by_importance = _mean(test.lower), _mean(importance["log_evidence"])
    low = max(lower[0], by_importance[0])  # both are lower bounds
    shapes = importance["pareto_shape"].tolist()
    return {
        "interval": [low, max(low, lower[0] + gap_mean)],
        "interval_errors": [test.chain_error, math.hypot(test.chain_error, gap_error)],
        "annealed": lower,
        "acceptance": float(test.acceptance.mean()),
        "importance": by_importance,
        "annealed_minus_importance": _mean(test.lower - importance["log_evidence"]),
        "simulated_lower": _mean(simulated[0].lower),
        "simulated_upper": _mean(simulated[1].upper),
        "simulated_gap": [gap_mean, gap_error],
        "simulated_gap_median": float(np.median(gap)),
        "simulated_gap_max": float(gap.max()),
        "pareto_shape_above_0.7": sum(shape > 0.7 for shape in shapes),
        "effective_sample_size_median": float(np.median(importance["effective_sample_size"])),
        "exact": None if exact is None else _mean(exact["log_evidence"]),
        "exact_error": None if exact is None else float(exact["error"].max()),
        "annealed_minus_exact": (
            None if exact is None else _mean(test.lower - exact["log_evidence"])
        ),
    }


def gaps(bounds: Bounds, elbos: dict[str, np.ndarray]) -> Numbers:
    """The inference gap of a split and its two causes, mean and standard error over images."""
    return {
        "elbo": _mean(elbos["encoder"]),
        "best_elbo": _mean(elbos["best"]),
        "log_evidence": _mean(bounds.lower),
        "inference": _mean(bounds.lower - elbos["encoder"]),
        "approximation": _mean(bounds.lower - elbos["best"]),
        "amortisation": _mean(elbos["best"] - elbos["encoder"]),
    }


def latent_space(surgery: Surgery, units: Units) -> Numbers:
    """ELBO surgery, and every latent dimension."""
    return {
        **surgery._asdict(),
        "log_num_examples": math.log(surgery.num_examples),
        "num_active": int(units.active.sum()),
        "num_carrying": int(units.carrying.sum()),
        "num_latents": len(units.active),
        "active": units.active.tolist(),
        **{f"unit_{name}": values for name, values in units._asdict().items()},
    }


def outlier_numbers(scores: dict[str, np.ndarray]) -> Numbers:
    """Areas under the ROC curve, and means."""
    return {
        score: {
            "auroc": outliers.auroc(scores[f"inside_{score}"], scores[f"outside_{score}"]),
            "inside": _mean(scores[f"inside_{score}"]),
            "outside": _mean(scores[f"outside_{score}"]),
        }
        for score in ("elbo", "log_evidence")
    }


def page(
    numbers: Numbers, importance: dict[str, np.ndarray], surgery: Surgery, units: Units
) -> str:
    """evidence.md: the page in words."""
    known, settings = numbers["log_evidence"], numbers["settings"]
    low, high = known["interval"]
    low_error, high_error = known["interval_errors"]
    ranked, remarks = findings.causes(numbers["gaps"], surgery, high - low)
    lines = [
        f"# {numbers['run']}: how good it is, and what holds it back",
        "",
        f"{numbers['dataset']}, {numbers['binarisation']} binarisation; the first "
        f"{settings['num_examples']} test images and as many training images, where nothing else "
        "is said; nats per image, +- one standard error over images.",
        *_of_densities(numbers["likelihood"]),
        "",
        "## log p(x)",
        "",
        f"**The mean log p(x) of these test images lies between {low:.2f} and {high:.2f} nats** "
        f"(its ends +- {low_error:.2f} and +- {high_error:.2f} by the noise of the chains; all of "
        f"it +- {known['annealed'][1]:.2f} by the choice of images, as if drawn at random).",
        "",
        _lower_end(known, settings),
        "- The upper end adds the gap between both directions of annealing on images simulated "
        f"from the model, {_pair(known['simulated_gap'])} nats, median "
        f"{known['simulated_gap_median']:.2f} (from {known['simulated_lower'][0]:.2f} to "
        f"{known['simulated_upper'][0]:.2f}). That images of the data are no harder is an "
        "assumption.",
        f"- Importance sampling with {settings['iwae_samples']:,} samples gives "
        f"{_pair(known['importance'])}; annealing less that is "
        f"{_pair(known['annealed_minus_importance'])}. "
        + findings.trust_in_weights(
            importance["pareto_shape"].tolist(),
            importance["effective_sample_size"].tolist(),
            settings["iwae_samples"],
        ),
    ]
    if known["exact"]:
        lines.append(
            f"- Quadrature, exact to {known['exact_error']:.1g}, gives {_pair(known['exact'])}; "
            f"annealing less that is {_pair(known['annealed_minus_exact'])}."
        )
    lines += [
        "",
        "![Bounds on log p(x)](bounds.png)",
        "",
        "## What the encoder loses",
        "",
        "| | test | training |",
        "|---|---|---|",
    ]
    test, train = numbers["gaps"]["test"], numbers["gaps"]["train"]
    for label, name in (
        ("ELBO of the encoder", "elbo"),
        ("amortisation gap", "amortisation"),
        ("ELBO of the best diagonal normal", "best_elbo"),
        ("approximation gap", "approximation"),
        ("log p(x), lower bound", "log_evidence"),
    ):
        lines.append(f"| {label} | {_pair(test[name])} | {_pair(train[name])} |")
    lines += ["", "![The inference gap](gaps.png)", "", "## The latent space", ""]
    lines += [f"Of {surgery.num_examples:,} test images:", ""]
    lines += [f"- {sentence}" for sentence in findings.state_of_latents(surgery, units)]
    lines += [
        f"- {findings.surgery_in_words(surgery)}",
        "",
        "![Latent dimensions](latents.png)",
        f"![Rate-distortion curve of {numbers['rate_distortion']['num_examples']} images]"
        "(rate_distortion.png)",
    ]
    for title, scores in (
        ("Disentanglement", numbers["disentanglement"]),
        ("Outliers", numbers["outliers"]),
    ):
        if scores:
            lines += ["", f"## {title}", "", *_score_lines(scores)]
    if numbers["outliers"]:
        lines += ["", "![Scores of outliers](outliers.png)"]
    advice = findings.first_advice(ranked, units, settings["num_examples"])
    lines += ["", "## What to change first", "", advice, ""]
    lines += [
        f"- {cause.name}: {cause.nats:.2f} +- {cause.standard_error:.2f} nats" for cause in ranked
    ]
    return "\n".join([*lines, *(f"- {remark}" for remark in remarks), ""])


def draw(
    folder: Path,
    numbers: Numbers,
    test: Bounds,
    importance: dict[str, np.ndarray],
    simulated: tuple[Bounds, Bounds],
    units: Units,
    curve: evidence.RateDistortion,
    scores: dict[str, np.ndarray] | None,
) -> None:
    """Draws every figure of the page."""
    low, high = numbers["log_evidence"]["interval"]
    bars = {
        split: figures.GapBar(
            *(found[name][0] for name in ("elbo", "best_elbo", "log_evidence")),
            found["inference"][1],
        )
        for split, found in numbers["gaps"].items()
    }
    point = numbers["rate_distortion"]
    drawn = {
        "gaps": figures.inference_gaps(bars, high - low),
        "bounds": figures.evidence_bounds(
            simulated[0].lower,
            simulated[1].upper,
            test.lower,
            importance["log_evidence"],
            numbers["settings"]["iwae_samples"],
        ),
        "latents": figures.latent_units(
            units.kl,
            units.active,
            units.aggregate_mean,
            units.aggregate_std,
            num_carrying=int(units.carrying.sum()),
        ),
        "rate_distortion": figures.rate_distortion(
            curve.rate.mean(axis=0),
            curve.distortion.mean(axis=0),
            (point["vae_rate"], point["vae_distortion"]),
            float(test.lower[:CURVE_EXAMPLES].mean()),
        ),
    }
    if scores is not None:
        labels = {"elbo": "ELBO (nats)", "log_evidence": "log p(x) (nats)"}
        drawn["outliers"] = figures.score_histograms(
            {
                f"{label}, AUROC {numbers['outliers'][score]['auroc']:.3f}": (
                    scores[f"inside_{score}"],
                    scores[f"outside_{score}"],
                )
                for score, label in labels.items()
            },
            (numbers["dataset"], numbers["outliers_of"]),
        )
    for name, figure in drawn.items():
        with writing(folder / f"{name}.png"):
            figures.save(figure, folder / f"{name}.png")


def write(folder: Path, numbers: Numbers, text: str) -> None:
    """Writes evidence.json and evidence.md.

    Raises:
      BadInputError: they cannot be written.
    """
    write_json(folder / "evidence.json", numbers)
    with writing(folder / "evidence.md"):
        (folder / "evidence.md").write_text(text)


def _lower_end(known: Numbers, settings: Numbers) -> str:
    """What the lower end of the interval comes from."""
    annealing = (
        f"{settings['chains']} chains of {settings['temperatures']} temperatures from q(z|x)"
    )
    if known["annealed"][0] >= known["importance"][0]:
        return f"- The lower end is annealed importance sampling, {annealing}."
    return (
        f"- The lower end is importance sampling: annealing, {annealing}, is lower; more "
        "--temperatures would raise it."
    )


def _of_densities(likelihood: str) -> list[str]:
    if not likelihood.startswith("gaussian"):
        return []
    return ["", "All of densities of intensities in [0, 1], not of 8-bit pixels."]


def _score_lines(scores: Numbers) -> list[str]:
    lines = []
    for name, score in scores.items():
        if isinstance(score, dict):
            lines.append(
                f"- {name}: AUROC {score['auroc']:.3f}; inside {_pair(score['inside'])}, outside "
                f"{_pair(score['outside'])}"
            )
        else:
            lines.append(f"- {name}: {score:.3f}")
    return lines


def _mean(values: np.ndarray) -> list[float]:
    return list(evidence.mean_and_standard_error(values))


def _pair(mean_and_error: list[float]) -> str:
    mean, error = mean_and_error
    return f"{mean:.2f} +- {error:.2f}"

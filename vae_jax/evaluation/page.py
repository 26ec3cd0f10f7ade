"""The results of an evaluation in words: evidence.md."""

from typing import Any

import numpy as np

from vae_jax.diagnostics.aggregate import Surgery, Units
from vae_jax.evaluation import findings
from vae_jax.evaluation.numbers import Numbers
from vae_jax.models.likelihoods import LIKELIHOODS


def page(
    numbers: Numbers, importance: dict[str, np.ndarray], surgery: Surgery | None, units: Units
) -> str:
    """The text of evidence.md."""
    known, settings = numbers["log_evidence"], numbers["settings"]
    low, high = known["interval"]
    low_error, high_error = known["interval_errors"]
    is_hierarchy = numbers["latent_space"]["layer_kl"] is not None
    ranked, remarks = findings.causes(
        numbers["gaps"], surgery, high - low, is_hierarchy=is_hierarchy
    )
    lines = [
        f"# {numbers['run']}: how good it is, and what holds it back",
        "",
        f"{numbers['dataset']}, {numbers['binarisation']} binarisation; the first "
        f"{settings['num_examples']} test examples and as many training ones, where nothing else "
        "is said; nats per example, +- one standard error over examples.",
        *_of_densities(numbers["likelihood"], numbers["data_kind"]),
        "",
        "## log p(x)",
        "",
        f"**The mean log p(x) of these test examples lies between {low:.2f} and {high:.2f} nats** "
        f"(its ends +- {low_error:.2f} and +- {high_error:.2f} by the noise of the chains; all of "
        f"it +- {known['annealed'][1]:.2f} by the choice of examples, as if drawn at random).",
        "",
        _lower_end(known, settings),
        "- The upper end adds the gap between both directions of annealing on examples simulated "
        f"from the model, {_pair(known['simulated_gap'])} nats, median "
        f"{known['simulated_gap_median']:.2f} (from {known['simulated_lower'][0]:.2f} to "
        f"{known['simulated_upper'][0]:.2f}). That examples of the data are no harder is an "
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
        (f"ELBO of the best {numbers['posterior']}", "best_elbo"),
        ("approximation gap", "approximation"),
        ("log p(x), lower bound", "log_evidence"),
    ):
        lines.append(f"| {label} | {_pair(test[name])} | {_pair(train[name])} |")
    lines += ["", "![The inference gap](gaps.png)", "", "## The latent space", ""]
    if surgery is not None:
        lines += [f"Of {surgery.num_examples:,} test examples:", ""]
    lines += [f"- {sentence}" for sentence in findings.state_of_latents(surgery, units)]
    lines += [] if surgery is None else [f"- {findings.surgery_in_words(surgery)}"]
    lines += [
        f"- {sentence}"
        for sentence in findings.layers_in_words(numbers["latent_space"]["layer_kl"])
    ]
    lines += [
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
    for part, reason in numbers["not_measured"].items():
        lines += ["", f"Not measured: {part}. {reason}"]
    advice = findings.first_advice(ranked, units, settings["num_examples"])
    lines += ["", "## What to change first", "", advice, ""]
    against = numbers["against"]
    lines += [
        f"- {cause.name}: {cause.nats:.2f} +- {cause.standard_error:.2f} nats"
        + ("" if against is None else _answer(cause, against))
        for cause in ranked
    ]
    lines += [f"- {remark}" for remark in remarks]
    if against is not None:
        lines += ["", f"## What {against['run']} brings", "", *_differences(against)]
    return "\n".join([*lines, ""])


def _answer(cause: findings.Cause, against: Numbers) -> str:
    """What another run with an option against this cause brought."""
    changed = [name for name in cause.options if name in against["options"]]
    if not changed:
        return ""
    flags = ", ".join(f"--{name}={_written(against['options'][name][1])}" for name in changed)
    differences = against["differences"]
    return (
        f"; {flags} brought {_pair(differences['elbo'])} of the ELBO and "
        f"{_pair(differences['log_evidence_annealed'])} of log p(x) in {against['run']}"
    )


def _differences(against: Numbers) -> list[str]:
    """The options that differ, and the table of differences."""
    options = [
        f"--{name}={_written(theirs)} (here {_written(ours)})"
        for name, (ours, theirs) in against["options"].items()
    ]
    rows = {
        "ELBO": "elbo",
        "log p(x), lower bound by annealing": "log_evidence_annealed",
        "log p(x), lower bound by importance sampling": "log_evidence_importance",
    }
    return [
        f"It has {', '.join(options) or 'the same options'}. Its numbers less those of this run, "
        "on the same test examples:",
        "",
        "| | difference |",
        "|---|---|",
        *(f"| {label} | {_pair(against['differences'][name])} |" for label, name in rows.items()),
    ]


def _written(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _lower_end(known: Numbers, settings: Numbers) -> str:
    """The source of the lower end of the interval."""
    annealing = (
        f"{settings['chains']} chains of {settings['temperatures']} temperatures from "
        + {"posterior": "q(z|x)", "normal": "a normal of its moments"}[known["start"]]
    )
    if known["annealed"][0] >= known["importance"][0]:
        return f"- The lower end is annealed importance sampling, {annealing}."
    return (
        f"- The lower end is importance sampling: annealing, {annealing}, is lower; more "
        "--temperatures would raise it."
    )


def _of_densities(likelihood: str, kind: str) -> list[str]:
    if LIKELIHOODS[likelihood].measure != "density":
        return []
    if kind == "real":
        return ["", "All of densities of real numbers, in their own units."]
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


def _pair(mean_and_error: list[float]) -> str:
    mean, error = mean_and_error
    return f"{mean:.2f} +- {error:.2f}"

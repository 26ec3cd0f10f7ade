"""The results of experiments.gradients as a table, as JSON and as a figure."""

import math
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_jax import figures
from vae_jax.diagnostics import gradients
from vae_jax.diagnostics.gradients import GradientQuality
from vae_jax.runs.files import write_json, writing
from vae_jax.runs.versions import versions


class Row(NamedTuple):
    """The quality of one gradient estimator for a bound of K samples, in one part of the model."""

    part: str
    bound: str
    estimator: str
    num_samples: int  # K
    reference: str  # comparison for the bias: "exact", or an unbiased estimator with other keys
    known_best_by: str  # "exact", or the unbiased estimator with the least error in the encoder
    quality: GradientQuality
    variance_ratio: float  # variance divided by that of pathwise; nan if pathwise is not measured
    parameters: dict[str, Any]  # numbers of each parameter: bias, t, variance, SNR; or empty


class Result(NamedTuple):
    """Everything that was measured."""

    case: str
    num_examples: int
    num_keys: int
    seed: int
    fit_from: int
    rows: list[Row]


def curves(rows: list[Row]) -> dict[tuple[str, str], list[Row]]:
    """(part, name) -> the rows of an estimator of a bound, in the order of K.

    Estimators share one curve if their numbers are equal, as in the decoder.
    """
    bounds = dict.fromkeys(row.bound for row in rows)
    found = {}
    for part in dict.fromkeys(row.part for row in rows):
        for bound in bounds:
            by_estimator = {}
            for row in rows:
                if (row.part, row.bound) == (part, bound):
                    by_estimator.setdefault(row.estimator, []).append(row)
            longest, *others = sorted(by_estimator.values(), key=len, reverse=True)
            if others and all(_same_numbers(longest, other) for other in others):
                by_estimator = {"all estimators": longest}
            for estimator, curve in by_estimator.items():
                found[part, f"{bound}, {estimator}" if len(bounds) > 1 else estimator] = curve
    return found


def theory(part: str, bound: str, estimator: str) -> float | None:
    """The exponent of K in the signal-to-noise ratio for large K, where it is known.

    For IWAE, and for MIWAE with a fixed number of groups, it is 1/2 in the decoder and -1/2 in the
    encoder (Rainforth et al. 2018, theorem 1); with DReG it is 1/2 in the encoder, too (Tucker et
    al. 2018, section 4). The ELBO of K samples is the mean of K independent ones.
    """
    bound = bound.partition(":")[0]
    if bound not in ("elbo", "iwae", "miwae") or estimator.startswith("concrete"):
        return None
    if part == "decoder":
        return 0.5
    if bound == "elbo":
        return 0.5 if estimator in ("pathwise", "stl", "dreg") else None
    return {"pathwise": -0.5, "dreg": 0.5}.get(estimator)


def slopes(result: Result) -> list[dict[str, Any]]:
    """The slopes of log SNR against log K, fitted to K >= fit_from, and those of theory."""
    found = []
    for (part, name), rows in curves(result.rows).items():
        points = [
            (row.num_samples, row.quality.signal_to_noise)
            for row in rows
            if row.num_samples >= result.fit_from and math.isfinite(row.quality.signal_to_noise)
        ]
        slope, error = gradients.log_log_slope(*np.reshape(points, (-1, 2)).T)
        found.append(
            {
                "part": part,
                "curve": name,
                "num_points": len(points),
                "slope": slope,
                "standard_error": error,
                "theory": theory(part, rows[0].bound, rows[0].estimator),
            }
        )
    return found


def table(result: Result) -> str:
    """The whole result as text, at most 100 columns wide."""
    lines = [
        "",
        f"Gradients of the {result.case}, mean over {result.num_examples} examples;",
        f"{result.num_keys} estimates of each, seed {result.seed}.",
        textwrap.fill(f"Bias is the distance from: {_by_k(result, 'reference')}.", 100),
        textwrap.fill(f"The gradient is known best by: {_by_k(result, 'known_best_by')}.", 100),
        "bias: rms over parameters, over the rms gradient; chance: that of an unbiased estimator;",
        "variance: mean over parameters; ratio: over that of pathwise; SNR: norm of expectation",
        "over root of total variance, <x if it cannot be told from its error x; -: not known.",
    ]
    drawn = curves(result.rows)
    for part in dict.fromkeys(row.part for row in result.rows):
        of_part = {name: rows for (where, name), rows in drawn.items() if where == part}
        counts = [row.quality.num_parameters for rows in of_part.values() for row in rows]
        lines += ["", f"{part}: {max(counts):,} parameters that have a gradient."]
        if not sum(counts):
            continue
        lines += [
            "Of unbiased estimators rms t is 1, and max|t| of all these rows below "
            f"{gradients.largest_by_chance(sum(counts)):.1f} (95 %).",
            f"{'':30}{'K':>5}{'bias':>8}{'chance':>8}{'rms t':>7}{'max|t|':>8}"
            f"{'variance':>10}{'ratio':>8}{'SNR':>8}",
        ]
        for name, rows in of_part.items():
            for row in rows:
                lines.append(f"  {name:28}{row.num_samples:5}{_cells(row)}")
                name = ""
    lines += ["", f"Slopes of log SNR against log K, from K={result.fit_from} on"]
    for found in slopes(result):
        text = f"  {found['part']:9}{found['curve']:30}"
        if found["num_points"] > 2:
            text += f"{found['slope']:+.3f} +- {found['standard_error']:.3f}"
        else:
            text += "too few points"
        if found["theory"] is not None:
            text += f"   theory {found['theory']:+.1f}"
        lines.append(text)
    return "\n".join([*lines, ""])


def draw(result: Result) -> figures.Figure:
    """The signal-to-noise ratios, variances and biases against K, with the slopes of theory."""
    drawn = {"signal_to_noise": {}, "variance": {}, "rms_t": {}}
    for (part, name), rows in curves(result.rows).items():
        for quantity, parts in drawn.items():
            values = [getattr(row.quality, quantity) for row in rows]
            parts.setdefault(part, {})[name] = ([row.num_samples for row in rows], values)
    expected = {(found["part"], found["curve"]): found["theory"] for found in slopes(result)}
    return figures.gradient_estimators(**drawn, slopes=expected)


def write(folder: Path, result: Result) -> None:
    """Writes gradients.json and gradients.png.

    Raises:
      BadInputError: they cannot be written.
    """
    rows = [row._asdict() | {"quality": row.quality._asdict()} for row in result.rows]
    numbers = result._replace(rows=rows)._asdict()
    numbers |= {"slopes": slopes(result), "versions": versions()}
    write_json(folder / "gradients.json", numbers, digits=5)
    with writing(folder / "gradients.png"):
        figures.save(draw(result), folder / "gradients.png")


def _same_numbers(rows: list[Row], others: list[Row]) -> bool:
    """Whether the numbers of `others` equal those of the rows with the same K, up to rounding."""
    by_k = {row.num_samples: row.quality for row in rows}
    return all(
        row.num_samples in by_k
        and np.allclose(by_k[row.num_samples], row.quality, rtol=1e-3, atol=0.0, equal_nan=True)
        for row in others
    )


def _by_k(result: Result, field: str) -> str:
    """A text such as "exact at K=1; pathwise at K=2,5", for each bound."""
    several = len({row.bound for row in result.rows}) > 1
    found = {}
    for row in result.rows:
        name = getattr(row, field) + (f" ({row.bound})" if several else "")
        found.setdefault(name, set()).add(row.num_samples)
    return "; ".join(f"{name} at K={','.join(map(str, sorted(ks)))}" for name, ks in found.items())


def _cells(row: Row) -> str:
    quality, ratio = row.quality, row.quality.signal_to_noise
    return (
        f"{_short(quality.bias / quality.gradient):>8}"
        f"{_short(quality.bias_by_chance / quality.gradient):>8}"
        f"{_short(quality.rms_t):>7}{_short(quality.largest_t):>8}{_short(quality.variance):>10}"
        f"{_short(row.variance_ratio):>8}"
        f"{_short(ratio) if math.isfinite(ratio) else '<' + _short(quality.noise_floor):>8}"
    )


def _short(value: float) -> str:
    """A number with two digits, or with all digits before the point, in at most six characters."""
    if not math.isfinite(value):
        return "-"
    if value == 0 or 1e-3 <= value < 1e5:
        return f"{value:.0f}" if value >= 10 else f"{value:.2g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"

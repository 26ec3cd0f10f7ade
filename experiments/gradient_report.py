"""What experiments.gradients found: as a table, as JSON and as a figure."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import summary
from experiments.gradient_steps import PARTS, Measurement
from experiments.run_folder import writing
from vae_jax import figures
from vae_jax.diagnostics import gradients

# Models of at most so many parameters have those of each parameter in gradients.json.
_FEW_PARAMETERS = 1000


class Result(NamedTuple):
    """Everything that was measured."""

    case: str
    num_examples: int
    seed: int
    fit_from: int
    seconds: float
    measurements: list[Measurement]


class Slope(NamedTuple):
    """Of log SNR against log K."""

    bound: str
    estimator: str
    part: str
    num_points: int
    slope: float
    standard_error: float
    theory: float | None


def theory(bound: str, estimator: str, part: str) -> float | None:
    """The exponent of K in the signal-to-noise ratio for large K, where it is known.

    IWAE, and MIWAE of a fixed number of groups: 1/2 in the decoder and -1/2 in the encoder
    (Rainforth et al. 2018, theorem 1), where DReG makes it 1/2 (Tucker et al. 2018, section 4). The
    ELBO of K samples is the mean of K independent ones. The gradient of the decoder is the same in
    all estimators but the relaxed one.
    """
    if estimator.startswith("concrete"):
        return None
    if bound == "elbo":
        averages = part == "decoder" or estimator in ("pathwise", "stl", "dreg")
        return 0.5 if averages else None
    if bound.partition(":")[0] not in ("iwae", "miwae"):
        return None
    if part == "decoder":
        return 0.5
    return {"pathwise": -0.5, "dreg": 0.5}.get(estimator)


def slopes(result: Result) -> list[Slope]:
    """Fitted to the signal-to-noise ratios above their noise floor, from K = fit_from on."""
    fitted = []
    for part in PARTS:
        for (bound, estimator), rows in _by_estimator(result):
            points = [
                (row.num_samples, row.quality[part].signal_to_noise)
                for row in rows
                if row.num_samples >= result.fit_from
                and math.isfinite(row.quality[part].signal_to_noise)
            ]
            slope, error = gradients.log_log_slope(*np.reshape(points, (-1, 2)).T)
            expected = theory(bound, estimator, part)
            fitted.append(Slope(bound, estimator, part, len(points), slope, error, expected))
    return fitted


def variance_ratios(result: Result) -> list[dict[str, Any]]:
    """For each bound and K: the variance of the encoder's gradient over that of pathwise."""
    ratios = []
    for row in result.measurements:
        pathwise = [
            other.quality["encoder"].variance
            for other in result.measurements
            if (other.bound, other.num_samples) == (row.bound, row.num_samples)
            and other.estimator == "pathwise"
        ]
        if pathwise and row.estimator != "pathwise":
            ratios.append(
                {
                    "bound": row.bound,
                    "estimator": row.estimator,
                    "num_samples": row.num_samples,
                    "ratio": row.quality["encoder"].variance / pathwise[0],
                }
            )
    return ratios


def table(result: Result) -> str:
    """Everything in words and numbers, at most 100 columns wide."""
    lines = [
        "",
        f"Gradients on the {result.case}, mean over {result.num_examples} examples,",
        f"seed {result.seed}, in {result.seconds:.0f} s.",
        *_reference_lines(result),
        "bias: rms over parameters, relative to the rms gradient; chance: that of an unbiased one;",
        "variance: mean over parameters; SNR: rms over parameters of |mean| / std, without the error",
        "of the mean; <x: not to be told from that error; -: relative to a gradient that is not.",
    ]
    sizes = {part: q.num_parameters for part, q in result.measurements[0].quality.items()}
    lines += [
        f"{part}: {size:,} parameters; by chance |t| > 2 in 4.6 %, and the largest |t| < "
        f"{gradients.largest_by_chance(size):.1f} (95 %)."
        for part, size in sizes.items()
        if size
    ]
    header = "   bias chance |t|>2 max|t|variance    SNR"
    lines += [
        "",
        " " * 12 + "".join(f" |{part:^{len(header)}}" for part in sizes).rstrip(),
        f"{'K':>5}{'keys':>7}" + f" |{header}" * len(sizes),
    ]
    for (bound, estimator), rows in _by_estimator(result):
        lines.append(f"{bound}, {estimator}")
        for row in rows:
            cells = "".join(" |" + _cells(row.quality[part]) for part in sizes)
            lines.append(f"{row.num_samples:5}{row.num_keys:7}{cells}")
    return "\n".join([*lines, "", *_slope_lines(result), *_ratio_lines(result)])


def draw(result: Result) -> figures.Figure:
    """The signal-to-noise ratios and variances against K, with the slopes of theory."""
    several = len({row.bound for row in result.measurements}) > 1
    drawn = {"signal_to_noise": {}, "variance": {}, "slopes": {}}
    for part in PARTS:
        for curves in drawn.values():
            curves[part] = {}
        for (bound, estimator), rows in _by_estimator(result):
            name = f"{bound}, {estimator}" if several else estimator
            for quantity in ("signal_to_noise", "variance"):
                values = [getattr(row.quality[part], quantity) for row in rows]
                drawn[quantity][part][name] = ([row.num_samples for row in rows], values)
            if (slope := theory(bound, estimator, part)) is not None:
                drawn["slopes"][part][name] = slope
    return figures.gradient_estimators(**drawn)


def write(folder: Path, result: Result) -> None:
    """Writes gradients.json and gradients.png.

    Raises:
      BadInputError: they cannot be written.
    """
    with writing(folder / "gradients.json"):
        text = json.dumps(_plain(_as_json(result)), indent=1, allow_nan=False)
        (folder / "gradients.json").write_text(text + "\n")
    with writing(folder / "gradients.png"):
        draw(result).savefig(folder / "gradients.png")


def _as_json(result: Result) -> dict[str, Any]:
    return {
        **result._replace(
            measurements=[_measurement_as_json(m) for m in result.measurements]
        )._asdict(),
        "slopes": [slope._asdict() for slope in slopes(result)],
        "variance_ratios": variance_ratios(result),
        "versions": summary.versions(),
    }


def _measurement_as_json(row: Measurement) -> dict[str, Any]:
    found = row._asdict()
    moments, reference = found.pop("moments"), found.pop("reference_moments")
    found["quality"] = {part: quality._asdict() for part, quality in row.quality.items()}
    if sum(np.size(leaf) for leaf in jax.tree.leaves(moments.mean)) <= _FEW_PARAMETERS:
        found["parameters"] = {
            "bias": jax.tree.map(np.subtract, moments.mean, reference.mean),
            "t": gradients.t_statistics(moments, reference),
            "variance": moments.variance,
            "signal_to_noise": gradients.signal_to_noise(moments),
        }
    return found


def _plain(value: Any) -> Any:
    """What JSON can hold: lists for arrays, of 5 digits, and null for what is not finite."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value


def _by_estimator(result: Result) -> list[tuple[tuple[str, str], list[Measurement]]]:
    """((bound, estimator), its measurements in the order of K)."""
    groups = {}
    for row in result.measurements:
        groups.setdefault((row.bound, row.estimator), []).append(row)
    return list(groups.items())


def _reference_lines(result: Result) -> list[str]:
    numbers = {}
    for row in result.measurements:
        ks = numbers.setdefault((row.bound, row.reference), [])
        if row.num_samples not in ks:
            ks.append(row.num_samples)
    return [
        f"Reference of {bound} at K={','.join(map(str, ks))}: "
        + ("the exact gradient." if reference == "exact" else f"{reference}, twice as many keys.")
        for (bound, reference), ks in numbers.items()
    ]


def _slope_lines(result: Result) -> list[str]:
    lines = [f"Slopes of log SNR against log K, from K={result.fit_from} on"]
    for slope in slopes(result):
        expected = "" if slope.theory is None else f"   theory {slope.theory:+.1f}"
        fitted = (
            f"{slope.slope:+.3f} +- {slope.standard_error:.3f}, {slope.num_points} points"
            if slope.num_points > 2
            else "too few points above the noise"
        )
        name = f"{slope.part}, {slope.bound}, {slope.estimator}"
        lines.append(f"  {name:40} {fitted:32}{expected}".rstrip())
    return lines


def _ratio_lines(result: Result) -> list[str]:
    ratios = variance_ratios(result)
    if not ratios:
        return []
    names = list(dict.fromkeys(row["estimator"] for row in ratios))
    lines = ["", "Variance of the encoder's gradient over that of pathwise"]
    lines.append(f"  {'K':>12}" + "".join(f"{name:>16}" for name in names))
    cells = {(row["bound"], row["num_samples"], row["estimator"]): row["ratio"] for row in ratios}
    for bound, num_samples in dict.fromkeys(key[:2] for key in cells):
        found = [cells.get((bound, num_samples, name)) for name in names]
        lines.append(
            f"  {bound:8}{num_samples:4}"
            + "".join(f"{'' if ratio is None else _short(ratio):>16}" for ratio in found).rstrip()
        )
    return lines


def _cells(quality: gradients.GradientQuality) -> str:
    """One row of one part of the table."""
    if not quality.num_parameters:
        return f"{'no gradient':>41}"
    ratio = quality.signal_to_noise
    return (
        f"{_short(quality.bias / quality.gradient):>7}"
        f"{_short(quality.bias_by_chance / quality.gradient):>7}"
        f"{100 * quality.share_above_2:5.1f}%{quality.largest_t:7.1f}"
        f"{_short(quality.variance):>8}"
        f"{_short(ratio) if math.isfinite(ratio) else '<' + _short(quality.noise_floor):>7}"
    )


def _short(value: float) -> str:
    """Two digits, or all of those before the point, in at most six characters."""
    if not math.isfinite(value):
        return "-"
    if value == 0 or 1e-3 <= value < 1e5:
        return f"{value:.0f}" if value >= 10 else f"{value:.2g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"

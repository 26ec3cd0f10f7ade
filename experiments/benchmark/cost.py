"""How time and memory of training grow: measured points, and a line through them."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.benchmark import cases, drawings, lanes
from experiments.benchmark.cases import Case
from experiments.benchmark.rounds import interleaved
from experiments.benchmark.training_step import Epoch, compiled_epoch
from vae_jax import figures
from vae_jax.runs.files import replace, write_json, writing


class Growth(NamedTuple):
    """Times and memory at several values of one quantity; everything else is the same."""

    of: str  # the quantity, such as "batch size B"
    case: str  # everything else
    unit: str  # unit of time: "ms/step" or "ms/epoch"
    at: list[int]  # [points], the values of the quantity
    milliseconds: list[list[float]]  # [points][rounds]
    mebibytes: list[float]  # [points], memory of one device

    @property
    def medians(self) -> list[float]:
        """The medians of the times, [points]."""
        return [float(np.median(values)) for values in self.milliseconds]


class Line(NamedTuple):
    """fixed + slope * value."""

    fixed: float
    slope: float
    error: float  # largest relative error at a point


def line(at: list[int], measured: list[float]) -> Line:
    """Fits the line whose relative errors have the smallest sum of squares."""
    x, y = np.asarray(at, float), np.asarray(measured, float)
    design = np.stack([np.ones_like(x), x], axis=1)
    (fixed, slope), *_ = np.linalg.lstsq(design / y[:, None], np.ones_like(y))
    return Line(float(fixed), float(slope), float(np.max(np.abs(fixed + slope * x - y) / y)))


def measure(rounds: int) -> list[Growth]:
    """Measures the growth with images, batch, samples and lanes, one at a time."""
    case = cases.CASES[2]._replace(num_images=5_000)
    return [
        _growth(
            "training images N",
            f"{case.network}, batch {case.batch_size}",
            "ms/epoch",
            {n: case._replace(num_images=n) for n in cases.COST_IMAGES},
            rounds,
        ),
        _growth(
            "batch size B",
            case.network,
            "ms/step",
            {b: case._replace(batch_size=b, num_images=40 * b) for b in cases.COST_BATCHES},
            rounds,
        ),
        _growth(
            "posterior samples K",
            f"IWAE, {case.network}, batch {case.batch_size}",
            "ms/step",
            {
                k: case._replace(num_samples=k, num_images=(2 + 40 // k) * case.batch_size)
                for k in cases.COST_SAMPLES
            },
            rounds,
        ),
        _growth(
            "lanes S",
            f"{case.network}, batch {case.batch_size}",
            "ms/step of all lanes",
            {s: case._replace(num_images=2_000) for s in cases.COST_LANES},
            rounds,
            epoch=lanes.swept_epoch,
        ),
    ]


def _growth(
    of: str,
    what: str,
    unit: str,
    points: dict[int, Case],
    rounds: int,
    epoch: Callable[[Case, int], Epoch] = lambda case, value: compiled_epoch(case),
) -> Growth:
    print(f"Measuring {of} ...", flush=True)
    epochs = {value: epoch(case, value) for value, case in points.items()}
    seconds = interleaved({value: one.run for value, one in epochs.items()}, rounds)
    steps = {v: 1 if unit == "ms/epoch" else case.num_steps for v, case in points.items()}
    return Growth(
        of=of,
        case=what,
        unit=unit,
        at=list(points),
        milliseconds=[[1e3 * s / steps[value] for s in seconds[value]] for value in points],
        mebibytes=[one.mebibytes for one in epochs.values()],
    )


def table(growths: list[Growth]) -> str:
    """The lines, in Markdown."""
    lines = [
        "| | | time | error at most | memory of a device | error at most |",
        "|---|---|---|---|---|---|",
    ]
    for growth in growths:
        time, memory = line(growth.at, growth.medians), line(growth.at, growth.mebibytes)
        symbol = growth.of.rsplit(" ", 1)[1]
        lines.append(
            f"| {growth.of} = {growth.at[0]:,} .. {growth.at[-1]:,} | {growth.case} "
            f"| {time.fixed:.3g} + {time.slope:.3g} {symbol} {growth.unit} | {time.error:.0%} "
            f"| {memory.fixed:.3g} + {memory.slope:.3g} {symbol} MiB | {memory.error:.0%} |"
        )
    return "\n".join(lines)


def write(folder: Path, growths: list[Growth]) -> list[str]:
    """Writes cost.json, cost.md and cost.png, and prints the table. Returns the files' names."""
    write_json(folder / "cost.json", {"growths": [growth._asdict() for growth in growths]})
    text = table(growths)
    replace(folder / "cost.md", text + "\n")
    print(text)
    panels = [
        drawings.CostPanel(
            quantity=growth.of,
            at=growth.at,
            times=growth.milliseconds,
            time_unit=growth.unit,
            time_line=line(growth.at, growth.medians)[:2],
            memory=growth.mebibytes,
            memory_line=line(growth.at, growth.mebibytes)[:2],
        )
        for growth in growths
    ]
    with writing(folder / "cost.png"):
        figures.save(drawings.costs(panels), folder / "cost.png")
    return ["cost.json", "cost.md", "cost.png"]

"""The measurements as a table, as JSON and as a figure."""

from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmark import drawings, lanes
from experiments.benchmark.drawings import TimeBar, TimeGroup
from experiments.benchmark.rounds import Row
from vae_jax import figures
from vae_jax.runs.files import replace, write_json, writing

_COLUMNS = ("case", "what", "median", "min .. max", "unit", "images/s", "ratio")
_LEFT = 2  # number of columns with words


def table(rows: list[Row]) -> str:
    """All rows, aligned; also a table in Markdown.

    "ratio" is the median over the rounds of the ratio to the matrix products alone, or, in a sweep,
    of the ratio to a single run.
    """
    lines = [_COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = [
        "-" * width if index < _LEFT else "-" * (width - 1) + ":"
        for index, width in enumerate(widths)
    ]
    lines.insert(1, tuple(rule))
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) if index < _LEFT else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in lines
    )


def write(folder: Path, rows: list[Row], about: dict[str, Any]) -> list[str]:
    """Writes benchmark.json, benchmark.md and, of times with ratios, benchmark.png.

    Args:
      folder: folder of the files.
      rows: measurements.
      about: machine and settings, for benchmark.json.

    Returns:
      The names of the files.
    """
    write_json(folder / "benchmark.json", {**about, "rows": [_as_dict(row) for row in rows]})
    replace(folder / "benchmark.md", table(rows) + "\n")
    drawn = times_by_case(rows)
    if not drawn:
        return ["benchmark.json", "benchmark.md"]
    path = folder / "benchmark.png"
    with writing(path):
        figures.save(drawings.times_over_bound(drawn), path)
    return ["benchmark.json", "benchmark.md", "benchmark.png"]


def times_by_case(rows: list[Row]) -> list[TimeGroup]:
    """The rows that have ratios, in groups. The first row of a group is its reference.

    Sweeps are left out, since their table is a better picture.
    """
    groups: list[TimeGroup] = []
    for row in rows:
        if not row.ratios or row.part == lanes.PART:
            continue
        if not groups or groups[-1].case != row.case or set(row.ratios) == {1.0}:
            groups.append(TimeGroup(row.case, {}))
        text = f"{_number(float(np.median(row.values)))} {row.unit}"
        groups[-1].bars[row.what] = TimeBar(row.ratios, text)
    return groups


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.case,
        row.what,
        _number(float(np.median(row.values))),
        f"{_number(min(row.values))} .. {_number(max(row.values))}" if len(row.values) > 1 else "",
        row.unit,
        f"{row.images_per_second:,.0f}" if row.images else "",
        f"{np.median(row.ratios):.2f}" if row.ratios else "",
    )


def _number(value: float) -> str:
    """A number with three significant digits, and no exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.{1 if value >= 10 else 2}f}" if value >= 1 else f"{value:.3f}"


def _as_dict(row: Row) -> dict[str, Any]:
    return {
        **row._asdict(),
        "median": float(np.median(row.values)),
        "images_per_second": row.images_per_second,
        "median_ratio": float(np.median(row.ratios)) if row.ratios else None,
    }

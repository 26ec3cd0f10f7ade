"""Runs in one table: mean, 95 % interval, best and number of runs of each setting."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_jax.config import Config
from vae_jax.errors import BadInputError
from vae_jax.runs.folder import RunFolder

# metric -> (title, whether the smallest or largest value is best); nats for each test image
METRICS = {
    "test_nll": ("NLL", min),
    "test_elbo": ("ELBO", max),
    "test_kl": ("KL", None),
}
_NO_SETTING = {"seed", *(n for n, known in Config.OPTIONS.items() if not known.changes_numbers)}


class Result(NamedTuple):
    """A finished run."""

    setting: tuple[tuple[str, str], ...]  # flag -> text, of those by which it differs from others
    folder: Path
    summary: Mapping[str, Any]


class Row(NamedTuple):
    """The runs of one setting."""

    setting: dict[str, str]
    results: list[Result]

    def values(self, metric: str) -> np.ndarray:
        """[n], one for each run."""
        return np.array([result.summary[metric] for result in self.results], np.float64)

    def as_dict(self) -> dict[str, Any]:
        """The row for JSON, with the `statistics` of each metric."""
        return {
            "setting": self.setting,
            "n": len(self.results),
            **{
                metric: statistics(self.values(metric), best)
                for metric, (_, best) in METRICS.items()
            },
        }


def statistics(values: np.ndarray, best: Any = None) -> dict[str, float | None]:
    """Mean, and half the width of its 95 % interval over seeds (Student's t; None for one run).

    values: [n], one for each run. best: min, max or None.
    """
    n = len(values)
    half = None
    if n > 1:
        import scipy.stats  # here, since its import is slow

        quantile = scipy.stats.t.ppf(0.975, n - 1)
        half = float(quantile * values.std(ddof=1) / math.sqrt(n))
    found = {"mean": float(values.mean()), "interval": half}
    return found if best is None else {**found, "best": float(best(values))}


def rows(results: Iterable[Result]) -> list[Row]:
    """Groups runs by setting, in the order in which settings first appear."""
    groups: dict[Any, list[Result]] = {}
    for result in results:
        groups.setdefault(result.setting, []).append(result)
    return [Row(dict(setting), group) for setting, group in groups.items()]


def in_words(table: list[Row]) -> str:
    """The table in Markdown, the setting with the lowest mean NLL in bold."""
    if not table:
        return "No run is finished."
    names = list(dict.fromkeys(name for row in table for name in row.setting))
    header = [*names, "n"]
    for title, best in METRICS.values():
        header += [f"{title}, mean ± 95 %"] + ([f"best {title}"] if best else [])
    lines = [header, ["---"] * len(header)]
    winner = min(table, key=lambda row: row.values("test_nll").mean())
    for row in table:
        numbers = row.as_dict()
        cells = [row.setting.get(name, "") for name in names] + [str(numbers["n"])]
        for metric, (_, best) in METRICS.items():
            found = numbers[metric]
            text = f"{found['mean']:.2f}"
            if found["interval"] is not None:
                text += f" ± {found['interval']:.2f}"
            if row is winner and metric == "test_nll" and len(table) > 1:
                text = f"**{text}**"
            cells += [text] + ([f"{found['best']:.2f}"] if best else [])
        lines.append(cells)
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )


def found_in(
    folders: Sequence[Path], say: Callable[[str], None] = lambda text: None
) -> list[Result]:
    """The finished runs in the folders. The folder of a sweep stands for its runs.

    Args:
      folders: folders of runs and of sweeps.
      say: function that receives one sentence for each run that is left out.

    Raises:
      BadInputError: a folder is not that of a run or sweep, no run is finished, or the runs have
        different test images.
    """
    found = []
    for folder in folders:
        inside = sorted(path.parent for path in folder.glob("*/flags.cfg"))
        for path in inside or [folder]:
            run = RunFolder(path)
            recorded = run.recorded()
            if recorded is None:
                raise BadInputError(f"runs={path} is no run's folder: it has no flags.cfg.")
            if (summary := run.summary()) is None:
                say(f"{path} is not finished and is left out.")
                continue
            found.append((path, recorded, summary))
    if not found:
        raise BadInputError(f"runs={','.join(map(str, folders))} holds no finished run.")
    measured = {
        tuple(summary[name] for name in ("dataset", "binarisation", "test_images", "nll_samples"))
        for _, _, summary in found
    }
    if len(measured) > 1:
        kinds = "; ".join(sorted(" ".join(map(str, kind)) for kind in measured))
        raise BadInputError(
            f"runs={','.join(map(str, folders))} cannot be joined: results compare only for the "
            f"same data set, binarisation, test examples and samples, and these are of {kinds}."
        )
    names = dict.fromkeys(name for _, recorded, _ in found for name in recorded)
    differing = [
        name
        for name in names
        if name not in _NO_SETTING and len({flags.get(name) for _, flags, _ in found}) > 1
    ]
    results: dict[Any, Result] = {}
    for path, recorded, summary in found:
        setting = tuple((name, recorded.get(name, "")) for name in differing)
        result = Result(setting, path, summary)
        same = results.setdefault((setting, recorded.get("seed")), result)
        if same is not result:
            say(f"{path} is the same run as {same.folder} and is left out.")
    return list(results.values())

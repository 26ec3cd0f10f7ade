"""Joins runs into one table: mean, 95 % interval, best and number of runs of each setting.

python -m experiments.table --runs=runs/beta
python -m experiments.table --runs=runs/mnist,runs/other --output=runs/joined

A sweep's folder stands for its runs. Runs whose flags differ in the seed alone are one setting.
"""

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from experiments import command, json_file
from experiments.run_folder import RunFolder, replace
from vae_jax.errors import BadInputError

FLAGS = flags.FLAGS

# Metric -> its title, and which end is best; nats a test image.
METRICS = {
    "test_nll": ("NLL", min),
    "test_elbo": ("ELBO", max),
    "test_kl": ("KL", None),
}
_NO_SETTING = {"seed", "data_dir", "checkpoint_every", "stream"}


class Result(NamedTuple):
    """A finished run."""

    setting: tuple[tuple[str, str], ...]  # flag -> text, of those by which it differs from others
    folder: Path
    summary: Mapping[str, Any]


class Row(NamedTuple):
    """Runs of one setting."""

    setting: dict[str, str]
    results: list[Result]

    def values(self, metric: str) -> np.ndarray:
        """[n], one for each run."""
        return np.array([result.summary[metric] for result in self.results], np.float64)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: see `statistics`."""
        return {
            "setting": self.setting,
            "n": len(self.results),
            **{
                metric: statistics(self.values(metric), best)
                for metric, (_, best) in METRICS.items()
            },
        }


def statistics(values: np.ndarray, best: Any = None) -> dict[str, float | None]:
    """Mean and half the width of its 95 % interval over seeds (Student's t); None for one run.

    values: [n]. best: min, max or None.
    """
    n = len(values)
    half = None
    if n > 1:
        import scipy.stats  # here, as it takes longer than the rest of a start

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


def _found_in(folders: Iterable[Path]) -> list[Result]:
    """The finished runs in the folders.

    Raises:
      BadInputError: a folder is no run's or sweep's, none is finished, or they are not of the same
        test images.
    """
    found = []
    for folder in folders:
        inside = sorted(path.parent for path in folder.glob("*/flags.cfg"))
        for path in inside or [folder]:
            run = RunFolder(path)
            recorded = run.recorded_flags()
            if recorded is None:
                raise BadInputError(f"--runs: {path} is no run's folder: it has no flags.cfg.")
            if (summary := run.summary()) is None:
                print(f"{path} is not finished and is left out.")
                continue
            found.append((path, recorded, summary))
    if not found:
        raise BadInputError("--runs: none of the runs is finished.")
    measured = {
        tuple(summary[name] for name in ("dataset", "binarisation", "test_images", "nll_samples"))
        for _, _, summary in found
    }
    if len(measured) > 1:
        kinds = "; ".join(sorted(" ".join(map(str, kind)) for kind in measured))
        raise BadInputError(
            "--runs: results compare only for the same data set, binarisation, test images and "
            f"samples, and these are of {kinds}."
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
            print(f"{path} is the same run as {same.folder} and is left out.")
    return list(results.values())


def main(stop: command.StopSignal) -> None:
    del stop
    table = rows(_found_in([Path(os.path.expanduser(text)) for text in FLAGS.runs]))
    text = in_words(table)
    print(text)
    if FLAGS.output is not None:
        folder = command.output_folder(FLAGS.output)
        json_file.write(folder / "table.json", [row.as_dict() for row in table])
        replace(folder / "table.md", text + "\n")


if __name__ == "__main__":
    flags.DEFINE_list("runs", None, "Folders of runs or sweeps.", required=True)
    flags.DEFINE_string("output", None, "Where to write table.json and table.md, if anywhere.")
    command.run(main)

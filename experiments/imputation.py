"""Compares the estimates of hidden values of tables with those of scikit-learn on the same masks.

python -m experiments.imputation --runs=runs/wine0,runs/wine1,runs/wine2

The runs are of one table with hidden values (vae-jax train --missing=FILE, or --missing=0.2 with
one --missing_seed), with several seeds. Every row is filled in, that of the training, validation
and test examples alike. The errors are those of `vae-jax impute`: of numbers the root of the mean
squared error divided by the range of the column, of categories the share of wrong ones, of ordered
ones the mean distance as a share of their number; each averaged over the columns of a type. The
simplest estimates are means, medians of ordered categories and the most frequent category.
KNNImputer (5 neighbours) and IterativeImputer (ridge regressions, 10 rounds) see standardised
numbers and indicators of all categories but the first. It prints a table, and writes imputation.md
and imputation.json to --output.
"""

import math
import statistics
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy import stats

from vae_jax import data, evidence
from vae_jax.commands import command, flags
from vae_jax.commands.impute import examples_to_fill, schema_of
from vae_jax.commands.table import folders_in
from vae_jax.errors import BadInputError
from vae_jax.evaluation import imputation
from vae_jax.runs import Run, load_run
from vae_jax.runs.files import output_folder, replace, write_json
from vae_jax.runs.stop import StopSignal


class Features(NamedTuple):
    """A table as features of numbers, standardised or one-hot, with nan where values are missing.

    Attributes:
      values: [N, F].
      places: the features of each column.
      shift, scale: what was subtracted from each column, and what it was divided by.
    """

    values: np.ndarray
    places: list[slice]
    shift: np.ndarray
    scale: np.ndarray


def define_flags() -> None:
    """Defines the flags of the command."""
    flags.define_one(
        "runs", str, None, "Folders of finished runs of one table, with commas.", "run", first=True
    )
    flags.define_one("output", str, None, "Folder of what is written.", "run", first=True)
    flags.define_one(
        "num_samples", int, 1000, "Samples of q(z|x) for each row.", "run", low=1, first=True
    )
    flags.define_one(
        "others", bool, True, "Whether scikit-learn's estimates are computed, too.", "run",
        first=True,
    )  # fmt: skip


def main(stop: StopSignal) -> None:
    """Runs the command."""
    if not flags.value_of("runs"):
        raise BadInputError("--runs is missing: name folders of finished runs, with commas.")
    command.use_compile_cache()
    runs = [load_run(path) for path in folders_in(flags.value_of("runs"))]
    first = runs[0]
    for run in runs:
        settings = [getattr(run.config, name) for name in ("dataset", "missing", "missing_seed")]
        wanted = [getattr(first.config, name) for name in ("dataset", "missing", "missing_seed")]
        if settings != wanted or run.config.missing is None or not run.has_missing:
            raise BadInputError(
                f"The run in {run.folder.path} is not of the table and the hidden values of the "
                f"run in {first.folder.path}: all runs must have one dataset and one missing."
            )
    split = examples_to_fill(first, first.config.dataset, first.config)
    columns = schema_of(first, split)
    rows: dict[str, list[dict[str, tuple[float, float]]]] = {"vae_jax": []}
    for run in runs:
        found = stop.wait_for(lambda run=run: imputed(run, split), until="this run is done")
        rows["vae_jax"].append(imputation.by_type(imputation.errors(split, found, columns)))
        print(f"{run.folder.path}: {rows['vae_jax'][-1]}", flush=True)
    if flags.value_of("others"):
        for name, estimate in others(split, columns).items():
            found = stop.wait_for(estimate, until="this method is done")
            rows[name] = [imputation.by_type(imputation.errors(split, found, columns))]
            print(f"{name}: {rows[name][0]}", flush=True)
    text = in_words(rows)
    print(f"\n{text}")
    if flags.value_of("output") is not None:
        folder = output_folder(flags.value_of("output"))
        replace(folder / "imputation.md", text + "\n")
        write_json(folder / "imputation.json", rows)


def imputed(run: Run, split: data.Split) -> np.ndarray:
    """The rows with the estimates of a run in place of missing values, [N, D]."""
    impute = evidence.make_imputer(run.model, flags.value_of("num_samples"))
    return impute(run.params, run.batch_of(split), jax.random.key(0)).value


def others(split: data.Split, columns: tuple[data.Column, ...]) -> dict[str, Any]:
    """The estimates of scikit-learn, name -> function that computes them, [N, D]."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer, KNNImputer

    features = as_features(split, columns)

    def by(imputer: Any) -> np.ndarray:
        return as_rows(imputer.fit_transform(features.values), features, columns)

    return {
        "KNNImputer": lambda: by(KNNImputer()),
        "IterativeImputer": lambda: by(IterativeImputer(max_iter=10, random_state=0)),
    }


def as_features(split: data.Split, columns: tuple[data.Column, ...]) -> Features:
    """The observed values of a table as features."""
    table = np.where(split.mask, np.asarray(split.x, np.float64), np.nan)
    shift, scale = np.zeros(len(columns)), np.ones(len(columns))
    parts, places, start = [], [], 0
    for index, column in enumerate(columns):
        values = table[:, index]
        if column.kind == "categorical":
            # Without the first: all of them would be what the others of the column leave.
            codes = np.arange(1, len(column.categories))
            part = np.where(np.isnan(values)[:, None], np.nan, values[:, None] == codes)
        else:
            shift[index], scale[index] = np.nanmean(values), np.nanstd(values) or 1.0
            part = ((values - shift[index]) / scale[index])[:, None]
        parts.append(part)
        places.append(slice(start, start + part.shape[1]))
        start += part.shape[1]
    return Features(np.concatenate(parts, axis=1), places, shift, scale)


def as_rows(values: np.ndarray, features: Features, columns: tuple[data.Column, ...]) -> np.ndarray:
    """Whole features [N, F] as rows [N, D]: the category of the largest value, the nearest code."""
    rows = np.empty((len(values), len(columns)))
    for index, (column, place) in enumerate(zip(columns, features.places, strict=True)):
        if column.kind == "categorical":
            later = values[:, place]
            first = 1.0 - later.sum(axis=1, keepdims=True)
            rows[:, index] = np.concatenate([first, later], axis=1).argmax(axis=1)
            continue
        rows[:, index] = values[:, place.start] * features.scale[index] + features.shift[index]
        if column.is_coded:
            most = len(column.categories) - 1
            rows[:, index] = np.clip(np.round(rows[:, index]), 0, most)
    return rows


def in_words(rows: dict[str, list[dict[str, tuple[float, float]]]]) -> str:
    """A table with the error of each method for the columns of each type."""
    first = rows["vae_jax"][0]
    lines = [
        f"| method | {' | '.join(first)} | all |",
        f"|---|{'---|' * (len(first) + 1)}",
    ]
    simplest = {name: both[1] for name, both in first.items()}
    for method, found in {**rows, "mean, median, most frequent": [simplest]}.items():
        cells = [
            _cell([of[name][0] if isinstance(of[name], tuple) else of[name] for of in found])
            for name in first
        ]
        means = [
            statistics.fmean(
                value[0] if isinstance(value, tuple) else value for value in of.values()
            )
            for of in found
        ]
        lines.append(f"| {method} | {' | '.join(cells)} | {_cell(means)} |")
    return "\n".join(lines)


def _cell(values: list[Any]) -> str:
    """The mean of a number over seeds, with its 95 % interval."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.4f}"
    half = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values)
    return f"{mean:.4f} ± {half / math.sqrt(len(values)):.4f}"


if __name__ == "__main__":
    define_flags()
    command.run(main, about=__doc__)

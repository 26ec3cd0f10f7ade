"""How far estimates of hidden values are from what they are, column by column."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vae_jax.data import Column, Split


class ColumnError(NamedTuple):
    """The error of the estimates of a column, and that of the simplest ones.

    Numbers have the root of the mean squared error in their own units; categories the share of
    wrong ones; ordered categories the mean distance of the codes, as a share of their number.

    Attributes:
      column: the column.
      number: number of hidden values.
      error: error of the estimates.
      simplest: that of the mean of the observed values; of categories the most frequent one, and
        of ordered ones the median.
      scale: what `error` is divided by to compare columns: for numbers the range of the values
        (Nazabal et al. 2020, section 5.2), and 1 for categories.
    """

    column: Column
    number: int
    error: float
    simplest: float
    scale: float


def errors(split: Split, estimate: np.ndarray, columns: Sequence[Column]) -> list[ColumnError]:
    """The errors of estimates of the hidden values of a split.

    Args:
      split: examples with `hidden` values.
      estimate: [N, *event], such as `evidence.Imputed.value`.
      columns: the columns of a table [N, D]; or one for all values of other examples.

    Raises:
      ValueError: nothing is hidden.
    """
    if split.hidden is None or split.mask is None:
        raise ValueError("There are no hidden values to compare with.")
    number = len(columns)
    truth, guess, hidden, there = (
        np.asarray(of).reshape(len(split), -1) if number > 1 else np.asarray(of).reshape(-1, 1)
        for of in (split.x, estimate, split.hidden, split.mask)
    )
    found = []
    for index, column in enumerate(columns):
        rows, seen = hidden[:, index], truth[there[:, index], index].astype(np.float64)
        values, guesses = (of[rows, index].astype(np.float64) for of in (truth, guess))
        if column.kind in ("categorical", "binary"):
            codes, counts = np.unique(seen, return_counts=True)
            simplest = codes[np.argmax(counts)]
        else:
            simplest = np.median(seen) if column.kind == "ordinal" else seen.mean()
        everything = np.concatenate([seen, values])
        scale = 1.0 if column.is_coded else float(np.ptp(everything)) or 1.0
        found.append(
            ColumnError(
                column,
                int(rows.sum()),
                _error(column, guesses, values),
                _error(column, np.full_like(values, simplest), values),
                scale,
            )
        )
    return found


def by_type(found: Sequence[ColumnError]) -> dict[str, tuple[float, float]]:
    """The mean scaled error of the columns of each type, and that of the simplest estimates."""
    types = dict.fromkeys(each.column.kind for each in found)
    return {
        name: tuple(
            float(np.mean([getattr(each, what) / each.scale for each in of]))
            for what in ("error", "simplest")
        )  # type: ignore[misc]  # two numbers
        for name in types
        if (of := [each for each in found if each.column.kind == name and each.number])
    }


def in_words(found: Sequence[ColumnError]) -> str:
    """A table of the errors."""
    what = {
        "categorical": "share wrong",
        "binary": "share wrong",
        "ordinal": "mean distance / categories",
    }
    lines = ["| column | hidden | error | simplest | measure |", "|---|---|---|---|---|"]
    lines += [
        f"| {each.column.name} | {each.number:,} | {each.error:.4g} | {each.simplest:.4g} | "
        f"{what.get(each.column.kind, 'root mean squared error')} |"
        for each in found
        if each.number
    ]
    lines += [
        f"| all {name} |  | {error:.4g} | {simplest:.4g} | mean, numbers divided by their range |"
        for name, (error, simplest) in by_type(found).items()
    ]
    return "\n".join(lines)


def _error(column: Column, guesses: np.ndarray, values: np.ndarray) -> float:
    if not len(values):
        return 0.0
    if column.kind in ("categorical", "binary"):
        return float((np.round(guesses) != values).mean())
    if column.kind == "ordinal":
        return float(np.abs(guesses - values).mean() / len(column.categories))
    return float(np.sqrt(np.square(guesses - values).mean()))

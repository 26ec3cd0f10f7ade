"""Tables of numbers from .csv files."""

import csv
from pathlib import Path

import numpy as np

from vae_jax.data.paths import named
from vae_jax.data.splits import Undivided
from vae_jax.data.values import Given, Named, undivided
from vae_jax.errors import DataError

_MISSING = ("", "na", "n/a", "nan", "null", "none", "?")


def read(path: Path, kind: str = "auto", label_column: str | None = None) -> Undivided:
    """A table with a row for each example, as `values.undivided` takes an array [N, D].

    The first line is a header if one of its cells is no number. Without a header, columns are
    called by their numbers, from 0.

    Args:
      path: the file, with commas between cells.
      kind: the same as for `values.undivided`.
      label_column: name of the column of labels, of any texts; None for no labels. The classes are
        its different texts in their order, numbers by their size.

    Raises:
      DataError: the file cannot be read, or a cell is missing or no number; the message names its
        row, counted from 1 below the header, and its column.
    """
    rows = _rows(path)
    where = f"{named(path)}: "
    has_header = not all(_is_number(cell) or _is_missing(cell) for cell in rows[0])
    header = rows[0] if has_header else [str(index) for index in range(len(rows[0]))]
    body = rows[1:] if has_header else rows
    if not body:
        raise DataError(f"{where}there are no rows below the header")
    for number, row in enumerate(body, 1):
        if len(row) != len(header):
            raise DataError(
                f"{where}row {number} has {len(row)} cells, and the first line {len(header)}"
            )
    columns = [name.strip() for name in header]
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise DataError(f"{where}there are two columns {twice!r}")
    labels, names = None, None
    if label_column is not None:
        if label_column not in columns:
            raise DataError(
                f"{where}there is no column {label_column!r} for the labels, only "
                f"{', '.join(map(repr, columns))}"
            )
        index = columns.index(label_column)
        cells = [row.pop(index).strip() for row in body]
        values, names = _classes(cells, where, label_column)
        labels = Named(f"column {label_column!r}", values)
        del columns[index]
    table = np.array([_numbers(row, columns, f"{where}row {n}") for n, row in enumerate(body, 1)])
    given = Given(Named("the table", table), labels)
    found = undivided(given, where=where, kind=kind, columns=tuple(columns))
    has_columns = found.train.x.shape[1:] == (len(columns),)  # and no images
    return found._replace(label_names=names, columns=tuple(columns) if has_columns else None)


def _rows(path: Path) -> list[list[str]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except OSError as error:
        raise DataError(f"{named(path)} cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{named(path)} is no .csv file ({error})") from error
    if not rows:
        raise DataError(f"{named(path)} is empty")
    return rows


def _classes(cells: list[str], where: str, column: str) -> tuple[np.ndarray, tuple[str, ...]]:
    for number, cell in enumerate(cells, 1):
        if _is_missing(cell):
            raise DataError(f"{where}row {number}, column {column!r}: the label is missing")
    of_numbers = all(_is_number(cell) for cell in cells)
    names = sorted(set(cells), key=float if of_numbers else None)
    numbers = {name: index for index, name in enumerate(names)}
    return np.array([numbers[cell] for cell in cells]), tuple(names)


def _numbers(row: list[str], columns: list[str], place: str) -> list[float]:
    pairs = zip(row, columns, strict=True)
    return [_number(cell, f"{place}, column {name!r}") for cell, name in pairs]


def _number(cell: str, place: str) -> float:
    if _is_missing(cell):
        raise DataError(
            f"{place} is missing ({cell!r}): fill it in or leave the row out; masks for missing "
            "values are taken from arrays (data.from_arrays) and .npz files"
        )
    try:
        return float(cell)
    except ValueError:
        raise DataError(
            f"{place} is {cell!r}, which is no number: leave such columns out, or name the column "
            "of labels with label_column"
        ) from None


def _is_missing(cell: str) -> bool:
    return cell.strip().lower() in _MISSING


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True

"""The types of the columns of a table: from a file, from the values, or those of a run."""

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vae_jax.data.paths import named
from vae_jax.errors import DataError

MISSING = ("", "na", "n/a", "nan", "null", "none", "?")
# name in a file of types -> type
_TYPES = {
    "real": "real",
    "pos": "positive",
    "positive": "positive",
    "count": "count",
    "cat": "categorical",
    "categorical": "categorical",
    "ordinal": "ordinal",
    "binary": "binary",
}
_CODED = ("categorical", "ordinal", "binary")


class Column(NamedTuple):
    """A column of a table.

    Attributes:
      name: its name.
      kind: "real", "positive" (from 0 on), "count", "categorical", "ordinal" or "binary".
      categories: the texts that the codes 0, 1, ... stand for; none of numbers.
    """

    name: str
    kind: str
    categories: tuple[str, ...] = ()

    @property
    def is_coded(self) -> bool:
        """Whether its values are codes of categories."""
        return self.kind in _CODED


def read_lines(path: Path) -> list[list[str]]:
    """The rows of a .csv file, perhaps gzipped, without empty lines.

    Raises:
      DataError: the file cannot be read, or is empty.
    """
    try:
        opened = gzip.open if path.name.endswith(".gz") else open
        with opened(path, "rt", newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{named(path)} cannot be read ({reason})") from error
    except (UnicodeDecodeError, csv.Error, EOFError) as error:
        raise DataError(f"{named(path)} is no .csv file ({error})") from error
    if not rows:
        raise DataError(f"{named(path)} is empty")
    return rows


def read_types(path: Path, num_columns: int) -> list[str]:
    """The types of the columns from a file with a line for each, under a line "type,dim,nclass".

    Types are real, pos (or positive), count, cat (or categorical), ordinal and binary, as in the
    files of HI-VAE (Nazabal et al. 2020). Other columns of the file are not read: categories are
    those of the data.

    Raises:
      DataError: the file cannot be read, names another type, or has another number of lines.
    """
    header, *lines = read_lines(path)
    where = f"{named(path)}: "
    names = [name.strip().lower() for name in header]
    if "type" not in names:
        raise DataError(f"{where}the first line must name a column type, and is {','.join(header)}")
    place, found = names.index("type"), []
    for number, line in enumerate(lines, 1):
        name = line[place].strip().lower() if place < len(line) else ""
        if name not in _TYPES:
            raise DataError(
                f"{where}line {number} has the type {name!r}, which is none of {', '.join(_TYPES)}"
            )
        found.append(_TYPES[name])
    if len(found) != num_columns:
        raise DataError(
            f"{where}there are types of {len(found)} columns, and the table has {num_columns}"
        )
    return found


def inferred(name: str, cells: Sequence[str]) -> str:
    """The type of a column from its cells.

    Texts, none of which is a number, are categories. Numbers are binary if they are two whole
    numbers, 0 and 1; counts if all are whole numbers from 0 on; positive if they are above 0; and
    else real.

    Raises:
      DataError: all cells are missing, or some are numbers and others texts.
    """
    known = [cell for cell in cells if not is_missing(cell)]
    if not known:
        raise DataError(f"all cells of column {name!r} are missing: leave the column out")
    are_numbers = [is_number(cell) for cell in known]
    if not any(are_numbers):
        return "categorical"
    if not all(are_numbers):
        text = known[are_numbers.index(False)]
        row = list(cells).index(text) + 1
        raise DataError(
            f"row {row}, column {name!r} is {text!r}, which is no number, and other rows have "
            "numbers: correct it, or give the types of the columns with schema"
        )
    values = np.array([float(cell) for cell in known])
    if (values == np.floor(values)).all() and values.min() >= 0:
        return "binary" if set(values.tolist()) == {0.0, 1.0} else "count"
    return "positive" if values.min() > 0 else "real"


def column_of(name: str, kind: str, cells: Sequence[str]) -> Column:
    """A column of a type, with its categories: all different texts, numbers by their size.

    Raises:
      DataError: all cells are missing, or there is one category, or more than two of a binary
        column.
    """
    if all(is_missing(cell) for cell in cells):
        raise DataError(f"all cells of column {name!r} are missing: leave the column out")
    if kind not in _CODED:
        return Column(name, kind)
    texts = {_plain(cell) for cell in cells if not is_missing(cell)}
    of_numbers = all(map(is_number, texts))
    categories = tuple(sorted(texts, key=float if of_numbers else None))
    if len(categories) < 2 or (kind == "binary" and len(categories) > 2):
        raise DataError(
            f"column {name!r} is {kind} and has {len(categories)} different values "
            f"({', '.join(categories[:5])}): "
            + ("leave it out" if len(categories) < 2 else "call it categorical")
        )
    return Column(name, kind, categories)


def coded(column: Column, cells: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The values [N] of the cells of a column, and which of them are there, [N] bool.

    The first value of the column stands for missing ones.

    Raises:
      DataError: a cell is no number of the type, or a category that the column has not.
    """
    is_there = np.array([not is_missing(cell) for cell in cells])
    if not is_there.any():
        return np.full(len(cells), 1.0 if column.kind == "positive" else 0.0), is_there
    codes = {text: float(code) for code, text in enumerate(column.categories)}
    values = np.zeros(len(cells))
    for row in np.flatnonzero(is_there).tolist():
        cell = cells[row]
        place = f"row {row + 1}, column {column.name!r}"
        if column.is_coded:
            text = _plain(cell)
            if text not in codes:
                raise DataError(
                    f"{place} is {text!r}, a category that is none of "
                    f"{', '.join(map(repr, column.categories[:8]))}"
                    + (", ..." if len(column.categories) > 8 else "")
                )
            values[row] = codes[text]
            continue
        if not is_number(cell):
            raise DataError(f"{place} is {cell!r}, which is no number")
        values[row] = float(cell)
        _require_type(column.kind, values[row], place)
    values[~is_there] = values[np.argmax(is_there)]
    return values, is_there


def require_column(column: Column, values: np.ndarray, name: str) -> None:
    """Raises a DataError if values [N] are not of a column's type. name: of their array."""
    for row, value in enumerate(values.tolist()):
        place = f"{name}, row {row}, column {column.name!r}"
        if not np.isfinite(value):
            raise DataError(
                f"{place} is {value}, but must be a number; missing values need a mask, with any "
                "number of the column in their place"
            )
        if column.is_coded and value not in range(len(column.categories)):
            raise DataError(
                f"{place} is {value:g}, but must be a code in 0..{len(column.categories) - 1}"
            )
        _require_type(column.kind, value, place)


def as_text(column: Column, value: float) -> str:
    """A value of a column as it stands in a .csv file."""
    if column.is_coded:
        return column.categories[int(value)]
    if column.kind == "count":
        return f"{value:.0f}"
    return f"{value:.7g}"


def is_missing(cell: str) -> bool:
    """Whether a cell stands for a missing value."""
    return cell.strip().lower() in MISSING


def is_number(cell: str) -> bool:
    """Whether a cell is a finite number."""
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def _plain(cell: str) -> str:
    """The text of a category: numbers that are written in other ways are one."""
    text = cell.strip()
    return f"{float(text):.10g}" if is_number(text) else text


def _require_type(kind: str, value: float, place: str) -> None:
    if kind == "positive" and value < 0:
        raise DataError(f"{place} is {value:g}, but positive columns have numbers from 0 on")
    if kind == "count" and (value < 0 or value != np.floor(value)):
        raise DataError(f"{place} is {value:g}, but counts are whole numbers from 0 on")
    if abs(value) > np.finfo(np.float32).max:
        raise DataError(f"{place} is {value:g}, which is no float32")

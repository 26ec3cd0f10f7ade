"""Tables from .csv files: of numbers, or of columns of several types."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vae_jax.data import missing as missing_values
from vae_jax.data import schema as schemas
from vae_jax.data.paths import named
from vae_jax.data.schema import Column, is_missing, is_number
from vae_jax.data.splits import Split, Undivided
from vae_jax.data.values import Given, Named, undivided
from vae_jax.errors import DataError


def read(
    path: Path,
    kind: str = "auto",
    label_column: str | None = None,
    *,
    schema: str | Sequence[Column] | None = None,
    missing: str | None = None,
    report: Callable[[str], None] = lambda message: None,
) -> Undivided:
    """A table with a row for each example, as `values.undivided` takes an array [N, D].

    The first line is a header if one of its cells is no number, unless the table has columns of
    texts all of whose first cells are also found below. Without a header, columns are called by
    their numbers, from 0. Cells that are empty or say NA, nan, null, none or ? are missing.

    Args:
      path: the file, with commas between cells, perhaps gzipped.
      kind: the same as for `values.undivided`, or "mixed" for columns of several types
        (`schema.inferred`). "auto" takes a table with columns of texts for one.
      label_column: name of the column of labels, of any texts; None for no labels. The classes are
        its different texts in their order, numbers by their size; missing labels are -1.
      schema: file with the types of the columns (`schema.read_types`), or the columns of a run, of
        whose types and categories the table must be; None to find them.
      missing: file that lists values to hide (`missing.listed`); None for none.
      report: function that receives the types of the columns that were found, one sentence.

    Raises:
      DataError: the file cannot be read, a cell is missing where it must not be or is of another
        type, or a column has no values; the message names the row, counted from 1 below the header,
        and the column.
    """
    rows = schemas.read_lines(path)
    where = f"{named(path)}: "
    has_header = _has_header(rows)
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
    hidden = None
    if missing is not None:
        hidden = missing_values.listed(Path(missing), (len(body), len(columns)))
    types = None
    if isinstance(schema, str):
        types = schemas.read_types(Path(schema), len(columns))
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
        hidden = None if hidden is None else np.delete(hidden, index, axis=1)
        types = None if types is None else [*types[:index], *types[index + 1 :]]
    by_column = [list(cells) for cells in zip(*body, strict=True)]
    is_mixed = kind == "mixed" or schema is not None
    if kind == "auto" and not is_mixed:
        is_mixed = any(_is_of_texts(cells) for cells in by_column)
    if is_mixed:
        known = None if isinstance(schema, str) else schema
        found = _mixed(by_column, columns, where, known, types, report)
        found = found._replace(train=_with_labels(found.train, labels))
    else:
        found = _of_numbers(by_column, columns, where, kind, labels)
    found = found._replace(label_names=names)
    if hidden is None:
        return found
    train = missing_values.with_hidden(found.train, hidden.reshape(found.train.x.shape))
    return found._replace(train=train)


def _mixed(
    by_column: list[list[str]],
    names: list[str],
    where: str,
    schema: Sequence[Column] | None,
    types: list[str] | None,
    report: Callable[[str], None],
) -> Undivided:
    """A table of columns of several types, [N, D] float32 with codes of categories."""
    try:
        known = _columns(by_column, names, schema, types)
        pairs = [schemas.coded(*each) for each in zip(known, by_column, strict=True)]
    except DataError as error:
        raise DataError(f"{where}{error}") from error
    values, there = (np.stack(part, axis=1) for part in zip(*pairs, strict=True))
    if schema is None and types is None:
        found = ", ".join(f"{column.name} {column.kind}" for column in known)
        report(f"Types of the columns, from their values: {found}; schema= gives others.")
    mask = None if there.all() else there
    return Undivided(
        Split(values.astype(np.float32), mask=mask),
        kind="mixed",
        columns=tuple(names),
        schema=tuple(known),
    )


def _columns(
    by_column: list[list[str]],
    names: list[str],
    schema: Sequence[Column] | None,
    types: list[str] | None,
) -> list[Column]:
    if schema is not None:
        if [column.name for column in schema] != names:
            raise DataError(
                f"the columns are {', '.join(names)}, and those of the run "
                f"{', '.join(column.name for column in schema)}"
            )
        return list(schema)
    if types is None:
        types = [schemas.inferred(*each) for each in zip(names, by_column, strict=True)]
    each = zip(names, types, by_column, strict=True)
    return [schemas.column_of(*one) for one in each]


def _of_numbers(
    by_column: list[list[str]], names: list[str], where: str, kind: str, labels: Named | None
) -> Undivided:
    """A table of numbers; the first value of a column stands for missing ones."""
    values, there = [], []
    for name, cells in zip(names, by_column, strict=True):
        is_there = np.array([not is_missing(cell) for cell in cells])
        if not is_there.any():
            raise DataError(f"{where}all cells of column {name!r} are missing: leave it out")
        numbers = [
            _number(cell, f"{where}row {row}, column {name!r}") if known else np.nan
            for row, (cell, known) in enumerate(zip(cells, is_there, strict=True), 1)
        ]
        column = np.array(numbers)
        column[~is_there] = column[np.argmax(is_there)]
        values.append(column)
        there.append(is_there)
    table, mask = np.stack(values, axis=1), np.stack(there, axis=1)
    given = Given(
        Named("the table", table), labels, mask=None if mask.all() else Named("the table", mask)
    )
    found = undivided(given, where=where, kind=kind, columns=tuple(names))
    has_columns = found.train.x.shape[1:] == (len(names),)  # and no images
    return found._replace(columns=tuple(names) if has_columns else None)


def _with_labels(split: Split, labels: Named | None) -> Split:
    return split if labels is None else Split(split.x, labels.values, mask=split.mask)


def _has_header(rows: list[list[str]]) -> bool:
    texts = [i for i, cell in enumerate(rows[0]) if not is_number(cell) and not is_missing(cell)]
    if not texts:
        return False
    below = [{row[i].strip() for row in rows[1:] if i < len(row)} for i in texts]
    return not all(rows[0][i].strip() in found for i, found in zip(texts, below, strict=True))


def _is_of_texts(cells: list[str]) -> bool:
    known = [cell for cell in cells if not is_missing(cell)]
    return bool(known) and not any(map(is_number, known))


def _classes(cells: list[str], where: str, column: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The class of each cell, -1 where the label is missing, and the names of the classes."""
    known = {cell for cell in cells if not is_missing(cell)}
    if not known:
        raise DataError(f"{where}all labels in column {column!r} are missing")
    names = sorted(known, key=float if all(map(is_number, known)) else None)
    numbers = {name: index for index, name in enumerate(names)}
    return np.array([numbers.get(cell, -1) for cell in cells]), tuple(names)


def _number(cell: str, place: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise DataError(
            f"{place} is {cell!r}, which is no number: leave such columns out, name the column "
            "of labels with label_column, or use kind=mixed"
        ) from None

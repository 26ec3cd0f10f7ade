"""Values that are hidden from a model, so that its estimates of them can be compared with them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from vae_jax.data.paths import named
from vae_jax.data.schema import is_number, read_lines
from vae_jax.data.splits import Split
from vae_jax.errors import DataError


def rate_of(missing: str | None) -> float | None:
    """The rate that a text names, with which values are hidden; None for a file, and for None."""
    return float(missing) if missing is not None and is_number(missing) else None


def hidden_at_random(split: Split, rate: float, seed: int) -> Split:
    """The split with each observed value hidden with probability `rate` (MCAR).

    An example keeps at least one value. What is hidden depends on the arguments alone.

    Raises:
      DataError: the rate does not lie in (0, 1), or the examples are read while training.
    """
    if not 0 < rate < 1:
        raise DataError(f"missing is {rate} but must be a rate above 0 and below 1, or a .csv file")
    if not isinstance(split.x, np.ndarray):
        raise DataError("missing needs examples in memory: leave stream=true out")
    number = int(np.prod(split.x.shape))
    # NumPy guarantees the raw stream of a bit generator for ever, but not Generator.random.
    draws = (np.random.PCG64(seed).random_raw(number) >> np.uint64(11)) * 2.0**-53
    return with_hidden(split, draws.reshape(split.x.shape) < rate)


def listed(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Which values of a table [N, D] a file lists by row and column, from 1, in two columns.

    A first line that holds no numbers is a header.

    Raises:
      DataError: the file cannot be read, or a line is no place in the table.
    """
    rows = read_lines(path)
    if not all(map(is_number, rows[0])):
        rows = rows[1:]
    found = np.zeros(shape, bool)
    for number, row in enumerate(rows, 1):
        places = [float(cell) for cell in row if is_number(cell)]
        is_place = len(row) == len(places) == 2 and all(place == int(place) for place in places)
        if not is_place or not all(1 <= p <= n for p, n in zip(places, shape, strict=False)):
            raise DataError(
                f"{named(path)}: line {number} is {','.join(row)}, but must be a row in "
                f"1..{shape[0]} and a column in 1..{shape[1]}"
            )
        found[int(places[0]) - 1, int(places[1]) - 1] = True
    return found


def with_hidden(split: Split, hidden: np.ndarray) -> Split:
    """The split with values hidden, [N, *event] bool, where they are observed.

    If an example would have none left, its first observed one stays.
    """
    there: Any = np.ones(split.x.shape, bool) if split.mask is None else split.mask
    hidden = hidden & there
    flat, of_there = hidden.reshape(len(hidden), -1), there.reshape(len(hidden), -1)
    empty = np.flatnonzero((flat == of_there).all(axis=1) & of_there.any(axis=1))
    flat[empty, of_there[empty].argmax(axis=1)] = False
    hidden = flat.reshape(hidden.shape)
    before = split.hidden if split.hidden is not None else np.zeros_like(hidden)
    return dataclasses.replace(split, mask=there & ~hidden, hidden=before | hidden)


def with_holes(x: Any, mask: np.ndarray | None) -> Any:
    """Stored x [N, *event] as floats with nan where values are missing; x itself without a mask."""
    if mask is None:
        return x
    values = np.asarray(x)
    if values.dtype == np.uint8:
        values = values.astype(np.float32) / np.float32(255.0)
    return np.where(mask, values.astype(np.float32), np.float32(np.nan))

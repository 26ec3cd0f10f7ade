"""Numbers that are no pixels: real columns and counts, checked and converted."""

import math
from collections.abc import Sequence

import numpy as np

from vae_jax.data.splits import Kind
from vae_jax.errors import DataError

KINDS = ("pixels", "real", "count", "mixed")
_AS_TABLE = {"real": "real numbers", "count": "counts"}


def kind_of(arrays: Sequence[np.ndarray]) -> str:
    """What arrays of numbers are, by their shapes and values: one of KINDS.

    Arrays [N, H, W] and [N, H, W, C] are taken for pixels. So are arrays [N, D] whose values are
    those of pixels (whole numbers in 0..255, or fractions in [0, 1]) if D is a perfect square, and
    those of zeros and ones for any D. All other arrays [N, D] are counts if all values are whole
    numbers from 0 on, and else real numbers.
    """
    if any(values.ndim != 2 for values in arrays):
        return "pixels"
    if not all(np.isfinite(values).all() for values in arrays):
        return "real"  # which refuses them, and names the place
    least = min(values.min(initial=0) for values in arrays)
    most = max(values.max(initial=0) for values in arrays)
    are_whole = all((values == np.floor(values)).all() for values in arrays)
    if least >= 0 and are_whole and most <= 1:
        return "pixels"
    is_square = all(math.isqrt(values.shape[1]) ** 2 == values.shape[1] for values in arrays)
    if is_square and least >= 0 and (most <= 1 or (are_whole and most <= 255)):
        return "pixels"
    return "count" if are_whole and least >= 0 else "real"


def convert(
    kind: Kind, where: str, name: str, values: np.ndarray, columns: Sequence[str] | None = None
) -> np.ndarray:
    """Real numbers as float32, or counts as int32, both [N, *event].

    columns: names of the columns of an array [N, D]; None for their numbers.

    Raises:
      DataError: a value is missing, negative or fractional where it must not be, or too large for
        the type; the message names its row and column, counted from 0.
    """
    if values.ndim < 2:
        raise DataError(
            f"{where}{name} has shape {values.shape} but must be [N, D] or have more axes"
        )
    _require(
        np.isfinite(values),
        where,
        name,
        values,
        columns,
        (
            f"but {_AS_TABLE[kind]} must be finite; missing values need a mask, with any number in "
            "their place"
        ),
    )
    if kind == "real":
        limit = float(np.finfo(np.float32).max)
        _require(np.abs(values) <= limit, where, name, values, columns, "which is no float32")
        return values.astype(np.float32)
    wanted = "but counts must be whole numbers from 0 to 2,147,483,647"
    is_count = (values >= 0) & (values == np.floor(values)) & (values <= np.iinfo(np.int32).max)
    _require(is_count, where, name, values, columns, wanted)
    return values.astype(np.int32)


def require_varying(where: str, name: str, values: np.ndarray, columns: Sequence[str] | None):
    """Raises a DataError for a real column that cannot be standardised, since it is constant."""
    flat = values.reshape(len(values), -1)
    constant = np.flatnonzero(flat.min(axis=0) == flat.max(axis=0))
    if len(constant):
        first = int(constant[0])
        raise DataError(
            f"{where}{column_name(columns, first)} of {name} is {flat[0, first]:g} in all rows: "
            "leave constant columns out"
        )


def column_name(columns: Sequence[str] | None, index: int) -> str:
    """A column in a message: by its name, or by its number from 0."""
    return f"column {index}" if columns is None else f"column {columns[index]!r}"


def _require(
    holds: np.ndarray,
    where: str,
    name: str,
    values: np.ndarray,
    columns: Sequence[str] | None,
    wanted: str,
) -> None:
    if holds.all():
        return
    row, *index = np.unravel_index(int(np.argmin(holds)), values.shape)
    value = values[(row, *index)]
    place = column_name(columns, int(index[0])) if len(index) == 1 else f"{tuple(map(int, index))}"
    raise DataError(f"{where}{name} has {value:g} in row {row}, {place}, {wanted}")

"""Arrays of the user, converted to one scale or refused."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

import numpy as np

from vae_jax.data import tables
from vae_jax.data.brightness import require_bright
from vae_jax.data.rows import Rows
from vae_jax.data.schema import Column, require_column
from vae_jax.data.splits import Kind, Split, Undivided
from vae_jax.errors import DataError


class Named(NamedTuple):
    """An array, and the user's name for it."""

    name: str
    values: np.ndarray


class Given(NamedTuple):
    """The arrays of a split, each None where it is not given."""

    x: Named | None
    labels: Named | None = None  # [N] or [N, F] whole numbers
    condition: Named | None = None  # [N, *shape] real numbers
    mask: Named | None = None  # [N, *event] bools


def undivided(
    train: Given,
    test: Given | None = None,
    *,
    where: str = "",
    kind: str = "auto",
    columns: tuple[str, ...] | None = None,
) -> Undivided:
    """Checks and converts examples and what belongs to them.

    Args:
      train: training examples. Pixels: [N, H, W]; [N, H, W, C] with C of 1 or 3; [N, D] with D a
        perfect square, for square images; or [N, D] zeros and ones. Floats in [0, 1] become
        float32; whole numbers in 0..255 become uint8; integers or bools that are all 0 or 1 become
        the uint8 values 0 and 255. Real numbers [N, *event] become float32, and counts int32.
      test: test examples of the same kind, or None. Pixels are converted together, to one scale.
      where: text that a message begins with, such as "digits.npz: ".
      kind: one of `tables.KINDS`, or "auto" for `tables.kind_of`.
      columns: names of the columns of a table [N, D], or None.

    Raises:
      DataError: an array has another shape or other values, or the range of pixels is not that of
        images (`vae_jax.data.brightness`); the message names it.
    """
    splits = [split for split in (train, test) if split is not None and split.x is not None]
    given = [cast(Named, split.x) for split in splits]
    for name, values in given:
        _require_numbers(where, name, values)
    chosen = tables.kind_of([values for _, values in given]) if kind == "auto" else kind
    if chosen == "mixed":
        raise DataError(f"{where}kind=mixed is for .csv files, or data.from_arrays with a schema")
    shaped = [
        Named(name, _as_images(where, name, values) if chosen == "pixels" else values)
        for name, values in given
    ]
    shapes = {values.shape[1:] for _, values in shaped}
    kinds = {_is_float(values) for _, values in shaped} if chosen == "pixels" else set()
    if len(shapes) > 1 or len(kinds) > 1:
        described = " but ".join(
            f"{name} is {values.dtype} {values.shape}" for name, values in shaped
        )
        raise DataError(f"{where}{described}, yet both must hold the same kind of examples")
    if chosen == "pixels":
        convert = _conversion(where, shaped)
        converted = {name: convert(values) for name, values in shaped}
        require_bright(converted, where)
        return with_others(converted, train, test, where=where)
    of_kind: Kind = "real" if chosen == "real" else "count"
    converted = {
        name: tables.convert(of_kind, where, name, values, columns) for name, values in shaped
    }
    if of_kind == "real":
        tables.require_varying(where, shaped[0].name, converted[shaped[0].name], columns)
    found = with_others(converted, train, test, where=where)
    return found._replace(kind=of_kind, columns=columns)


def mixed(train: Given, test: Given | None, schema: tuple[Column, ...]) -> Undivided:
    """Checks rows [N, D] of columns of several types, with codes of categories, and what is theirs.

    Raises:
      DataError: an array has another shape, or a value is not one of its column's type.
    """
    converted = {}
    for split in (train, test):
        if split is None or split.x is None:
            continue
        name, values = split.x
        _require_numbers("", name, values)
        if values.ndim != 2 or values.shape[1] != len(schema):
            raise DataError(
                f"{name} has shape {values.shape}, but the schema has {len(schema)} columns"
            )
        for index, column in enumerate(schema):
            require_column(column, values[:, index], name)
        converted[name] = values.astype(np.float32)
    found = with_others(converted, train, test, where="")
    names = tuple(column.name for column in schema)
    return found._replace(kind="mixed", columns=names, schema=schema)


def with_others(
    examples: Mapping[str, np.ndarray | Rows],
    train: Given,
    test: Given | None = None,
    *,
    where: str,
) -> Undivided:
    """Combines the converted x of one or two splits with what else is given for them.

    Args:
      examples: user's name of the split -> x, training examples first.
      train: what else is given for the first split.
      test: what else is given for the second split.
      where: text that a message begins with.

    Raises:
      DataError: labels, conditions or masks are of another kind, their number is not that of the
        examples, or their split has no examples.
    """
    for given in () if test is None or len(examples) > 1 else test[1:]:
        if given is not None:
            raise DataError(f"{where}{given.name} is given without test examples that it is for")
    splits = [
        Split(
            x,
            _as_labels(where, split.labels, name, len(x)),
            _as_condition(where, split.condition, name, len(x)),
            _as_mask(where, split.mask, name, x),
        )
        for (name, x), split in zip(examples.items(), (train, test or Given(None)), strict=False)
    ]
    if len(splits) == 1:
        return Undivided(splits[0])
    for what in ("labels", "condition"):
        one, other = (getattr(split, what) for split in splits)
        names = [getattr(split, what) for split in (train, cast(Given, test))]
        if one is not None and other is not None and one.shape[1:] != other.shape[1:]:
            raise DataError(
                f"{where}{names[0].name} has shape {one.shape} but {names[1].name} {other.shape}, "
                f"yet both must hold the same kind of {what}"
            )
    if (splits[0].condition is None) != (splits[1].condition is None):
        has, has_not = "training", "test"
        if splits[0].condition is None:
            has, has_not = has_not, has
        raise DataError(
            f"{where}there is a condition for the {has} examples and none for the {has_not} ones, "
            "yet a model of p(x|c) needs c in training and in evaluation"
        )
    return Undivided(splits[0], splits[1])


def _as_condition(
    where: str, given: Named | None, examples: str, num_examples: int
) -> np.ndarray | None:
    if given is None:
        return None
    name, values = given
    _require_numbers(where, name, values)
    _require_one_each(where, name, "rows", values, examples, num_examples)
    if not np.isfinite(values).all():
        raise DataError(f"{where}{name} holds NaN or infinite values")
    values = values.astype(np.float32)
    return values[:, None] if values.ndim == 1 else values


def _as_mask(
    where: str, given: Named | None, examples: str, x: np.ndarray | Rows
) -> np.ndarray | None:
    if given is None:
        return None
    name, values = given
    if values.dtype != bool or values.size != np.prod(x.shape) or len(values) != len(x):
        raise DataError(
            f"{where}{name} is {values.dtype} {values.shape} but must be bool {x.shape}, False "
            f"where a value of {examples} is missing"
        )
    return values.reshape(x.shape)


def _require_one_each(
    where: str, name: str, what: str, values: np.ndarray, examples: str, num_examples: int
) -> None:
    if len(values) != num_examples:
        raise DataError(
            f"{where}{name} has {len(values)} {what} but {examples} {num_examples} examples, yet "
            "each example must have its own"
        )


def _require_numbers(where: str, name: str, values: np.ndarray) -> None:
    if values.dtype.kind not in "fiub":
        raise DataError(f"{where}{name} has dtype {values.dtype} but must hold real numbers")
    if values.size == 0:
        raise DataError(f"{where}{name} is empty, its shape is {values.shape}")


def _as_labels(where: str, given: Named | None, images: str, num_images: int) -> np.ndarray | None:
    if given is None:
        return None
    name, values = given
    _require_numbers(where, name, values)
    if values.ndim not in (1, 2):
        raise DataError(f"{where}{name} has shape {values.shape} but must be [N] or [N, F]")
    _require_one_each(where, name, "labels", values, images, num_images)
    if _is_float(values) and not (np.isfinite(values) & (values == np.floor(values))).all():
        raise DataError(f"{where}{name} holds fractions or NaN, but labels must be whole numbers")
    return values.astype(np.int64)


def _as_images(where: str, name: str, values: np.ndarray) -> np.ndarray:
    match values.shape:
        case (_, _, _):
            return values[..., None]
        case (_, _, _, 1 | 3):
            return values
        case (num_images, num_pixels) if math.isqrt(num_pixels) ** 2 == num_pixels:
            side = math.isqrt(num_pixels)
            return values.reshape(num_images, side, side, 1)
        case (_, _) if ((values == 0) | (values == 1)).all():
            return values
        case shape:
            raise DataError(
                f"{where}{name} has shape {shape} but pixels must be [N, H, W], [N, H, W, 1 or 3], "
                "[N, D] with D a perfect square, or [N, D] zeros and ones; kind=real and "
                "kind=count say that the numbers are no pixels"
            )


def _conversion(where: str, images: list[Named]) -> Callable[[np.ndarray], np.ndarray]:
    """The one function images -> images that is right for all the arrays."""
    for name, values in images:
        if not np.isfinite(values).all():
            raise DataError(f"{where}{name} holds NaN or infinite values")
        least, most = values.min(), values.max()
        if least < 0 or most > 255:
            scale = f": if {most} is white, give x / {most} as float32" if least >= 0 else ""
            raise DataError(
                f"{where}{name} has values in {least}..{most}, "
                f"but they must lie in [0, 1] or be whole numbers in 0..255{scale}"
            )
    all_in_unit = all(values.max() <= 1 for _, values in images)
    if _is_float(images[0].values):
        if all_in_unit:
            return lambda values: values.astype(np.float32)
        for name, values in images:
            if (values != np.floor(values)).any():
                raise DataError(
                    f"{where}{name} has fractions though values exceed 1, "
                    "but they must lie in [0, 1] or be whole numbers in 0..255"
                )
    factor = np.uint8(255 if all_in_unit else 1)
    return lambda values: values.astype(np.uint8) * factor


def _is_float(values: np.ndarray) -> bool:
    return values.dtype.kind == "f"

"""Arrays of the user, converted to one scale or refused."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from vae_jax.data.brightness import require_bright
from vae_jax.data.rows import Rows
from vae_jax.data.splits import Split, Undivided
from vae_jax.errors import DataError


class Named(NamedTuple):
    """An array, and the user's name for it."""

    name: str
    values: np.ndarray


def undivided(
    train: Named | None,
    test: Named | None = None,
    labels: Named | None = None,
    test_labels: Named | None = None,
    *,
    where: str = "",
) -> Undivided:
    """Checks and converts images and their labels.

    Args:
      train: training images. Shapes: [N, H, W]; [N, H, W, C] with C of 1 or 3; [N, D] with D a
        perfect square, for square images. Values: floats in [0, 1] become float32; whole numbers in
        0..255 become uint8; integers or bools that are all 0 or 1 become the uint8 values 0 and
        255.
      test: test images of the same kind. Both are converted together, to one scale.
      labels: whole numbers [N] or [N, F] for the images of `train`, or None.
      test_labels: whole numbers for the images of `test`, or None.
      where: text that a message begins with, such as "digits.npz: ".

    Raises:
      DataError: an array has another shape or other values, or its range is not that of images
        (`vae_jax.data.brightness`); the message names it.
    """
    given = [split for split in (train, test) if split is not None]
    images = [Named(name, _as_images(where, name, values)) for name, values in given]
    shapes = {values.shape[1:] for _, values in images}
    kinds = {_is_float(values) for _, values in images}
    if len(shapes) > 1 or len(kinds) > 1:
        described = " but ".join(
            f"{name} is {values.dtype} {values.shape}" for name, values in images
        )
        raise DataError(f"{where}{described}, yet both must hold the same kind of images")
    convert = _conversion(where, images)
    converted = {name: convert(values) for name, values in images}
    require_bright(converted, where)
    return with_labels(converted, labels, test_labels, where=where)


def with_labels(
    images: Mapping[str, np.ndarray | Rows],
    labels: Named | None,
    test_labels: Named | None,
    *,
    where: str,
) -> Undivided:
    """Combines one or two splits with their labels, as in `undivided`.

    Args:
      images: user's name of the split -> images, training images first.
      labels: whole numbers [N] or [N, F] for the first split, or None.
      test_labels: whole numbers for the second split, or None.
      where: text that a message begins with.

    Raises:
      DataError: labels are not whole numbers, their number is not that of the images, or their
        split has no images.
    """
    if test_labels is not None and len(images) < 2:
        raise DataError(f"{where}{test_labels.name} is given without test images that it is for")
    splits = [
        Split(x, None if given is None else _as_labels(where, given, name, len(x)))
        for (name, x), given in zip(images.items(), (labels, test_labels), strict=False)
    ]
    shapes = [split.labels.shape for split in splits if split.labels is not None]
    if labels is not None and test_labels is not None and shapes[0][1:] != shapes[1][1:]:
        raise DataError(
            f"{where}{labels.name} has shape {shapes[0]} but {test_labels.name} {shapes[1]}, yet "
            "both must hold the same kind of labels"
        )
    return Undivided(splits[0], splits[1] if len(splits) > 1 else None)


def _require_numbers(where: str, name: str, values: np.ndarray) -> None:
    if values.dtype.kind not in "fiub":
        raise DataError(f"{where}{name} has dtype {values.dtype} but must hold real numbers")
    if values.size == 0:
        raise DataError(f"{where}{name} is empty, its shape is {values.shape}")


def _as_labels(where: str, given: Named, images: str, num_images: int) -> np.ndarray:
    name, values = given
    _require_numbers(where, name, values)
    if values.ndim not in (1, 2):
        raise DataError(f"{where}{name} has shape {values.shape} but must be [N] or [N, F]")
    if len(values) != num_images:
        raise DataError(
            f"{where}{name} has {len(values)} labels but {images} {num_images} images, yet each "
            "image must have its label"
        )
    if _is_float(values) and not (np.isfinite(values) & (values == np.floor(values))).all():
        raise DataError(f"{where}{name} holds fractions or NaN, but labels must be whole numbers")
    return values.astype(np.int64)


def _as_images(where: str, name: str, values: np.ndarray) -> np.ndarray:
    _require_numbers(where, name, values)
    match values.shape:
        case (_, _, _):
            return values[..., None]
        case (_, _, _, 1 | 3):
            return values
        case (num_images, num_pixels) if math.isqrt(num_pixels) ** 2 == num_pixels:
            side = math.isqrt(num_pixels)
            return values.reshape(num_images, side, side, 1)
        case shape:
            raise DataError(
                f"{where}{name} has shape {shape} but must be [N, H, W], [N, H, W, 1 or 3] "
                "or [N, D] with D a perfect square"
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

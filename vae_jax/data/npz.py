"""Images of the user's own, from an .npz file."""

import math
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from vae_jax.errors import DataError

_REQUIRED = "x_train"
_OPTIONAL = "x_test"


def read(path: Path) -> dict[str, np.ndarray]:
    """{"train": [N, H, W, C], "test": the same if there} from the keys `x_train` and `x_test`.

    Shapes: [N, H, W]; [N, H, W, C] with C of 1 or 3; [N, D] with D a perfect square, as square
    images. Values: floats in [0, 1] become float32; whole numbers in 0..255 become uint8;
    integers or bools all in {0, 1} become the uint8 values 0 and 255. The two arrays are judged
    together, so they end on one scale.

    Raises DataError for everything else, naming the file and the key.
    """
    arrays = {key: _as_images(path, key, values) for key, values in _load(path).items()}
    shapes = {images.shape[1:] for images in arrays.values()}
    kinds = {_is_float(images) for images in arrays.values()}
    if len(shapes) > 1 or len(kinds) > 1:
        described = " but ".join(
            f"{key} is {images.dtype} {images.shape}" for key, images in arrays.items()
        )
        raise DataError(f"{path}: {described}, yet both must hold the same kind of images")
    convert = _conversion(path, arrays)
    return {key.removeprefix("x_"): convert(images) for key, images in arrays.items()}


def _load(path: Path) -> dict[str, np.ndarray]:
    if not os.path.isfile(path):  # Path.is_file raises for names that are too long
        raise DataError(f"{path} does not exist or is not a file")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is not an .npz file: write it with numpy.savez_compressed")
    try:
        with np.load(path) as file:
            if _REQUIRED not in file:
                found = ", ".join(file) or "nothing"
                raise DataError(f"{path} must hold the key {_REQUIRED} but holds {found}")
            return {key: _member(path, file, key) for key in (_REQUIRED, _OPTIONAL) if key in file}
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error})") from error


def _member(path: Path, file: Mapping[str, np.ndarray], key: str) -> np.ndarray:
    try:
        return np.asarray(file[key])
    except ValueError as error:  # an array of Python objects, which would be unpickled
        raise DataError(f"{path}: {key} is no plain array of numbers ({error})") from error


def _as_images(path: Path, key: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "fiub":
        raise DataError(f"{path}: {key} has dtype {values.dtype} but must hold real numbers")
    if values.size == 0:
        raise DataError(f"{path}: {key} is empty, its shape is {values.shape}")
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
                f"{path}: {key} has shape {shape} but must be [N, H, W], [N, H, W, 1 or 3] "
                "or [N, D] with D a perfect square"
            )


def _conversion(path: Path, arrays: dict[str, np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """The one function images -> images that suits all the arrays."""
    for key, images in arrays.items():
        if not np.isfinite(images).all():
            raise DataError(f"{path}: {key} holds NaN or infinite values")
        if images.min() < 0 or images.max() > 255:
            raise DataError(
                f"{path}: {key} has values in {images.min()}..{images.max()}, "
                "but they must lie in [0, 1] or be whole numbers in 0..255"
            )
    all_in_unit = all(images.max() <= 1 for images in arrays.values())
    if _is_float(arrays[_REQUIRED]):
        if all_in_unit:
            return lambda images: images.astype(np.float32)
        for key, images in arrays.items():
            if (images != np.floor(images)).any():
                raise DataError(
                    f"{path}: {key} has fractions though values exceed 1, "
                    "but they must lie in [0, 1] or be whole numbers in 0..255"
                )
    scale = np.uint8(255 if all_in_unit else 1)
    return lambda images: images.astype(np.uint8) * scale


def _is_float(images: np.ndarray) -> bool:
    return images.dtype.kind == "f"

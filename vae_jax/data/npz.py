"""Arrays of the user's own, from an .npz or an .npy file."""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vae_jax.data.paths import named
from vae_jax.data.splits import Undivided
from vae_jax.data.values import Given, Named, undivided
from vae_jax.errors import DataError

_REQUIRED = "x_train"
_OF_SPLIT = ("x", "y", "c", "mask")
_KEYS = tuple(f"{what}_{split}" for split in ("train", "test") for what in _OF_SPLIT)


def read(path: Path, kind: str = "auto") -> Undivided:
    """Examples from the keys `x_train` and `x_test`, labels from `y_train` and `y_test`, conditions
    from `c_train` and `c_test`, and masks of values that are there from `mask_train` and
    `mask_test`.

    All but `x_train` may be missing. What they may hold, and `kind`, is what `values.undivided`
    takes.

    Raises DataError for everything else, naming the file and the key.
    """
    arrays = _load(path)
    train, test = (
        Given(*(_named(arrays, f"{what}_{split}") for what in _OF_SPLIT))
        for split in ("train", "test")
    )
    return undivided(train, test, where=f"{named(path)}: ", kind=kind)


def read_npy(path: Path, kind: str = "auto") -> Undivided:
    """Training examples from an .npy file with one array, as `values.undivided` takes them.

    Raises DataError if there is no such file, or its array is of another kind.
    """
    if not os.path.isfile(path):
        raise DataError(f"{named(path)} does not exist or is not a file")
    try:
        values = np.load(path)
    except PermissionError as error:
        raise DataError(f"{named(path)} cannot be read ({error.strerror})") from error
    except Exception as error:  # damage, and Python objects, which would be unpickled
        raise DataError(
            f"{named(path)} is damaged or no .npy file of numbers ({_reason(error)})"
        ) from error
    return undivided(Given(Named("the array", values)), where=f"{named(path)}: ", kind=kind)


def _named(arrays: Mapping[str, np.ndarray], key: str) -> Named | None:
    return Named(key, arrays[key]) if key in arrays else None


def _load(path: Path) -> dict[str, np.ndarray]:
    if not os.path.isfile(path):  # Path.is_file raises for names that are too long
        raise DataError(f"{named(path)} does not exist or is not a file")
    try:
        with open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise DataError(
                    f"{named(path)} is not an .npz file: write it with numpy.savez_compressed"
                )
            file.seek(0)
            return _members(path, np.load(file))
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(f"{named(path)} does not fit into memory ({_reason(error)})") from error
    except PermissionError as error:
        raise DataError(f"{named(path)} cannot be read ({error.strerror})") from error
    except Exception as error:  # damage, of which zipfile and zlib say little in errors of any kind
        raise DataError(f"{named(path)} is damaged ({_reason(error)})") from error


def _members(path: Path, file: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    if not isinstance(file, Mapping):
        raise DataError(f"{named(path)} is no .npz file: write it with numpy.savez_compressed")
    if _REQUIRED not in file:
        found = ", ".join(file) or "nothing"
        raise DataError(f"{named(path)} must hold the key {_REQUIRED} but holds {named(found)}")
    return {key: _member(path, file, key) for key in _KEYS if key in file}


def _member(path: Path, file: Mapping[str, np.ndarray], key: str) -> np.ndarray:
    try:
        return np.asarray(file[key])
    except ValueError as error:  # Python objects, which would be unpickled
        raise DataError(
            f"{named(path)}: {key} is no plain array of numbers ({_reason(error)})"
        ) from error


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]

"""Images of the user's own, from an .npz file."""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vae_jax.data.paths import named
from vae_jax.data.splits import Undivided
from vae_jax.data.values import Named, undivided
from vae_jax.errors import DataError

_REQUIRED = "x_train"
_KEYS = (_REQUIRED, "x_test", "y_train", "y_test")


def read(path: Path) -> Undivided:
    """Images from the keys `x_train` and `x_test`, labels from `y_train` and `y_test`.

    All but `x_train` may be missing. What they may hold is what `values.undivided` takes.

    Raises DataError for everything else, naming the file and the key.
    """
    arrays = _load(path)
    return undivided(
        *(Named(key, arrays[key]) if key in arrays else None for key in _KEYS),
        where=f"{named(path)}: ",
    )


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

"""The IDX file format of the MNIST family."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from vae_jax.data.paths import named
from vae_jax.errors import DataError

NAMES = ("mnist", "fashion_mnist", "kmnist")  # the data sets published as such files

_UINT8 = 0x00000800  # to which the number of axes is added


def read_images(path: Path) -> np.ndarray:
    """[N, H, W, 1] uint8 from a gzipped IDX file (LeCun, http://yann.lecun.com/exdb/mnist).

    Raises DataError if the file is no such file, is damaged, or is shorter or longer than its
    header says.
    """
    return _read(path, 3, "images", "pixels")[..., None]


def read_labels(path: Path) -> np.ndarray:
    """[N] uint8 from a gzipped IDX file. Raises DataError as `read_images` does."""
    return _read(path, 1, "labels", "labels")


def _read(path: Path, num_axes: int, holding: str, values: str) -> np.ndarray:
    try:
        with gzip.open(path) as file:
            (magic,) = struct.unpack(">I", file.read(4))
            if magic != _UINT8 + num_axes:
                raise DataError(
                    f"{named(path)} holds no IDX {holding}: its first bytes are {magic:#010x}"
                )
            shape = struct.unpack(f">{num_axes}I", file.read(4 * num_axes))
            content = file.read()
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DataError(f"{named(path)} is not a whole gzipped IDX file ({error})") from error
    if len(content) != math.prod(shape):
        raise DataError(
            f"{named(path)} holds {len(content)} {values} where its header says {math.prod(shape)}"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)

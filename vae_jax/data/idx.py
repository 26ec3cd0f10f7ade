"""The IDX file format of the MNIST family."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from vae_jax.errors import DataError

NAMES = ("mnist", "fashion_mnist", "kmnist")  # the data sets published as such files

_UINT8_RANK_3 = 0x00000803


def read_images(path: Path) -> np.ndarray:
    """[N, H, W, 1] uint8 from a gzipped IDX file (LeCun, http://yann.lecun.com/exdb/mnist).

    Raises DataError if the file is no such file, is damaged, or is shorter or longer than its
    header says.
    """
    try:
        with gzip.open(path) as file:
            magic, *shape = struct.unpack(">4I", file.read(16))
            pixels = file.read()
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DataError(f"{path} is not a whole gzipped IDX file ({error})") from error
    if magic != _UINT8_RANK_3:
        raise DataError(f"{path} holds no IDX images: its first bytes are {magic:#010x}")
    num_pixels = shape[0] * shape[1] * shape[2]
    if len(pixels) != num_pixels:
        raise DataError(f"{path} holds {len(pixels)} pixels where its header says {num_pixels}")
    return np.frombuffer(pixels, np.uint8).reshape(*shape, 1)

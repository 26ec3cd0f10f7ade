"""One number by which images are known again."""

import zlib

import numpy as np

from vae_jax.data.rows import Rows

_BYTES_AT_ONCE = 1 << 24


def fingerprint(images: np.ndarray | Rows) -> int:
    """The CRC-32 of all bytes of the images in their order, read a few at a time.

    images: [N, *event]. It is `zlib.crc32` of the whole as one C-contiguous array, whether in
    memory or not, and is recorded in every run folder.
    """
    checksum = 0
    at_once = max(1, _BYTES_AT_ONCE // max(1, images[:1].nbytes))
    for start in range(0, len(images), at_once):
        block = np.ascontiguousarray(images[start : start + at_once])
        checksum = zlib.crc32(block, checksum)
    return checksum

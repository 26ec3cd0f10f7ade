"""A checksum that identifies a data set, which several readers can compute together."""

import zlib

import numpy as np

from vae_jax.data.rows import Rows

_BYTES_AT_ONCE = 1 << 22  # so that images that are not in memory are read once, in order
_POLYNOMIAL = (
    0xEDB88320  # polynomial of CRC-32, reflected: the highest bit is the coefficient of x^0
)
_ONE, _X = 1 << 31, 1 << 30


def fingerprint(images: np.ndarray | Rows, part: slice = slice(None)) -> int:
    """The CRC-32 of all bytes of the images in their order, read a few at a time.

    images: [N, *event]. part: slice of them, without a step. The result is `zlib.crc32` of the
    images as one C-contiguous array, in memory or not. Every run folder records it.
    """
    checksum = 0
    at_once = max(1, _BYTES_AT_ONCE // max(1, images[:1].nbytes))
    begin, end, _ = part.indices(len(images))
    for start in range(begin, end, at_once):
        block = np.ascontiguousarray(images[start : min(start + at_once, end)])
        checksum = zlib.crc32(block.data, checksum)
    return checksum


def joined_fingerprint(first: int, second: int, second_num_bytes: int) -> int:
    """The CRC-32 of two byte strings in a row, from the CRC-32 of each.

    Appending n bytes multiplies a CRC, as a polynomial over GF(2), by x^(8 n).
    """
    return _product(_power_of_x(8 * second_num_bytes), first) ^ second


def _power_of_x(exponent: int) -> int:
    power, square = _ONE, _X
    while exponent:
        if exponent & 1:
            power = _product(power, square)
        square = _product(square, square)
        exponent >>= 1
    return power


def _product(a: int, b: int) -> int:
    """The product of two polynomials over GF(2), modulo that of CRC-32."""
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = (b >> 1) ^ (_POLYNOMIAL if b & 1 else 0)
    return product

"""Checks that numbers are intensities of their usual range.

Whole numbers are read as 0..255, floats as [0, 1]. Numbers of another range, such as the levels
0..16 of a scanner, or counts, would silently become nearly black images. A split is refused

- if it holds whole numbers and the brightest pixel of all its images is in 1..127, or
- if it holds floats and the brightest pixel is above 0 but at most 1/255, one level of 8 bits.

Images that are really so dark can be given as floats, that is 8-bit pixels divided by 255. Black
images are black on every scale. Numbers whose largest is in 128..255 cannot be told from images.
"""

from collections.abc import Mapping

import numpy as np

from vae_jax.data.rows import Rows
from vae_jax.errors import DataError

_LEAST_WHITE = 128  # half of 255, which a pixel of nearly every data set of 8 bits reaches
_LEVEL = np.nextafter(np.float32(1 / 255), np.float32(1))  # 1/255 in any precision is at most this
_BYTES_AT_ONCE = 1 << 22


def brightest(images: np.ndarray | Rows, enough: float = np.inf) -> float:
    """The largest value of images [N, *event], or the first one that is at least `enough`.

    A few images are read at a time, so that bright images that are not in memory cost little.
    """
    most = 0
    at_once = max(1, _BYTES_AT_ONCE // max(1, images[:1].nbytes))
    for start in range(0, len(images), at_once):
        most = max(most, images[start : start + at_once].max().item())
        if most >= enough:
            break
    return most


def require_bright(images: Mapping[str, np.ndarray | Rows], where: str = "") -> None:
    """Refuses images that would become nearly black.

    Args:
      images: user's name of the split -> images [N, *event], uint8 in 0..255 or floats in [0, 1].
      where: beginning of a message, such as "digits.npz: ".

    Raises:
      DataError: the numbers of a split have another range.
    """
    for name, split in images.items():
        said = f"{where}the brightest pixel of {name} is"
        if split.dtype.kind == "f":
            most = brightest(split, enough=np.nextafter(_LEVEL, np.float32(1)))
            if 0 < most <= _LEVEL:
                raise DataError(
                    f"{said} {most:.2g}, where 1 is white, so all are black to 8 bits: divide by "
                    "the value that is white once only"
                )
        else:
            most = int(brightest(split, enough=_LEAST_WHITE))
            if most == 1:
                raise DataError(f"{said} 1 of 255: if 1 is white, give x as float32 in [0, 1]")
            if 1 < most < _LEAST_WHITE:
                raise DataError(
                    f"{said} {most} of 255: if {most} is white, give x / {most} as float32 in "
                    "[0, 1]; if the images really are so dark, give x / 255 as float32"
                )

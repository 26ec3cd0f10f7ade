"""Images cut in two: one half is given, and the other is what a model is of (inpainting)."""

import dataclasses
from typing import Any

import numpy as np

from vae_jax.data.splits import Split
from vae_jax.errors import DataError

#: Halves of an image that can be given.
HALVES = ("top", "bottom", "left", "right")


def cut(split: Split, given: str) -> Split:
    """The split whose x is the other half of each image, with the half that is given as condition.

    Args:
      split: images [N, H, W, C] in memory.
      given: one of HALVES. A line in the middle belongs to the lower or the right half.

    Raises:
      DataError: these are no images, they are read while training, or a half would be empty.
    """
    shape = tuple(split.x.shape)
    if not isinstance(split.x, np.ndarray):
        raise DataError(f"condition={given} needs images in memory: leave stream=true out")
    if len(shape) != 4 or min(shape[1:3]) < 2:
        raise DataError(f"condition={given} is for images, and these examples are of {shape[1:]}")
    halves = _halves(split.x, given)
    masks = (None, None) if split.mask is None else _halves(split.mask, given)
    hidden = (None, None) if split.hidden is None else _halves(split.hidden, given)
    if masks[0] is not None and not masks[0].all():
        raise DataError(f"condition={given} needs a whole half, and values of it are missing")
    known = halves[0].astype(np.float32)
    known = known / np.float32(255.0) if split.x.dtype == np.uint8 else known
    return dataclasses.replace(split, x=halves[1], condition=known, mask=masks[1], hidden=hidden[1])


def joined(x: Any, known: Any, given: str) -> np.ndarray:
    """Whole images [N, H, W, C] of their halves: x, and the one that is given."""
    axis = 1 if given in ("top", "bottom") else 2
    parts = [np.asarray(known), np.asarray(x)]
    return np.concatenate(parts if given in ("top", "left") else parts[::-1], axis=axis)


def _halves(x: np.ndarray, given: str) -> tuple[np.ndarray, np.ndarray]:
    """The half that is given, and the other one."""
    axis = 1 if given in ("top", "bottom") else 2
    first, second = np.split(x, [x.shape[axis] // 2], axis=axis)
    return (first, second) if given in ("top", "left") else (second, first)

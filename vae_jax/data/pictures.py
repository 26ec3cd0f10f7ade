"""A folder of picture files, decoded once into the cache."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_jax.data import array_cache
from vae_jax.data.paths import named
from vae_jax.data.splits import Split, Undivided
from vae_jax.errors import DataError

ENDINGS = (".png", ".jpg", ".jpeg")
_SPLITS = ("train", "test")


class _Picture(NamedTuple):
    path: Path
    label: str | None  # name of the subfolder


def is_folder(folder: Path) -> bool:
    """Whether a folder holds picture files, at most two folders below."""
    return next(_pictures(folder), None) is not None


def read(
    folder: Path,
    image_size: tuple[int, ...] | None,
    cache: Path,
    report: Callable[[str], None],
) -> Undivided:
    """The PNG and JPEG files of a folder, [N, H, W, C] uint8, in the order of their paths.

    Subfolders are classes, and their names label the pictures in them. Subfolders "train" and
    "test", which may have such subfolders, are these splits. All pictures become grey if all are
    grey, and else RGB; transparency is put on black.

    Args:
      folder: the folder.
      image_size: (height, width), or one number for both: the largest part of this shape in the
        middle of each picture is scaled to this size. None if all have one size already.
      cache: folder in which the decoded pictures are kept. They are decoded again when a file
        changes.
      report: function that receives one sentence about work that takes time.

    Raises:
      DataError: a file is damaged or of another size; it is named.
    """
    size = None if image_size is None else (image_size[0], image_size[-1])
    names = _names(folder)
    roots = {split: folder / split for split in _SPLITS} if "train" in names else {"train": folder}
    found = {
        split: sorted(_pictures(root), key=lambda picture: str(picture.path))
        for split, root in roots.items()
        if os.path.isdir(root)
    }
    found = {split: pictures for split, pictures in found.items() if pictures}
    if "train" not in found or len(found["train"]) < 3:
        number = len(found.get("train", []))
        raise DataError(f"{named(folder)} has {number} pictures to train on, which are too few")
    place = cache / _name_of(found, folder, size)
    arrays = array_cache.read(place)
    if arrays is None:
        number = sum(len(pictures) for pictures in found.values())
        report(f"decoding {number:,} pictures of {named(folder)}, once")
        array_cache.require_writable(cache)
        mode = _mode([picture.path for pictures in found.values() for picture in pictures])
        first = _decoded(found["train"][0].path, mode, size)
        array_cache.write(
            place,
            {
                split: _Decoded([picture.path for picture in pictures], mode, size, first)
                for split, pictures in found.items()
            },
        )
        arrays = array_cache.read(place) or {}
    labelled = all(picture.label is not None for of in found.values() for picture in of)
    classes = sorted({str(picture.label) for of in found.values() for picture in of})
    numbers = {name: index for index, name in enumerate(classes)}
    splits = [
        Split(
            arrays[split],
            np.array([numbers[str(picture.label)] for picture in pictures]) if labelled else None,
        )
        for split, pictures in found.items()
    ]
    return Undivided(
        splits[0],
        splits[1] if len(splits) > 1 else None,
        label_names=tuple(classes) if labelled else None,
    )


class _Decoded:
    """Pictures that are decoded when they are sliced."""

    dtype = np.dtype(np.uint8)

    def __init__(
        self, paths: list[Path], mode: str, size: tuple[int, int] | None, first: np.ndarray
    ):
        self._paths, self._mode, self._size, self._first = paths, mode, size, paths[0]
        self.shape = (len(paths), *first.shape)

    def __getitem__(self, index: slice) -> np.ndarray:
        images = []
        for path in self._paths[index]:
            image = _decoded(path, self._mode, self._size)
            if image.shape != self.shape[1:]:
                raise DataError(
                    f"{named(path)} has {image.shape[0]} x {image.shape[1]} pixels and others "
                    f"{self.shape[1]} x {self.shape[2]}: image_size crops and scales all to one "
                    "size"
                )
            images.append(image)
        return np.stack(images)


def _decoded(path: Path, mode: str, size: tuple[int, int] | None) -> np.ndarray:
    """[H, W, C] uint8."""
    from PIL import Image

    try:
        with Image.open(path) as opened:
            image = opened.convert("RGBA" if "A" in opened.getbands() else mode)
    except Exception as error:  # damage, of which PIL says little in errors of any kind
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{named(path)} is damaged or no picture ({reason})") from error
    if image.mode == "RGBA":
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image).convert(mode)
    if size is not None:
        image = _middle(image, size).resize(size[::-1], Image.Resampling.BICUBIC)
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _middle(image: Any, size: tuple[int, int]) -> Any:
    """The largest part in the middle of a picture that has the shape (height, width) of `size`."""
    scale = min(image.height / size[0], image.width / size[1])
    height, width = (max(1, round(scale * side)) for side in size)
    top, left = (image.height - height) // 2, (image.width - width) // 2
    return image.crop((left, top, left + width, top + height))


def _mode(paths: list[Path]) -> str:
    """ "L" if all pictures are grey, else "RGB". Only the heads of files are read."""
    from PIL import Image

    modes = set()
    for path in paths:
        try:
            with Image.open(path) as image:
                modes.add(image.mode)
                if image.mode.startswith(("I", "F")):
                    raise DataError(f"{named(path)} has more than 8 bits for each pixel")
        except DataError:
            raise
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise DataError(f"{named(path)} is damaged or no picture ({reason})") from error
    return "L" if modes <= {"L", "1", "LA"} else "RGB"


def _pictures(folder: Path, label: str | None = None, depth: int = 0) -> Iterator[_Picture]:
    for name in _names(folder):
        path = folder / name
        if name.lower().endswith(ENDINGS) and os.path.isfile(path):
            yield _Picture(path, label)
        elif depth < 2 and os.path.isdir(path):
            yield from _pictures(path, name, depth + 1)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except (OSError, ValueError):  # a name that no folder can have
        return []


def _name_of(found: dict[str, list[_Picture]], folder: Path, size: tuple[int, int] | None) -> str:
    """A name for the decoded pictures, another one if a file changes."""
    digest = hashlib.sha256(repr(size).encode())
    for split, pictures in found.items():
        for picture in pictures:
            status = os.stat(picture.path)
            facts = (split, str(picture.path), status.st_size, status.st_mtime_ns)
            digest.update(repr(facts).encode())
    return f"{folder.name}-{digest.hexdigest()[:16]}"

"""Images of the user, from a folder of .npy files that may be larger than the memory."""

import os
from pathlib import Path

import numpy as np

from vae_jax.data.brightness import require_bright
from vae_jax.data.paths import named
from vae_jax.data.rows import Rows
from vae_jax.data.splits import Undivided
from vae_jax.data.values import Given, Named, with_others
from vae_jax.errors import DataError

_SPLITS = ("train", "test")


def is_folder(name: str) -> bool:
    """Whether the name of a data set is a folder.

    It is a folder if it ends with "/", or if it contains a "/" and the folder exists: "mnist" is
    always the data set, and "./mnist" or "mnist/" a folder. The separator of Windows counts, too.
    """
    separators = ("/", os.sep)
    if name.endswith(separators):
        return True
    return any(s in name for s in separators) and os.path.isdir(os.path.expanduser(name))


def holds_shards(folder: Path) -> bool:
    """Whether a folder has a file of training images; there may be pictures beside it."""
    return os.path.isdir(folder) and any(_is_shard(name, "train") for name in _names(folder))


def read(folder: Path) -> Undivided:
    """Images from `train-*.npy` and `test-*.npy`, labels from `train-labels.npy` and
    `test-labels.npy`. Only the training images must be there.

    The images of a split are its files in the order of their names. Each file is [N, H, W] or
    [N, H, W, C] with C of 1 or 3, and uint8 in 0..255 or float32 in [0, 1], all of the same kind.
    They are mapped into memory, as `Rows`: their values are read, and floats are checked, when they
    are indexed. This function reads only so many images, usually a few, as it needs to see that
    they are not nearly black (`vae_jax.data.brightness`). Labels are whole numbers [N] or [N, F]
    for all images of a split.

    Raises DataError for everything else, naming the file.
    """
    names = _names(folder)
    shards = {
        split: {folder / name: _open(folder / name) for name in names if _is_shard(name, split)}
        for split in _SPLITS
    }
    if not shards["train"]:
        found = named(", ".join(names[:5])) or "nothing"
        raise DataError(
            f"{named(folder)} must hold files train-*.npy, or pictures, but holds {found}"
        )
    paths = [path for split in _SPLITS for path in shards[split]]
    kinds = {path: _kind(images) for split in _SPLITS for path, images in shards[split].items()}
    for path in paths:
        if kinds[path] != kinds[paths[0]]:
            raise DataError(
                f"{named(path)} holds {kinds[path]} but {named(paths[0])} {kinds[paths[0]]}, yet "
                "all must hold the same kind of images"
            )
    where = f"{named(folder)}: "
    rows = {f"{split}-*.npy": Rows(*arrays.values()) for split, arrays in shards.items() if arrays}
    require_bright(rows, where)
    train, test = (Given(None, _labels(folder, split)) for split in _SPLITS)
    return with_others(rows, train, test, where=where)


def _labels(folder: Path, split: str) -> Named | None:
    path = folder / _label_file(split)
    return Named(path.name, _mapped(path)) if os.path.lexists(path) else None


def _label_file(split: str) -> str:
    return f"{split}-labels.npy"


def _names(folder: Path) -> list[str]:
    """The names in the folder, in order."""
    if not os.path.isdir(folder):  # Path.is_dir raises an error for a name that is too long
        raise DataError(f"{named(folder)} does not exist or is not a folder")
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise DataError(f"{named(folder)} cannot be read ({error.strerror})") from error


def _is_shard(name: str, split: str) -> bool:
    return name.startswith(f"{split}-") and name.endswith(".npy") and name != _label_file(split)


def _kind(images: np.ndarray) -> str:
    return f"{images.dtype} images of {images.shape[1:]}"


def _mapped(path: Path) -> np.ndarray:
    try:
        # As numpy.load reads an .npy file, but never a pickle.
        values = np.lib.format.open_memmap(path, mode="r")
        num_bytes = os.path.getsize(path)
    except OSError as error:
        if error.strerror is None:  # errors of NumPy, such as for an empty file
            raise _damaged(path, error) from error
        raise DataError(f"{named(path)} cannot be read ({error.strerror})") from error
    except Exception as error:  # a damaged header can raise errors of any kind
        raise _damaged(path, error) from error
    if num_bytes != values.offset + values.nbytes:
        raise DataError(f"{named(path)} is damaged: it has more bytes than its header says")
    return values


def _damaged(path: Path, error: Exception) -> DataError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return DataError(f"{named(path)} is damaged or no .npy file of numbers ({reason})")


def _open(path: Path) -> np.ndarray:
    images = _mapped(path)
    if images.dtype not in (np.uint8, np.float32):
        raise DataError(
            f"{named(path)} has dtype {images.dtype} but must hold uint8 in 0..255 or float32 "
            "in [0, 1]"
        )
    if images.size == 0:
        raise DataError(f"{named(path)} is empty, its shape is {images.shape}")
    if not images.flags.c_contiguous:
        raise DataError(
            f"{named(path)} is in Fortran order, in which every image is scattered over the whole "
            "file: save numpy.ascontiguousarray of it"
        )
    match images.shape:
        case (_, _, _):
            return images[..., None]
        case (_, _, _, 1 | 3):
            return images
        case shape:
            raise DataError(
                f"{named(path)} has shape {shape} but must be [N, H, W] or [N, H, W, 1 or 3]"
            )

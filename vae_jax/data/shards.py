"""Images of the user's own, from a folder of .npy files that may together exceed the memory."""

import os
from pathlib import Path

import numpy as np

from vae_jax.data.rows import Rows
from vae_jax.errors import DataError

_SPLITS = ("train", "test")


def is_folder(name: str) -> bool:
    """Whether a data set's name is a folder's.

    It is if it ends with "/", or if there is a "/" in it and it is a folder that exists: "mnist"
    is always the data set, and "./mnist" or "mnist/" a folder.
    """
    return name.endswith("/") or ("/" in name and os.path.isdir(os.path.expanduser(name)))


def read(folder: Path) -> dict[str, Rows]:
    """{"train": [N, H, W, C], "test": the same if there} from `train-*.npy` and `test-*.npy`.

    Each split is its files in the order of their names. Each file is [N, H, W] or [N, H, W, C]
    with C of 1 or 3, and uint8 in 0..255 or float32 in [0, 1], all of the same kind. They are
    mapped into memory; their values are read, and floats checked, when they are indexed.

    Raises DataError for everything else, naming the file.
    """
    names = _names(folder)
    shards = {
        split: {folder / name: _open(folder / name) for name in names if _is_shard(name, split)}
        for split in _SPLITS
    }
    if not shards["train"]:
        found = ", ".join(names[:5]) or "nothing"
        raise DataError(f"{folder} must hold files train-*.npy but holds {found}")
    paths = [path for split in _SPLITS for path in shards[split]]
    kinds = {path: _kind(images) for split in _SPLITS for path, images in shards[split].items()}
    for path in paths:
        if kinds[path] != kinds[paths[0]]:
            raise DataError(
                f"{path} holds {kinds[path]} but {paths[0]} {kinds[paths[0]]}, yet all must hold "
                "the same kind of images"
            )
    return {split: Rows(*arrays.values()) for split, arrays in shards.items() if arrays}


def _names(folder: Path) -> list[str]:
    """Of what is in the folder, in order."""
    if not os.path.isdir(folder):  # Path.is_dir raises for names that are too long
        raise DataError(f"{folder} does not exist or is not a folder")
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror})") from error


def _is_shard(name: str, split: str) -> bool:
    return name.startswith(f"{split}-") and name.endswith(".npy")


def _kind(images: np.ndarray) -> str:
    return f"{images.dtype} images of {images.shape[1:]}"


def _open(path: Path) -> np.ndarray:
    try:
        # What numpy.load does for an .npy file, without its way out to pickles.
        images = np.lib.format.open_memmap(path, mode="r")
        num_bytes = os.path.getsize(path)
    except Exception as error:  # a damaged header can end in errors of any kind
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path} is damaged or no .npy file of numbers ({reason})") from error
    if images.dtype not in (np.uint8, np.float32):
        raise DataError(
            f"{path} has dtype {images.dtype} but must hold uint8 in 0..255 or float32 in [0, 1]"
        )
    if images.size == 0:
        raise DataError(f"{path} is empty, its shape is {images.shape}")
    if num_bytes != images.offset + images.nbytes:
        raise DataError(f"{path} is damaged: it has more bytes than its header says")
    if not images.flags.c_contiguous:
        raise DataError(
            f"{path} is in Fortran order, in which every image is scattered over the whole file: "
            "save numpy.ascontiguousarray of it"
        )
    match images.shape:
        case (_, _, _):
            return images[..., None]
        case (_, _, _, 1 | 3):
            return images
        case shape:
            raise DataError(f"{path} has shape {shape} but must be [N, H, W] or [N, H, W, 1 or 3]")

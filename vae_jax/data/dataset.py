"""Data sets by name."""

import operator
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vae_jax.data import array_cache, idx, mnist_5k, npz, shapes, shards
from vae_jax.data.rows import Rows
from vae_jax.data.splits import split_indices
from vae_jax.errors import DataError, NotAvailableError

_Splits = dict[str, np.ndarray] | dict[str, Rows]

_TFDS_NAME = re.compile(r"tfds:(\w+(?:/\w[\w.+-]*)?)")


class Dataset(NamedTuple):
    """Images in three disjoint splits.

    Each is [N, H, W, C], uint8 in 0..255 or float32 in [0, 1] (files of floats only): arrays,
    perhaps memory-mapped and read-only, or all `Rows`, which are read when they are indexed.
    """

    name: str  # what was loaded: "mnist", "tfds:emnist/letters", "npz:digits", "shards:faces"
    train: np.ndarray | Rows
    validation: np.ndarray | Rows
    test: np.ndarray | Rows


def load(
    name: str = "mnist",
    *,
    data_dir: str | None = None,
    num_validation: int | None = None,
    split_seed: int = 0,
    in_memory: bool = True,
    report: Callable[[str], None] = lambda message: None,
) -> Dataset:
    """The data set called `name`:

    - "mnist", "fashion_mnist", "kmnist": prepared once by TensorFlow Datasets (TFDS), from the
      files in <data_dir>/downloads/manual/<name>/ or <data_dir>/downloads/manual/, or downloaded;
    - "tfds:NAME" or "tfds:NAME/CONFIG": any other image data set of TFDS;
    - "mnist_5k": 5,000 MNIST digits that need no network;
    - "shapes": shapes of known factors, which need none either, see `vae_jax.data.shapes`;
    - "PATH.npz": images of your own, see `vae_jax.data.npz`;
    - "FOLDER/", or a path with a "/" in it to a folder that exists: images of your own in .npy
      files, which may exceed the memory, see `vae_jax.data.shards`;
    - "auto": "mnist" if it can be had here, else "mnist_5k", which is reported.

    `data_dir` is TFDS's: by default the environment variable TFDS_DATA_DIR, else
    ~/tensorflow_datasets. `num_validation` images (by default one in twelve, so 5,000 of 60,000)
    are taken from the training images, and a tenth is taken as test set where there is none, both
    at random by `split_seed`. If not `in_memory`, the splits are `Rows` of the same images in the
    same order, and those of TFDS and of a folder are read from their files when they are indexed.
    `report` is told what takes time or may surprise.

    Raises DataError, its message one sentence for the user, whatever goes wrong with the data.
    """
    if name == "auto":
        name, splits = _read_auto(_data_dir(data_dir), report)
    else:
        name, splits = _read(name, _data_dir(data_dir), report)
    images, test = splits["train"], splits.get("test")
    num_test = max(1, len(images) // 10) if test is None else 0
    if num_validation is None:
        num_validation = max(1, (len(images) - num_test) // 12)
    for_train, for_validation, for_test = split_indices(
        len(images), num_validation=num_validation, num_test=num_test, seed=split_seed
    )
    take = operator.getitem if in_memory else _select
    return Dataset(
        name=name,
        train=take(images, for_train),
        validation=take(images, for_validation),
        test=take(images, for_test) if test is None else take(test, slice(None)),
    )


def _select(images: np.ndarray | Rows, index: slice | np.ndarray) -> Rows:
    rows = images if isinstance(images, Rows) else Rows(images)
    return rows.select(index)


def _read_auto(data_dir: Path, report: Callable[[str], None]) -> tuple[str, _Splits]:
    try:
        return _read("mnist", data_dir, report)
    except NotAvailableError as error:
        report(
            "NOT THE FULL MNIST: using mnist_5k, 5,000 of its digits, whose results do not compare "
            f"with published ones, because {error.reason}"
        )
        return _read("mnist_5k", data_dir, report)


def _read(name: str, data_dir: Path, report: Callable[[str], None]) -> tuple[str, _Splits]:
    if shards.is_folder(name):
        folder = Path(os.path.abspath(os.path.expanduser(name)))
        return f"shards:{folder.name}", shards.read(folder)
    if name.endswith(".npz"):
        path = Path(os.path.expanduser(name))
        return f"npz:{path.stem}", npz.read(path)
    if name == "mnist_5k":
        return name, mnist_5k.read()
    if name == "shapes":
        return name, shapes.read()
    if name in idx.NAMES:
        return name, _read_tfds(name, data_dir, report)
    if match := _TFDS_NAME.fullmatch(name):
        return name, _read_tfds(match[1], data_dir, report)
    raise DataError(
        f"there is no data set {name!r}, only {', '.join(idx.NAMES)}, mnist_5k, shapes, auto, "
        "tfds:NAME (such as tfds:emnist/letters), PATH.npz and FOLDER/ (with the / at its end, or "
        "a path with one in it to a folder that exists)"
    )


def _read_tfds(name: str, data_dir: Path, report: Callable[[str], None]) -> dict[str, np.ndarray]:
    folder = data_dir / "vae_jax" / name / "arrays"
    splits = array_cache.read(folder)
    if splits is None:
        # TFDS takes a second to import, which a run on decoded images need not wait for.
        from vae_jax.data import tfds_images

        array_cache.write(folder, tfds_images.read(name, data_dir, report))
        splits = array_cache.read(folder)
    return splits


def _data_dir(given: str | None) -> Path:
    data_dir = given or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    if "://" in str(data_dir):
        raise DataError(f"data_dir is {data_dir} but must be a folder of this machine")
    return Path(os.path.expanduser(data_dir))

"""Data sets by name, and from arrays."""

import operator
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vae_jax.data import idx, mnist_5k, npz, shapes, shards, tfds_arrays, values
from vae_jax.data.paths import named
from vae_jax.data.rows import Rows
from vae_jax.data.splits import Split, Undivided, split_indices
from vae_jax.errors import DataError, NotAvailableError

#: The beginning of the names of images that no name can load again.
IN_MEMORY = "arrays:"
_TFDS_NAME = re.compile(r"tfds:(\w+(?:/\w[\w.+-]*)?)")


class Dataset(NamedTuple):
    """Images in three disjoint splits, with their labels if they have any.

    The images `x` of each split are [N, H, W, C], uint8 in 0..255 or float32 in [0, 1] (from files
    or arrays of floats only). They are arrays, perhaps memory-mapped and read-only, or `Rows`,
    which are read when they are indexed.
    """

    name: str  # what was loaded: "mnist", "tfds:emnist/letters", "npz:digits", "shards:faces"
    train: Split
    validation: Split
    test: Split
    label_names: tuple[str, ...] | None = (
        None  # names of the classes or of the factors, if they are known
    )


def load(
    name: str = "mnist",
    *,
    data_dir: str | None = None,
    num_validation: int | None = None,
    split_seed: int = 0,
    in_memory: bool = True,
    report: Callable[[str], None] = lambda message: None,
) -> Dataset:
    """Loads the data set with this name:

    - "mnist", "fashion_mnist", "kmnist": prepared once by TensorFlow Datasets (TFDS), from the
      files in <data_dir>/downloads/manual/<name>/ or <data_dir>/downloads/manual/, or downloaded;
    - "tfds:NAME" or "tfds:NAME/CONFIG": any other image data set of TFDS;
    - "mnist_5k": 5,000 MNIST digits that need no network;
    - "shapes": shapes with known factors, which need no network (`vae_jax.data.shapes`);
    - "PATH.npz": images of your own, and perhaps labels (`vae_jax.data.npz`);
    - "FOLDER/", or a path with a "/" to an existing folder: images of your own in .npy files, which
      may be larger than the memory (`vae_jax.data.shards`);
    - "auto": "mnist" if it is available here, otherwise "mnist_5k", which is reported.

    Args:
      name: name of the data set, one of those above.
      data_dir: folder of TFDS; None for the environment variable TFDS_DATA_DIR, or
        ~/tensorflow_datasets.
      num_validation: number of validation images, which are taken from the training images; None
        for one in twelve, which is 5,000 of 60,000.
      split_seed: seed of the random choice of validation images, and of a tenth of the images as
        test images if the source has none.
      in_memory: whether the splits are arrays. If not, they are `Rows` of the same images in the
        same order; those of TFDS and of a folder are read from their files when they are indexed.
      report: function that receives one sentence about work that takes time, or a surprise.

    Raises:
      DataError: the data cannot be loaded; the message is one sentence for the user.
    """
    if name == "auto":
        name, undivided = _read_auto(data_dir, report)
    else:
        name, undivided = _read(name, data_dir, report)
    return _divided(name, undivided, num_validation, split_seed, in_memory)


def from_arrays(
    x_train: ArrayLike,
    x_test: ArrayLike | None = None,
    *,
    labels: ArrayLike | None = None,
    test_labels: ArrayLike | None = None,
    num_validation: int | None = None,
    split_seed: int = 0,
    name: str = "arrays",
) -> Dataset:
    """Makes a data set of arrays, which are checked and converted like those of an .npz file.

    Args:
      x_train: images [N, H, W], [N, H, W, C] with C of 1 or 3, or [N, D] with D a perfect square;
        floats in [0, 1], whole numbers in 0..255, or bools.
      x_test: test images of the same kind; None for a tenth of `x_train`.
      labels: whole numbers [N] or [N, F] for `x_train`, or None.
      test_labels: whole numbers for `x_test`, or None.
      num_validation: number of validation images, taken from `x_train`; None for one in twelve.
      split_seed: seed of the random choice of validation images, and of test images taken from
        `x_train`.
      name: name of the data set.

    Raises:
      DataError: an argument is of another kind; the message names it.
    """
    given = {"x_train": x_train, "x_test": x_test, "labels": labels, "test_labels": test_labels}
    undivided = values.undivided(*(_named_array(key, array) for key, array in given.items()))
    return _divided(name, undivided, num_validation, split_seed, in_memory=True)


def is_name(name: str) -> bool:
    """Whether `load` knows the name without a file of the user."""
    return name in (*idx.NAMES, "mnist_5k", "shapes") or bool(_TFDS_NAME.fullmatch(name))


def _named_array(name: str, array: ArrayLike | None) -> values.Named | None:
    if array is None and name != "x_train":
        return None
    if isinstance(array, np.ma.MaskedArray):
        raise DataError(f"{name} is a masked array, but missing pixels or labels cannot be used")
    try:
        return values.Named(name, np.asarray(array))
    except Exception as error:  # whatever the object's own conversion raises
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{name} cannot be made one array of numbers ({reason})") from error


def _divided(
    name: str, undivided: Undivided, num_validation: int | None, split_seed: int, in_memory: bool
) -> Dataset:
    train, test, label_names = undivided
    num_test = max(1, len(train) // 10) if test is None else 0
    if num_validation is None:
        num_validation = max(1, (len(train) - num_test) // 12)
    for_train, for_validation, for_test = split_indices(
        len(train), num_validation=num_validation, num_test=num_test, seed=split_seed
    )
    take = operator.getitem if in_memory else _select
    return Dataset(
        name=name,
        train=take(train, for_train),
        validation=take(train, for_validation),
        test=take(train, for_test) if test is None else take(test, slice(None)),
        label_names=label_names,
    )


def _select(split: Split, index: slice | np.ndarray) -> Split:
    rows = split.x if isinstance(split.x, Rows) else Rows(split.x)
    return Split(rows.select(index), None if split.labels is None else split.labels[index])


def _read_auto(data_dir: str | None, report: Callable[[str], None]) -> tuple[str, Undivided]:
    try:
        return _read("mnist", data_dir, report)
    except NotAvailableError as error:
        report(
            "NOT THE FULL MNIST: using mnist_5k, 5,000 of its digits, whose results do not compare "
            f"with published ones, because {error.reason}"
        )
        return _read("mnist_5k", data_dir, report)


def _read(name: str, data_dir: str | None, report: Callable[[str], None]) -> tuple[str, Undivided]:
    if shards.is_folder(name):
        folder = Path(os.path.abspath(os.path.expanduser(name)))
        return f"shards:{named(folder.name)}", shards.read(folder)
    if name.endswith(".npz"):
        path = Path(os.path.expanduser(name))
        return f"npz:{named(path.stem)}", npz.read(path)
    if name == "mnist_5k":
        return name, mnist_5k.read()
    if name == "shapes":
        return name, shapes.read()
    if name in idx.NAMES:
        return name, tfds_arrays.read(name, _data_dir(data_dir, os.environ), report)
    if match := _TFDS_NAME.fullmatch(name):
        return name, tfds_arrays.read(match[1], _data_dir(data_dir, os.environ), report)
    if name.startswith(IN_MEMORY):
        raise DataError(
            f"{name} are images that were given as arrays in memory: give them again, or name the "
            "file that holds them"
        )
    raise DataError(
        f"there is no data set {name!r}, only {', '.join(idx.NAMES)}, mnist_5k, shapes, auto, "
        "tfds:NAME (such as tfds:emnist/letters), PATH.npz and FOLDER/ (with the / at its end, or "
        "a path with one in it to a folder that exists)"
    )


def _data_dir(given: str | None, environment: Mapping[str, str]) -> Path:
    chosen = given or environment.get("TFDS_DATA_DIR")
    text = os.fspath(chosen or "~/tensorflow_datasets")
    if "://" in text:
        raise DataError(f"data_dir is {named(text)} but must be a folder of this machine")
    path = Path(os.path.expanduser(text))
    # A ~ stays if the home folder is unknown; nobody means a folder of that name.
    for part in (path, *path.parents):
        if part.name.startswith("~") and not os.path.exists(part):
            failure = DataError if chosen else NotAvailableError
            raise failure(
                f"there is no home folder for the ~ of {named(text)} on this machine: name a "
                "folder with --data_dir (data_dir) or the environment variable TFDS_DATA_DIR"
            )
    if os.path.exists(path) and not (os.path.isdir(path) and os.access(path, os.R_OK | os.X_OK)):
        raise DataError(f"data_dir is {named(text)} but must be a folder that can be read")
    return path

"""Data sets by name, and from arrays."""

import operator
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vae_jax.data import (
    csv_table,
    embedded,
    h5ad,
    mnist_5k,
    npz,
    pictures,
    shapes,
    shards,
    tables,
    tfds_arrays,
    values,
)
from vae_jax.data import missing as missing_values
from vae_jax.data.binarise import pixel_kind
from vae_jax.data.paths import named
from vae_jax.data.published import PUBLISHED
from vae_jax.data.rows import Rows
from vae_jax.data.schema import Column
from vae_jax.data.splits import Kind, Split, Undivided, split_indices
from vae_jax.errors import DataError, NotAvailableError

#: The beginning of the names of images that no name can load again.
IN_MEMORY = "arrays:"
_TFDS_NAME = re.compile(r"tfds:(\w+(?:/\w[\w.+-]*)?)")


class Dataset(NamedTuple):
    """Examples in three disjoint splits, with labels, conditions and masks if they have any.

    The examples `x` of each split are arrays, perhaps memory-mapped and read-only, or `Rows`, which
    are read when they are indexed. `Split` says what they hold.

    Attributes:
      name: what was loaded: "mnist", "tfds:emnist/letters", "npz:digits", "shards:faces".
      train, validation, test: the splits.
      label_names: names of the classes or of the factors; None if they are not known.
      kind: what the numbers are; see `Kind`.
      columns: names of the columns of a table [N, D]; None if they are not known.
      schema: columns of a table of the kind "mixed", with their types and categories; None of other
        data.
      covariates: what the condition of cells is made of (`Covariate`); None of other data.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    label_names: tuple[str, ...] | None = None
    kind: Kind = "8-bit"
    columns: tuple[str, ...] | None = None
    schema: tuple[Column, ...] | None = None
    covariates: tuple[h5ad.Covariate, ...] | None = None


def load(
    name: str = "mnist",
    *,
    data_dir: str | None = None,
    num_validation: int | None = None,
    split_seed: int = 0,
    in_memory: bool = True,
    report: Callable[[str], None] = lambda message: None,
    kind: str = "auto",
    image_size: tuple[int, ...] | None = None,
    label_column: str | None = None,
    schema: str | Sequence[Column] | None = None,
    missing: str | None = None,
    missing_seed: int = 0,
    covariates: str | Sequence[h5ad.Covariate] | None = None,
) -> Dataset:
    """Loads the data set with this name:

    - "mnist", "fashion_mnist", "kmnist", "cifar10", "binarized_mnist" (the static benchmark of
      Larochelle & Murray 2011, with its own validation images), "omniglot" (28 x 28): prepared
      once by TensorFlow Datasets (TFDS), from the files in <data_dir>/downloads/manual/<name>/ or
      <data_dir>/downloads/manual/, or downloaded;
    - "tfds:NAME" or "tfds:NAME/CONFIG": any other image data set of TFDS;
    - "mnist_5k": 5,000 MNIST digits that need no network;
    - "shapes": shapes with known factors, which need no network (`vae_jax.data.shapes`);
    - "PATH.npz": images of your own, and perhaps labels (`vae_jax.data.npz`);
    - "FOLDER/", or a path with a "/" to an existing folder: images of your own in .npy files, which
      may be larger than the memory (`vae_jax.data.shards`);
    - "digits", "photos", "breast_cancer", "wine", "diabetes": small sets that scikit-learn ships
      (`vae_jax.data.embedded`);
    - "PATH.npy": one array; "PATH.csv", "PATH.csv.gz": a table of numbers, or of columns of several
      types (`vae_jax.data.csv_table`);
    - "PATH.h5ad": counts of cells in AnnData's format (`vae_jax.data.h5ad`);
    - "FOLDER/" with picture files, or with a folder of them for each class
      (`vae_jax.data.pictures`);
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
      kind: what the numbers of an .npz, .npy or .csv file are: "pixels", "real" or "count", or of a
        .csv file "mixed"; "auto" to find it from their shapes and values (`tables.kind_of`).
      image_size: (height, width) that the pictures of a folder are cropped and scaled to, or one
        number for both; None if all have one size already.
      label_column: name of the column of a .csv file, or of the observations of an .h5ad file, that
        holds the labels; None for no labels.
      schema: file with the types of the columns of a .csv file, or those of a run, of whose types
        and categories the table must be; None to find them.
      missing: values to hide from the model: a rate as a text, such as "0.2", with which each is
        hidden, or a file that lists values of a .csv file by row and column, from 1; None for none.
      missing_seed: seed of a rate. What it hides depends on the order of the source, and not on how
        it is divided.
      covariates: columns of the observations of an .h5ad file that are the condition, with commas,
        or those of a run; None for no condition.

    Raises:
      DataError: the data cannot be loaded, or an argument is for another kind of file; the message
        is one sentence for the user.
    """
    how = Reading(
        data_dir, report, kind, image_size, label_column, schema, missing, missing_seed, covariates
    )
    name, undivided = _undivided(name, how)
    return _divided(name, undivided, num_validation, split_seed, in_memory)


def load_whole(name: str, **options: Any) -> tuple[str, Undivided]:
    """The content of a source of data in its own order, before it is divided into splits.

    Args:
      name: the same as for `load`.
      **options: the arguments of `load` that say how the source is read.

    Returns its name, and what it holds.

    Raises:
      DataError: the same as for `load`.
    """
    return _undivided(name, Reading(**options))


def _undivided(name: str, how: "Reading") -> tuple[str, Undivided]:
    require_readable(name, how)
    rate = missing_values.rate_of(how.missing)
    reading = how if rate is None else how._replace(missing=None)
    name, found = _read_auto(reading) if name == "auto" else _read(name, reading)
    if rate is None:
        return name, found
    seed = 3 * how.missing_seed
    hidden: dict[str, Any] = {
        split: missing_values.hidden_at_random(of, rate, seed + index)
        for index, split in enumerate(("train", "validation", "test"))
        if (of := getattr(found, split)) is not None
    }
    return name, found._replace(**hidden)


def from_arrays(
    x_train: ArrayLike,
    x_test: ArrayLike | None = None,
    *,
    labels: ArrayLike | None = None,
    test_labels: ArrayLike | None = None,
    num_validation: int | None = None,
    split_seed: int = 0,
    name: str = "arrays",
    kind: str = "auto",
    columns: Sequence[str] | None = None,
    condition: ArrayLike | None = None,
    test_condition: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    test_mask: ArrayLike | None = None,
    schema: Sequence[Column] | None = None,
) -> Dataset:
    """Makes a data set of arrays, which are checked and converted like those of an .npz file.

    Args:
      x_train: images [N, H, W], [N, H, W, C] with C of 1 or 3, or [N, D] with D a perfect square,
        as floats in [0, 1], whole numbers in 0..255, or bools; or real numbers or counts [N, D].
      x_test: test examples of the same kind; None for a tenth of `x_train`.
      labels: whole numbers [N] or [N, F] for `x_train`, or None.
      test_labels: whole numbers for `x_test`, or None.
      num_validation: number of validation examples, taken from `x_train`; None for one in twelve.
      split_seed: seed of the random choice of validation examples, and of test examples taken from
        `x_train`.
      name: name of the data set.
      kind: what the numbers are: "pixels", "real" or "count"; "auto" to find it from their shapes
        and values (`tables.kind_of`).
      columns: names of the columns of a table [N, D], or None.
      condition: what a model of p(x|c) is given for `x_train`, [N] or [N, *shape], or None.
      test_condition: the same for `x_test`.
      mask: bools of the shape of `x_train`, False where a value is missing, or None.
      test_mask: the same for `x_test`.
      schema: columns of a table [N, D] whose columns are of several types, with codes for their
        categories; None of other data.

    Raises:
      DataError: an argument is of another kind; the message names it.
    """
    require_kind(kind)
    train = _given({"x_train": x_train, "labels": labels, "condition": condition, "mask": mask})
    test = _given(
        {
            "x_test": x_test,
            "test_labels": test_labels,
            "test_condition": test_condition,
            "test_mask": test_mask,
        }
    )
    if schema is not None:
        found = values.mixed(train, test, tuple(Column(*column) for column in schema))
        return _divided(name, found, num_validation, split_seed, in_memory=True)
    names = None if columns is None else tuple(map(str, columns))
    undivided = values.undivided(train, test, kind=kind, columns=names)
    shape = undivided.train.x.shape
    if names is not None and shape[1:] != (len(names),):
        raise DataError(f"columns has {len(names)} names, but x_train has the shape {shape}")
    return _divided(name, undivided, num_validation, split_seed, in_memory=True)


def with_hidden(dataset: Dataset, rate: float, seed: int) -> Dataset:
    """The data set with each observed value hidden with a probability (missing at random).

    Args:
      dataset: data in memory.
      rate: the probability, above 0 and below 1.
      seed: seed of the choice.

    Raises:
      DataError: the rate is out of its range, or the data are not in memory.
    """
    splits: dict[str, Any] = {
        name: missing_values.hidden_at_random(getattr(dataset, name), rate, 3 * seed + index)
        for index, name in enumerate(("train", "validation", "test"))
    }
    return dataset._replace(**splits)


def is_name(name: str) -> bool:
    """Whether `load` knows the name without a file of the user."""
    known = (*PUBLISHED, *embedded.NAMES, "mnist_5k", "shapes")
    return name in known or bool(_TFDS_NAME.fullmatch(name))


def is_file(name: str) -> bool:
    """Whether `load` takes the name for a file of the user's own."""
    return name.endswith(tuple(_FILES))


class Reading(NamedTuple):
    """How a data set is read; see `load`."""

    data_dir: str | None = None
    report: Callable[[str], None] = lambda message: None
    kind: str = "auto"
    image_size: tuple[int, ...] | None = None
    label_column: str | None = None
    schema: str | Sequence[Column] | None = None
    missing: str | None = None
    missing_seed: int = 0
    covariates: str | Sequence[h5ad.Covariate] | None = None


def _read_csv(path: Path, how: Reading) -> Undivided:
    options: dict[str, Any] = {"schema": how.schema, "missing": how.missing, "report": how.report}
    return csv_table.read(path, how.kind, how.label_column, **options)


_FILES: dict[str, Callable[[Path, Reading], Undivided]] = {
    ".npz": lambda path, how: npz.read(path, how.kind),
    ".npy": lambda path, how: npz.read_npy(path, how.kind),
    ".csv": _read_csv,
    ".csv.gz": _read_csv,
    ".h5ad": lambda path, how: h5ad.read(path, how.label_column, how.covariates),
}
# argument of `load` -> the endings of the files that it is for, "/" for folders
_FOR = {
    "kind": (".npz", ".npy", ".csv", ".csv.gz"),
    "image_size": ("/",),
    "label_column": (".csv", ".csv.gz", ".h5ad"),
    "schema": (".csv", ".csv.gz"),
    "missing": (".csv", ".csv.gz"),
    "covariates": (".h5ad",),
}


def require_kind(kind: str) -> None:
    """Raises a DataError for an unknown kind."""
    if kind not in ("auto", *tables.KINDS):
        raise DataError(f"kind is {kind!r} but must be auto, {', '.join(tables.KINDS)}")


def require_readable(name: str, how: Reading) -> None:
    """Raises a DataError for arguments of `load` that are not for data of this name."""
    require_kind(how.kind)
    ending = "/" if shards.is_folder(name) else _ending(name)
    for argument, endings in _FOR.items():
        value = getattr(how, argument)
        if argument == "missing" and missing_values.rate_of(value) is not None:
            continue  # a rate is for all data
        if value not in (None, "auto") and ending not in endings:
            files = {"/": "a folder of pictures"}
            allowed = " and ".join(files.get(of, f"PATH{of}") for of in endings)
            value = value if isinstance(value, str | tuple) else "of a run"
            raise DataError(f"{argument}={value} is for {allowed}, and not for {name}")
    if how.kind == "mixed" and ".csv" not in ending:
        raise DataError(f"kind=mixed is for PATH.csv, and not for {name}")
    if how.image_size is not None and len(how.image_size) not in (1, 2):
        raise DataError(
            f"image_size is {how.image_size} but must be (height, width), or one number for both"
        )


def _ending(name: str) -> str:
    """The ending of the name of a file, of which .csv.gz is one."""
    known = [ending for ending in _FILES if name.endswith(ending)]
    return known[0] if known else os.path.splitext(name)[1]


def _given(arrays: Mapping[str, ArrayLike | None]) -> values.Given:
    return values.Given(*(_named_array(name, array) for name, array in arrays.items()))


def _named_array(name: str, array: ArrayLike | None) -> values.Named | None:
    if array is None and name != "x_train":
        return None
    if isinstance(array, np.ma.MaskedArray):
        raise DataError(f"{name} is a masked array, but a mask is an array of its own: give mask=")
    try:
        return values.Named(name, np.asarray(array))
    except Exception as error:  # whatever the object's own conversion raises
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{name} cannot be made one array of numbers ({reason})") from error


def _divided(
    name: str, undivided: Undivided, num_validation: int | None, split_seed: int, in_memory: bool
) -> Dataset:
    train, test, label_names, kind, columns, validation, schema, covariates = undivided
    if validation is not None and num_validation is not None:
        raise DataError(
            f"{name} has {len(validation)} validation examples of its own: leave num_validation out"
        )
    num_test = max(1, len(train) // 10) if test is None else 0
    if num_validation is None:
        num_validation = max(1, (len(train) - num_test) // 12)
    for_train, for_validation, for_test = split_indices(
        len(train), num_validation=num_validation, num_test=num_test, seed=split_seed
    )
    take = operator.getitem if in_memory else _select
    everything = slice(None)
    return Dataset(
        name=name,
        train=take(train, for_train if validation is None else everything),
        validation=(
            take(train, for_validation) if validation is None else take(validation, everything)
        ),
        test=take(train, for_test) if test is None else take(test, everything),
        label_names=label_names,
        kind=kind or pixel_kind(train.x),
        columns=columns,
        schema=schema,
        covariates=covariates,
    )


def _select(split: Split, index: slice | np.ndarray) -> Split:
    rows = split.x if isinstance(split.x, Rows) else Rows(split.x)
    return split.of(rows.select(index), index)


def _read_auto(how: Reading) -> tuple[str, Undivided]:
    try:
        return _read("mnist", how)
    except NotAvailableError as error:
        how.report(
            "NOT THE FULL MNIST: using mnist_5k, 5,000 of its digits, whose results do not compare "
            f"with published ones, because {error.reason}"
        )
        return _read("mnist_5k", how)


def _read(name: str, how: Reading) -> tuple[str, Undivided]:
    if shards.is_folder(name):
        folder = Path(os.path.abspath(os.path.expanduser(name)))
        if not shards.holds_shards(folder) and pictures.is_folder(folder):
            cache = _data_dir(how.data_dir, os.environ) / "vae_jax" / "pictures"
            found = pictures.read(folder, how.image_size, cache, how.report)
            return f"pictures:{named(folder.name)}", found
        if how.image_size is not None:
            raise DataError(f"image_size is for pictures, which {named(folder)} does not hold")
        return f"shards:{named(folder.name)}", shards.read(folder)
    if is_file(name):
        path = Path(os.path.expanduser(name))
        ending = _ending(name)
        stem = path.name.removesuffix(ending)
        return f"{ending[1:].split('.')[0]}:{named(stem)}", _FILES[ending](path, how)
    if name in embedded.NAMES:
        return name, embedded.read(name)
    if name == "mnist_5k":
        return name, mnist_5k.read()
    if name == "shapes":
        return name, shapes.read()
    if name in PUBLISHED:
        return name, tfds_arrays.read(name, _data_dir(how.data_dir, os.environ), how.report)
    if match := _TFDS_NAME.fullmatch(name):
        return name, tfds_arrays.read(match[1], _data_dir(how.data_dir, os.environ), how.report)
    if name.startswith(IN_MEMORY):
        raise DataError(
            f"{name} are images that were given as arrays in memory: give them again, or name the "
            "file that holds them"
        )
    raise DataError(
        f"there is no data set {name!r}, only {', '.join(PUBLISHED)}, mnist_5k, shapes, "
        f"{', '.join(embedded.NAMES)}, auto, tfds:NAME (such as tfds:emnist/letters), "
        f"{', '.join(f'PATH{ending}' for ending in _FILES)} and FOLDER/ (with the / at its end, or "
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

"""The files in which some data sets were published, read without TensorFlow."""

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vae_jax.data import idx
from vae_jax.data.paths import named
from vae_jax.errors import DataError

_Arrays = tuple[np.ndarray, np.ndarray | None]  # images [N, H, W, C] uint8, labels [N] or None


class Published(NamedTuple):
    """A data set as it was published.

    Attributes:
      files: names of the files that are needed.
      label_files: names of files of labels alone, which are not required.
      shape: (height, width, channels).
      splits: names of the splits; "validation" only if it was published as such.
      read: (split, name of a file -> path) -> images [N, *shape] uint8, and labels or None. It
        raises a DataError for a file of another format.
      classes: names of the classes, or their number where they have no names; None for the names
        that TFDS has.
    """

    files: tuple[str, ...]
    label_files: tuple[str, ...]
    shape: tuple[int, int, int]
    splits: tuple[str, ...]
    read: Callable[[str, Mapping[str, Path]], _Arrays]
    classes: tuple[str, ...] | int | None = None


def _idx(split: str, files: Mapping[str, Path]) -> _Arrays:
    """The four files of the MNIST family."""
    prefix = {"train": "train", "test": "t10k"}[split]
    images = idx.read_images(files[f"{prefix}-images-idx3-ubyte.gz"])
    path = files.get(f"{prefix}-labels-idx1-ubyte.gz")
    if path is None:
        return images, None
    labels = idx.read_labels(path)
    if len(labels) != len(images):
        raise DataError(f"{path} has {len(labels)} labels for {len(images)} images")
    return images, labels


_CIFAR = "cifar-10-binary.tar.gz"
_CIFAR_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)
_CIFAR_BATCHES = {
    "train": [f"data_batch_{number}.bin" for number in range(1, 6)],
    "test": ["test_batch.bin"],
}


def _cifar10(split: str, files: Mapping[str, Path]) -> _Arrays:
    """One byte of the label and 3 x 32 x 32 of the image, channel by channel, in each record."""
    path, parts = files[_CIFAR], []
    try:
        with tarfile.open(path) as archive:
            members = {Path(member.name).name: member for member in archive}
            for name in _CIFAR_BATCHES[split]:
                file = archive.extractfile(members[name])
                parts.append(np.frombuffer(file.read() if file else b"", np.uint8))
        records = np.concatenate(parts).reshape(-1, 1 + 3 * 32 * 32)
    except (tarfile.TarError, OSError, EOFError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{named(path)} is no CIFAR-10 archive ({reason})") from error
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, 0]


_AMAT = {
    split: f"binarized_mnist_{name}.amat"
    for split, name in (("train", "train"), ("validation", "valid"), ("test", "test"))
}


def _binarized_mnist(split: str, files: Mapping[str, Path]) -> _Arrays:
    """Lines of 784 digits 0 or 1 with blanks between them (Larochelle & Murray 2011)."""
    path = files[_AMAT[split]]
    text = np.frombuffer(path.read_bytes(), np.uint8)
    digits = text[(text != ord(" ")) & (text != ord("\n")) & (text != ord("\r"))] - ord("0")
    if digits.size % 784 or (digits > 1).any():
        raise DataError(f"{named(path)} is no file of lines of 784 zeros and ones")
    return digits.reshape(-1, 28, 28, 1), None


_OMNIGLOT = {"train": "images_background.zip", "test": "images_evaluation.zip"}


def _omniglot(split: str, files: Mapping[str, Path]) -> _Arrays:
    """105 x 105 pictures of black ink, made white ink on black of 28 x 28; labels are alphabets."""
    from PIL import Image

    images, labels, offset = [], [], 0
    for of, filename in _OMNIGLOT.items():
        path = files[filename]
        try:
            with zipfile.ZipFile(path) as archive:
                names = sorted(name for name in archive.namelist() if name.endswith(".png"))
                alphabets = sorted({name.split("/")[-3] for name in names})
                for name in names if of == split else ():
                    picture = Image.open(io.BytesIO(archive.read(name))).convert("L")
                    small = picture.resize((28, 28), Image.Resampling.BOX)
                    images.append(255 - np.asarray(small))
                    labels.append(offset + alphabets.index(name.split("/")[-3]))
        except (zipfile.BadZipFile, OSError, IndexError) as error:
            raise DataError(f"{named(path)} is no Omniglot archive ({error})") from error
        offset += len(alphabets)
    return np.stack(images)[..., None], np.array(labels)


_OF_MNIST = Published(
    files=("train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"),
    label_files=("train-labels-idx1-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
    shape=(28, 28, 1),
    splits=("train", "test"),
    read=_idx,
)
#: Data sets by their names in TFDS.
PUBLISHED = {
    **dict.fromkeys(idx.NAMES, _OF_MNIST),
    "cifar10": Published(
        (_CIFAR,), (), (32, 32, 3), ("train", "test"), _cifar10, classes=_CIFAR_CLASSES
    ),
    "binarized_mnist": Published(
        tuple(_AMAT.values()), (), (28, 28, 1), tuple(_AMAT), _binarized_mnist
    ),
    "omniglot": Published(
        tuple(_OMNIGLOT.values()), (), (28, 28, 1), ("train", "test"), _omniglot, classes=50
    ),
}

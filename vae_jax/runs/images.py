"""The images of a run, loaded and ready for its binarisation."""

import functools
import shutil
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from vae_jax import data, processes
from vae_jax.config import Config
from vae_jax.errors import BadInputError
from vae_jax.models.spec import LIKELIHOODS

# The binarisation of a training step, and that of evaluation. 'dynamic' and 'static' are evaluated
# on images that are drawn once, with the same seed for every run.
BINARISATIONS = {
    "dynamic": (data.dynamic, data.grey),
    "static": (data.grey, data.grey),
    "threshold": (data.threshold, data.threshold),
    "none": (data.grey, data.grey),
}


class Images(NamedTuple):
    """A data set, ready for its binarisation: pixels [N, H, W, C], in memory or `data.Rows`."""

    name: str
    train: np.ndarray | data.Rows  # input of `train_binarise`
    validation: np.ndarray | data.Rows  # input of `test_binarise`
    test: np.ndarray | data.Rows
    train_binarise: data.Binarise
    test_binarise: data.Binarise
    test_labels: np.ndarray | None = None  # [N], or [N, F] for several factors


def load_dataset(config: Config, say: Callable[[str], None] = lambda text: None) -> data.Dataset:
    """Loads the data set that a configuration names.

    Raises:
      DataError: the data cannot be loaded.
    """
    return data.load(
        config.dataset,
        data_dir=config.data_dir,
        num_validation=config.num_validation,
        split_seed=config.split_seed,
        in_memory=not are_streamed(config),
        report=say,
    )


def prepare(dataset: data.Dataset, config: Config) -> Images:
    """Makes the draws of a binarisation that happen only once.

    Raises:
      BadInputError: the images do not fit the configuration.
    """
    train, validation, test = dataset.train.x, dataset.validation.x, dataset.test.x
    if config.batch_size > len(train):
        raise BadInputError(
            f"batch_size={config.batch_size} is larger than the training data of {dataset.name}, "
            f"{len(train)} images."
        )
    if config.binarisation == "static":
        out = _on_disk(train.shape) if isinstance(train, data.Rows) else None
        train = data.draw_once(train, seed=0, out=out)
    if config.binarisation in ("dynamic", "static"):
        validation, test = data.draw_once(validation, seed=1), data.draw_once(test, seed=2)
    _require_pixels(dataset.name, config, train, validation, test)
    binarise = BINARISATIONS[config.binarisation]
    return Images(dataset.name, train, validation, test, *binarise, dataset.test.labels)


def in_words(images: Images, config: Config) -> str:
    """A sentence that describes the images."""
    return (
        f"{images.name}, {config.binarisation.replace('none', 'no')} binarisation: "
        f"{len(images.train):,} training, {len(images.validation):,} validation and "
        f"{len(images.test):,} test images of {images.train.shape[1:]}."
    )


def are_streamed(config: Config) -> bool:
    """Whether training images are read during training; several processes then read parts."""
    return config.stream or processes.several()


def mean_of(images: Images) -> np.ndarray:
    """The mean training example, see `data.mean_example`. Each process reads a part."""
    binarise = data.threshold if images.train_binarise is data.threshold else data.grey
    part = processes.share(len(images.train), data.CHUNK)
    sums: Any = processes.gather(data.sum_of_examples(images.train, binarise, part)[None])
    return np.asarray(sum(sums)[0] / len(images.train), np.float32)


def fingerprints(images: Images) -> list[int]:
    """The `data.fingerprint` of the three splits. Each process reads a part of the training images.

    Raises:
      BadInputError: the processes have different validation or test images. Differences between
        training images are not noticed in parts that another process reads.
    """
    part = processes.share(len(images.train))
    num_bytes = images.train[:1].nbytes * len(range(*part.indices(len(images.train))))
    own = np.array([data.fingerprint(images.train, part), num_bytes], np.int64)
    held_out = [data.fingerprint(split) for split in (images.validation, images.test)]
    parts = processes.gather(own[None])
    if any((other != held_out).any() for other in processes.gather(np.array(held_out))):
        raise BadInputError(
            f"The processes have different images under the name of {images.name}: give all the "
            "same files."
        )
    train, _ = functools.reduce(
        lambda one, other: (data.joined_fingerprint(one[0], *other), 0),
        [tuple(map(int, one[0])) for one in parts],
    )
    return [train, *held_out]


def other_images(dataset: data.Dataset, images: Images, config: Config) -> np.ndarray:
    """The test images of another data set, binarised like those of the run.

    Raises:
      BadInputError: they have another shape than the images of the run, or they are grey and the
        likelihood is for black and white.
    """
    pixels = dataset.test.x
    if pixels.shape[1:] != images.test.shape[1:]:
        raise BadInputError(
            f"{dataset.name} has images of {pixels.shape[1:]}, and the run's are of "
            f"{images.test.shape[1:]}."
        )
    if config.binarisation in ("dynamic", "static"):
        pixels = data.draw_once(pixels, seed=2)
    _require_pixels(dataset.name, config, pixels)
    return binarised(pixels, images)


def binarised(pixels: np.ndarray | data.Rows, images: Images) -> np.ndarray:
    """Pixels binarised for evaluation, without random draws."""
    keys = jax.random.split(jax.random.key(0), len(pixels))
    return np.asarray(jax.jit(jax.vmap(images.test_binarise))(keys, pixels[:]))


def _require_pixels(name: str, config: Config, *splits: np.ndarray | data.Rows) -> None:
    """Checks that the likelihood is for the pixels, where they are not binarised."""
    wanted = LIKELIHOODS[config.likelihood].pixels
    if config.binarisation != "none" or wanted == "grey":
        return
    if wanted == "black and white" and not all(data.is_binary(split) for split in splits):
        raise BadInputError(
            f"likelihood={config.likelihood} is for black and white, and binarisation=none leaves "
            f"{name} grey: binarise it, or ask for likelihood=bernoulli_unnormalised by name."
        )
    if wanted == "8-bit" and any(split.dtype != np.uint8 for split in splits):
        raise BadInputError(
            f"likelihood={config.likelihood} is for the 256 levels of 8-bit pixels, and {name} has "
            "fractions: give whole numbers in 0..255, or use a density such as "
            "likelihood=gaussian_learned."
        )


def _on_disk(shape: tuple[int, ...]) -> np.ndarray:
    """An array in a temporary file, which may be larger than the memory.

    Raises:
      BadInputError: the file does not fit on the disk.
    """
    folder, needed = tempfile.gettempdir(), int(np.prod(shape, dtype=np.int64))
    if shutil.disk_usage(folder).free < needed:
        raise BadInputError(
            f"binarisation=static draws all training images once, {needed / 1e9:.1f} GB, for "
            f"which {folder} has no room: TMPDIR names another folder."
        )
    return np.memmap(tempfile.TemporaryFile(), np.uint8, "w+", shape=shape)

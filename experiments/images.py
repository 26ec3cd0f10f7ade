"""The images of a run, loaded and ready for its binarisation."""

import functools
import shutil
import tempfile
from typing import NamedTuple

import jax
import numpy as np
from absl import flags

from experiments import hosts, settings
from experiments.command import sentence
from vae_jax import data
from vae_jax.errors import BadInputError

FLAGS = flags.FLAGS


class Images(NamedTuple):
    """A data set, ready for its binarisation; pixels [N, H, W, C], in memory or `data.Rows`."""

    name: str
    train: np.ndarray | data.Rows  # as `train_binarise` takes them
    validation: np.ndarray | data.Rows  # as `test_binarise` takes them
    test: np.ndarray | data.Rows
    train_binarise: data.Binarise
    test_binarise: data.Binarise


def load_images() -> Images:
    """Loads --dataset and makes the draws that --binarisation wants once.

    Raises:
      DataError: the data cannot be had.
      BadInputError: they do not go with the other flags.
    """
    dataset = data.load(
        FLAGS.dataset,
        data_dir=FLAGS.data_dir,
        num_validation=FLAGS.num_validation,
        split_seed=FLAGS.split_seed,
        in_memory=not are_streamed(),
        report=lambda message: print(sentence(message), flush=True),
    )
    if FLAGS.dataset == "auto":
        FLAGS.dataset = dataset.name
    if FLAGS.batch_size > len(dataset.train):
        raise BadInputError(
            f"--batch_size={FLAGS.batch_size} is larger than the training data of {dataset.name}, "
            f"{len(dataset.train)} images."
        )
    train, validation, test = dataset.train.x, dataset.validation.x, dataset.test.x
    if FLAGS.binarisation == "static":
        train = data.draw_once(train, seed=0, out=_on_disk(train.shape) if are_streamed() else None)
    if FLAGS.binarisation in ("dynamic", "static"):
        validation, test = data.draw_once(validation, seed=1), data.draw_once(test, seed=2)
    bernoulli_on_grey = FLAGS.binarisation == "none" and FLAGS.likelihood == "bernoulli"
    if bernoulli_on_grey and not (data.is_binary(train) and data.is_binary(test)):
        raise BadInputError(
            f"--likelihood=bernoulli is for black and white, and --binarisation=none leaves "
            f"{dataset.name} grey: binarise it, or ask for --likelihood=bernoulli_unnormalised "
            "by name."
        )
    images = Images(
        dataset.name, train, validation, test, *settings.BINARISATIONS[FLAGS.binarisation]
    )
    print(
        f"{images.name}, {FLAGS.binarisation.replace('none', 'no')} binarisation: {len(train):,} "
        f"training, {len(validation):,} validation and {len(test):,} test images of "
        f"{train.shape[1:]}.",
        flush=True,
    )
    return images


def are_streamed() -> bool:
    """Whether training images are read while training: --stream, and always by several processes,
    each of which reads of a step what its devices train on."""
    return FLAGS.stream or hosts.several()


def mean_of(images: Images) -> np.ndarray:
    """The mean training example, see `data.mean_example`; each process reads a part."""
    binarise = data.threshold if FLAGS.binarisation == "threshold" else data.grey
    part = hosts.share(len(images.train), data.CHUNK)
    sums = hosts.gather(data.sum_of_examples(images.train, binarise, part)[None])
    return np.asarray(sum(sums)[0] / len(images.train), np.float32)


def fingerprints(images: Images) -> list[int]:
    """`data.fingerprint` of the three splits; of the training images each process reads a part.

    Raises:
      BadInputError: the processes have different validation or test images. Training images that
        differ where another process reads them are not noticed.
    """
    part = hosts.share(len(images.train))
    num_bytes = images.train[:1].nbytes * len(range(*part.indices(len(images.train))))
    own = np.array([data.fingerprint(images.train, part), num_bytes], np.int64)
    held_out = [data.fingerprint(split) for split in (images.validation, images.test)]
    parts = hosts.gather(own[None])
    if any((other != held_out).any() for other in hosts.gather(np.array(held_out))):
        raise BadInputError(
            f"The processes have different images under the name of {images.name}: give all the "
            "same files."
        )
    train, _ = functools.reduce(
        lambda one, other: (data.joined_fingerprint(one[0], *other), 0),
        [tuple(map(int, one[0])) for one in parts],
    )
    return [train, *held_out]


def _on_disk(shape: tuple[int, ...]) -> np.ndarray:
    """An array in a file that is gone with the process, for what may be larger than memory.

    Raises:
      BadInputError: it does not fit.
    """
    folder, needed = tempfile.gettempdir(), int(np.prod(shape, dtype=np.int64))
    if shutil.disk_usage(folder).free < needed:
        raise BadInputError(
            f"--binarisation=static draws all training images once, {needed / 1e9:.1f} GB, for "
            f"which {folder} has no room: TMPDIR names another folder."
        )
    return np.memmap(tempfile.TemporaryFile(), np.uint8, "w+", shape=shape)


def other_images(name: str, images: Images) -> np.ndarray:
    """The test images of another data set, binarised as those of the run.

    Raises:
      DataError: the data cannot be had.
      BadInputError: their shape is not that of the run's images.
    """
    dataset = data.load(name, data_dir=FLAGS.data_dir)
    pixels = dataset.test.x
    if pixels.shape[1:] != images.test.shape[1:]:
        raise BadInputError(
            f"{dataset.name} has images of {pixels.shape[1:]}, and the run's are of "
            f"{images.test.shape[1:]}."
        )
    if FLAGS.binarisation in ("dynamic", "static"):
        pixels = data.draw_once(pixels, seed=2)
    keys = jax.random.split(jax.random.key(0), len(pixels))  # evaluation draws nothing
    return np.asarray(jax.jit(jax.vmap(images.test_binarise))(keys, pixels))

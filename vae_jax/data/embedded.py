"""Small data sets that scikit-learn ships, which need no network."""

import numpy as np

from vae_jax.data.splits import Split, Undivided

_TABLES = ("breast_cancer", "wine", "diabetes")
NAMES = ("digits", "photos", *_TABLES)

_SIDE = 32  # of the patches of photographs
_STRIDE = 8
_TEST_WIDTH = 160  # of the right part of each photograph, which test patches are from


def read(name: str) -> Undivided:
    """The data set with this name:

    - "digits": [1797, 8, 8, 1] counts in 0..16 of black pixels in blocks of 4 x 4, with the digits
      that they show (Alpaydin & Kaynak 1998);
    - "photos": [N, 32, 32, 3] uint8, overlapping patches of two photographs; those of the right
      quarter of each are the test patches, and none crosses the border;
    - "breast_cancer" [569, 30], "wine" [178, 13], "diabetes" [442, 10]: tables of real columns with
      names, the first two with classes.
    """
    from sklearn import datasets  # here, since its import takes a second

    if name == "photos":
        return _photos(datasets.load_sample_images().images)
    if name == "digits":
        found = datasets.load_digits()
        split = Split(found.images[..., None].astype(np.int32), found.target.astype(np.int64))
        return Undivided(split, label_names=tuple("0123456789"), kind="count")
    if name == "diabetes":
        found = datasets.load_diabetes(scaled=False)
        split, classes = Split(found.data.astype(np.float32)), None
    else:
        found = getattr(datasets, f"load_{name}")()
        split = Split(found.data.astype(np.float32), found.target.astype(np.int64))
        classes = tuple(map(str, found.target_names))
    columns = tuple(map(str, found.feature_names))
    return Undivided(split, label_names=classes, kind="real", columns=columns)


def _photos(images: list[np.ndarray]) -> Undivided:
    border = images[0].shape[1] - _TEST_WIDTH
    train = np.concatenate([_patches(image[:, :border]) for image in images])
    test = np.concatenate([_patches(image[:, border:]) for image in images])
    return Undivided(Split(train), Split(test))


def _patches(image: np.ndarray) -> np.ndarray:
    """All patches [N, 32, 32, 3] of an image [H, W, 3], eight pixels from each to the next."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (_SIDE, _SIDE), axis=(0, 1))
    chosen = windows[::_STRIDE, ::_STRIDE]  # [rows, columns, 3, 32, 32]
    return np.moveaxis(chosen, 2, -1).reshape(-1, _SIDE, _SIDE, 3).copy()

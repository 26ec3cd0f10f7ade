"""Files that look like a published data set's."""

import gzip
import struct

import numpy as np

FILES = {"train": "train-images-idx3-ubyte.gz", "test": "t10k-images-idx3-ubyte.gz"}
LABEL_FILES = {"train": "train-labels-idx1-ubyte.gz", "test": "t10k-labels-idx1-ubyte.gz"}


def idx_gz(images: np.ndarray) -> bytes:
    """The gzipped IDX file of images [N, H, W, 1] uint8."""
    return gzip.compress(struct.pack(">4I", 0x803, *images.shape[:3]) + images.tobytes(), mtime=0)


def labels_gz(labels: np.ndarray) -> bytes:
    """The gzipped IDX file of labels [N] uint8."""
    return gzip.compress(struct.pack(">2I", 0x801, len(labels)) + labels.tobytes(), mtime=0)

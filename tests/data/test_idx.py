import gzip
import struct

import numpy as np
import pytest

from tests.data.fabricated import idx_gz, labels_gz
from vae_jax.data import DataError, idx

IMAGES = np.arange(5 * 3 * 4, dtype=np.uint8).reshape(5, 3, 4, 1)


def test_images_survive_the_round_trip(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(idx_gz(IMAGES))
    np.testing.assert_array_equal(idx.read_images(path), IMAGES)


def test_labels_survive_the_round_trip(tmp_path):
    path = tmp_path / "labels.gz"
    path.write_bytes(labels_gz(np.arange(7, dtype=np.uint8)))
    np.testing.assert_array_equal(idx.read_labels(path), np.arange(7))
    with pytest.raises(DataError, match=r"labels.gz holds no IDX images: its .* 0x00000801"):
        idx.read_images(path)
    path.write_bytes(idx_gz(IMAGES))
    with pytest.raises(DataError, match=r"labels.gz holds no IDX labels: its .* 0x00000803"):
        idx.read_labels(path)
    path.write_bytes(gzip.compress(struct.pack(">2I", 0x801, 3) + b"ab"))
    with pytest.raises(DataError, match=r"labels.gz holds 2 labels where its header says 3"):
        idx.read_labels(path)


DAMAGED = {
    "empty": (b"", "not a whole gzipped IDX file"),
    "not gzip": (b"not gzip", "not a whole gzipped IDX file"),
    "cut off": (idx_gz(IMAGES)[:-12], "not a whole gzipped IDX file"),
    "overwritten": (
        idx_gz(IMAGES)[:20] + b"\xff" * 8 + idx_gz(IMAGES)[28:],
        "not a whole gzipped IDX file",
    ),
    "short header": (gzip.compress(b"\0\0\x08\x03\0\0"), "not a whole gzipped IDX file"),
    "labels": (
        gzip.compress(struct.pack(">4I", 0x801, 5, 0, 0)),
        "its first bytes are 0x00000801",
    ),
    "too short": (
        gzip.compress(struct.pack(">4I", 0x803, 1, 2, 2) + b"abc"),
        "holds 3 pixels .* says 4",
    ),
    "too long": (
        gzip.compress(struct.pack(">4I", 0x803, 1, 2, 2) + b"abcde"),
        "holds 5 pixels .* says 4",
    ),
}


# By name: gzip writes the time into its bytes, and processes must agree on the names of tests.
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_named(tmp_path, name):
    content, said = DAMAGED[name]
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"images.gz .*{said}|{said}"):
        idx.read_images(path)

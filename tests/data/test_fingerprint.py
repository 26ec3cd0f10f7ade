import zlib

import numpy as np
import pytest

from vae_jax.data import Rows, fingerprint

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "images",
    [
        RNG.integers(0, 256, (50, 8, 8, 1), np.uint8),
        RNG.uniform(size=(50, 8, 8, 3)).astype(np.float32),
        RNG.integers(0, 256, (35, 1000, 1000), np.uint8),  # more than is read at once
        RNG.integers(0, 256, (3, 5000, 5000), np.uint8),  # each more than is read at once
        RNG.integers(0, 256, (40, 5, 4), np.uint8)[::-1].transpose(0, 2, 1),
        np.zeros((0, 4, 4, 1), np.uint8),
    ],
    ids=lambda images: f"{images.dtype}{list(images.shape)}",
)
def test_it_is_the_crc_of_all_bytes(images):
    expected = zlib.crc32(np.ascontiguousarray(images)) if images.size else 0
    assert fingerprint(images) == expected
    third = len(images) // 3
    assert fingerprint(Rows(images[:third], images[third:])) == expected


def test_order_counts():
    images = RNG.integers(0, 256, (50, 8, 8, 1), np.uint8)
    order = RNG.permutation(50)
    rows = Rows(images).select(order)
    assert fingerprint(rows) == zlib.crc32(images[order]) != fingerprint(images)

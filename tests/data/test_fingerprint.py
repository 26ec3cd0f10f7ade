import zlib

import numpy as np
import pytest

from vae_jax.data import Rows, fingerprint, joined_fingerprint

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


def test_joined_fingerprints_are_that_of_the_bytes_as_one():
    for first, second in [(0, 0), (0, 9), (9, 0), (1, 1), *RNG.integers(0, 5_000, (20, 2))]:
        one, other = RNG.bytes(first), RNG.bytes(second)
        joined = joined_fingerprint(zlib.crc32(one), zlib.crc32(other), len(other))
        assert joined == zlib.crc32(one + other)
    # Joining is associative, of more bytes than 32 bits count, too.
    a, b, c = map(int, RNG.integers(0, 1 << 32, 3))
    b_bytes, c_bytes = 5 * 10**9, 7 * 10**9 + 1
    assert joined_fingerprint(joined_fingerprint(a, b, b_bytes), c, c_bytes) == joined_fingerprint(
        a, joined_fingerprint(b, c, c_bytes), b_bytes + c_bytes
    )


@pytest.mark.parametrize("part", [slice(0, 7), slice(7, 100), slice(50, None), slice(3, 3)])
def test_a_part_has_the_crc_of_its_own_bytes(part):
    images = RNG.uniform(size=(50, 300, 300)).astype(np.float32)  # several are read at once
    expected = zlib.crc32(images[part].tobytes())
    assert fingerprint(images, part) == fingerprint(Rows(images), part) == expected

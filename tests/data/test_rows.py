import time

import numpy as np
import pytest

from vae_jax.data import DataError, Rows

RNG = np.random.default_rng(0)
WHOLE = RNG.integers(0, 256, (60, 3, 2, 1), np.uint8)
CUTS = [7, 8, 41]  # four shards, one of a single row


@pytest.fixture(params=["memory", "mapped"])
def shards(request, tmp_path):
    arrays = np.split(WHOLE, CUTS)
    if request.param == "memory":
        return arrays
    for number, array in enumerate(arrays):
        np.save(tmp_path / f"{number}.npy", array)
    return [np.load(tmp_path / f"{number}.npy", mmap_mode="r") for number in range(len(arrays))]


@pytest.mark.parametrize(
    "index",
    [
        slice(None),
        slice(5, 45),
        slice(50, 3, -7),
        slice(70, 80),
        0,
        -1,
        np.int64(8),
        np.array([], int),
        np.array([59, 0, 7, 7, -60, 8]),
        RNG.integers(0, 60, 500),
        RNG.integers(-60, 60, (4, 5)),
        RNG.integers(0, 60, (2, 3, 4), np.uint16),
        np.zeros((3, 0, 2), int),
    ],
    ids=str,
)
def test_rows_are_indexed_as_the_one_array_is(shards, index):
    rows = Rows(*shards)
    images = rows[index]
    assert type(images) is np.ndarray
    assert images.flags.c_contiguous
    assert images.flags.writeable
    assert images.dtype == WHOLE.dtype
    np.testing.assert_array_equal(images, WHOLE[index], strict=True)
    assert not any(np.shares_memory(images, shard) for shard in shards)


def test_a_selection_is_indexed_as_the_array_of_it_is(shards):
    order = RNG.permutation(60)[:50]
    rows = Rows(*shards).select(order)
    assert (rows.shape, rows.dtype, len(rows)) == ((50, 3, 2, 1), np.uint8, 50)
    index = RNG.integers(-50, 50, (4, 9))
    np.testing.assert_array_equal(rows[index], WHOLE[order][index])
    np.testing.assert_array_equal(rows[:], WHOLE[order])
    again = rows.select(slice(40, None, -3)).select(np.array([2, 0, 2]))
    np.testing.assert_array_equal(again[:], WHOLE[order][40::-3][[2, 0, 2]])
    np.testing.assert_array_equal(Rows(*shards, selection=order)[:], WHOLE[order])


@pytest.mark.parametrize("index", [60, -61, [0, 60], [[-61]], np.array([0.0])])
def test_indices_that_are_none_are_index_errors(shards, index):
    with pytest.raises(IndexError):
        Rows(*shards)[index]
    with pytest.raises(IndexError):
        Rows(*shards).select(index)


def test_more_than_is_gathered_at_once_comes_in_order():
    whole = RNG.integers(0, 256, (40, 300, 301), np.uint8)  # eleven rows are a megabyte
    index = RNG.integers(0, 40, (3, 30))
    np.testing.assert_array_equal(Rows(*np.split(whole, [9]))[index], whole[index])


class Recorded(np.ndarray):
    """An array that remembers which of its rows were read."""

    def __getitem__(self, index):
        self.read.append(np.array(index))
        return np.asarray(self)[index]


def test_only_the_rows_asked_for_are_read_in_ascending_order():
    shards = [array.view(Recorded) for array in np.split(WHOLE, CUTS)]
    for shard in shards:
        shard.read = []
    rows = Rows(*shards).select(RNG.permutation(60))
    numbers = rows._selection[[3, 9, 3, 50, 17, 31]]
    assert [shard.read for shard in shards] == [[], [], [], []]
    rows[[3, 9, 3, 50, 17, 31]]
    read = [
        first + part for shard, first in zip(shards, [0, *CUTS], strict=True) for part in shard.read
    ]
    np.testing.assert_array_equal(np.concatenate(read), np.sort(numbers))
    assert max(len(shard.read) for shard in shards) == 1


def test_a_file_far_larger_than_what_is_read_stays_unread(tmp_path):
    """40 GB, of which the file system holds only what was written."""
    path = tmp_path / "sparse.npy"
    num_rows = 1_000_000
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (num_rows, 200, 200, 1)}
        np.lib.format.write_array_header_1_0(file, header)
        offset = file.tell()
        file.truncate(offset + num_rows * 40_000)
        for number in (3, 654_321, num_rows - 1):
            file.seek(offset + number * 40_000)
            file.write(bytes([number % 251]) * 40_000)
    assert path.stat().st_blocks * 512 < 1e6
    start = time.perf_counter()
    rows = Rows(np.load(path, mmap_mode="r")).select(np.arange(num_rows)[::-1])
    images = rows[[0, num_rows - 4, num_rows - 1 - 654_321, 77]]
    assert time.perf_counter() - start < 0.5  # 40 GB would take ten seconds at least
    assert [list(np.unique(image)) for image in images] == [
        [(num_rows - 1) % 251],
        [3],
        [654_321 % 251],
        [0],
    ]


def test_shards_of_different_kinds_are_refused():
    for other in (WHOLE[:, :2], WHOLE.astype(np.float32)):
        with pytest.raises(DataError, match="must be of one shape and dtype"):
            Rows(WHOLE, other)
    with pytest.raises(DataError, match="must be of one shape and dtype"):
        Rows()


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.01, 1.01])
def test_floats_are_checked_when_they_are_read(tmp_path, value):
    images = RNG.uniform(size=(30, 4, 4)).astype(np.float32)
    images[17, 2, 1] = value
    path = tmp_path / "images.npy"
    np.save(path, images)
    rows = Rows(images[:5], np.load(path, mmap_mode="r"))
    np.testing.assert_array_equal(rows[:22], np.concatenate([images[:5], images[:17]]))
    said = rf"^{path}: image 17 has values in \S+\.\.\S+, but floats must lie in \[0, 1\]$"
    for index in (22, slice(None), [[3, 22], [22, 30]]):
        with pytest.raises(DataError, match=said):
            rows[index]
    with pytest.raises(DataError, match="^the data: image 17 has values"):
        Rows(images)[:]

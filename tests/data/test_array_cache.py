import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from vae_jax.data import DataError, NotAvailableError, array_cache

SPLITS = {
    "train": np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2, 1),
    "test": np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2, 1),
}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "mnist" / "arrays"


def test_arrays_come_back_memory_mapped(folder):
    array_cache.write(folder, SPLITS)
    splits = array_cache.read(folder)
    assert splits.keys() == SPLITS.keys()
    for split, images in splits.items():
        assert isinstance(images, np.memmap)
        np.testing.assert_array_equal(images, SPLITS[split])
        assert images.dtype == SPLITS[split].dtype


def test_what_was_never_written_is_none(folder):
    assert array_cache.read(folder) is None


@pytest.mark.parametrize("filename", ["train.npy", "test.npy", "crc32.json"])
@pytest.mark.parametrize("position", [0, 5, 9, -1])
def test_a_flipped_bit_is_noticed(folder, filename, position):
    array_cache.write(folder, SPLITS)
    content = bytearray((folder / filename).read_bytes())
    content[position] ^= 0b1000_0000
    (folder / filename).write_bytes(content)
    with pytest.raises(DataError, match=rf"damaged or missing: delete the folder {folder} "):
        array_cache.read(folder)


@pytest.mark.parametrize("filename", ["train.npy", "test.npy", "crc32.json"])
def test_truncated_and_missing_files_are_noticed(folder, filename):
    array_cache.write(folder, SPLITS)
    path = folder / filename
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=f"{path} is damaged or missing"):
        array_cache.read(folder)
    path.unlink()
    with pytest.raises(DataError, match=f"{path} is damaged or missing"):
        array_cache.read(folder)


def test_the_first_of_two_writers_wins(folder):
    array_cache.write(folder, SPLITS)
    array_cache.write(folder, {"train": SPLITS["test"]})
    np.testing.assert_array_equal(array_cache.read(folder)["train"], SPLITS["train"])
    assert os.listdir(folder.parent) == ["arrays"]


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_full_disk_leaves_nothing(folder, monkeypatch, call):
    calls = []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) == call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(DataError, match=rf"{folder} cannot be written \(No space left on device\)"):
        array_cache.write(folder, SPLITS)
    assert os.listdir(folder.parent) == []


@pytest.mark.parametrize("call", [1, 3])
def test_a_kill_leaves_nothing_half(folder, call):
    code = f"""
import os, sys
from pathlib import Path
import numpy as np
from vae_jax.data import array_cache

calls = []

def fsync(descriptor):
    calls.append(descriptor)
    if len(calls) == {call}:
        os._exit(9)

os.fsync = fsync
images = np.zeros((9, 2, 2, 1), np.uint8)
array_cache.write(Path(sys.argv[1]), {{"train": images, "test": images}})
"""
    assert subprocess.run([sys.executable, "-c", code, str(folder)], check=False).returncode == 9
    assert array_cache.read(folder) is None
    array_cache.write(folder, SPLITS)
    np.testing.assert_array_equal(array_cache.read(folder)["train"], SPLITS["train"])


def test_an_unwritable_folder_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "arrays"
    said = rf"{folder} cannot be written \(Not a directory\): make room or choose another data_dir"
    with pytest.raises(NotAvailableError, match=said):
        array_cache.require_writable(folder)
    with pytest.raises(DataError, match=said):
        array_cache.write(folder, SPLITS)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_what_is_written_in_blocks_is_what_numpy_saves(folder, tmp_path, dtype):
    images = np.arange(2500 * 6).astype(dtype).reshape(2500, 2, 3, 1)
    slices = []

    class Made:
        """Images that exist only where they are sliced."""

        shape, dtype = images.shape, images.dtype

        def __getitem__(self, index):
            slices.append(len(range(*index.indices(2500))))
            return images[index]

    array_cache.write(folder, {"train": Made()})
    np.save(tmp_path / "expected.npy", images)
    assert (folder / "train.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()
    assert slices == [1000, 1000, 500]


def test_what_fails_in_the_making_leaves_nothing(folder):
    class Failing:
        shape, dtype = (2500, 2), np.dtype(np.uint8)

        def __getitem__(self, index):
            if index.start:
                raise DataError("the second block cannot be had")
            return np.zeros((1000, 2), np.uint8)

    with pytest.raises(DataError, match="^the second block cannot be had$"):
        array_cache.write(folder, {"train": Failing()})
    assert os.listdir(folder.parent) == []

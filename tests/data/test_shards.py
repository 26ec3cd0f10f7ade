import contextlib
import errno
import os
from pathlib import Path

import numpy as np
import pytest

from vae_jax.data import DataError, Rows, load, npz, shards

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (60, 4, 5), np.uint8)
UNIT = RNG.uniform(size=(60, 4, 5)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "faces"


def saved(folder, **arrays):
    """The folder with a file for each array: train_a -> train-a.npy."""
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name.replace('_', '-')}.npy", array)
    return folder


@pytest.mark.parametrize("values", [BYTES, UNIT], ids=["uint8", "float32"])
def test_shards_are_one_data_set_in_the_order_of_their_names(folder, values):
    saved(
        folder, train_10=values[5:7], train_2=values[7:50], train_00=values[:5], test_0=values[50:]
    )
    (folder / "README.txt").write_text("of no concern")
    splits = shards.read(folder)
    for split, expected in zip(splits[:2], (values[:50], values[50:]), strict=True):
        assert isinstance(split.x, Rows)
        np.testing.assert_array_equal(split.x[:], expected[..., None], strict=True)
        assert split.labels is None


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_are_kept(folder, channels):
    images = RNG.integers(0, 256, (6, 4, 5, channels), np.uint8)
    splits = shards.read(saved(folder, train_0=images))
    assert splits.test is None
    np.testing.assert_array_equal(splits.train.x[:], images)


@pytest.mark.parametrize("test", [True, False])
@pytest.mark.parametrize("values", [BYTES, UNIT], ids=["uint8", "float32"])
def test_load_splits_them_in_memory_or_not(folder, values, test):
    saved(folder, train_0=values[:20], train_1=values[20:])
    if test:
        saved(folder, test_0=values[:7], test_1=values[:2])
    np.savez(
        folder / "same.npz",
        x_train=values,
        **({"x_test": values[[*range(7), 0, 1]]} if test else {}),
    )
    same = load(str(folder / "same.npz"), num_validation=4, split_seed=3)
    arrays = load(f"{folder}/", num_validation=4, split_seed=3)
    rows = load(str(folder), num_validation=4, split_seed=3, in_memory=False)
    assert arrays.name == rows.name == "shards:faces"
    for splits in zip(same[1:4], arrays[1:4], rows[1:4], strict=True):
        expected, array, images = (split.x for split in splits)
        assert isinstance(array, np.ndarray)
        assert isinstance(images, Rows)
        np.testing.assert_array_equal(array, expected, strict=True)
        np.testing.assert_array_equal(images[:], expected, strict=True)
        assert images.shape == expected.shape


def test_what_is_a_folder(folder, monkeypatch):
    saved(folder, train_0=BYTES)
    monkeypatch.chdir(folder.parent)
    (folder.parent / "mnist").symlink_to("faces")
    for name in ("faces/", "./faces", "../" + folder.parent.name + "/faces", "none/", "mnist/"):
        assert shards.is_folder(name)
    for name in ("faces", "mnist", "none", "./none", "faces/train-0.npy", "tfds:emnist/letters"):
        assert not shards.is_folder(name)
    assert load("faces/").name == "shards:faces"
    assert load("mnist/").name == "shards:mnist"
    monkeypatch.chdir(folder)
    assert load("./").name == "shards:faces"
    monkeypatch.setenv("HOME", str(folder.parent))
    assert load("~/faces").name == "shards:faces"
    with pytest.raises(
        DataError, match=r"no data set 'faces', only .* PATH.h5ad and FOLDER/ \(with"
    ):
        load("faces")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({}, r" must hold files train-\*.npy, or pictures, but holds nothing"),
        (
            {"test_0": BYTES, "more": BYTES},
            "train-.*npy, or pictures, but holds more.npy, test-0.npy",
        ),
        ({"train_0": BYTES.ravel()}, r"train-0.npy has shape \(1200,\) but must be \[N, H, W\]"),
        ({"train_0": BYTES[0]}, r"train-0.npy has shape \(4, 5\) but must be"),
        ({"train_0": np.uint8(3)}, r"train-0.npy has shape \(\) but must be"),
        ({"train_0": BYTES[..., None, None]}, r"has shape \(60, 4, 5, 1, 1\) but must be"),
        ({"train_0": BYTES.reshape(30, 4, 5, 2)}, r"has shape \(30, 4, 5, 2\) but must be"),
        ({"train_0": BYTES, "test_0": BYTES[0]}, "test-0.npy has shape"),
        ({"train_0": BYTES.astype(int)}, r"train-0.npy has dtype int64 but must hold uint8 in"),
        ({"train_0": UNIT.astype(float)}, "has dtype float64 but must hold uint8 in 0..255 or"),
        ({"train_0": UNIT.astype(">f4")}, "has dtype >f4 but must hold"),
        ({"train_0": BYTES > 9}, "has dtype bool but must hold"),
        ({"train_0": BYTES[:0]}, r"train-0.npy is empty, its shape is \(0, 4, 5\)"),
        ({"train_0": BYTES, "train_1": BYTES[:, :0]}, r"train-1.npy is empty"),
        ({"train_0": np.asfortranarray(BYTES)}, "train-0.npy is in Fortran order"),
        ({"train_0": np.array([[[None]]])}, "train-0.npy is damaged or no .npy file of numbers"),
        (
            {"train_0": BYTES, "train_1": UNIT},
            r"train-1.npy holds float32 images of \(4, 5, 1\) but .*train-0.npy uint8 images of",
        ),
        ({"train_0": BYTES, "train_1": BYTES[:, :3]}, r"train-1.npy holds uint8 images of \(3, 5"),
        ({"train_0": BYTES, "test_0": BYTES[:, :3]}, r"test-0.npy holds uint8 images of \(3, 5"),
        (
            {"train_0": UNIT, "train_1": UNIT * 2},
            r"train-1.npy: image \d+ has values in .*\[0, 1\]",
        ),
    ],
)
def test_what_is_refused_is_named(folder, arrays, said):
    saved(folder, **arrays)
    with pytest.raises(DataError, match=rf"{folder}.*{said}") as caught:
        load(f"{folder}/")
    assert "\n" not in str(caught.value)


def test_folders_that_are_none_are_named(folder):
    with pytest.raises(DataError, match=f"{folder} does not exist or is not a folder"):
        load(f"{folder}/")
    folder.write_text("a file")
    with pytest.raises(DataError, match=f"{folder} does not exist or is not a folder"):
        load(f"{folder}/")


@pytest.mark.parametrize("name", ["~nouser/faces", "~nouser/x.npz", "./" + 300 * "a", "./a\0"])
def test_names_that_are_of_nothing_are_named(name):
    assert not shards.is_folder(name)
    with pytest.raises(
        DataError, match=r"/(faces|x.npz|a+|a\\x00'|a\\x00\.npz') does not exist or is not a folder"
    ):
        load(f"{name}/")
    with pytest.raises(DataError, match="does not exist or is not a file"):
        npz.read(Path(f"{name}.npz"))


def test_a_folder_that_cannot_be_read_is_named(folder, monkeypatch):
    saved(folder, train_0=BYTES)

    def refuse(path="."):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, refuse)
    with pytest.raises(DataError, match=rf"{folder} cannot be read \(Permission denied\)"):
        load(f"{folder}/")


@pytest.mark.parametrize("content", [b"", b"no npy", b"\x93NUMPY\x01\x00", b"PK\x03\x04" * 20])
def test_files_that_are_no_npy_are_named(folder, content):
    folder.mkdir()
    (folder / "train-0.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"train-0.npy is damaged or no .npy file") as caught:
        load(f"{folder}/")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_shorter_or_longer_than_it_says_is_named(folder, change):
    path = saved(folder, train_0=BYTES) / "train-0.npy"
    os.truncate(path, path.stat().st_size + change)
    with pytest.raises(DataError, match=r"train-0.npy is damaged"):
        load(f"{folder}/")


def test_a_flipped_bit_of_the_header_is_refused_or_keeps_the_size(folder):
    path = saved(folder, train_0=BYTES[:3]) / "train-0.npy"
    content = path.read_bytes()
    header = len(content) - BYTES[:3].nbytes
    for position in range(header):
        for bit in (1, 8, 64):
            path.write_bytes(
                content[:position] + bytes([content[position] ^ bit]) + content[position + 1 :]
            )
            with contextlib.suppress(DataError):
                images = shards.read(folder).train.x
                assert images.dtype == np.uint8
                assert images[:].size == 60


def test_links_into_a_file_that_is_gone_are_named(folder):
    folder.mkdir()
    (folder / "train-0.npy").symlink_to(folder / "gone.npy")
    with pytest.raises(DataError, match=r"train-0.npy cannot be read \(No such file"):
        load(f"{folder}/")

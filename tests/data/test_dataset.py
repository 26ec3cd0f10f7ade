import os
import subprocess
import sys

import numpy as np
import pytest

from vae_jax.data import DataError, Dataset, NotAvailableError, Rows, array_cache, load

RNG = np.random.default_rng(0)
TRAIN = RNG.integers(0, 256, (48, 4, 4, 1), np.uint8)
TEST = RNG.integers(0, 256, (12, 4, 4, 1), np.uint8)


def cache(data_dir, name="mnist"):
    """Makes it look as if `name` had been prepared in `data_dir` before."""
    array_cache.write(data_dir / "vae_jax" / name / "arrays", {"train": TRAIN, "test": TEST})


def test_validation_is_one_twelfth_of_train_and_test_is_kept(tmp_path):
    cache(tmp_path)
    dataset = load("mnist", data_dir=str(tmp_path))
    assert isinstance(dataset, Dataset)
    assert dataset.name == "mnist"
    assert [split.x.shape for split in dataset[1:4]] == [(44, 4, 4, 1), (4, 4, 4, 1), (12, 4, 4, 1)]
    np.testing.assert_array_equal(dataset.test.x, TEST)
    assert isinstance(dataset.test.x, np.memmap)
    together = np.concatenate([dataset.train.x, dataset.validation.x]).reshape(48, 16)
    np.testing.assert_array_equal(
        np.unique(together, axis=0), np.unique(TRAIN.reshape(48, 16), axis=0)
    )


@pytest.mark.parametrize("name", ["mnist", "mnist_5k", "shapes"])
def test_rows_are_the_same_images_in_the_same_order(tmp_path, name):
    cache(tmp_path)
    arrays = load(name, data_dir=str(tmp_path), split_seed=5)
    rows = load(name, data_dir=str(tmp_path), split_seed=5, in_memory=False)
    assert rows.name == arrays.name
    for split, expected in zip(rows[1:4], arrays[1:4], strict=True):
        assert isinstance(split.x, Rows)
        np.testing.assert_array_equal(split.x[:], expected.x, strict=True)
        np.testing.assert_array_equal(split.labels, expected.labels)


def test_rows_of_a_prepared_data_set_are_not_in_memory(tmp_path):
    cache(tmp_path)
    dataset = load("mnist", data_dir=str(tmp_path), in_memory=False)
    for split in dataset[1:4]:
        assert all(isinstance(shard, np.memmap) for shard in split.x._shards)


def test_the_seed_chooses_validation(tmp_path):
    cache(tmp_path)
    first, again, other = (
        load("mnist", data_dir=str(tmp_path), num_validation=20, split_seed=seed).validation.x
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("num_validation", [0, 48])
def test_num_validation_must_leave_both_an_example(tmp_path, num_validation):
    cache(tmp_path)
    said = f"num_validation is {num_validation} but must lie in 1..47"
    with pytest.raises(DataError, match=said):
        load("mnist", data_dir=str(tmp_path), num_validation=num_validation)


@pytest.mark.parametrize(
    ("name", "folder"),
    [("kmnist", "kmnist"), ("tfds:emnist/letters", "emnist/letters"), ("tfds:emnist", "emnist")],
)
def test_every_data_set_has_its_own_folder(tmp_path, name, folder):
    cache(tmp_path, folder)
    assert load(name, data_dir=str(tmp_path)).name == name


def test_data_dir_is_that_of_tfds(tmp_path, monkeypatch):
    cache(tmp_path / "from_environment")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "from_environment"))
    load("mnist")

    cache(tmp_path / "home" / "tensorflow_datasets")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TFDS_DATA_DIR")
    load("mnist")
    load("mnist", data_dir="~/tensorflow_datasets")


NO_HOME = "there is no home folder for the ~ of {} on this machine: name a folder with --data_dir"


def test_a_machine_without_homes(tmp_path, monkeypatch):
    """Nothing is made in a folder literally called ~."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as it is without HOME
    monkeypatch.delenv("TFDS_DATA_DIR")
    with pytest.raises(NotAvailableError, match=NO_HOME.format("~/tensorflow_datasets")):
        load("mnist")
    told = []
    assert load("auto", report=told.append).name == "mnist_5k"
    assert "because there is no home folder" in told[0]
    assert load("mnist_5k").name == "mnist_5k"
    cache(tmp_path / "given")
    assert load("mnist", data_dir=str(tmp_path / "given")).name == "mnist"
    assert os.listdir(tmp_path) == ["given"]


@pytest.mark.parametrize("data_dir", ["~no.such.user/data", "~", "~/data", "{cwd}/~/data"])
def test_a_home_that_is_asked_for_must_be_known(tmp_path, monkeypatch, data_dir):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    data_dir = data_dir.format(cwd=tmp_path)
    for name in ("mnist", "auto"):
        with pytest.raises(DataError, match=NO_HOME.format(data_dir)):
            load(name, data_dir=data_dir)
        monkeypatch.setenv("TFDS_DATA_DIR", data_dir)
        with pytest.raises(DataError, match=NO_HOME.format(data_dir)):
            load(name)
    assert os.listdir(tmp_path) == []
    (tmp_path / "~").mkdir()  # somebody's own
    assert load("mnist_5k", data_dir="./~/data").name == "mnist_5k"


def test_prepared_data_needs_no_tfds(tmp_path):
    cache(tmp_path)
    code = """
import sys
from vae_jax.data import load

assert len(load("mnist", data_dir=sys.argv[1]).train) == 44
assert len(load("auto", data_dir=sys.argv[1]).train) == 44
print([name for name in ("tensorflow_datasets", "mlxtend", "pandas") if name in sys.modules])
"""
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    assert subprocess.run(command, check=True, capture_output=True).stdout == b"[]\n"


@pytest.mark.parametrize(
    "name",
    ["", "MNIST", "cifar-10", "tfds:", "tfds:../mnist", "tfds:a/../b", "tfds:/a", "tfds:a//b"],
)
def test_unknown_names_are_answered_with_the_known(name):
    said = f"no data set '{name}', only mnist, fashion_mnist, kmnist, cifar10, binarized_mnist, "
    with pytest.raises(DataError, match=said):
        load(name)


def test_data_dir_must_be_local():
    with pytest.raises(DataError, match="data_dir is gs://bucket but must be a folder"):
        load("mnist", data_dir="gs://bucket")


def test_data_dir_must_be_a_folder_that_can_be_read(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    (tmp_path / "locked").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "locked")
    for name in ("file", "locked"):
        said = f"data_dir is {tmp_path / name} but must be a folder that can be read"
        for data_set in ("mnist", "auto"):
            with pytest.raises(DataError, match=said):
                load(data_set, data_dir=str(tmp_path / name))


def test_damaged_data_is_not_hidden_by_auto(tmp_path):
    cache(tmp_path)
    (tmp_path / "vae_jax" / "mnist" / "arrays" / "test.npy").unlink()
    for name in ("mnist", "auto"):
        with pytest.raises(DataError, match=r"test.npy is damaged or missing: delete the folder"):
            load(name, data_dir=str(tmp_path))


def test_auto_takes_mnist_where_it_is(tmp_path):
    cache(tmp_path)
    told = []
    assert load("auto", data_dir=str(tmp_path), report=told.append).name == "mnist"
    assert told == []


def test_auto_says_loudly_that_it_took_mnist_5k(tmp_path):
    told = []
    dataset = load("auto", data_dir=str(tmp_path), report=told.append)
    assert dataset.name == "mnist_5k"
    assert len(dataset.train) == 4125
    (message,) = told
    assert message.startswith("NOT THE FULL MNIST: using mnist_5k, 5,000 of its digits")
    assert "storage.googleapis.com cannot be reached" in message
    assert f"into {tmp_path}/downloads/manual/mnist" in message

"""Unusual names of files end in images or in one line that can be printed."""

import os

import numpy as np
import pytest

from vae_jax.data import DataError, load
from vae_jax.data.paths import named

BYTES = np.random.default_rng(0).integers(0, 256, (30, 4, 4), np.uint8)
UNUSUAL = (
    "with spaces",
    "Größe 図",
    "line\nbreak",
    "tab\tand\x1b[31m",
    "no text \udcff",
    "a" * 250,
)


def is_one_printable_line(text):
    return text.isprintable() and text.encode("utf-8") is not None


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("runs/with spaces/Größe.npz", "runs/with spaces/Größe.npz"),
        ("line\nbreak", r"'line\nbreak'"),
        ("\udcff", r"'\udcff'"),
    ],
)
def test_a_path_is_named_as_it_is_where_a_line_can_hold_it(path, said):
    assert named(path) == said


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_names_are_read(tmp_path, name):
    np.savez(tmp_path / f"{name}.npz", x_train=BYTES)
    folder = tmp_path / name
    folder.mkdir()
    np.save(folder / "train-\n0.npy", BYTES)
    for source in (str(tmp_path / f"{name}.npz"), f"{folder}/"):
        dataset = load(source)
        assert is_one_printable_line(dataset.name)
        assert sum(len(split) for split in dataset[1:4]) == 30


@pytest.mark.parametrize("name", [*UNUSUAL, "a" * 300, "nul\0", "~", "~no.such.user", "", "."])
def test_unusual_names_of_nothing_are_refused_in_one_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for source in (f"{name}.npz", f"./{name}.npz", f"./{name}/gone/", f"{name}/gone.npz", name):
        with pytest.raises(DataError) as caught:
            load(source)
        assert is_one_printable_line(str(caught.value))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_names_of_files_that_are_none_are_refused_in_one_line(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    for file in (folder / "x.npz", folder / "train-\n0.npy"):
        file.write_bytes(b"\xff\n")
        with pytest.raises(DataError) as caught:
            load(str(file) if file.suffix == ".npz" else f"{folder}/")
        assert is_one_printable_line(str(caught.value))
        assert repr(str(file.name))[1:-1] in str(caught.value)


def test_a_folder_called_npz(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.npz").mkdir()
    with pytest.raises(DataError, match=r"^x.npz does not exist or is not a file$"):
        load("x.npz")
    with pytest.raises(
        DataError, match=r"x.npz must hold files train-\*.npy, or pictures, but holds nothing$"
    ):
        load("./x.npz")


def test_broken_links_and_loops(tmp_path):
    for name, target in (("gone.npz", "nowhere"), ("loop.npz", "loop.npz")):
        (tmp_path / name).symlink_to(tmp_path / target)
        with pytest.raises(DataError, match=f"{name} does not exist or is not a file"):
            load(str(tmp_path / name))
        with pytest.raises(DataError, match=f"{name} does not exist or is not a folder"):
            load(f"{tmp_path / name}/")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="everything may be read by root"
)
def test_files_without_permission(tmp_path):
    np.savez(tmp_path / "x.npz", x_train=BYTES)
    np.save(tmp_path / "train-0.npy", BYTES)
    for path in tmp_path.iterdir():
        path.chmod(0)
    for source, name in ((str(tmp_path / "x.npz"), "x.npz"), (f"{tmp_path}/", "train-0.npy")):
        with pytest.raises(DataError, match=rf"{name} cannot be read \(Permission denied\)$"):
            load(source)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"x" * 99])
def test_what_has_a_zip_at_its_end_only_is_refused(tmp_path, content):
    path = tmp_path / "x.npz"
    np.savez(path, x_train=BYTES)
    path.write_bytes(content + path.read_bytes()[content == b"" :])
    with pytest.raises(DataError, match=r"x.npz (is|:)") as caught:
        load(str(path))
    assert "\n" not in str(caught.value)

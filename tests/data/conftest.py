"""Fabricated data sets of the MNIST family, on a machine without a network."""

import dataclasses
import hashlib
import os
import socket
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.data.fabricated import FILES, LABEL_FILES, idx_gz, labels_gz


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No test reads the data sets of whoever runs it, or anything beyond this machine."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "default"))
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    resolve = socket.getaddrinfo

    def resolve_loopback_only(host, *args, **kwargs):
        if host != "127.0.0.1":
            raise socket.gaierror(f"the tests have no network to look up {host}")
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_loopback_only)


@pytest.fixture
def publish(monkeypatch, tmp_path):
    """publish(name): makes small random images the official files of a MNIST-like data set."""
    import tensorflow_datasets as tfds

    stock_builders = {
        "mnist": tfds.image_classification.MNIST,
        "fashion_mnist": tfds.image_classification.FashionMNIST,
    }

    def publish_as(name, url="http://idx.invalid/"):
        rng = np.random.default_rng(list(stock_builders).index(name))
        sizes = {"train": 24, "test": 12}
        images = {
            split: rng.integers(0, 256, (size, 28, 28, 1), np.uint8)
            for split, size in sizes.items()
        }
        labels = {split: rng.integers(0, 10, size, np.uint8) for split, size in sizes.items()}
        folder = tmp_path / "published" / name
        folder.mkdir(parents=True)
        a_url_info = next(iter(tfds.image_classification.MNIST.url_infos.values()))
        url_infos = {}
        contents = {filename: idx_gz(images[split]) for split, filename in FILES.items()}
        contents |= {name: labels_gz(labels[split]) for split, name in LABEL_FILES.items()}
        for filename, content in contents.items():
            (folder / filename).write_bytes(content)
            url_infos[url + filename] = dataclasses.replace(
                a_url_info,
                size=len(content),
                checksum=hashlib.sha256(content).hexdigest(),
                filename=filename,
            )
        monkeypatch.setattr(stock_builders[name], "url_infos", url_infos)
        return SimpleNamespace(folder=folder, labels=labels, **images)

    return publish_as


@pytest.fixture
def mnist_files(publish):
    """The folder of MNIST's original files where they are at hand, else of fabricated ones."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    originals = Path(os.environ.get("VAE_JAX_TEST_IDX", beside)) / "mnist"
    return originals if originals.is_dir() else publish("mnist").folder

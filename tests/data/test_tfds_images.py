import functools
import gzip
import http.server
import io
import json
import shutil
import socket
import sys
import threading
import time

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds

from tests.data.fabricated import FILES, LABEL_FILES
from vae_jax.data import DataError, NotAvailableError, array_cache, idx, load


def unordered(images):
    """The images whatever their order."""
    return sorted(image.tobytes() for image in images)


def assert_is(dataset, published, labels=True):
    np.testing.assert_array_equal(dataset.test.x, published.test)
    together = np.concatenate([dataset.train.x, dataset.validation.x])
    assert unordered(together) == unordered(published.train)
    if labels:
        label_of = {
            image.tobytes(): label
            for split in ("train", "test")
            for image, label in zip(getattr(published, split), published.labels[split], strict=True)
        }
        for split in dataset[1:4]:
            np.testing.assert_array_equal(
                split.labels, [label_of[image.tobytes()] for image in split.x]
            )
    else:
        assert all(split.labels is None for split in dataset[1:4])
        assert dataset.label_names is None


def manual(data_dir, name=""):
    folder = data_dir / "downloads" / "manual" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_mnist_is_prepared_from_its_manual_folder(publish, tmp_path, capfd, caplog):
    published = publish("mnist")
    shutil.copytree(published.folder, manual(tmp_path, "mnist"), dirs_exist_ok=True)
    told = []
    assert_is(load("mnist", data_dir=str(tmp_path), report=told.append), published)
    assert [message.split()[0] for message in told] == ["preparing", "decoding"]
    assert_is(load("mnist", data_dir=str(tmp_path), report=told.append), published)
    assert len(told) == 2
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert (tmp_path / "vae_jax" / "mnist" / "3.0.1" / "dataset_info.json").exists()
    assert not (tmp_path / "mnist").exists()


def test_images_without_label_files_have_no_labels(publish, tmp_path, server):
    """Nothing is downloaded for the labels alone, though there is a server for them."""
    published = publish("mnist", server)
    for filename in (*FILES.values(), LABEL_FILES["test"]):
        shutil.copy(published.folder / filename, manual(tmp_path, "mnist"))
    assert_is(load("mnist", data_dir=str(tmp_path)), published, labels=False)
    shutil.rmtree(tmp_path / "vae_jax" / "mnist" / "arrays")
    told = []
    dataset = load("mnist", data_dir=str(tmp_path), report=told.append)
    assert_is(dataset, published, labels=False)  # decoded again from what is prepared
    assert [message.split()[0] for message in told] == ["decoding"]

    # With both files, prepared again.
    shutil.copy(published.folder / LABEL_FILES["train"], manual(tmp_path, "mnist"))
    shutil.rmtree(tmp_path / "vae_jax" / "mnist")
    dataset = load("mnist", data_dir=str(tmp_path))
    assert_is(dataset, published)
    assert dataset.label_names == tuple("0123456789")
    shutil.rmtree(tmp_path / "vae_jax" / "mnist" / "arrays")
    assert_is(load("mnist", data_dir=str(tmp_path)), published)


def test_classes_have_names(publish, tmp_path):
    published = publish("fashion_mnist")
    shutil.copytree(published.folder, manual(tmp_path), dirs_exist_ok=True)
    for _ in range(2):
        dataset = load("fashion_mnist", data_dir=str(tmp_path))
        assert_is(dataset, published)
        assert dataset.label_names[:2] == ("T-shirt/top", "Trouser")
        assert len(dataset.label_names) == 10


@pytest.mark.slow
def test_the_original_files_are_mnist(mnist_files, tmp_path):
    shutil.copytree(mnist_files, manual(tmp_path, "mnist"), dirs_exist_ok=True)
    dataset = load("mnist", data_dir=str(tmp_path))
    pixels = {
        split: np.frombuffer(gzip.decompress((mnist_files / filename).read_bytes())[16:], np.uint8)
        for split, filename in FILES.items()
    }
    np.testing.assert_array_equal(dataset.test.x.ravel(), pixels["test"])
    together = np.concatenate([dataset.train.x, dataset.validation.x])
    assert unordered(together) == unordered(pixels["train"].reshape(-1, 28, 28, 1))
    path = mnist_files / LABEL_FILES["test"]
    labels = np.frombuffer(gzip.decompress(path.read_bytes())[8:], np.uint8)
    np.testing.assert_array_equal(dataset.test.labels, labels)


def test_equal_names_in_the_common_folder_are_told_apart(publish, tmp_path):
    mnist, fashion = publish("mnist"), publish("fashion_mnist", "http://fashion.invalid/")
    shutil.copytree(fashion.folder, manual(tmp_path), dirs_exist_ok=True)
    with pytest.raises(NotAvailableError, match=r"idx.invalid cannot be reached"):
        load("mnist", data_dir=str(tmp_path))
    assert_is(load("fashion_mnist", data_dir=str(tmp_path)), fashion)
    shutil.copytree(mnist.folder, manual(tmp_path, "mnist"), dirs_exist_ok=True)
    assert_is(load("mnist", data_dir=str(tmp_path)), mnist)


def test_auto_prepares_mnist_from_the_common_folder(publish, tmp_path):
    published = publish("mnist")
    shutil.copytree(published.folder, manual(tmp_path), dirs_exist_ok=True)
    assert_is(load("auto", data_dir=str(tmp_path)), published)


def test_a_wrong_file_in_the_own_folder_is_named(publish, tmp_path):
    mnist, fashion = publish("mnist"), publish("fashion_mnist", "http://fashion.invalid/")
    folder = manual(tmp_path, "mnist")
    shutil.copytree(mnist.folder, folder, dirs_exist_ok=True)
    shutil.copy(fashion.folder / FILES["test"], folder)
    for name in ("mnist", "auto"):
        with pytest.raises(DataError, match=f"{folder / FILES['test']} is not mnist's file"):
            load(name, data_dir=str(tmp_path))
    assert not (tmp_path / "vae_jax").exists()


@pytest.fixture
def server(tmp_path):
    """The URL of a server on this machine for what is in tmp_path/published/mnist."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Handler, directory=tmp_path / "published" / "mnist")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_missing_files_are_downloaded(publish, server, tmp_path, capfd):
    published = publish("mnist", server)
    shutil.copy(published.folder / FILES["test"], manual(tmp_path))
    (published.folder / FILES["test"]).unlink()
    told = []
    assert_is(load("mnist", data_dir=str(tmp_path), report=told.append), published)
    assert told[0].startswith("downloading up to 0 MB and preparing mnist")
    assert capfd.readouterr() == ("", "")

    # Data that TFDS has downloaded need no second download, for which there is no server any more.
    (published.folder / FILES["train"]).unlink()
    shutil.rmtree(tmp_path / "vae_jax")
    assert_is(load("mnist", data_dir=str(tmp_path)), published)


def test_a_download_that_fails_is_one_sentence(publish, server, tmp_path, capfd):
    published = publish("mnist", server)
    (published.folder / FILES["test"]).unlink()
    with pytest.raises(NotAvailableError, match=r"could not prepare mnist .* 404") as caught:
        load("mnist", data_dir=str(tmp_path))
    assert "\n" not in str(caught.value)
    assert load("auto", data_dir=str(tmp_path)).name == "mnist_5k"
    assert capfd.readouterr() == ("", "")


def test_a_download_with_other_content_is_refused(publish, server, tmp_path):
    published = publish("mnist", server)
    (published.folder / FILES["test"]).write_bytes(b"a captive portal's page")
    with pytest.raises(NotAvailableError, match=r"could not prepare mnist .* wrong checksum"):
        load("mnist", data_dir=str(tmp_path))


def test_a_hanging_network_costs_less_than_five_seconds(publish, tmp_path, monkeypatch):
    publish("mnist")
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: released.wait(60))
    start = time.monotonic()
    with pytest.raises(NotAvailableError) as caught:
        load("mnist", data_dir=str(tmp_path))
    assert time.monotonic() - start < 5
    released.set()
    assert str(caught.value) == (
        f"mnist is not in {tmp_path} and idx.invalid cannot be reached: put {FILES['train']} and "
        f"{FILES['test']} (as published) into {tmp_path}/downloads/manual/mnist, or use "
        "mnist_5k, which needs no network (--dataset=mnist_5k)"
    )


def test_two_processes_may_prepare_at_once(publish, tmp_path, monkeypatch):
    """The other one starts and finishes while this one reads its first file."""
    published = publish("mnist")
    shutil.copytree(published.folder, manual(tmp_path), dirs_exist_ok=True)
    read_images = idx.read_images

    def read_images_meanwhile(path):
        monkeypatch.setattr(idx, "read_images", read_images)
        assert_is(load("mnist", data_dir=str(tmp_path)), published)
        return read_images(path)

    monkeypatch.setattr(idx, "read_images", read_images_meanwhile)
    assert_is(load("mnist", data_dir=str(tmp_path)), published)
    assert sorted(path.name for path in (tmp_path / "vae_jax" / "mnist").iterdir()) == [
        "3.0.1",
        "arrays",
    ]


def test_an_unwritable_data_dir_is_one_sentence(publish, tmp_path):
    published = publish("mnist")
    shutil.copytree(published.folder, manual(tmp_path), dirs_exist_ok=True)
    (tmp_path / "vae_jax").write_text("in the way")
    with pytest.raises(NotAvailableError, match="vae_jax/mnist cannot be written"):
        load("mnist", data_dir=str(tmp_path))
    assert load("auto", data_dir=str(tmp_path)).name == "mnist_5k"


def test_a_preparation_without_room_is_one_sentence(publish, tmp_path, monkeypatch):
    published = publish("mnist")
    shutil.copytree(published.folder, manual(tmp_path), dirs_exist_ok=True)

    def no_room(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(idx, "read_images", no_room)
    with pytest.raises(DataError, match=r"could not prepare mnist .*No space left on device"):
        load("mnist", data_dir=str(tmp_path))
    assert list((tmp_path / "vae_jax" / "mnist").iterdir()) == []


@pytest.fixture
def stock(publish, tmp_path):
    """MNIST as TFDS itself prepares it for array_record: as PNG, in another order."""
    published = publish("mnist")

    class Stock(tfds.image_classification.MNIST, skip_registration=True):
        name = "mnist"

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(split) for split in ("train", "test")}

        def _generate_examples(self, split):
            for index, image in enumerate(getattr(published, split)):
                yield index, {"image": png(image), "label": published.labels[split][index]}

    Stock(data_dir=tmp_path).download_and_prepare(file_format="array_record")
    return published


def png(image):
    """A file of the grey image [H, W, 1]; for arrays TFDS would need TensorFlow."""
    file = io.BytesIO()
    PIL.Image.fromarray(image[..., 0]).save(file, format="png")
    file.seek(0)
    return file


def test_what_tfds_prepared_for_array_record_is_used(stock, tmp_path, capfd):
    capfd.readouterr()
    told = []
    dataset = load("mnist", data_dir=str(tmp_path), report=told.append)
    assert told == [f"decoding mnist from {tmp_path}/mnist/3.0.1, once (5 seconds for MNIST)"]
    assert unordered(dataset.test.x) == unordered(stock.test)
    together = np.concatenate([dataset.train.x, dataset.validation.x])
    assert unordered(together) == unordered(stock.train)
    assert not (tmp_path / "vae_jax" / "mnist" / "3.0.1").exists()
    assert capfd.readouterr() == ("", "")


def test_what_tfds_prepared_as_tfrecord_is_left_alone(stock, tmp_path):
    folder = tmp_path / "mnist" / "3.0.1"
    info = folder / "dataset_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"fileFormat": "tfrecord"}))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.copytree(stock.folder, manual(tmp_path), dirs_exist_ok=True)
    assert_is(load("mnist", data_dir=str(tmp_path)), stock)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_damaged_records_are_one_sentence(stock, tmp_path):
    for path in (tmp_path / "mnist" / "3.0.1").glob("*train*"):
        path.write_bytes(path.read_bytes()[:100])
    remedy = f"could not read mnist .*delete {tmp_path}/mnist"
    with pytest.raises(DataError, match=remedy) as caught:
        load("mnist", data_dir=str(tmp_path))
    assert "\n" not in str(caught.value)


COLOUR = tfds.features.Tensor(shape=(4, 4, 3), dtype=np.uint8)
BITS = tfds.features.Tensor(shape=(4, 4, 1), dtype=np.uint8)
DUMMIES = {
    "binary": ({"image": BITS}, ("train", "test")),
    "masks": ({"image": BITS}, ("train", "test")),
    "with_test": ({"image": COLOUR, "mask": COLOUR}, ("train", "test", "validation")),
    "with_validation": ({"picture": COLOUR}, ("train", "validation")),
    "only_train": ({"image": COLOUR}, ("train",)),
    "no_train": ({"image": COLOUR}, ("test",)),
    "two_pictures": ({"left": COLOUR, "right": COLOUR}, ("train",)),
    "no_picture": ({"image": tfds.features.Tensor(shape=(4, 4), dtype=np.uint8)}, ("train",)),
    "ragged": ({"image": tfds.features.Tensor(shape=(None, 4, 3), dtype=np.uint8)}, ("train",)),
    "encoded": ({"image": tfds.features.Image(shape=(4, 4, 3))}, ("train",)),
}


class VaeJaxDummy(tfds.core.GeneratorBasedBuilder):
    """A registered data set without downloads, in one configuration for each case."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = tuple(tfds.core.BuilderConfig(name=name) for name in DUMMIES)

    def _info(self):
        features, _ = DUMMIES[self.builder_config.name]
        features = {"label": tfds.features.ClassLabel(num_classes=50)} | features
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        _, splits = DUMMIES[self.builder_config.name]
        return {split: self._generate_examples(split) for split in splits}

    def _generate_examples(self, split):
        features, _ = DUMMIES[self.builder_config.name]
        for index in range({"train": 40, "test": 20, "validation": 10}[split]):
            height = 4 + (index == 39) * (self.builder_config.name == "ragged")
            value = {"binary": index % 2, "masks": index % 21}.get(
                self.builder_config.name, 255 - index
            )
            images = {
                key: np.full((height, *feature.shape[1:]), value, np.uint8)
                for key, feature in features.items()
            }
            yield index, {"label": index} | images


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        ("with_test", [37, 3, 20]),
        ("with_validation", [37, 3, 10]),
        ("only_train", [33, 3, 4]),
    ],
)
def test_other_data_sets_of_tfds(tmp_path, capfd, monkeypatch, config, sizes):
    monkeypatch.setattr(array_cache, "_BLOCK", 7)  # several blocks
    name = f"tfds:vae_jax_dummy/{config}"
    for _ in range(2):
        dataset = load(name, data_dir=str(tmp_path))
        assert dataset.name == name
        assert [len(split) for split in dataset[1:4]] == sizes
        assert dataset.train.x.shape[1:] == (4, 4, 3)
        assert dataset.train.x.dtype == np.uint8
        own = dataset[1:3] if config != "only_train" else dataset[1:4]
        labels = np.concatenate([split.labels for split in own])
        np.testing.assert_array_equal(np.sort(labels), np.arange(40))
        for split in dataset[1:4]:
            np.testing.assert_array_equal(split.x[:, 2, 1, 0], 255 - split.labels)
        assert dataset.label_names == tuple(map(str, range(50)))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("in_memory", [True, False])
def test_zeros_and_ones_become_black_and_white(tmp_path, in_memory):
    """binarized_mnist of TFDS has them, and would otherwise be black and nearly black."""
    for _ in range(2):
        dataset = load("tfds:vae_jax_dummy/binary", data_dir=str(tmp_path), in_memory=in_memory)
        for split in dataset[1:4]:
            np.testing.assert_array_equal(split.x[:][:, 2, 1, 0], 255 * (split.labels % 2))
            assert split.x[:].dtype == np.uint8


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vae_jax_dummy/masks", "vae_jax_dummy/masks: the brightest pixel of train is 20 of 255"),
        ("vae_jax_dummy/no_train", r"has no training images, its splits are \['test'\]"),
        (
            "vae_jax_dummy/two_pictures",
            "neither an 'image' nor exactly one other .* label, left, right",
        ),
        ("vae_jax_dummy/no_picture", "neither an 'image' nor exactly one other .* image, label"),
        ("vae_jax_dummy/ragged", r"must all have one shape, but there are \([45], 4, 3\) and"),
        ("vae_jax_dummy/unknown", "knows no data set vae_jax_dummy/unknown, but only those of"),
        ("unknown", "knows no data set unknown, but only those of https://www.tensorflow.org"),
        ("cifar10", "cifar10 is not in .* and www.cs.toronto.edu cannot be reached: put cifar-10-"),
        ("cifar100", "cifar100 is not in .* and www.cs.toronto.edu cannot be reached: prepare it"),
    ],
)
def test_data_sets_of_tfds_that_cannot_be_had(tmp_path, capfd, name, said):
    with pytest.raises(DataError, match=said) as caught:
        load(f"tfds:{name}", data_dir=str(tmp_path))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_an_image_of_another_shape_in_the_last_block_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(array_cache, "_BLOCK", 1)
    with pytest.raises(DataError, match=r"must all have one shape, but there are"):
        load("tfds:vae_jax_dummy/ragged", data_dir=str(tmp_path))
    assert [
        path.name for path in (tmp_path / "vae_jax" / "vae_jax_dummy" / "ragged").iterdir()
    ] == ["1.0.0"]


def test_where_tfds_needs_tensorflow_that_is_said(tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # not installed, on any machine
    said = "could not prepare .* needs the package tensorflow for this, so pip install tensorflow"
    with pytest.raises(DataError, match=said) as caught:
        load("tfds:vae_jax_dummy/encoded", data_dir=str(tmp_path))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")

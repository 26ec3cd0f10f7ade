"""Data sets that TFDS needs TensorFlow for, from files of the published formats."""

import dataclasses
import hashlib
import io
import tarfile
import zipfile

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds

from vae_jax.data import DataError, load

RNG = np.random.default_rng(0)
BATCHES = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]


def cifar10():
    """Files by name, and images and labels by split, in order."""
    images = RNG.integers(0, 256, (6, 4, 32, 32, 3), np.uint8)
    labels = RNG.integers(0, 10, (6, 4), np.uint8)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, of_images, of_labels in zip(BATCHES, images, labels, strict=True):
            planes = of_images.transpose(0, 3, 1, 2).reshape(4, -1)
            records = np.concatenate([of_labels[:, None], planes], axis=1).tobytes()
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(records)
            archive.addfile(info, io.BytesIO(records))
    expected = {
        "train": (images[:5].reshape(20, 32, 32, 3), labels[:5].ravel()),
        "test": (images[5], labels[5]),
    }
    return {"cifar-10-binary.tar.gz": content.getvalue()}, expected


def binarized_mnist():
    files, expected = {}, {}
    for split, name, number in (
        ("train", "train", 9),
        ("validation", "valid", 4),
        ("test",) * 2 + (5,),
    ):
        bits = RNG.integers(0, 2, (number, 784))
        lines = "\n".join(" ".join(map(str, row)) for row in bits) + "\n"
        files[f"binarized_mnist_{name}.amat"] = lines.encode()
        expected[split] = (bits.reshape(-1, 28, 28, 1) * 255, None)
    return files, expected


def omniglot():
    """Each picture is one block of ink in a 15 x 15 field, 4 x 4 pixels of 28 x 28."""
    files, expected, offset = {}, {}, 0
    for split, name in (("train", "background"), ("test", "evaluation")):
        content, images, labels = io.BytesIO(), [], []
        with zipfile.ZipFile(content, "w") as archive:
            for alphabet in range(2):
                for number in range(6):
                    row, column = 15 * np.array([number, 6 - number])
                    ink = np.full((105, 105), 255, np.uint8)
                    ink[row : row + 15, column : column + 15] = 0
                    file = io.BytesIO()
                    PIL.Image.fromarray(ink).convert("1").save(file, "PNG")
                    path = f"images_{name}/A{alphabet}{split}/character01/00_{number:02}.png"
                    archive.writestr(path, file.getvalue())
                    small = np.zeros((28, 28, 1), np.uint8)
                    top, left = 4 * np.array([number, 6 - number])
                    small[top : top + 4, left : left + 4] = 255
                    images.append(small)
                    labels.append(offset + alphabet)
        offset += 2
        files[f"images_{name}.zip"] = content.getvalue()
        expected[split] = (np.stack(images), np.array(labels))
    return files, expected


SETS = {"cifar10": cifar10, "binarized_mnist": binarized_mnist, "omniglot": omniglot}


@pytest.fixture
def publish(monkeypatch, tmp_path):
    """Puts files of a data set where they are looked for, with their checksums as the official."""

    def put(name, files):
        stock = tfds.builder(name)
        some = next(iter(stock.url_infos.values()))
        infos = {
            f"http://files.invalid/{filename}": dataclasses.replace(
                some,
                size=len(content),
                checksum=hashlib.sha256(content).hexdigest(),
                filename=filename,
            )
            for filename, content in files.items()
        }
        monkeypatch.setattr(type(stock), "url_infos", infos)
        folder = tmp_path / "downloads" / "manual" / name
        folder.mkdir(parents=True)
        for filename, content in files.items():
            (folder / filename).write_bytes(content)
        return folder

    return put


@pytest.mark.parametrize("name", SETS)
def test_published_files_are_read_as_they_are(publish, tmp_path, name):
    files, expected = SETS[name]()
    publish(name, files)
    dataset = load(name, data_dir=str(tmp_path))
    np.testing.assert_array_equal(dataset.test.x, expected["test"][0])
    x, labels = expected["train"]
    found = {"train": dataset.train.x, "validation": dataset.validation.x}
    if "validation" in expected:
        np.testing.assert_array_equal(found["train"], x)
        np.testing.assert_array_equal(found["validation"], expected["validation"][0])
        assert dataset.kind == "binary"
        with pytest.raises(DataError, match="has 4 validation examples of its own: leave num_val"):
            load(name, data_dir=str(tmp_path), num_validation=2)
        return
    together = np.concatenate(list(found.values()))
    order = {image.tobytes(): label for image, label in zip(x, labels, strict=True)}
    assert sorted(map(bytes, together)) == sorted(map(bytes, x))
    np.testing.assert_array_equal(dataset.test.labels, expected["test"][1])
    of_both = np.concatenate([dataset.train.labels, dataset.validation.labels])
    np.testing.assert_array_equal(np.sort(of_both), np.sort(labels))
    if name == "cifar10":
        assert [order[image.tobytes()] for image in together] == of_both.tolist()
        assert dataset.label_names[0] == "airplane"


@pytest.mark.parametrize(
    ("name", "filename", "said"),
    [
        ("cifar10", "cifar-10-binary.tar.gz", "is no CIFAR-10 archive"),
        ("binarized_mnist", "binarized_mnist_valid.amat", "is no file of lines of 784 zeros and"),
        ("omniglot", "images_evaluation.zip", "is no Omniglot archive"),
    ],
)
def test_files_of_another_format_are_named(publish, tmp_path, name, filename, said):
    files, _ = SETS[name]()
    publish(name, files | {filename: b"0 1 7"})
    with pytest.raises(DataError, match=f"{filename} {said}") as caught:
        load(name, data_dir=str(tmp_path))
    assert "\n" not in str(caught.value)

"""MNIST, Fashion-MNIST and KMNIST prepared by TensorFlow Datasets without TensorFlow.

The builders of TFDS need TensorFlow. These have the same URLs, checksums, versions and names, and
store the images as plain uint8 in the order of the original files.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from vae_jax.data import idx
from vae_jax.data.downloads import UrlInfo
from vae_jax.errors import DataError

_IMAGES = {"train-images-idx3-ubyte.gz": "train", "t10k-images-idx3-ubyte.gz": "test"}
_LABELS = {"train-labels-idx1-ubyte.gz": "train", "t10k-labels-idx1-ubyte.gz": "test"}


def image_urls(stock: tfds.core.DatasetBuilder) -> dict[str, UrlInfo]:
    """The registered infos of the two image files by URL."""
    return {url: info for url, info in stock.url_infos.items() if info.filename in _IMAGES}


def label_urls(stock: tfds.core.DatasetBuilder) -> dict[str, UrlInfo]:
    """The registered infos of the two label files by URL."""
    return {url: info for url, info in stock.url_infos.items() if info.filename in _LABELS}


def make(
    stock: tfds.core.DatasetBuilder, local_files: Mapping[str, Path], data_dir: Path
) -> tfds.core.GeneratorBasedBuilder:
    """Makes a builder under `data_dir` that downloads only URLs that are not in `local_files`.

    It has labels if their files are here or if images must be downloaded anyway. Nothing is
    downloaded for the labels alone.
    """
    images, labels = image_urls(stock), label_urls(stock)
    if not (local_files.keys() >= labels.keys() or images.keys() - local_files.keys()):
        labels = {}

    # The registry of TFDS has its own builder under the same name.
    class IdxImages(  # type: ignore[call-arg]  # the keyword is that of TFDS, which has no types
        tfds.core.GeneratorBasedBuilder, skip_registration=True
    ):
        name = stock.name
        VERSION = stock.version
        url_infos = images | labels

        def _info(self):
            features = {"image": tfds.features.Tensor(shape=(28, 28, 1), dtype=np.uint8)}
            if labels:
                names = stock.info.features["label"].names
                features["label"] = tfds.features.ClassLabel(names=names)
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                disable_shuffling=True,  # 'the first 1,000 test images' are those of everybody
            )

        def _split_generators(self, dl_manager):
            remote = [url for url in self.url_infos if url not in local_files]
            paths = dict(local_files) | dict(zip(remote, dl_manager.download(remote), strict=True))
            examples_of = {_IMAGES[str(info.filename)]: paths[url] for url, info in images.items()}
            labels_of = {_LABELS[str(info.filename)]: paths[url] for url, info in labels.items()}
            return {
                split: self._generate_examples(path, labels_of.get(split))
                for split, path in examples_of.items()
            }

        def _generate_examples(self, path, labels_path):
            images = idx.read_images(Path(path))
            if labels_path is None:
                yield from enumerate({"image": image} for image in images)
                return
            labels = idx.read_labels(Path(labels_path))
            if len(labels) != len(images):
                raise DataError(f"{labels_path} has {len(labels)} labels for {len(images)} images")
            for index, (image, label) in enumerate(zip(images, labels, strict=True)):
                yield index, {"image": image, "label": int(label)}

    return IdxImages(data_dir=data_dir)

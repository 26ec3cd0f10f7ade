"""Data sets of `published.PUBLISHED` prepared by TensorFlow Datasets without TensorFlow.

The builders of TFDS need TensorFlow. These have the same URLs, checksums, versions and names, and
store the images as plain uint8 in the order of the original files.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from vae_jax.data.downloads import UrlInfo
from vae_jax.data.published import PUBLISHED


def image_urls(stock: tfds.core.DatasetBuilder) -> dict[str, UrlInfo]:
    """The registered infos of the files that are needed, by URL."""
    wanted = PUBLISHED[stock.name].files
    return {url: info for url, info in stock.url_infos.items() if info.filename in wanted}


def label_urls(stock: tfds.core.DatasetBuilder) -> dict[str, UrlInfo]:
    """The registered infos of the files of labels alone, by URL."""
    wanted = PUBLISHED[stock.name].label_files
    return {url: info for url, info in stock.url_infos.items() if info.filename in wanted}


def make(
    stock: tfds.core.DatasetBuilder, local_files: Mapping[str, Path], data_dir: Path
) -> tfds.core.GeneratorBasedBuilder:
    """Makes a builder under `data_dir` that downloads only URLs that are not in `local_files`.

    It has labels if their files are here or if images must be downloaded anyway. Nothing is
    downloaded for the labels alone.
    """
    published = PUBLISHED[stock.name]
    images, labels = image_urls(stock), label_urls(stock)
    if not (local_files.keys() >= labels.keys() or images.keys() - local_files.keys()):
        labels = {}
    has_labels = "label" in stock.info.features and bool(labels or not published.label_files)

    # The registry of TFDS has its own builder under the same name.
    class FromFiles(  # type: ignore[call-arg]  # the keyword is that of TFDS, which has no types
        tfds.core.GeneratorBasedBuilder, skip_registration=True
    ):
        name = stock.name
        VERSION = stock.version
        url_infos = images | labels

        def _info(self):
            features = {"image": tfds.features.Tensor(shape=published.shape, dtype=np.uint8)}
            if has_labels:
                features["label"] = _classes(stock, published.classes)
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                disable_shuffling=True,  # 'the first 1,000 test images' are those of everybody
            )

        def _split_generators(self, dl_manager):
            remote = [url for url in self.url_infos if url not in local_files]
            paths = dict(local_files) | dict(zip(remote, dl_manager.download(remote), strict=True))
            files = {str(info.filename): Path(paths[url]) for url, info in self.url_infos.items()}
            return {split: self._generate_examples(split, files) for split in published.splits}

        def _generate_examples(self, split, files):
            images, labels = published.read(split, files)
            for index, image in enumerate(images):
                label = {} if labels is None else {"label": int(labels[index])}
                yield index, {"image": image, **label}

    return FromFiles(data_dir=data_dir)


def _classes(stock: tfds.core.DatasetBuilder, classes: tuple[str, ...] | int | None) -> Any:
    if isinstance(classes, int):
        return tfds.features.ClassLabel(num_classes=classes)
    return tfds.features.ClassLabel(names=classes or stock.info.features["label"].names)

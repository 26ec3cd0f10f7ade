"""MNIST, Fashion-MNIST and KMNIST prepared by TensorFlow Datasets without TensorFlow.

The stock builders unpack and encode with TensorFlow. These keep their URLs, checksums, versions
and names, and hold the images as plain uint8 in the original files' order.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from vae_jax.data import idx
from vae_jax.data.downloads import UrlInfo

_SPLITS = {"train-images-idx3-ubyte.gz": "train", "t10k-images-idx3-ubyte.gz": "test"}


def image_urls(stock: tfds.core.DatasetBuilder) -> dict[str, UrlInfo]:
    """The registered infos of the two image files by URL; labels are not needed."""
    return {url: info for url, info in stock.url_infos.items() if info.filename in _SPLITS}


def make(
    stock: tfds.core.DatasetBuilder, local_files: Mapping[str, Path], data_dir: Path
) -> tfds.core.GeneratorBasedBuilder:
    """A builder under `data_dir` that downloads only what is not among `local_files` (by URL)."""
    infos = image_urls(stock)

    # The registry of TFDS holds the stock builder under the same name.
    class IdxImages(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = stock.name
        VERSION = stock.version
        url_infos = infos

        def _info(self):
            image = tfds.features.Tensor(shape=(28, 28, 1), dtype=np.uint8)
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict({"image": image}),
                disable_shuffling=True,  # so that 'the first 1,000 test images' are everybody's
            )

        def _split_generators(self, dl_manager):
            remote = [url for url in infos if url not in local_files]
            paths = dict(local_files) | dict(zip(remote, dl_manager.download(remote), strict=True))
            return {
                _SPLITS[info.filename]: self._generate_examples(paths[url])
                for url, info in infos.items()
            }

        def _generate_examples(self, path):
            for index, image in enumerate(idx.read_images(Path(path))):
                yield index, {"image": image}

    return IdxImages(data_dir=data_dir)

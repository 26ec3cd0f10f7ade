"""Images of any TensorFlow Datasets (TFDS) data set, prepared and read without TensorFlow.

A data set that TFDS has prepared in `data_dir` is read if its format allows it, and never changed.
Others are prepared in `<data_dir>/vae_jax`, from files in `<data_dir>/downloads` or the network.
"""

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import tensorflow_datasets as tfds

from vae_jax.data import array_cache, downloads, file_builder
from vae_jax.data.muted import muted
from vae_jax.data.paths import named
from vae_jax.data.published import PUBLISHED
from vae_jax.errors import DataError, NotAvailableError

_FORMAT = "array_record"  # the format that TFDS reads without TensorFlow
_PROBE_SECONDS = (
    3.0  # which leaves time to import TFDS within the 5 seconds that a user waits at most
)


class Decoded:
    """Images [N, H, W, C] uint8 of a prepared split, decoded when they are sliced.

    labels: [N] integers, or None. The label of an example is known after its image was decoded, so
    that no record is decoded twice.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        name: str,
        builder: tfds.core.DatasetBuilder,
        source: Any,  # Sequence[Mapping[str, np.ndarray]], with `__getitems__` of TFDS
        key: str,
        label_key: str | None,
    ):
        self._name, self._builder, self._source, self._key = name, builder, source, key
        self._label_key = label_key
        self.shape = (len(source), *source[0][key].shape)
        self.labels = None if label_key is None else np.zeros(len(source), np.int64)

    def __getitem__(self, index: slice) -> np.ndarray:
        """Raises DataError if records cannot be read or their images are not of one shape."""
        with _reading(self._name, self._builder):
            # All at once, five times faster than one by one.
            records = self._source.__getitems__(range(len(self._source))[index])
        if self.labels is not None:
            self.labels[index] = [record[self._label_key] for record in records]
        images = [record[self._key] for record in records]
        for image in images:
            if image.shape != self.shape[1:]:
                raise DataError(
                    f"the images of {self._name} must all have one shape, "
                    f"but there are {self.shape[1:]} and {image.shape}"
                )
        return np.stack(images)


def read(
    name: str, data_dir: Path, report: Callable[[str], None]
) -> tuple[dict[str, Decoded], tuple[str, ...] | None]:
    """The splits, decoded when sliced, and the names of the classes, if there are labels.

    The splits are "train" and, unless there is none, "test"; and "validation" of a data set of
    `published.PUBLISHED` that has one. `name` is TFDS's own, such as "mnist"
    or "emnist/letters". Where there is no "test" split, "validation" takes its place.

    Raises NotAvailableError if files are missing and cannot be downloaded, or if nothing can be
    written. Raises DataError if TFDS does not know, cannot prepare or cannot read the data set, or
    if it does not have uint8 images of one shape. Errors that only decoding shows are raised there.
    """
    builder = _prepared(name, data_dir, report)
    report(f"decoding {name} from {named(builder.data_dir)}, once (5 seconds for MNIST)")
    with _reading(name, builder):
        sources = builder.as_data_source()
        if not sources.get("train"):
            raise DataError(f"{name} has no training images, its splits are {list(sources)}")
        features = builder.info.features
        key, label_key = _image_key(name, features), _label_key(features)
        test = sources.get("test") or sources.get("validation")
        splits = {"train": sources["train"]} | ({"test": test} if test else {})
        if name in PUBLISHED and "validation" in sources:
            splits["validation"] = sources["validation"]
        decoded = {
            split: Decoded(name, builder, source, key, label_key)
            for split, source in splits.items()
        }
        names = getattr(features[label_key], "names", None) if label_key else None
        return decoded, tuple(names) if names else None


class _Origin(NamedTuple):
    """The source of the files of a data set, and the function that prepares them."""

    builder: Callable[[Mapping[str, Path]], tfds.core.DatasetBuilder]  # URL -> file on this machine
    url_infos: Mapping[str, downloads.UrlInfo]
    label_infos: Mapping[str, downloads.UrlInfo]  # files that are not required
    manual_dir: Path
    remedy: str


def _prepared(name: str, data_dir: Path, report: Callable[[str], None]) -> tfds.core.DatasetBuilder:
    with _calling_tfds(f"could not open {name} in {named(data_dir)}"):
        stock = _stock(name, data_dir)
        if stock.is_prepared() and stock.info.file_format.value == _FORMAT:
            return stock
        origin = _origin(name, stock, data_dir)
        builder = origin.builder({})
        if builder.is_prepared():
            return _as_prepared(builder)

    files = _local_files(stock.name, origin, data_dir / "downloads")
    missing = [url for url in origin.url_infos if url not in files]
    if missing and not downloads.reachable(missing[0], _PROBE_SECONDS):
        raise NotAvailableError(
            f"{name} is not in {named(data_dir)} and {urlsplit(missing[0]).hostname} cannot be "
            f"reached: {origin.remedy}",
            instead=", or use mnist_5k, which needs no network (--dataset=mnist_5k)",
        )
    array_cache.require_writable(Path(builder.data_dir).parent)

    megabytes = sum(origin.url_infos[url].size for url in missing) / 1e6
    fetching = f"downloading up to {megabytes:.0f} MB and " if missing else ""
    report(f"{fetching}preparing {name} in {named(builder.data_dir)}, once (10 seconds for MNIST)")
    failure = NotAvailableError if missing else DataError
    with _calling_tfds(f"could not prepare {name} in {named(builder.data_dir)}", failure):
        try:
            origin.builder(files).download_and_prepare(
                download_dir=data_dir / "downloads",
                download_config=tfds.download.DownloadConfig(
                    manual_dir=origin.manual_dir, try_download_gcs=False
                ),
                file_format=_FORMAT,
            )
        except OSError:
            if not origin.builder({}).is_prepared():  # otherwise another process was faster
                raise
        return _as_prepared(origin.builder({}))


def _as_prepared(builder: tfds.core.DatasetBuilder) -> tfds.core.DatasetBuilder:
    """The builder with the features that are on disk, where labels may be missing."""
    return tfds.builder_from_directory(builder.data_dir)


def _stock(name: str, data_dir: Path) -> tfds.core.DatasetBuilder:
    try:
        return tfds.builder(name, data_dir=data_dir)
    except ValueError as error:  # the error of TFDS for an unknown name, which is pages long
        raise DataError(
            f"TensorFlow Datasets knows no data set {name}, but only those of "
            "https://www.tensorflow.org/datasets/catalog/overview"
        ) from error


def _origin(name: str, stock: tfds.core.DatasetBuilder, data_dir: Path) -> _Origin:
    root = data_dir / "vae_jax"
    manual_dir = data_dir / "downloads" / "manual"
    if name not in PUBLISHED:
        return _Origin(
            builder=lambda files: tfds.builder(name, data_dir=root),
            url_infos=stock.url_infos or {},
            label_infos={},
            manual_dir=manual_dir,
            remedy="prepare it where there is a network and copy the data_dir",
        )
    url_infos = file_builder.image_urls(stock)
    filenames = " and ".join(str(info.filename) for info in url_infos.values())
    return _Origin(
        builder=lambda files: file_builder.make(stock, files, root),
        url_infos=url_infos,
        label_infos=file_builder.label_urls(stock),
        manual_dir=manual_dir / name,
        remedy=f"put {filenames} (as published) into {named(manual_dir / name)}",
    )


def _local_files(name: str, origin: _Origin, downloads_dir: Path) -> dict[str, Path]:
    """Files that are here already, by URL.

    Raises DataError if the manual folder of the data set has another file under the name of one. In
    a common folder, such a file may belong to another data set, and is ignored.
    """
    own, common = downloads_dir / "manual" / name, downloads_dir / "manual"
    url_infos = {**origin.url_infos, **origin.label_infos}
    for info in url_infos.values():
        path = own / (info.filename or "")
        if os.path.isfile(path) and not downloads.is_intact(path, info):
            raise DataError(
                f"{named(path)} is not {name}'s file of this name (its size or SHA-256 differs): "
                "replace or delete it"
            )
    # TFDS keeps its downloads in the last two.
    folders = (own, common, downloads_dir / name, downloads_dir)
    return downloads.find_files(url_infos, folders)


def _image_key(name: str, features: Mapping[str, tfds.features.FeatureConnector]) -> str:
    images = [
        key
        for key, feature in features.items()
        if feature.np_dtype == np.uint8 and len(feature.shape) == 3
    ]
    if "image" in images:
        return "image"
    if len(images) != 1:
        raise DataError(
            f"{name} has neither an 'image' nor exactly one other feature that is uint8 "
            f"[H, W, C], only {', '.join(sorted(features))}"
        )
    return images[0]


def _label_key(features: Mapping[str, tfds.features.FeatureConnector]) -> str | None:
    if "label" not in features:
        return None
    feature = features["label"]
    if feature.shape != () or not np.issubdtype(feature.np_dtype, np.integer):
        return None
    return "label"


def _reading(name: str, builder: tfds.core.DatasetBuilder):
    return _calling_tfds(
        f"could not read {name} (if it is damaged, delete {named(builder.data_dir)} to prepare it "
        "again)"
    )


@contextlib.contextmanager
def _calling_tfds(failing: str, failure: type[DataError] = DataError) -> Iterator[None]:
    """Hides prints and logs of TFDS, and turns its errors into one sentence."""
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()), muted("absl", "urllib3.connectionpool"):
        try:
            yield
        except DataError:
            raise
        except Exception as error:
            raise failure(f"TensorFlow Datasets {failing}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    causes = [error]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)
    for cause in causes:
        if isinstance(cause, ImportError) and cause.name:
            package = cause.name.split(".")[0]
            return f"it needs the package {package} for this, so pip install {package}"
    return (str(error) or type(error).__name__).splitlines()[0]

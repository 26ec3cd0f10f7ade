"""Data sets of TensorFlow Datasets (TFDS), decoded once into arrays."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from vae_jax.data import array_cache
from vae_jax.data.brightness import brightest, require_bright
from vae_jax.data.splits import Split, Undivided

_LABEL_NAMES = "label-names"


def read(name: str, data_dir: Path, report: Callable[[str], None]) -> Undivided:
    """The data set that TFDS calls `name`, as memory-mapped arrays.

    Images that are all 0 and 1, as those of binarized_mnist, become 0 and 255 in memory. Labels
    are None if older versions decoded the images, and for a split without any, which TFDS marks
    by -1. Raises what `tfds_images.read` and `array_cache` do, and DataError for images that are
    nearly black (see `vae_jax.data.brightness`).
    """
    folder = data_dir / "vae_jax" / name / "arrays"
    found = array_cache.read(folder)
    if found is None:
        # TFDS takes a second to import, which a run on decoded images need not wait for.
        from vae_jax.data import tfds_images

        array_cache.write(folder, _to_cache(*tfds_images.read(name, data_dir, report)))
        found = array_cache.read(folder)
    arrays = found or {}
    kept = [split for split in ("train", "test", "validation") if split in arrays]
    images = _on_scale(name, {split: arrays[split] for split in kept})
    splits = {split: Split(x, _labels(arrays, split)) for split, x in images.items()}
    labelled = any(split.labels is not None for split in splits.values())
    names = tuple(arrays[_LABEL_NAMES].tolist()) if labelled and _LABEL_NAMES in arrays else None
    return Undivided(
        splits["train"], splits.get("test"), names, validation=splits.get("validation")
    )


def _to_cache(decoded, names: tuple[str, ...] | None) -> dict[str, array_cache.Values]:
    labels = {f"{split}-labels": images.labels for split, images in decoded.items()}
    # Images first: labels are known once the images are decoded.
    arrays = dict(decoded) | {key: array for key, array in labels.items() if array is not None}
    return arrays | ({_LABEL_NAMES: np.array(names)} if names else {})


def _labels(arrays: Mapping[str, np.ndarray], split: str) -> np.ndarray | None:
    labels = arrays.get(f"{split}-labels")
    return None if labels is None or (labels < 0).all() else np.array(labels)


def _on_scale(name: str, images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if max(brightest(split, enough=2) for split in images.values()) == 1:
        return {key: np.asarray(split) * np.uint8(255) for key, split in images.items()}
    require_bright(images, f"{name}: ")
    return images

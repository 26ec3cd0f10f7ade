"""Checkpoints: a pytree of arrays in one .npz file, which a kill cannot damage.

A file holds one array for each leaf, named by its path (params/encoder/output/bias), and metadata
as a JSON text. It holds no pickles, any NumPy can read it, and the CRC of every array is checked on
reading.
"""

import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.errors import CheckpointError

_METADATA = "metadata.json"
_BEST = "best.npz"
# What NumPy and zipfile raise for damaged files.
DAMAGE = (
    *(OSError, EOFError, KeyError, ValueError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
_KEPT = 2  # the newest checkpoint, and one to fall back to


def save(folder: Path, epoch: int, tree: Any, metadata: dict[str, Any]) -> Path:
    """Writes a checkpoint and removes all but the newest two.

    The checkpoints before it stay as they are until it is complete, and if it fails.

    Args:
      folder: folder of the checkpoints, which is made if it is missing.
      epoch: number of the epoch, which names the file. The highest one is the newest.
      tree: pytree of arrays and typed PRNG keys.
      metadata: anything that JSON can hold.

    Raises:
      CheckpointError: the file cannot be written, for example because the disk is full.
    """
    path = folder / _name(epoch)
    with _writing(path):
        _write(path, tree, metadata)
        # Files with a higher number are damaged: training went on from a checkpoint before them.
        kept = [other for other in _newest_first(folder) if other.name <= path.name][:_KEPT]
        for other in _newest_first(folder):
            if other not in kept:
                other.unlink()
    return path


def save_best(folder: Path, tree: Any, metadata: dict[str, Any]) -> Path:
    """Writes the checkpoint of the best epoch, in place of the one before. See `save`."""
    path = folder / _BEST
    with _writing(path):
        _write(path, tree, metadata)
    return path


def restore_best(
    folder: Path, template: Callable[[dict[str, Any]], Any]
) -> tuple[Any, dict[str, Any]] | None:
    """Reads the checkpoint of `save_best`, or returns None if there is none. See `restore`.

    Raises:
      CheckpointError: the file is damaged, or does not hold the arrays of the template.
    """
    path = folder / _BEST
    if not path.exists():
        return None
    try:
        arrays, metadata = _read(path)
    except DAMAGE as error:
        raise CheckpointError(f"The checkpoint {path} is damaged ({error}).") from error
    return _fill(template(metadata), arrays, path), metadata


def restore(
    folder: Path,
    template: Callable[[dict[str, Any]], Any],
    *,
    up_to: int | None = None,
    report: Callable[[str], None] = lambda message: None,
) -> tuple[Any, dict[str, Any]] | None:
    """Reads the newest checkpoint that is not damaged.

    Args:
      folder: folder of the checkpoints.
      template: metadata -> a pytree of arrays or `jax.ShapeDtypeStruct` with the structure of the
        result. It may be a subtree of the saved tree.
      up_to: last epoch whose checkpoint may be read; None for any epoch.
      report: function that receives one sentence for each damaged checkpoint.

    Returns:
      (tree, metadata), or None if the folder holds no checkpoint.

    Raises:
      CheckpointError: all checkpoints are damaged, or the newest good one does not hold the arrays
        of the template.
    """
    paths = [path for path in _newest_first(folder) if up_to is None or path.name <= _name(up_to)]
    for path in paths:
        try:
            arrays, metadata = _read(path)
        except DAMAGE as error:
            report(f"The checkpoint {path} is damaged ({error}); trying the one before it.")
            continue
        return _fill(template(metadata), arrays, path), metadata
    if paths:
        raise CheckpointError(f"All checkpoints in {folder} are damaged.")
    return None


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        path.with_suffix(".partial").unlink(missing_ok=True)
        raise CheckpointError(
            f"The checkpoint {path} could not be written ({error.strerror}); what was saved before "
            "stays as it was."
        ) from error


def _write(path: Path, tree: Any, metadata: dict[str, Any]) -> None:
    arrays = {name: _to_numpy(leaf) for name, leaf in _named_leaves(tree)}
    arrays[_METADATA] = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    partial = path.with_suffix(".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(partial, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    _sync_folder(path.parent)


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as members:
        arrays = dict(members)
    return arrays, json.loads(arrays.pop(_METADATA).tobytes())


def _name(epoch: int) -> str:
    return f"epoch-{epoch:06d}.npz"


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("epoch-*.npz"), reverse=True)


def _named_leaves(tree: Any) -> list[tuple[str, Any]]:
    leaves, _ = jax.tree.flatten_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in leaves]


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _to_numpy(leaf: jax.Array) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _fill(template: Any, arrays: dict[str, np.ndarray], path: Path) -> Any:
    leaves = []
    for name, leaf in _named_leaves(template):
        array = arrays.get(name)
        expected = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
        if array is None or array.shape != expected.shape or array.dtype != expected.dtype:
            found = "missing" if array is None else f"{array.dtype}{list(array.shape)}"
            raise CheckpointError(
                f"The checkpoint {path} is of another model or version: {name} is {found}, "
                f"not {expected.dtype}{list(expected.shape)}."
            )
        copy = jnp.array(array)  # which training may donate
        leaves.append(
            jax.random.wrap_key_data(copy, impl=jax.random.key_impl(leaf))
            if _is_key(leaf)
            else copy
        )
    return jax.tree.unflatten(jax.tree.structure(template), leaves)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

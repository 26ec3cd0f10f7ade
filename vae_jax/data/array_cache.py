"""Decoded images, and their labels, as .npy files that later runs map into memory.

A complete folder appears by one rename. A kill, a full disk or a second process may leave a folder
`incomplete.*` behind, but never half a cache.
"""

import json
import os
import shutil
import tempfile
import uuid
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from vae_jax.data.paths import named
from vae_jax.errors import DataError, NotAvailableError

_CHECKSUMS = "crc32.json"
_BLOCK = 1000  # number of images that are written at once


class Values(Protocol):
    """Images [N, *event] of one split, or their labels: an array, or computed when sliced."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __getitem__(self, index: slice) -> np.ndarray: ...


def read(folder: Path) -> dict[str, np.ndarray] | None:
    """Memory-mapped arrays by name, or None if `folder` was never written.

    Raises DataError if a file is damaged or missing.
    """
    if not os.path.exists(folder):  # Path.exists raises an error without permission to look
        return None
    checksums = _read_checksums(folder)
    for filename, checksum in checksums.items():
        try:
            intact = _crc32(folder / filename) == checksum
        except OSError:
            intact = False
        if not intact:
            raise _damaged(folder, filename)
    return {
        Path(filename).stem: np.load(folder / filename, mmap_mode="r") for filename in checksums
    }


def write(folder: Path, arrays: Mapping[str, Values]) -> None:
    """Writes `arrays` into `folder`, one after the other and each in blocks.

    If another process was faster, its files stay. Raises DataError if the disk is full or not
    writable.
    """
    staging = folder.with_name(f"incomplete.{uuid.uuid4().hex}")
    try:
        staging.mkdir(parents=True)
        _write_files(staging, arrays)
        _publish(staging, folder)
    except OSError as error:
        raise DataError(_cannot_write(folder, error)) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def require_writable(folder: Path) -> None:
    """Raises NotAvailableError if no file can be made in `folder`, before work on it is lost."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise NotAvailableError(_cannot_write(folder, error)) from error


def _cannot_write(folder: Path, error: OSError) -> str:
    reason = error.strerror or error
    return f"{named(folder)} cannot be written ({reason}): make room or choose another data_dir"


def _write_files(folder: Path, arrays: Mapping[str, Values]) -> None:
    checksums = {}
    for name, values in arrays.items():
        path = folder / f"{name}.npy"
        with path.open("wb") as file:
            _write_npy(file, values)
            _to_disk(file)
        checksums[path.name] = _crc32(path)
    with (folder / _CHECKSUMS).open("w") as file:
        json.dump(checksums, file)
        _to_disk(file)


def _write_npy(file, values: Values) -> None:
    # Not through a memory map: there a full disk is a signal that kills, not an exception.
    header = {
        "descr": np.lib.format.dtype_to_descr(values.dtype),
        "fortran_order": False,
        "shape": values.shape,
    }
    np.lib.format.write_array_header_1_0(file, header)
    for start in range(0, values.shape[0], _BLOCK):
        file.write(np.ascontiguousarray(values[start : start + _BLOCK]))


def _to_disk(file) -> None:
    file.flush()
    os.fsync(file.fileno())


def _publish(staging: Path, folder: Path) -> None:
    try:
        staging.rename(folder)
    except OSError:
        if not folder.exists():
            raise


def _read_checksums(folder: Path) -> dict[str, int]:
    try:
        return dict(json.loads((folder / _CHECKSUMS).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(folder, _CHECKSUMS) from error


def _damaged(folder: Path, filename: str) -> DataError:
    return DataError(
        f"{named(folder / filename)} is damaged or missing: "
        f"delete the folder {named(folder)} and the data set will be prepared again"
    )


def _crc32(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum

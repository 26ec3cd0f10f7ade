"""Files of a run. Errors are one sentence, and a killed process leaves every file whole."""

import io
import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vae_jax.errors import BadInputError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an error in writing a file into a BadInputError with one sentence."""
    try:
        yield
    except OSError as error:
        raise BadInputError(
            f"{path} cannot be written ({error.strerror or error}); what was saved before stays: "
            "make room and give the same command again."
        ) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns an error in reading a file into a BadInputError with one sentence."""
    try:
        yield
    except PermissionError as error:
        raise BadInputError(f"{path} cannot be read ({error.strerror}).") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInputError(
            f"{path} is damaged ({error}): put it right, or name another folder."
        ) from error


def replace(path: Path, text: str) -> None:
    """Writes a text file at once: a killed process leaves the old file or the new one."""
    replace_bytes(path, text.encode())


def replace_bytes(path: Path, content: bytes) -> None:
    """Writes a file at once: a killed process leaves the old file or the new one."""
    with writing(path):
        try:
            with open(partial(path), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial(path), path)
        finally:
            partial(path).unlink(missing_ok=True)


def save_npz(path: Path, **arrays: np.ndarray) -> None:
    """Writes arrays as an .npz file at once, like `replace`."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    replace_bytes(path, content.getvalue())


def append(path: Path, line: str) -> None:
    """Adds a line to a file; it is on disk when this returns."""
    with writing(path), open(path, "a") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def partial(path: Path) -> Path:
    """The name under which `replace` writes a file first."""
    return path.with_name(path.name + ".partial")


def read_json(path: Path, kind: type = dict) -> Any:
    """Reads a JSON file of a run; None if there is no file.

    Raises:
      BadInputError: the file is damaged, or its content is of another kind.
    """
    with reading(path):
        if not path.exists():
            return None
        value = json.loads(path.read_text())
        if not isinstance(value, kind):
            raise ValueError(f"it holds a {type(value).__name__} in place of a {kind.__name__}")
    return value


def write_json(path: Path, value: Any, digits: int | None = None) -> None:
    """Writes dicts, lists, arrays and numbers as JSON, with null for numbers that are not finite.

    Args:
      path: file to write.
      value: content of the file.
      digits: number of significant digits of each number; None for all.

    Raises:
      BadInputError: the file cannot be written.
    """
    replace(path, json.dumps(_plain(value, digits), indent=1, allow_nan=False) + "\n")


def _plain(value: Any, digits: int | None) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part, digits) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, digits) for part in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist(), digits)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return value if digits is None else float(f"{value:.{digits}g}")
    return value


def output_folder(path: str | Path, named: str = "output") -> Path:
    """Creates the folder of an output and checks, before the work begins, that it is writable.

    named: flag or argument that names the folder.

    Raises:
      BadInputError: the folder is not writable.
    """
    folder = Path(os.path.expanduser(path))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise BadInputError(
            f"{named}={folder} cannot be written ({error.strerror}): name another folder."
        ) from error
    return folder

"""Files of a run: a failure to read or write one is a sentence, and a kill leaves each whole."""

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
    """Turns a failure to write a file of a run into a sentence (BadInputError)."""
    try:
        yield
    except OSError as error:
        raise BadInputError(
            f"{path} cannot be written ({error.strerror or error}); what was saved before stays: "
            "make room and give the same command again."
        ) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns a failure to read a file of a run into a sentence (BadInputError)."""
    try:
        yield
    except PermissionError as error:
        raise BadInputError(f"{path} cannot be read ({error.strerror}).") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInputError(
            f"{path} is damaged ({error}): put it right, or name another folder."
        ) from error


def replace(path: Path, text: str) -> None:
    """Writes a text file that a kill leaves as it was or as it should be."""
    replace_bytes(path, text.encode())


def replace_bytes(path: Path, content: bytes) -> None:
    """Writes a file that a kill leaves as it was or as it should be."""
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
    """Writes arrays as an .npz file, which a kill leaves as it was or as it should be."""
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
    """What a JSON file of a run holds; None if there is no file.

    Raises:
      BadInputError: the file is damaged, or holds something of another kind.
    """
    with reading(path):
        if not path.exists():
            return None
        value = json.loads(path.read_text())
        if not isinstance(value, kind):
            raise ValueError(f"it holds a {type(value).__name__} in place of a {kind.__name__}")
    return value


def write_json(path: Path, value: Any, digits: int | None = None) -> None:
    """Writes dicts, lists, arrays and numbers as JSON; null for what is not finite.

    Args:
      path: file to write.
      value: content of the file.
      digits: significant digits of each number; None for all.

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
    """The folder of an output, made and found to be writable before the work begins.

    named: the flag or argument that names it.

    Raises:
      BadInputError: it is not.
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

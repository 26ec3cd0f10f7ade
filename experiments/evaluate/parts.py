"""The parts of a long evaluation, each kept on disk as soon as it is done."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vae_jax import locks
from vae_jax.errors import BadInputError, Stopped
from vae_jax.runs.files import replace, writing
from vae_jax.runs.stop import StopSignal
from vae_jax.training.checkpoint import DAMAGE

Arrays = dict[str, np.ndarray]


class Parts:
    """A folder with one .npz file for each part, and settings.json, which says of what.

    A part that is there is not computed again, so that an evaluation that was interrupted goes on,
    to the same numbers: a part depends on nothing but the settings.
    """

    def __init__(self, folder: Path, stop: StopSignal):
        self._folder, self._stop = folder, stop

    @classmethod
    @contextmanager
    def of(cls, folder: Path, settings: dict[str, Any], stop: StopSignal) -> "Iterator[Parts]":
        """Those in a folder, which is made, and which no other process can use meanwhile.

        Raises:
          BadInputError: it holds parts of other settings, is in use, or cannot be written.
        """
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with locks.hold(folder / ".lock", f"--output={folder.parent}"):
            _settle(folder, settings)
            yield cls(folder, stop)

    def once(self, name: str, compute: Callable[[], dict[str, Any]]) -> Arrays:
        """The part of this name: read, or computed and written.

        Raises:
          Stopped: a signal asked for it, after the part was written.
          BadInputError: the file is damaged, or cannot be written.
        """
        path = self._folder / f"{name}.npz"
        if path.exists():
            return _read(path)
        computed = self._stop.wait_for(compute, until="this part is saved")
        arrays = {array: np.asarray(values) for array, values in computed.items()}
        with writing(path):
            partial = path.with_suffix(".partial")
            try:
                with open(partial, "wb") as file:
                    np.savez(file, **arrays)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(partial, path)
            finally:
                partial.unlink(missing_ok=True)
        if self._stop.requested:
            raise Stopped("Stopped; the same command goes on.")
        return arrays


def _read(path: Path) -> Arrays:
    try:
        with open(path, "rb") as file, np.load(file) as arrays:
            return dict(arrays)
    except DAMAGE as error:
        raise BadInputError(f"{path} is damaged ({error}): delete it.") from error


def _settle(folder: Path, settings: dict[str, Any]) -> None:
    """Writes settings.json, or checks that it holds these settings."""
    path = folder / "settings.json"
    if not path.exists():
        replace(path, json.dumps(settings, indent=1))
        return
    try:
        recorded = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path} is damaged ({error}): delete {folder}.") from error
    different = [name for name in settings if recorded.get(name) != settings[name]]
    if different:
        there = ", ".join(f"{name}={recorded.get(name)}" for name in different)
        here = ", ".join(f"{name}={settings[name]}" for name in different)
        raise BadInputError(
            f"--output={folder.parent} holds an evaluation of other settings ({there} there, "
            f"{here} here): name another folder, or delete it."
        )

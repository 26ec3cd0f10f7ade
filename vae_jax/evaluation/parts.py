"""The parts of a long evaluation, each kept on disk as soon as it is done."""

import functools
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vae_jax import locks
from vae_jax.errors import BadInputError, Stopped
from vae_jax.runs.events import Counted, Listener
from vae_jax.runs.files import replace, save_npz, writing
from vae_jax.runs.stop import StopSignal
from vae_jax.training.checkpoint import DAMAGE

Arrays = dict[str, np.ndarray]


class Parts:
    """A folder with one .npz file for each part, and the settings in settings.json.

    A part depends on nothing but the settings. A part that exists is not computed again, so that an
    interrupted evaluation continues to the same numbers.
    """

    def __init__(self, folder: Path, stop: StopSignal, tell: Listener):
        self._folder, self._stop, self._tell = folder, stop, tell

    @classmethod
    @contextmanager
    def of(
        cls, folder: Path, settings: dict[str, Any], stop: StopSignal, tell: Listener
    ) -> "Iterator[Parts]":
        """Opens a folder, which is created if needed, and locks it against other processes.

        Raises:
          BadInputError: the folder has parts of other settings, is in use, or is not writable.
        """
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with locks.hold(folder / ".lock", f"output={folder.parent}"):
            _settle(folder, settings)
            yield cls(folder, stop, tell)

    def once(self, name: str, compute: Callable[[], dict[str, Any]]) -> Arrays:
        """Reads the part of this name, or computes and writes it.

        Raises:
          Stopped: a signal has come; the part is written.
          BadInputError: the file is damaged, or cannot be written.
        """
        path = self._folder / f"{name}.npz"
        if path.exists():
            return _read(path)
        computed = self._stop.wait_for(compute, until="this part is saved")
        arrays = {array: np.asarray(values) for array, values in computed.items()}
        save_npz(path, **arrays)
        if self._stop.requested:
            raise Stopped("Stopped; the same command goes on.")
        return arrays

    def whole(self, label: str, name: str, compute: Callable[[], dict[str, Any]]) -> Arrays:
        """The same as `once`, with messages to listeners."""
        self._tell(Counted(label, 0, 1, "part"))
        found = self.once(name, compute)
        self._tell(Counted(label, 1, 1, "part"))
        return found

    def in_chunks(
        self,
        label: str,
        name: str,
        num_examples: int,
        size: int,
        key: jax.Array,
        compute: Callable[[slice, jax.Array], dict[str, Any]],
    ) -> Arrays:
        """Parts for chunks of examples, joined, with messages to listeners.

        compute: (rows of a chunk, key of the chunk) -> arrays [rows, ...].
        """
        found = []
        self._tell(Counted(label, 0, num_examples, "example"))
        for begin in range(0, num_examples, size):
            rows = slice(begin, min(begin + size, num_examples))
            work = functools.partial(compute, rows, jax.random.fold_in(key, begin))
            found.append(self.once(f"{name}_{begin}", work))
            self._tell(Counted(label, rows.stop, num_examples, "example"))
        return {array: np.concatenate([part[array] for part in found]) for array in found[0]}


def _read(path: Path) -> Arrays:
    try:
        with np.load(io.BytesIO(path.read_bytes())) as arrays:
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
        recorded = dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise BadInputError(f"{path} is damaged ({error}): delete {folder}.") from error
    different = [name for name in settings if recorded.get(name) != settings[name]]
    if different:
        there = ", ".join(f"{name}={recorded.get(name)}" for name in different)
        here = ", ".join(f"{name}={settings[name]}" for name in different)
        raise BadInputError(
            f"output={folder.parent} holds an evaluation of other settings ({there} there, "
            f"{here} here): name another folder, or delete it."
        )

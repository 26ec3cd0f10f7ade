"""A run folder: what a run writes, and how it is found again.

Of several processes the first one reads and writes it, and the others hear what it says.

flags.cfg        the flags that made it; --flagfile=flags.cfg makes it again
metrics.jsonl    one line for each epoch
checkpoints/     see vae_jax.training.checkpoint
figures/*.png
summary.json     written last: a folder that has it is finished
"""

import json
import os
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from experiments import hosts
from vae_jax import locks
from vae_jax.errors import BadInputError
from vae_jax.training import TrainState, checkpoint

_END = "# end of flags"


class RunFolder:
    """The files of one run. A kill at any moment leaves each as it was or as it should be, but for
    a last line of metrics.jsonl, which is passed over, and figures, which are drawn again."""

    def __init__(self, path: str | Path):
        self.path = Path(os.path.expanduser(path))
        self._checkpoints = self.path / "checkpoints"
        self.figures = self.path / "figures"
        self._flags = self.path / "flags.cfg"
        self._metrics = self.path / "metrics.jsonl"
        self._summary = self.path / "summary.json"

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Makes the folder and keeps every other process from writing in it.

        Raises:
          BadInputError: it cannot be made or written, holds files of something else, or another
            process is writing in it.
        """
        with ExitStack() as held:
            hosts.on_first(lambda: self._claim(held))
            yield

    def _claim(self, held: ExitStack) -> None:
        """Makes the folder and locks it as long as `held` is open."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            foreign = not self._flags.exists() and [
                name
                for name in os.listdir(self.path)
                if name not in (".lock", _partial(self._flags).name)
            ]
            if foreign:
                raise BadInputError(
                    f"--workdir={self.path} holds files ({foreign[0]}, ...) but no flags.cfg, as a "
                    "run's folder does: name a new or empty folder, or that of a run."
                )
        except OSError as error:
            raise BadInputError(
                f"--workdir={self.path} cannot be written ({error.strerror}): name a folder that "
                "can."
            ) from error
        held.enter_context(locks.hold(self.path / ".lock", f"--workdir={self.path}"))

    def recorded_flags(self) -> dict[str, str] | None:
        """The flags of the run in this folder, name -> text; None if it has none yet.

        Raises:
          BadInputError: the file is damaged.
        """
        return hosts.on_first(self._read_flags)

    def _read_flags(self) -> dict[str, str] | None:
        if not self._flags.exists():
            return None
        with reading(self._flags):
            lines = self._flags.read_text().splitlines()
            if not lines or lines[-1] != _END:
                raise ValueError("its end is missing")
        pairs = (line[2:].partition("=") for line in lines if line.startswith("--"))
        return {name: value for name, _, value in pairs}

    def record_flags(self, flags: dict[str, str]) -> None:
        """Writes flags.cfg, from which absl's --flagfile replays the run."""
        lines = [
            f"# Replay with: python -m experiments.mnist --flagfile={shlex.quote(str(self._flags))}"
            " --workdir=ANOTHER_FOLDER",
            *(f"--{name}={value}" for name, value in flags.items()),
            _END,
        ]
        hosts.on_first(lambda: replace(self._flags, "\n".join(lines) + "\n"))

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl, without a last one that a kill cut short.

        Raises:
          BadInputError: the file is damaged before its last line.
        """
        return hosts.on_first(self._read_metrics)

    def _read_metrics(self) -> list[dict[str, Any]]:
        if not self._metrics.exists():
            return []
        with reading(self._metrics):
            *whole, last = self._metrics.read_text().split("\n")  # whole lines end in a newline
            del last
            rows = [json.loads(line) for line in whole]
            if [row["epoch"] for row in rows] != list(range(1, len(rows) + 1)):
                raise ValueError("its epochs do not count up from 1")
        return rows

    def keep_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Replaces metrics.jsonl, by the rows up to the epoch from which the run goes on."""
        text = "".join(json.dumps(row) + "\n" for row in rows)
        hosts.on_first(lambda: replace(self._metrics, text))

    def add_metrics(self, row: dict[str, Any]) -> None:
        """Adds a line to metrics.jsonl."""

        def add():
            with writing(self._metrics), open(self._metrics, "a") as file:
                file.write(json.dumps(row) + "\n")
                file.flush()
                os.fsync(file.fileno())  # before the checkpoint of the same epoch

        hosts.on_first(add)

    def save(self, epoch: int, state: TrainState, metadata: dict[str, Any]) -> None:
        """Writes a checkpoint: see `vae_jax.training.checkpoint`."""

        def write():
            checkpoint.save(self._checkpoints, epoch, state, metadata)

        hosts.on_first(write)

    def restore(
        self, template: TrainState, up_to: int | None = None
    ) -> tuple[TrainState, dict[str, Any]] | None:
        """The newest good checkpoint, of an epoch up to `up_to`, and its metadata; None for none.

        Raises:
          CheckpointError: all are damaged, or the newest good one is of something else.
        """
        state = template

        def read():
            nonlocal state
            found = checkpoint.restore(
                self._checkpoints, lambda metadata: template, up_to=up_to, report=print
            )
            if found is None:
                return None
            state, metadata = found
            return metadata

        metadata = hosts.on_first(read)
        return None if metadata is None else (hosts.of_first(state), metadata)

    def summary(self) -> dict[str, Any] | None:
        """summary.json; None if the run is not finished.

        Raises:
          BadInputError: the file is damaged.
        """
        return hosts.on_first(lambda: read_json(self._summary))

    def finish(self, summary: dict[str, Any]) -> None:
        """Writes summary.json: the run is finished."""
        text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
        hosts.on_first(lambda: replace(self._summary, text))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns a failure to write a file of a run into a sentence (BadInputError)."""
    try:
        yield
    except OSError as error:
        raise BadInputError(
            f"{path} cannot be written ({error.strerror}); what was saved before stays: make room "
            "and give the same command again."
        ) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns a failure to read a file of a run into a sentence (BadInputError)."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInputError(
            f"{path} is damaged ({error}): put it right, or name another --workdir."
        ) from error


def read_json(path: Path) -> Any:
    """What a JSON file of a run holds; None if there is none.

    Raises:
      BadInputError: it is damaged.
    """
    if not path.exists():
        return None
    with reading(path):
        return json.loads(path.read_text())


def replace(path: Path, text: str) -> None:
    """Writes a file that a kill leaves as it was or as it should be."""
    with writing(path):
        try:
            with open(_partial(path), "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(_partial(path), path)
        finally:
            _partial(path).unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")

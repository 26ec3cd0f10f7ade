"""A run folder: the files of a run, written and read again.

If there are several processes, the first one reads and writes files and tells the others.

flags.cfg        the configuration; --flagfile=flags.cfg repeats the run
metrics.jsonl    one line for each epoch
checkpoints/     see vae_jax.training.checkpoint
figures/*.png
summary.json     written last: a folder with it is finished
"""

import json
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from vae_jax import locks, processes
from vae_jax.config import Config
from vae_jax.errors import BadInputError
from vae_jax.runs.files import append, partial, read_json, reading, replace
from vae_jax.training import TrainState, checkpoint

_END = "# end of flags"
Say = Callable[[str], None]


class RunFolder:
    """The files of one run, or of a sweep.

    A process that is killed leaves either the old or the new version of each file. The exceptions
    are the end of metrics.jsonl, which is then ignored, and figures, which are drawn again.
    """

    def __init__(self, path: str | Path, say: Say = lambda text: None):
        self.path = Path(os.path.expanduser(path))
        self.figures = self.path / "figures"
        self.checkpoints = self.path / "checkpoints"
        self._say = say
        self._flags = self.path / "flags.cfg"
        self._metrics = self.path / "metrics.jsonl"
        self._summary = self.path / "summary.json"

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.name

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Creates the folder and locks it against other processes.

        Raises:
          BadInputError: the folder cannot be created or written, has files of something else, or
            another process is writing in it.
        """
        with ExitStack() as held:
            processes.on_first(lambda: self._claim(held))
            yield

    def _claim(self, held: ExitStack) -> None:
        """Creates the folder and locks it while `held` is open."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            foreign = not self._flags.exists() and [
                name
                for name in os.listdir(self.path)
                if name not in (".lock", partial(self._flags).name)
            ]
        except OSError as error:
            raise BadInputError(
                f"workdir={self.path} cannot be written ({error.strerror}): name a folder that can."
            ) from error
        if foreign:
            raise BadInputError(
                f"workdir={self.path} holds files ({foreign[0]}, ...) but no flags.cfg, as a run's "
                "folder does: name a new or empty folder, or that of a run."
            )
        held.enter_context(locks.hold(self.path / ".lock", f"workdir={self.path}"))

    def recorded(self) -> dict[str, str] | None:
        """The configuration of the run in this folder, name -> text; None if it has none yet.

        Raises:
          BadInputError: the file is damaged or cannot be read.
        """
        return processes.on_first(self._read_flags)

    def _read_flags(self) -> dict[str, str] | None:
        with reading(self._flags):
            if not self._flags.exists():
                return None
            lines = self._flags.read_text().splitlines()
            if not lines or lines[-1] != _END:
                raise ValueError("its end is missing")
        pairs = (line[2:].partition("=") for line in lines if line.startswith("--"))
        return {name: value for name, _, value in pairs}

    def record(self, texts: dict[str, str]) -> None:
        """Writes flags.cfg, with which --flagfile repeats the run. texts: name -> text."""
        lines = [
            f"# Replay with: vae-jax train --flagfile={shlex.quote(str(self._flags))}"
            " --workdir=ANOTHER_FOLDER",
            *(f"--{name}={value}" for name, value in texts.items()),
            _END,
        ]
        processes.on_first(lambda: replace(self._flags, "\n".join(lines) + "\n"))

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl, epoch by epoch, up to the first that is lost or damaged.

        A loss of power or a kill may remove the end, which the checkpoints do not need.
        """
        return processes.on_first(self._read_metrics)

    def _read_metrics(self) -> list[dict[str, Any]]:
        with reading(self._metrics):
            if not self._metrics.exists():
                return []
            *whole, _ = self._metrics.read_bytes().split(b"\n")  # whole lines end in a newline
        rows: list[dict[str, Any]] = []
        for line in whole:
            try:
                row = json.loads(line)
                if row["epoch"] <= (rows[-1]["epoch"] if rows else 0):
                    break
            except (ValueError, KeyError, TypeError):
                break
            rows.append(row)
        if len(rows) < len(whole):
            self._say(f"{self._metrics}: what follows line {len(rows)} is damaged and left out.")
        return rows

    def keep_metrics(self, up_to: int) -> None:
        """Removes the rows of epochs after `up_to` from metrics.jsonl, before the run continues.

        Rows between the last whole line and this epoch may be lost, and are not restored.
        """

        def keep():
            rows = [row for row in self._read_metrics() if row["epoch"] <= up_to]
            if len(rows) < up_to:
                self._say(
                    f"{self._metrics} has lost {up_to - len(rows)} of the {up_to} epochs before "
                    "this checkpoint; the training goes on, and its curves will lack them."
                )
            replace(self._metrics, "".join(json.dumps(row) + "\n" for row in rows))

        processes.on_first(keep)

    def add_metrics(self, row: dict[str, Any]) -> None:
        """Adds a line to metrics.jsonl."""
        processes.on_first(lambda: append(self._metrics, json.dumps(row) + "\n"))

    def save(self, epoch: int, state: TrainState, metadata: dict[str, Any]) -> None:
        """Writes a checkpoint, see `vae_jax.training.checkpoint`."""

        def write():
            checkpoint.save(self.checkpoints, epoch, state, metadata)

        processes.on_first(write)

    def save_best(self, average_params: Any, metadata: dict[str, Any]) -> None:
        """Writes the parameters of the epoch that is the best in validation so far."""

        def write():
            checkpoint.save_best(self.checkpoints, {"average_params": average_params}, metadata)

        processes.on_first(write)

    def best(self) -> dict[str, Any] | None:
        """The metadata that `save_best` has written; None if there are none."""

        def read():
            found = checkpoint.restore_best(self.checkpoints, lambda metadata: {})
            return None if found is None else found[1]

        return processes.on_first(read)

    def metadata(self) -> dict[str, Any] | None:
        """The metadata of the newest good checkpoint; None if there is none.

        Raises:
          CheckpointError: all checkpoints are damaged.
        """

        def read():
            found = checkpoint.restore(self.checkpoints, lambda metadata: {})
            return None if found is None else found[1]

        return processes.on_first(read)

    def restore(
        self, template: TrainState, up_to: int | None = None
    ) -> tuple[TrainState, dict[str, Any]] | None:
        """The newest good checkpoint up to the epoch `up_to`, and its metadata; None for none.

        Raises:
          CheckpointError: all checkpoints are damaged, or the newest good one has other arrays.
        """
        return self._read(
            template,
            lambda: checkpoint.restore(
                self.checkpoints, lambda metadata: template, up_to=up_to, report=self._say
            ),
        )

    def restore_best(self, template: Any) -> Any:
        """The parameters that `save_best` has written.

        Raises:
          CheckpointError: there are none, they are damaged, or they have other arrays.
        """
        wanted = {"average_params": template}

        def read():
            found = checkpoint.restore_best(self.checkpoints, lambda metadata: wanted)
            if found is None:
                raise BadInputError(
                    f"{self.path} has no parameters of its best epoch: keep=best must be asked "
                    "for before training."
                )
            return found

        return self._read(wanted, read)[0]["average_params"]

    def _read(self, template, read):
        tree = template

        def on_first():
            nonlocal tree
            found = read()
            if found is None:
                return None
            tree, metadata = found
            return metadata

        metadata = processes.on_first(on_first)
        return None if metadata is None else (processes.of_first(tree), metadata)

    def summary(self) -> dict[str, Any] | None:
        """The content of summary.json; None if the run is not finished.

        Raises:
          BadInputError: the file is damaged.
        """
        return processes.on_first(lambda: read_json(self._summary))

    def finished(self, config: Config) -> dict[str, Any] | None:
        """The summary, if the run is finished with this configuration; otherwise None.

        The summary does not count if it has fewer epochs or another number of samples for the NLL,
        since the run was then extended.
        """
        found = self.summary()
        if found is None or found.get("nll_samples") != config.nll_samples:
            return None
        return found if found.get("epochs") == config.epochs else None

    def finish(self, summary: dict[str, Any]) -> None:
        """Writes summary.json, which marks the run as finished."""
        text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
        processes.on_first(lambda: replace(self._summary, text))

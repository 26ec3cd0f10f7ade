"""Listeners of a run, which show its progress or log its metrics."""

from pathlib import Path
from typing import Any

from vae_jax.config import written
from vae_jax.errors import BadInputError
from vae_jax.runs.events import (
    Began,
    Counted,
    Ended,
    EndedEarly,
    EpochDone,
    Event,
    Finished,
    Listener,
    Said,
)
from vae_jax.runs.progress import Progress


class Display:
    """Prints sentences, and shows progress as a bar on a terminal or in a notebook."""

    def __init__(self):
        self._progress: Any = None  # a `Progress` while work is counted
        self._label = ""

    def __call__(self, event: Event) -> None:
        match event:
            case Said(text):
                self._print(text)
            case Began(_, _, epoch, epochs):
                self._begin("Training", epochs, epoch, "epoch")
            case EpochDone(epoch, _, rows, num_runs):
                self._progress.update(epoch, note(list(rows.values()), num_runs))
            case EndedEarly(run, epoch, best_epoch):
                self._print(
                    f"{run} ends early, after epoch {epoch}: validation has not improved "
                    f"since epoch {best_epoch}."
                )
            case Counted(label, done, total, unit, text):
                if label != self._label:
                    self._begin(label, total, 0, unit)
                if done:
                    self._progress.update(done, text)
                if done == total:
                    self._close()
            case Ended():
                self._close()

    def _begin(self, label: str, total: int, done: int, unit: str) -> None:
        self._close()
        self._progress, self._label = Progress(label, total, done, unit), label

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.close()
        self._progress, self._label = None, ""

    def _print(self, text: str) -> None:
        if self._progress is None:
            print(text, flush=True)
        else:
            self._progress.write(text)


class TensorBoard:
    """Writes the metrics of each run as scalars for TensorBoard, by tensorboardX.

    folder: folder in which each run gets a folder with its name.

    Raises:
      BadInputError: tensorboardX is not installed.
    """

    def __init__(self, folder: str | Path):
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise missing("tensorboardX", "tensorboard") from error
        self._make = SummaryWriter
        self._folder = Path(folder)
        self._writers: dict[str, Any] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case EpochDone(_, _, rows, _):
                for run, row in rows.items():
                    for name, value in row.items():
                        self._writer(run).add_scalar(name, value, global_step=row["epoch"])
            case Finished(run, summary):
                for name, value in summary.items():
                    if name.startswith("test_") and isinstance(value, float):
                        self._writer(run).add_scalar(name, value, global_step=summary["epochs"])
            case Ended():
                for writer in self._writers.values():
                    writer.close()

    def _writer(self, run: str) -> Any:
        if run not in self._writers:
            self._writers[run] = self._make(str(self._folder / run))
        return self._writers[run]


class WandB:
    """Logs the metrics of each run to Weights & Biases, one run for each run.

    options: further arguments of `wandb.init`, such as `project` and `mode`.

    Raises:
      BadInputError: wandb is not installed.
    """

    def __init__(self, **options: Any):
        try:
            import wandb
        except ImportError as error:
            raise missing("wandb", "wandb") from error
        self._init, self._options = wandb.init, options
        self._config: dict[str, str] = {}
        self._runs: dict[str, Any] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case Began(_, config, _, _):
                self._config = written(config)
            case EpochDone(_, _, rows, _):
                for run, row in rows.items():
                    self._run(run).log(row, step=row["epoch"])
            case Finished(run, summary):
                self._run(run).summary.update(
                    {name: value for name, value in summary.items() if name.startswith("test_")}
                )
            case Ended():
                for run in self._runs.values():
                    run.finish()

    def _run(self, name: str) -> Any:
        if name not in self._runs:
            self._runs[name] = self._init(
                name=name, config=self._config, reinit="create_new", **self._options
            )
        return self._runs[name]


def default_listeners() -> list[Listener]:
    """The listeners that show the progress of a run by default."""
    return [Display()]


def missing(package: str, extra: str) -> BadInputError:
    """The error for a package of an extra that is not installed."""
    return BadInputError(
        f"This needs the package {package}, which is not installed: pip install 'vae_jax[{extra}]'."
    )


def note(rows: list[dict[str, Any]], num_runs: int) -> str:
    """The best run of an epoch, in a few words. rows: rows of metrics.jsonl."""
    if not rows:
        return "all diverged"
    best = max(rows, key=lambda row: row["validation_elbo"])
    text = f"ELBO {best['train_elbo']:.2f}, validation {best['validation_elbo']:.2f}"
    if num_runs > 1:
        text = f"best of {len(rows)}: {text}"
    return f"{text}, {best['images_per_second']:,.0f} examples/s"

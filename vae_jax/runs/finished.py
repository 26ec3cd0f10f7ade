"""A finished run with its data, for commands that measure it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vae_jax.errors import BadInputError
from vae_jax.models import Model
from vae_jax.runs import examples as examples_of
from vae_jax.runs.agreement import absolute
from vae_jax.runs.folder import RunFolder, Say
from vae_jax.runs.run import Run, load_run


def finished_run(
    path: str | Path,
    *,
    dataset: str | None = None,
    data_dir: str | None = None,
    stream: bool | None = None,
    model: Model | None = None,
    require: Callable[[Run], object] = lambda run: None,
    say: Say = lambda text: None,
) -> Run:
    """Loads a finished run and the images of its configuration.

    Args:
      path: folder of the run.
      dataset: new place of the images, if they have moved; None otherwise.
      data_dir: new folder of TensorFlow Datasets; None for that of the run.
      stream: whether training images are read from their files; None for the choice of the run.
      model: model of the run, if it is the user's own; None otherwise.
      require: function that receives the run before the images are loaded, and may refuse it.
      say: function that receives one sentence about work that takes time, or a surprise.

    Raises:
      BadInputError: the folder has no finished run, the run is of another version, or its images
        have changed.
      CheckpointError: the folder has no checkpoint that can be used.
      DataError: the images cannot be loaded.
    """
    folder = RunFolder(path)
    unfinished = BadInputError(
        f"The run in {path} is not finished: its own command goes on with it; or name another run."
    )
    if folder.recorded() is not None and folder.summary() is None:
        raise unfinished
    run = load_run(path, model=model, report=say)
    if run.folder.finished(run.config) is None:
        raise unfinished
    require(run)
    moved: dict[str, Any] = {"dataset": dataset, "data_dir": data_dir, "stream": stream}
    config = dataclasses.replace(
        run.config, **{name: value for name, value in moved.items() if value is not None}
    )
    config = absolute(config)
    examples = examples_of.prepare(examples_of.load_dataset(config, say=say), config)
    say(examples_of.in_words(examples, config))
    return dataclasses.replace(run, config=config).with_examples(examples)


def require_examples(num_examples: int, run: Run, *splits: str) -> None:
    """Raises a BadInputError if a split of the run's data has fewer images than `num_examples`."""
    for split in splits:
        available = len(getattr(run.loaded_examples, split))
        if num_examples > available:
            raise BadInputError(
                f"num_examples={num_examples} is more than the {available} {split} examples of "
                f"{run.loaded_examples.name}."
            )

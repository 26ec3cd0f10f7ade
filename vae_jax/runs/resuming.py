"""The state from which training continues: the newest checkpoints, or the start."""

from typing import Any, NamedTuple

from vae_jax.config import Config
from vae_jax.errors import BadInputError
from vae_jax.runs.events import Listener, Said
from vae_jax.runs.folder import RunFolder
from vae_jax.runs.validation import has_ended
from vae_jax.training import TrainState


class Lane(NamedTuple):
    """A run, perhaps one of several that a program trains side by side."""

    folder: RunFolder
    config: Config  # settled; lanes of a program differ in the seed and in numbers only


def resume(
    lanes: list[Lane], fresh: list[TrainState], made_from: dict[str, Any], tell: Listener
) -> tuple[list[TrainState], int]:
    """The states from which all lanes continue, and their epoch, which is 0 at the start.

    A kill may leave some runs a checkpoint ahead of the others. They go back to the others.

    Raises:
      BadInputError: the data or the kind of model have changed since the runs began, or a run has
        no checkpoint of the epoch of the others.
    """
    for lane in lanes:
        if (before := lane.folder.metadata()) is not None:
            require_same_origin(lane, before, made_from)
    restored = [lane.folder.restore(state) for lane, state in zip(lanes, fresh, strict=True)]
    epoch = min(found[1]["epoch"] if found else 0 for found in restored)
    states, before = [], None
    for lane, state, found in zip(lanes, fresh, restored, strict=True):
        if found and found[1]["epoch"] > epoch:
            found = _at(lane.folder, state, epoch)
        if found:
            state, before = found
        states.append(state)
        lane.folder.keep_metrics(epoch)
    if before:
        _say_what_differs(before, made_from, epoch, tell)
    return states, epoch


def restore_ended(lane: Lane, fresh: TrainState) -> TrainState | None:
    """The state of a run that its patience has ended, if the last checkpoint is of that epoch."""
    rows = lane.folder.metrics() if lane.config.patience else []
    if not has_ended(lane.config, rows):
        return None
    found = lane.folder.restore(fresh)
    return found[0] if found and found[1]["epoch"] == rows[-1]["epoch"] else None


def require_same_origin(lane: Lane, before: dict[str, Any], made_from: dict[str, Any]) -> None:
    """Raises a BadInputError if a checkpoint is of other data or of another kind of model."""
    own, given = before.get("model") is None, made_from["model"] is None
    if own and not given:
        raise BadInputError(
            f"The run in {lane.folder.path} has a model of the user's own: give it as model=."
        )
    if given and not own:
        raise BadInputError(
            f"The run in {lane.folder.path} has the model of its configuration: leave model= out, "
            "or name another workdir."
        )
    if before["data_crc32"] != made_from["data_crc32"]:
        raise BadInputError(
            f"dataset={lane.config.dataset} has other examples than those that the run in "
            f"{lane.folder.path} began with: name another workdir."
        )


def _at(folder: RunFolder, state: TrainState, epoch: int) -> Any:
    """The checkpoint of an epoch before the newest; None for epoch 0."""
    if not epoch:
        return None
    found = folder.restore(state, epoch)
    if found is None or found[1]["epoch"] != epoch:
        raise BadInputError(
            f"{folder.path} has no checkpoint of epoch {epoch}, where the other runs of the sweep "
            "are: delete its checkpoints to begin all again, or theirs."
        )
    return found


def _say_what_differs(
    before: dict[str, Any], made_from: dict[str, Any], epoch: int, tell: Listener
) -> None:
    """Tells why the numbers may differ from those of an uninterrupted run."""
    if before["versions"] != made_from["versions"]:
        tell(
            Said(
                "The numbers may differ a little from those of an uninterrupted run, as versions "
                f"differ: {before['versions']} before, {made_from['versions']} now."
            )
        )
    epochs = made_from["epochs"]
    if before.get("epochs", epochs) != epochs:
        tell(
            Said(
                f"Epochs are raised from {before['epochs']} to {epochs}: after epoch {epoch} the "
                f"learning rate follows the schedule of {epochs} epochs, so that the numbers are "
                f"not those of {epochs} epochs from the start."
            )
        )
    if 0 < epoch < epochs:
        tell(Said(f"Going on after epoch {epoch} of {epochs}."))

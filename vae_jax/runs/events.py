"""Events of a run, which listeners receive.

A listener is a function of one event, such as a progress bar, a printer of lines or a logger. The
library itself prints nothing.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from vae_jax.config import Config


class Said(NamedTuple):
    """A sentence for the user."""

    text: str


class Began(NamedTuple):
    """Training begins, or continues after an epoch."""

    runs: tuple[str, ...]  # names of the folders of the runs that are trained side by side
    config: Config  # settled configuration of the first run
    epoch: int  # number of epochs that are done
    epochs: int  # number of all epochs


class EpochDone(NamedTuple):
    """All runs of a program have finished an epoch, which is not saved yet."""

    epoch: int
    epochs: int
    rows: dict[str, dict[str, Any]]  # run -> row of metrics.jsonl, without runs that diverged
    num_runs: int  # of the program, those that diverged among them


class Saved(NamedTuple):
    """The checkpoints of an epoch are on disk."""

    epoch: int
    runs: tuple[str, ...]


class Diverged(NamedTuple):
    """A quantity of a run is not finite. The run is not trained further."""

    run: str
    message: str


class EndedEarly(NamedTuple):
    """What validation says of a run has not risen for `patience` epochs (`validation.score_of`)."""

    run: str
    epoch: int
    best_epoch: int


class Counted(NamedTuple):
    """The progress of long work other than training."""

    label: str
    done: int
    total: int
    unit: str
    note: str = ""


class Finished(NamedTuple):
    """A run is evaluated, and its folder is complete."""

    run: str
    summary: dict[str, Any]


class Ended(NamedTuple):
    """The last event: the work is done or was interrupted."""


Event = Said | Began | EpochDone | Saved | Diverged | EndedEarly | Counted | Finished | Ended
Listener = Callable[[Event], None]


def tell_all(listeners: Iterable[Listener]) -> Listener:
    """One listener that passes each event to all listeners."""
    listeners = list(listeners)

    def tell(event):
        for listener in listeners:
            listener(event)

    return tell


@contextmanager
def telling(listeners: Iterable[Listener]) -> Iterator[Listener]:
    """A context of one listener that passes each event to all, and `Ended` at its end."""
    tell = tell_all(listeners)
    try:
        yield tell
    finally:
        tell(Ended())

"""What happens in a run, as records that listeners are told.

A listener is a function of one event: a progress bar, a printer of lines, a logger. The library
prints nothing itself.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from vae_jax.config import Config


class Said(NamedTuple):
    """A sentence for the user."""

    text: str


class Began(NamedTuple):
    """Training goes on from an epoch."""

    runs: tuple[str, ...]  # names of the folders that are trained side by side
    config: Config  # settled, of the first of them
    epoch: int  # epochs done before
    epochs: int  # epochs in all


class EpochDone(NamedTuple):
    """All runs of a program have seen the training images once more; nothing is saved yet."""

    epoch: int
    epochs: int
    rows: dict[str, dict[str, Any]]  # run -> line of metrics.jsonl, without those that diverged
    num_runs: int  # of the program, those that diverged among them


class Saved(NamedTuple):
    """The checkpoints of an epoch are on disk."""

    epoch: int
    runs: tuple[str, ...]


class Diverged(NamedTuple):
    """A quantity of a run is not finite; the run is not trained on."""

    run: str
    message: str


class EndedEarly(NamedTuple):
    """The validation ELBO of a run has not risen for as long as its patience."""

    run: str
    epoch: int
    best_epoch: int


class Counted(NamedTuple):
    """Long work beside training has come so far."""

    label: str
    done: int
    total: int
    unit: str
    note: str = ""


class Finished(NamedTuple):
    """A run is evaluated; its folder is complete."""

    run: str
    summary: dict[str, Any]


class Ended(NamedTuple):
    """Nothing more will be told: the work is done, or was broken off."""


Event = Said | Began | EpochDone | Saved | Diverged | EndedEarly | Counted | Finished | Ended
Listener = Callable[[Event], None]


def tell_all(listeners: Iterable[Listener]) -> Listener:
    """One listener that passes each event on to all."""
    listeners = list(listeners)

    def tell(event):
        for listener in listeners:
            listener(event)

    return tell


@contextmanager
def telling(listeners: Iterable[Listener]) -> Iterator[Listener]:
    """One listener that passes each event on to all, and at the end that it is the end."""
    tell = tell_all(listeners)
    try:
        yield tell
    finally:
        tell(Ended())

"""Interleaved rounds of timing, and their results."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np


class Row(NamedTuple):
    """One quantity of one case, measured in some rounds."""

    part: str  # part of the benchmark
    case: str
    what: str
    unit: str
    values: list[float]  # [rounds]
    # [rounds], to its bound or to a single run in the same round; empty without
    ratios: list[float] = []  # noqa: RUF012 (never changed)
    images: int = 0  # images in that many milliseconds; 0 if the value is no time of images

    @property
    def images_per_second(self) -> float | None:
        """The median images per second; None if the value is not the time of some images."""
        return 1e3 * self.images / float(np.median(self.values)) if self.images else None


def interleaved(
    runs: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Times all runs one after the other, in every round.

    A machine whose speed drifts slows all runs of a round alike, so ratios within a round are more
    certain than times.

    Args:
      runs: name -> function to time, which returns when it is done.
      rounds: number of timed rounds. One untimed round precedes them, to compile and to warm up.
      clock: function that returns the time in seconds.

    Returns:
      name -> the seconds of each round.
    """
    seconds = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            start = clock()
            run()
            seconds[name].append(clock() - start)
    return {name: values[1:] for name, values in seconds.items()}


def rows_of(
    part: str,
    case: str,
    unit: str,
    seconds: Mapping[str, list[float]],
    units: int,
    images: int,
    reference: str,
) -> list[Row]:
    """Makes rows in milliseconds, with their ratios to one of them.

    Args:
      part: name of the part of the benchmark.
      case: name of the timed case.
      unit: unit of the values, such as "ms/step".
      seconds: name -> the seconds of each round.
      units: number of units in a timed run, such as steps.
      images: number of images in each unit.
      reference: name of the row that the ratios divide by.
    """
    return [
        Row(
            part=part,
            case=case,
            what=name,
            unit=unit,
            values=[1e3 * value / units for value in values],
            ratios=ratios(values, seconds[reference]),
            images=images,
        )
        for name, values in seconds.items()
    ]


def ratios(values: list[float], to: list[float]) -> list[float]:
    """The ratio of each round."""
    return [value / other for value, other in zip(values, to, strict=True)]

"""The progress of long work: a bar on a terminal, a few lines elsewhere; first process only."""

import sys
import time
from typing import Any

from tqdm import tqdm

from vae_jax import processes

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts units of work. On a terminal it draws a bar; elsewhere it prints a line at the first
    and the last unit and at most every ten seconds between them."""

    def __init__(self, label: str, total: int, done: int, unit: str):
        self._label, self._total, self._done, self._unit = label, total, done, unit
        self._bar = None
        if (sys.stderr.isatty() or "ipykernel" in sys.modules) and processes.is_first():
            self._bar = _kind_of_bar()(
                desc=label,
                total=total,
                initial=done,
                unit=unit,
                dynamic_ncols=True,
                bar_format="{desc}: {unit} {n_fmt}/{total_fmt} |{bar}| {remaining} left{postfix}",
            )
        self._first: tuple[float, int] | None = (
            None  # time at which the first units were done, and their number
        )
        self._next_line = 0.0

    def update(self, done: int, note: str = "") -> None:
        """Shows that `done` units of `total` are done, with a note."""
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(done - self._done)
            self._done = done
            return
        self._done = done
        now = time.monotonic()
        # The first units may include compilation, so that their time is not counted.
        first_time, first_done = self._first = self._first or (now, done)
        if now < self._next_line and done < self._total:
            return
        self._next_line = now + _SECONDS_BETWEEN_LINES
        line = f"{self._label}: {self._unit} {done:,}/{self._total:,}" + (note and f"  {note}")
        if first_done < done < self._total:
            left = (now - first_time) / (done - first_done) * (self._total - done)
            line += f"  {_duration(left)} left"
        print(line, flush=True)

    def write(self, text: str) -> None:
        """Prints a line above the bar."""
        if self._bar is None:
            print(text, flush=True)
        else:
            self._bar.write(text)

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception) -> None:
        self.close()


def _kind_of_bar() -> Any:
    """The bar of a notebook if it can be drawn, otherwise that of a terminal."""
    if "ipykernel" not in sys.modules:
        return tqdm
    try:
        import ipywidgets  # noqa: F401 (what the bar of a notebook is drawn with)
        from tqdm.notebook import tqdm as in_notebook
    except ImportError:
        return tqdm
    return in_notebook


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"

"""Signals during long work, which are noted so that the work can end cleanly."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from vae_jax.errors import Stopped


class StopSignal:
    """Notes the first Ctrl-C or SIGTERM during long work.

    Outside long work a signal ends the process at once, and so does a second signal a second later.
    Python handles signals in its main thread only, so that they do not stop work in other threads.
    """

    def __init__(self):
        self.number = 0
        self._noted_at = 0.0
        self._until = ""  # the work that will be finished first
        self._worker = ThreadPoolExecutor(1)

    def listen(self) -> None:
        """Notes signals from now on. Call it again after a library has installed other handlers."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._note)

    @contextmanager
    def listening(self) -> Iterator["StopSignal"]:
        """Notes signals while the context is open, and then restores the handlers."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.getsignal(number) for number in numbers}
        self.listen()
        try:
            yield self
        finally:
            if threading.current_thread() is threading.main_thread():
                for number, handler in before.items():
                    signal.signal(number, handler)
            self._worker.shutdown(wait=False)

    def _note(self, number, frame):
        del frame
        if self.number:
            # One Ctrl-C may reach a process twice, from its terminal and from its parent.
            if time.monotonic() > self._noted_at + 1.0:
                os._exit(128 + number)
            return
        self.number, self._noted_at = number, time.monotonic()
        if not self._until:
            raise self.stopped("Stopped.")
        name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
        message = f"\n{name}: stopping as soon as {self._until}; again: now, losing it.\n"
        if sys.__stderr__ is not None:
            os.write(sys.__stderr__.fileno(), message.encode())  # may interrupt another print

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self.number != 0

    def stopped(self, message: str) -> Stopped:
        """The error to raise when the work has ended because of the signal."""
        error = Stopped(message)
        error.number = self.number or signal.SIGINT
        return error

    def wait_for(self, work: Callable[[], Any], until: str) -> Any:
        """Returns `work()`, while another thread notes signals. Python would note them afterwards.

        `until` names the work that will be finished first, such as "this epoch is saved".
        """
        self._until = until
        return self._worker.submit(work).result()

"""Silence for libraries that talk to the user through `logging`."""

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def muted(*names: str) -> Iterator[None]:
    """Drops what is logged to the loggers of these names."""

    def drop(record):
        return False

    loggers = [logging.getLogger(name) for name in names]
    for logger in loggers:
        logger.addFilter(drop)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(drop)

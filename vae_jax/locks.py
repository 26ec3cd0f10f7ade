"""A lock on a folder, so that one process at a time writes in it, on every system."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from vae_jax.errors import BadInputError


@contextmanager
def hold(path: str | Path, named: str | None = None) -> Iterator[None]:
    """Holds the lock against all other processes, and other calls, while the context is open.

    The system releases the lock when its process ends, even if it is killed.

    Args:
      path: file of the lock. It is created, with its folder, if it does not exist.
      named: name of the locked folder in messages, such as "workdir=runs/vae"; None for its path.

    Raises:
      BadInputError: another process holds the lock, or the file system has no locks.
    """
    named = str(Path(path).parent) if named is None else named
    lock = filelock.FileLock(
        path,
        blocking=False,
        thread_local=False,  # a helper thread may open the context that another one closes
        fallback_to_soft=False,  # a file that marks a lock would outlive a killed process
    )
    try:
        lock.acquire()
    except filelock.Timeout as error:  # is an OSError
        raise BadInputError(
            f"{named} is in use by another process: wait for it, or name another folder."
        ) from error
    except OSError as error:
        raise BadInputError(
            f"{named} cannot be written or locked ({error.strerror or error}): name another folder."
        ) from error
    try:
        yield
    finally:
        lock.release()

"""Files of a data set that are on this machine, and whether the others can be downloaded."""

import hashlib
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from vae_jax.data.paths import named
from vae_jax.errors import DataError


class UrlInfo(Protocol):
    """The information that TFDS registers for each URL of a data set."""

    size: int
    checksum: str  # SHA-256, hexadecimal
    filename: str | None


def find_files(url_infos: Mapping[str, UrlInfo], folders: Iterable[Path]) -> dict[str, Path]:
    """Finds for each URL the first file in `folders` with the registered size and checksum.

    Names of files do not matter: the MNIST family uses the same four names for different files, and
    TFDS renames its downloads. The result has no entry for a URL without a file. Raises DataError
    if a folder, or a file that could be one of them, cannot be read.
    """
    found = {}
    for path in _files(folders):
        for url, info in url_infos.items():
            if url not in found and is_intact(path, info):
                found[url] = path
    return found


def is_intact(path: Path, info: UrlInfo) -> bool:
    """Whether the file has the registered size and SHA-256.

    Raises DataError if a file of this size cannot be read.
    """
    try:
        if path.stat().st_size != info.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == info.checksum
    except OSError as error:
        raise _unreadable(path, error) from error


def reachable(url: str, seconds: float) -> bool:
    """Whether the host of `url` answers within `seconds`, even with an HTTP error.

    The proxies of the environment are used. A resolver that hangs cannot be interrupted, so that
    the request runs in a daemon thread, which is abandoned when the time is over.
    """
    answered = threading.Event()

    def ask():
        try:
            request = urllib.request.Request(url, method="HEAD")
            # A new opener, since urlopen keeps the proxies of its first call.
            urllib.request.build_opener().open(request, timeout=seconds).close()
        except urllib.error.HTTPError as error:
            error.close()
        except Exception:  # after any error, the host was not reached
            return
        answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()


def _files(folders: Iterable[Path]) -> Iterable[Path]:
    for folder in folders:
        if os.path.isdir(folder):  # Path.is_dir raises an error without permission to look
            try:
                names = sorted(os.listdir(folder))
            except OSError as error:
                raise _unreadable(folder, error) from error
            yield from (folder / name for name in names if os.path.isfile(folder / name))


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{named(path)} cannot be read ({error.strerror})")

"""A lock that one process at a time holds."""

import errno
import signal
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from vae_jax import locks
from vae_jax.errors import BadInputError

ROOT = Path(__file__).parent.parent
HOLDER = """
import sys, time
from vae_jax import locks
with locks.hold(sys.argv[1]):
    print("held", flush=True)
    time.sleep(300)
"""
IN_USE = " is in use by another process: wait for it, or name another folder."


def test_a_killed_process_lets_go_of_its_lock(tmp_path):
    path = tmp_path / "run" / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BadInputError) as refused, locks.hold(path):
            pass
        assert str(refused.value) == f"{path.parent}{IN_USE}"
        holder.send_signal(signal.SIGKILL)
        assert holder.wait(timeout=60) == -signal.SIGKILL
        with locks.hold(path):
            pass
    finally:
        holder.kill()
        holder.communicate(timeout=60)


def test_a_lock_is_held_once_until_the_context_ends(tmp_path):
    path = tmp_path / ".lock"
    with locks.hold(path), locks.hold(tmp_path / "other"):
        with pytest.raises(BadInputError) as refused, locks.hold(path, "workdir=runs/vae"):
            pytest.fail("held twice")
        assert str(refused.value) == f"workdir=runs/vae{IN_USE}"
    with locks.hold(path):
        pass


def test_an_error_in_the_context_passes_through_and_ends_it(tmp_path):
    error = OSError(errno.ENOSPC, "no space")
    with pytest.raises(OSError, match="no space") as raised, locks.hold(tmp_path / ".lock"):
        raise error
    assert raised.value is error
    with locks.hold(tmp_path / ".lock"):
        pass


def test_where_no_file_can_be_made_a_sentence_says_so():
    message = "^/proc/run cannot be written or locked .*: name another folder.$"
    with pytest.raises(BadInputError, match=message), locks.hold("/proc/run/.lock"):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EROFS])
def test_where_the_system_has_no_locks_a_sentence_says_so(monkeypatch, tmp_path, number):
    """On some network file systems flock fails. No file that stays locks anything."""

    def fail(*given):
        raise OSError(number, "no locks here")

    monkeypatch.setattr("fcntl.flock", fail)
    message = "workdir=runs cannot be written or locked .no locks here.: name another folder."
    with (
        pytest.raises(BadInputError, match=message),
        locks.hold(tmp_path / ".lock", "workdir=runs"),
    ):
        pass
    monkeypatch.undo()
    with locks.hold(tmp_path / ".lock"):
        pass


def test_the_lock_is_of_the_system_and_not_a_file_that_outlives_a_kill():
    assert filelock.FileLock in (filelock.UnixFileLock, filelock.WindowsFileLock)

"""What every command does: flags, sentences instead of traces, signals, the compile cache."""

import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import jax
from absl import app, flags, logging

from experiments import hosts
from vae_jax.data import DataError
from vae_jax.errors import BadInputError, DivergenceError, DoesNotHoldError, Stopped
from vae_jax.training import sweep
from vae_jax.training.checkpoint import CheckpointError


def run(main: Callable[["StopSignal"], None]) -> None:
    """Runs a command and exits.

    The exit code is 0 after success; 1 if the training diverged, or what is verified is not so, and
    2 after bad input, with one sentence on stderr; 1 also if another process was lost; 128 + the
    number of the signal after Ctrl-C or SIGTERM.
    """
    logging.set_verbosity(logging.WARNING)  # JAX reports which accelerators it did not find
    stop = StopSignal()

    def guarded_main(argv):
        del argv
        try:
            main(stop)
        except Stopped as stopped:
            print(stopped, flush=True)
            hosts.leave(128 + stop.number)
        except (DivergenceError, DoesNotHoldError) as error:
            _fail(error, code=1)
        except (BadInputError, DataError, CheckpointError) as error:
            _fail(error)
        except (jax.errors.JaxRuntimeError, ValueError) as error:  # a collective raises either
            if not hosts.is_lost_connection(error):
                raise
            _fail(hosts.LOST, code=1)
        except BrokenPipeError:
            os._exit(128 + signal.SIGPIPE)  # the reader of our output has left, as `head` does

    app.run(guarded_main, flags_parser=_parse_flags)


class StopSignal:
    """Notes the first Ctrl-C or SIGTERM during long work, so that it can end cleanly.

    Outside long work a signal ends the command at once; and so does a second one a second later.
    """

    def __init__(self):
        self.number = 0
        self._noted_at = 0.0
        self._until = ""  # what long work will finish
        self._worker = ThreadPoolExecutor(1)
        self.listen()

    def listen(self) -> None:
        """Notes signals from now on; to be called again after a library has taken them."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number, frame):
        del frame
        if self.number:
            # One Ctrl-C may reach a process twice, by its terminal and by its parent.
            if time.monotonic() > self._noted_at + 1.0:
                os._exit(128 + number)
            return
        self.number, self._noted_at = number, time.monotonic()
        if not self._until:
            raise Stopped("Stopped.")
        name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
        message = f"\n{name}: stopping as soon as {self._until}; again: now, losing it.\n"
        os.write(sys.stderr.fileno(), message.encode())  # a signal may come amid another print

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self.number != 0

    def wait_for(self, work: Callable[[], Any], until: str) -> Any:
        """`work()`, with signals noted at once; Python would note them only after a long call.

        From now on they are noted, until what `until` says is done, such as "this epoch is saved".
        """
        self._until = until
        return self._worker.submit(work).result()


def use_host_devices(num_runs: int, wanted: int | None = None, num_processes: int = 1) -> None:
    """Makes the CPU as many devices as share the runs of a program, before JAX starts.

    On accelerators this changes nothing. JAX_NUM_CPU_DEVICES or XLA_FLAGS, if set, say how many.

    Args:
      num_runs: that are trained side by side.
      wanted: how many, of all processes; None for `sweep.devices_for`, at most one for each core.
      num_processes: that share the runs, and have as many devices each.
    """
    said = "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if said or "JAX_NUM_CPU_DEVICES" in os.environ:
        return
    if wanted is None:
        of_this_process = getattr(os, "sched_getaffinity", lambda pid: range(os.cpu_count() or 1))
        cores = len(of_this_process(0))
        possible = range(num_processes, cores * num_processes + 1, num_processes)
        wanted = sweep.devices_for(num_runs, possible)
    jax.config.update("jax_num_cpu_devices", max(1, wanted // num_processes))


def output_folder(path: str | Path) -> Path:
    """The folder of --output, made and found to be writable before the work begins.

    Raises:
      BadInputError: it is not.
    """
    folder = Path(os.path.expanduser(path))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise BadInputError(
            f"--output={folder} cannot be written ({error.strerror}): name another folder."
        ) from error
    return folder


def sentence(message: str) -> str:
    """The message with a capital letter, unless a name begins it, and a full stop."""
    first_word = message.split(" ", 1)[0]
    if first_word.isalpha():
        message = message[0].upper() + message[1:]
    return message if message.endswith((".", "!", "?")) else message + "."


def use_compile_cache() -> None:
    """Keeps compiled programs in the user's cache folder, and says so if that can't be used.

    JAX_COMPILATION_CACHE_DIR, if set, names another folder.
    """
    # A full disk is no reason for a warning for each program.
    warnings.filterwarnings("ignore", "Error (writing|reading) persistent compilation cache")
    # Without HOME and an account the ~ stays, and nothing is made in a folder of that name.
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(os.environ.get("JAX_COMPILATION_CACHE_DIR") or os.path.join(cache, "vae_jax/xla"))
    try:
        if folder.parts[:1] == ("~",):
            raise FileNotFoundError("the user has no home")
        folder.mkdir(parents=True, exist_ok=True)
        usable = os.access(folder, os.W_OK)
    except OSError:
        usable = False
    if not usable:
        jax.config.update("jax_compilation_cache_dir", None)
        print(f"{folder} cannot be written, so compiled programs are not kept for the next start.")
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _parse_flags(argv: list[str]) -> list[str]:
    try:
        positional = flags.FLAGS(argv)
    except SystemExit:
        sys.exit(0)  # --help, which absl ends with 1
    except flags.Error as error:
        _fail(error)
    if len(positional) > 1:
        _fail(f"{positional[1]!r} is not a flag; flags are written --name=value (see --help).")
    return positional


def _fail(error: Exception | str, code: int = 2) -> NoReturn:
    message = sentence(" ".join(str(error).removeprefix("ERROR:: ").split()))
    print(f"Error: {message}", file=sys.stderr, flush=True)
    hosts.leave(code)

"""What every command does: flags, sentences instead of traces, signals, the compile cache."""

import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, NoReturn

import jax
from absl import app, flags, logging

from vae_jax import processes
from vae_jax.commands.flags import help_text, in_words
from vae_jax.errors import BadInputError, DivergenceError, DoesNotHoldError, Stopped
from vae_jax.runs.jax_settings import require_usual_settings
from vae_jax.runs.stop import StopSignal
from vae_jax.training import sweep


def run(
    main: Callable[Concatenate[StopSignal, ...], None],
    *,
    about: str | None = None,
    arguments: tuple[str, ...] = (),
) -> None:
    """Runs a command and exits.

    Args:
      main: function of the command. It is given the StopSignal and the positional arguments.
      about: purpose of the command, shown above the flags by --help; None for the help of absl.
      arguments: names of the positional arguments, in their order.

    The exit code is 0 after success. It is 1 if training diverged, a check did not hold or another
    process was lost, and 2 after bad input, with one sentence on stderr. After Ctrl-C or SIGTERM it
    is 128 + the number of the signal.
    """
    logging.set_verbosity(logging.WARNING)  # JAX reports which accelerators it did not find
    stop = StopSignal()
    stop.listen()

    def guarded_main(argv):
        try:
            require_usual_settings()
            main(stop, *argv[1:])
        except Stopped as stopped:
            print(stopped, flush=True)
            processes.leave(128 + (stop.number or stopped.number))
        except (DivergenceError, DoesNotHoldError) as error:
            _fail(error, code=1)
        except BadInputError as error:
            _fail(error)
        except (jax.errors.JaxRuntimeError, ValueError) as error:  # a collective raises either
            if processes.is_lost_connection(error):
                _fail(processes.LOST, code=1)
            if _is_out_of_memory(error):
                _fail(_OUT_OF_MEMORY, code=1)
            raise
        except MemoryError:
            _fail(_OUT_OF_MEMORY, code=1)
        except BrokenPipeError:
            os._exit(128 + signal.SIGPIPE)  # the reader of the output has ended, as `head` does

    app.run(guarded_main, flags_parser=lambda argv: _parse_flags(argv, about, arguments))


_OUT_OF_MEMORY = (
    "The memory of the device or of the machine is not enough: a smaller --batch_size, "
    "--num_samples or --hidden needs less; what was saved before stays."
)


def _is_out_of_memory(error: Exception) -> bool:
    return "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower()


def use_host_devices(num_runs: int, wanted: int | None = None, num_processes: int = 1) -> None:
    """Divides the CPU into devices that share the runs of a program. JAX must not have started.

    It has no effect on accelerators, or where JAX_NUM_CPU_DEVICES or XLA_FLAGS set the number.

    Args:
      num_runs: number of runs that are trained side by side.
      wanted: number of devices of all processes together; None for `sweep.devices_for`, with at
        most one device for each core.
      num_processes: number of processes that share the runs. Each has the same number of devices.
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


def sentence(message: str) -> str:
    """Gives a message a capital letter, unless it begins with a name, and a full stop."""
    first_word = message.split(" ", 1)[0]
    if first_word.isalpha() and len(first_word) > 1:
        message = message[0].upper() + message[1:]
    return message if message.endswith((".", "!", "?")) else message + "."


def use_compile_cache() -> None:
    """Keeps compiled programs in the user's cache folder, or says that it cannot be written.

    JAX_COMPILATION_CACHE_DIR, if set, names another folder.
    """
    # A full disk is no reason for a warning for each program.
    warnings.filterwarnings("ignore", "Error (writing|reading) persistent compilation cache")
    # Without HOME and an account the ~ is not replaced, and no folder of that name is made.
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


def _parse_flags(argv: list[str], about: str | None, arguments: tuple[str, ...]) -> list[str]:
    asked = {arg.lstrip("-") for arg in argv[1:] if arg.startswith("-")}
    if about is not None and asked & {"help", "h", "?", "helpfull", "helpshort"}:
        print(help_text(about, full="helpfull" in asked))
        sys.exit(0)
    try:
        found = flags.FLAGS(argv)
    except SystemExit:
        sys.exit(0)  # --help, which absl ends with 1
    except flags.Error as error:
        reason = error.__context__
        _fail(reason if isinstance(reason, BadInputError) else error)
    if len(found) - 1 > len(arguments):
        name = found[1 + len(arguments)]
        _fail(f"{name!r} is not a flag; flags are written --name=value (see --help).")
    if len(found) - 1 < len(arguments):
        _fail(f"{arguments[len(found) - 1]} is missing (see --help).")
    return found


def _fail(error: Exception | str, code: int = 2) -> NoReturn:
    message = " ".join(str(error).removeprefix("ERROR:: ").split())
    if isinstance(error, BadInputError):
        message = in_words(message)
    print(f"Error: {sentence(message)}", file=sys.stderr, flush=True)
    processes.leave(code)

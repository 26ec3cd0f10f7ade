"""Several processes that train together, on one machine or on many: all run the same command.

The first one reads and writes the run folder and prints; `on_first` and `gather` are how the others
hear of it, and all go through the same steps.
"""

import functools
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vae_jax.data import DataError
from vae_jax.errors import BadInputError, DivergenceError
from vae_jax.training.checkpoint import CheckpointError

FLAGS = flags.FLAGS

_VARIABLES = {
    "coordinator": "JAX_COORDINATOR_ADDRESS",
    "num_processes": "JAX_NUM_PROCESSES",
    "process_id": "JAX_PROCESS_ID",
}
_ENDED = (
    "Another process of this run has ended or cannot be reached, see what it says. What was saved "
    "stays: the same commands go on with it."
)
_HEARTBEAT_SECONDS = 30
_in_first = False  # whether `on_first` is at work in the first process
_ERRORS = {kind.__name__: kind for kind in (BadInputError, DataError, CheckpointError)}
_ERRORS["DivergenceError"] = DivergenceError


def define_flags() -> None:
    """Of the commands that several processes can run together."""
    flags.DEFINE_string(
        "coordinator",
        None,
        "Several processes, each started with the same flags but --process_id, train together: "
        "HOST:PORT of the first one, which all others can reach; or auto under Slurm, Open MPI, "
        "Kubernetes and on TPUs, which know the rest, too. Default: JAX_COORDINATOR_ADDRESS, if "
        "set.",
    )
    flags.DEFINE_integer(
        "num_processes",
        None,
        "How many processes --coordinator has. Default: JAX_NUM_PROCESSES.",
        lower_bound=1,
    )
    flags.DEFINE_integer(
        "process_id",
        None,
        "Which of them this one is, from 0; 0 is the first, which prints and writes. Default: "
        "JAX_PROCESS_ID.",
        lower_bound=0,
    )
    flags.DEFINE_integer(
        "connect_seconds", 60, "How long processes wait for each other at the start.", lower_bound=1
    )


def settle() -> None:
    """Takes what flags leave open from the environment, if it names a first process.

    Raises:
      BadInputError: a variable does not parse.
    """
    if FLAGS.coordinator is None and _VARIABLES["coordinator"] not in os.environ:
        return
    for name, variable in _VARIABLES.items():
        if FLAGS[name].value is None and variable in os.environ:
            try:
                FLAGS[name].parse(os.environ[variable])
            except flags.Error as error:
                raise BadInputError(f"The environment variable {variable}: {error}") from error


def connect() -> None:
    """Joins the other processes that the flags name; does nothing if they name none.

    From then on the others print nothing but errors, and what the libraries below JAX print of
    lost connections is replaced by a sentence.

    Raises:
      BadInputError: flags do not go together, or the first process cannot be reached in time.
    """
    if FLAGS.coordinator is None:
        if FLAGS.num_processes is not None or FLAGS.process_id is not None:
            raise BadInputError(
                "--num_processes and --process_id go with --coordinator=HOST:PORT, the address of "
                "the first process."
            )
        return
    known = {}
    if FLAGS.coordinator != "auto":
        host, port = _address()
        if FLAGS.process_id == 0:
            _require_free(port)
        else:
            _require_reachable(host, port)
        known = {
            "coordinator_address": FLAGS.coordinator,
            "num_processes": FLAGS.num_processes,
            "process_id": FLAGS.process_id,
        }
    _filter_what_libraries_print()
    try:
        jax.distributed.initialize(
            **known,
            initialization_timeout=FLAGS.connect_seconds,
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=_HEARTBEAT_SECONDS,
        )
    except ValueError as error:
        raise BadInputError(
            f"--coordinator=auto finds no cluster here ({error}): give HOST:PORT, --num_processes "
            "and --process_id."
        ) from error
    os.write(2, b"connected\n")


def several() -> bool:
    """Whether there are other processes."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def introduce() -> None:
    """Says that there are several processes; from now on only the first one prints."""
    if not several():
        return
    number, count = jax.process_index(), jax.process_count()
    if number == 0:
        print(f"{count} processes train together; this one, the first, prints and writes.")
    else:
        print(f"Process {number} of {count}: process 0 prints and writes.", flush=True)
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (until the end)


def require_same(given: dict[str, str]) -> None:
    """Raises a BadInputError where a process has other flags than the first one."""
    first = on_first(lambda: given)
    differences = [
        f"--{name}={first.get(name, 'default')} there, {given.get(name, 'default')} here"
        for name in sorted(first.keys() | given.keys())
        if first.get(name) != given.get(name)
    ]
    for number, text in enumerate(gather_bytes("; ".join(differences).encode())):
        if text:
            raise BadInputError(
                f"Process {number} has other flags than process 0: {text.decode()}."
            )


def on_first(function: Callable[[], Any]) -> Any:
    """Calls it in the first process, and gives all what it returned or raised.

    function: of no argument; it returns what JSON can hold. It may call what calls `on_first`.
    """
    global _in_first
    if not several() or _in_first:
        return function()
    outcome = {}
    if jax.process_index() == 0:
        _in_first = True
        try:
            outcome = {"value": function()}
        except tuple(_ERRORS.values()) as error:
            outcome = {"error": type(error).__name__, "message": str(error)}
        finally:
            _in_first = False
    outcome = json.loads(gather_bytes(json.dumps(outcome).encode())[0])
    if "error" in outcome:
        raise _ERRORS[outcome["error"]](outcome["message"])
    return outcome["value"]


def gather_bytes(own: bytes) -> list[bytes]:
    """What each process gives, in their order."""
    if not several():
        return [own]
    own_length = np.frombuffer(np.int64(len(own)).tobytes(), np.uint8)
    lengths = _gather_equal(own_length).view(np.int64).ravel()
    # Each size is a program: so there are few.
    padded = np.zeros(1 << int(max(lengths)).bit_length(), np.uint8)
    padded[: len(own)] = np.frombuffer(own, np.uint8)
    rows = _gather_equal(padded)
    return [row[:length].tobytes() for row, length in zip(rows, lengths, strict=True)]


def _gather_equal(own: np.ndarray) -> np.ndarray:
    """own: [n], of all processes the same n. Returns [processes, n].

    By one device of each, as they may have different numbers of them.
    """
    first_of_each = {device.process_index: device for device in reversed(jax.devices())}
    mesh = Mesh([device for _, device in sorted(first_of_each.items())], ("processes",))
    divided, whole = NamedSharding(mesh, P("processes")), NamedSharding(mesh, P())
    rows = jax.make_array_from_process_local_data(divided, own[None])
    return np.asarray(_copies(whole)(rows).addressable_data(0))


@functools.cache
def _copies(where: NamedSharding) -> Callable[[jax.Array], jax.Array]:
    return jax.jit(lambda array: array, out_shardings=where)


def of_first(tree: Any) -> Any:
    """The arrays and typed keys of the first process, exactly; of all the same shapes."""
    if not several():
        return tree
    leaves, structure = jax.tree.flatten(tree)
    is_key = [jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in leaves]
    arrays = [
        np.asarray(jax.random.key_data(leaf) if key else leaf)
        for leaf, key in zip(leaves, is_key, strict=True)
    ]
    own = b"".join(array.tobytes() for array in arrays) if jax.process_index() == 0 else b""
    first, offset, found = gather_bytes(own)[0], 0, []
    for leaf, key, array in zip(leaves, is_key, arrays, strict=True):
        values = np.frombuffer(first, array.dtype, array.size, offset).reshape(array.shape)
        offset += array.nbytes
        value = jnp.array(values)  # a copy, which training may donate
        found.append(
            jax.random.wrap_key_data(value, impl=jax.random.key_impl(leaf)) if key else value
        )
    return jax.tree.unflatten(structure, found)


def gather(own: np.ndarray) -> list[np.ndarray]:
    """The arrays [n, *rest] of all processes, exactly; n may differ."""
    own = np.ascontiguousarray(own)
    return [
        np.frombuffer(part, own.dtype).reshape(-1, *own.shape[1:])
        for part in gather_bytes(own.tobytes())
    ]


def share(number: int, multiple: int = 1) -> slice:
    """The part of so many things that is this process's; it begins at a multiple of `multiple`.

    Of what does not divide, the first ones have more.
    """
    if not several():
        return slice(0, number)
    blocks = -(-number // multiple)
    start, stop = (
        min(number, -(-blocks * index // jax.process_count()) * multiple)
        for index in (jax.process_index(), jax.process_index() + 1)
    )
    return slice(start, stop)


def heed(stop: Any) -> bool:
    """Whether a signal that any process got (a `command.StopSignal`) stops them all, here.

    One that comes after this is for the next time, in all of them.
    """
    number = max(int(number[0]) for number in gather(np.array([stop.number])))
    if number:
        stop.number = number
    return number != 0


def leave(code: int) -> NoReturn:
    """Ends the process; one that failed does not wait for the others."""
    if code == 0 or not several():
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    if jax.process_index() == 0:
        time.sleep(1.0)  # those that fail for the same reason lose their coordinator with it
    os._exit(code)


def is_lost_connection(error: BaseException) -> bool:
    """Whether the error is that other processes cannot be reached."""
    known = "Gloo|NCCL|coordination|UNAVAILABLE|DEADLINE_EXCEEDED"
    return several() and re.search(known, str(error)) is not None


def say_lost() -> None:
    """Has `host_log` say that another process has ended: it says so once, whoever noticed it."""
    sys.stdout.flush()
    os.write(2, b"lost\n")


def _address() -> tuple[str, int]:
    host, _, port = FLAGS.coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise BadInputError(
            f"--coordinator={FLAGS.coordinator} must be HOST:PORT of the first process, such as "
            "10.0.0.1:1234, or auto."
        )
    if FLAGS.num_processes is None or FLAGS.process_id is None:
        raise BadInputError(
            f"--coordinator={FLAGS.coordinator} goes with --num_processes and --process_id."
        )
    if FLAGS.process_id >= FLAGS.num_processes:
        raise BadInputError(
            f"--process_id={FLAGS.process_id} must be less than --num_processes="
            f"{FLAGS.num_processes}: processes count from 0."
        )
    return host.strip("[]"), int(port)


def _require_free(port: int) -> None:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("", port))
    except OSError as error:
        raise BadInputError(
            f"--coordinator={FLAGS.coordinator}: the port cannot be used here ({error.strerror}); "
            "name another."
        ) from error


def _require_reachable(host: str, port: int) -> None:
    deadline = time.monotonic() + FLAGS.connect_seconds
    while True:
        try:
            socket.create_connection((host, port), timeout=1.0).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise BadInputError(
                    f"--coordinator={FLAGS.coordinator} cannot be reached within "
                    f"--connect_seconds={FLAGS.connect_seconds} ({error.strerror or error}): start "
                    "the process with --process_id=0 there."
                ) from error
        time.sleep(0.1)


def _filter_what_libraries_print() -> None:
    """Sends what is not printed by Python through `host_log`, or nowhere.

    The libraries below JAX print on both streams, and end the process when the connection to the
    first one is lost, which Python cannot catch.
    """
    sys.stdout.flush()
    sys.stdout = os.fdopen(os.dup(1), "w", buffering=1)
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    number = FLAGS.num_processes
    not_all_came = (
        f"Not all {f'of --num_processes={number}' if number else 'processes'} came within "
        f"--connect_seconds={FLAGS.connect_seconds}: start those that are missing, each with its "
        "own --process_id."
    )
    script = Path(__file__).with_name("host_log.py")
    log = subprocess.Popen(
        [sys.executable, "-I", "-S", str(script), not_all_came, _ENDED],
        stdin=subprocess.PIPE,
        stderr=sys.stderr.fileno(),
        start_new_session=True,  # Ctrl-C is not for it
    )
    os.dup2(log.stdin.fileno(), 2)
    log.stdin.close()

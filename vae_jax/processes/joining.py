"""The beginning and the end of processes that compute together."""

import os
import re
import socket
import sys
import time
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple, NoReturn

import jax

from vae_jax.errors import BadInputError
from vae_jax.processes.exchange import is_first, several

LOST = (
    "Another process of this run has ended or cannot be reached, see what it says. What was saved "
    "stays: the same commands go on with it."
)
_VARIABLES = {
    "coordinator": "JAX_COORDINATOR_ADDRESS",
    "num_processes": "JAX_NUM_PROCESSES",
    "process_id": "JAX_PROCESS_ID",
}
_HEARTBEAT_SECONDS = 30
_ALL_CAME = b"\1"


class Cluster(NamedTuple):
    """The processes that compute together, and which of them this one is.

    Attributes:
      coordinator: HOST:PORT of the first process, or "auto" if a scheduler provides all values;
        None for a single process.
      num_processes: number of all processes.
      process_id: number of this process, from 0, which is the first one.
      connect_seconds: longest time in seconds that processes wait for each other at the start.
    """

    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    connect_seconds: int = 60


def from_environment(cluster: Cluster) -> Cluster:
    """The cluster, completed by JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID.

    The variables count only if one of them, or the cluster, names the first process.

    Raises:
      BadInputError: a variable is not a number.
    """
    if cluster.coordinator is None and _VARIABLES["coordinator"] not in os.environ:
        return cluster
    found: dict[str, Any] = {
        name: _value_of(variable)
        for name, variable in _VARIABLES.items()
        if getattr(cluster, name) is None and variable in os.environ
    }
    return cluster._replace(**found)


def connect(cluster: Cluster) -> None:
    """Joins the other processes before JAX computes anything; does nothing without a coordinator.

    Raises:
      BadInputError: the values contradict each other, or not all processes come in time. The
        message names values with an equals sign, such as `coordinator=`.
    """
    coordinator, num_processes, process_id, _ = cluster
    if coordinator is None:
        _require_alone(cluster)
        return
    known: dict[str, Any] = {}
    if coordinator != "auto":
        _meet(cluster, *_address(cluster))
        known = {
            "coordinator_address": coordinator,
            "num_processes": num_processes,
            "process_id": process_id,
        }
    try:
        jax.distributed.initialize(
            **known,
            initialization_timeout=cluster.connect_seconds,
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=_HEARTBEAT_SECONDS,
        )
    except ValueError as error:
        raise BadInputError(
            f"coordinator=auto finds no cluster here ({error}): give coordinator=HOST:PORT, "
            "num_processes=COUNT and process_id=NUMBER."
        ) from error


def leave(code: int) -> NoReturn:
    """Ends this process. A process that failed does not wait for the others."""
    if code == 0 or not several():
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    if is_first():
        time.sleep(1.0)  # others that fail for the same reason end together with their coordinator
    os._exit(code)


def is_lost_connection(error: BaseException) -> bool:
    """Whether an error means that another process cannot be reached; `LOST` is its sentence.

    If the first process is lost, JAX may end the others from C++ before Python sees an error.
    """
    known = "Gloo|NCCL|coordination|UNAVAILABLE|DEADLINE_EXCEEDED"
    return several() and re.search(known, str(error)) is not None


def _value_of(variable: str) -> str | int:
    text = os.environ[variable]
    if variable == _VARIABLES["coordinator"]:
        return text
    try:
        return int(text)
    except ValueError as error:
        raise BadInputError(
            f"The environment variable {variable}={text} must be a whole number."
        ) from error


def _require_alone(cluster: Cluster) -> None:
    for name in ("num_processes", "process_id"):
        if (value := getattr(cluster, name)) is not None:
            raise BadInputError(
                f"{name}={value} needs coordinator=HOST:PORT, the address of the first process."
            )


def _address(cluster: Cluster) -> tuple[str, int]:
    coordinator, num_processes, process_id, connect_seconds = cluster
    host, _, port = str(coordinator).rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise BadInputError(
            f"coordinator={coordinator} must be HOST:PORT of the first process, such as "
            "10.0.0.1:1234, or auto."
        )
    if num_processes is None or process_id is None:
        raise BadInputError(
            f"coordinator={coordinator} needs num_processes=COUNT and process_id=NUMBER."
        )
    if not 0 <= process_id < num_processes:
        raise BadInputError(
            f"process_id={process_id} must be at least 0 and less than "
            f"num_processes={num_processes}."
        )
    if connect_seconds < 1:
        raise BadInputError(f"connect_seconds={connect_seconds} must be at least 1.")
    return host.strip("[]"), int(port)


def _meet(cluster: Cluster, host: str, port: int) -> None:
    """Waits until all processes have connected to the port, which JAX may then use.

    JAX itself would end the process from C++ if one of them does not come.
    """
    deadline = time.monotonic() + cluster.connect_seconds
    if cluster.process_id == 0:
        _wait_for_others(cluster, port, deadline)
    else:
        _wait_for_first(cluster, host, port, deadline)


def _wait_for_others(cluster: Cluster, port: int, deadline: float) -> None:
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        server = socket.create_server(("", port), family=family, dualstack_ipv6=both)
    except OSError as error:
        raise BadInputError(
            f"coordinator={cluster.coordinator}: the port cannot be used here "
            f"({error.strerror}); name another."
        ) from error
    missing = set(range(1, cluster.num_processes or 1))
    with server, ExitStack() as waiting:
        connections = []
        while missing:
            server.settimeout(max(deadline - time.monotonic(), 1e-3))
            try:
                connection = waiting.enter_context(server.accept()[0])
            except TimeoutError as error:
                raise BadInputError(
                    f"Not all of num_processes={cluster.num_processes} came within "
                    f"connect_seconds={cluster.connect_seconds}: start the one with "
                    f"process_id={min(missing)}."
                ) from error
            with suppress(OSError, ValueError):
                connection.settimeout(1.0)
                missing.discard(int(connection.recv(16)))
                connections.append(connection)
        for connection in connections:
            with suppress(OSError):
                connection.sendall(_ALL_CAME)


def _wait_for_first(cluster: Cluster, host: str, port: int, deadline: float) -> None:
    reason = "it does not answer"
    while (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection((host, port), timeout=min(left, 5.0)) as first:
                first.settimeout(left)
                first.sendall(str(cluster.process_id).encode())
                if first.recv(1) == _ALL_CAME:
                    return
        except OSError as error:
            reason = error.strerror or str(error)
        time.sleep(0.1)
    raise BadInputError(
        f"coordinator={cluster.coordinator} cannot be reached within "
        f"connect_seconds={cluster.connect_seconds}, or not all of "
        f"num_processes={cluster.num_processes} came ({reason}): start those that are missing, "
        "with process_id=0 at that address."
    )

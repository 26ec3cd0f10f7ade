"""How a command joins several processes that run it together."""

import io
import os
import sys
from typing import Any, cast

from vae_jax import processes
from vae_jax.config import Hardware
from vae_jax.runs.stop import StopSignal


def from_environment(hardware: Hardware) -> Hardware:
    """Fills the fields that are None from the environment, if that names a first process.

    Raises:
      BadInputError: a variable of the environment does not parse.
    """
    found = processes.from_environment(_cluster(hardware))
    known: dict[str, Any] = {name: getattr(hardware, name) for name in Hardware.OPTIONS}
    return Hardware(**(known | found._asdict()))


def join(hardware: Hardware, stop: StopSignal) -> None:
    """Joins the other processes that the hardware names. From then on only the first one prints.

    Raises:
      BadInputError: fields do not go together, or not all processes come in time.
    """
    processes.connect(_cluster(hardware))
    stop.listen()
    processes.introduce(print)
    if not processes.several():
        return
    sys.stdout.flush()
    if processes.is_first():
        # The libraries below JAX may end the process, and lose what is not printed yet.
        cast(io.TextIOWrapper, sys.stdout).reconfigure(line_buffering=True)
    else:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (until the end)


def _cluster(hardware: Hardware) -> processes.Cluster:
    return processes.Cluster(*(getattr(hardware, name) for name in processes.Cluster._fields))

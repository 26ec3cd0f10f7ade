"""The flags of several processes, and what `vae_jax.processes` says in words of flags."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from absl import flags

from vae_jax import processes
from vae_jax.errors import BadInputError
from vae_jax.processes import (
    LOST,
    gather,
    gather_bytes,
    heed,
    is_lost_connection,
    leave,
    of_first,
    on_first,
    several,
    share,
)

__all__ = [
    "LOST",
    "connect",
    "define_flags",
    "gather",
    "gather_bytes",
    "heed",
    "introduce",
    "is_lost_connection",
    "leave",
    "of_first",
    "on_first",
    "require_same",
    "settle",
    "several",
    "share",
]

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the flags of the commands that several processes can run together."""
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
    for name, value in processes.from_environment(_cluster())._asdict().items():
        FLAGS[name].value = value


def connect() -> None:
    """Joins the other processes that the flags name; does nothing if they name none.

    Raises:
      BadInputError: flags do not go together, or not all processes come in time.
    """
    with _in_words_of_flags():
        processes.connect(_cluster())


def introduce() -> None:
    """Says that there are several processes; from now on only the first one prints."""
    processes.introduce(print)
    if not several():
        return
    sys.stdout.flush()
    if processes.is_first():
        # The libraries below JAX may end the process, with what is not printed yet.
        sys.stdout.reconfigure(line_buffering=True)
    else:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (until the end)


def require_same(given: dict[str, str]) -> None:
    """Raises a BadInputError where a process has other flags than the first one."""
    with _in_words_of_flags():
        processes.require_same(given)


def _cluster() -> processes.Cluster:
    return processes.Cluster(*(FLAGS[name].value for name in processes.Cluster._fields))


@contextmanager
def _in_words_of_flags() -> Iterator[None]:
    """Puts the dashes of flags before their names where a message says `name=`."""

    def dashed(match):
        return f"--{match[0]}" if match[1] in FLAGS else match[0]

    try:
        yield
    except BadInputError as error:
        raise BadInputError(re.sub(r"(?<![\w-])(\w+)=", dashed, str(error))) from error

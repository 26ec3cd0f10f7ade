"""The devices and processes that train runs. Results depend on them only by rounding."""

import dataclasses

from vae_jax.config.option import Configuration, check_all, configuration, option


@configuration
@dataclasses.dataclass(frozen=True, kw_only=True)
class Hardware(Configuration):
    """The devices and processes that share the work.

    Raises:
      BadInputError: a field is unknown, or its value has the wrong type or is out of range.
    """

    num_devices: int | None = option(
        None,
        "Devices that share the runs of a program, or the batch of a single run, of all processes "
        "together. Default: for several runs as many as save time, each core of a CPU being one; "
        "for a single run as many as divide its batch, and on a CPU one.",
        group="hardware",
        low=1,
    )
    lanes_at_once: int | None = option(
        None,
        "Runs of a program that a device trains at the same time. Default: on the CPU one, "
        "elsewhere as many as its memory holds.",
        group="hardware",
        low=1,
    )
    coordinator: str | None = option(
        None,
        "Several processes, each started with the same flags but process_id, train together: "
        "HOST:PORT of the first one, which all others can reach; or auto under Slurm, Open MPI, "
        "Kubernetes and on TPUs, which know the rest, too. Default: JAX_COORDINATOR_ADDRESS, if "
        "set.",
        group="hardware",
    )
    num_processes: int | None = option(
        None,
        "How many processes the coordinator has. Default: JAX_NUM_PROCESSES.",
        group="hardware",
        low=1,
    )
    process_id: int | None = option(
        None,
        "Which of them this one is, from 0; 0 is the first, which prints and writes. Default: "
        "JAX_PROCESS_ID.",
        group="hardware",
        low=0,
    )
    connect_seconds: int = option(
        60, "How long processes wait for each other at the start.", group="hardware", low=1
    )

    def __post_init__(self):
        check_all(self)

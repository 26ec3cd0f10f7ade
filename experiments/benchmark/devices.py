"""Part "devices": one run on one device, on all devices, and in two processes.

The numbers of devices take turns in every round. The processes are two commands that train together
over the loopback address, beside one command that reads its images in the same way.
"""

import functools
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark import cases
from experiments.benchmark.cases import Case
from experiments.benchmark.rounds import Row, interleaved, rows_of
from experiments.benchmark.start import environment, flags_of
from experiments.benchmark.training_step import trainer_of
from vae_jax import data
from vae_jax.errors import BadInputError
from vae_jax.runs.folder import RunFolder
from vae_jax.training import streamed, sweep
from vae_jax.training.sweep import Plan

PART = "devices"
_UNIT = "ms/step"


def measure(rounds: int) -> list[Row]:
    """Measures a small and a large batch."""
    return [row for case in cases.DIVIDED for row in measure_case(case, rounds)]


def measure_case(case: Case, rounds: int) -> list[Row]:
    """Measures one case, with ratios to one device and to one process."""
    name = f"{case}, divided"
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "train-0.npy", case.pixels())
        np.save(Path(folder) / "test-0.npy", case.pixels()[:100])
        mapped = np.load(Path(folder) / "train-0.npy", mmap_mode="r")
        one, everyone = Plan(1, "batch", 1), Plan(len(jax.devices()), "batch", 1)
        seconds = interleaved(
            {
                "one device": epoch(case, one),
                f"{everyone.num_devices} devices of one process": epoch(case, everyone),
                "one device, images streamed from a file": streamed_epoch(case, mapped, one),
            },
            rounds,
        )
        of_processes = {
            f"{count} process{'es' * (count > 1)}, images streamed": process_seconds(
                Path(folder), case, count, rounds
            )
            for count in (1, 2)
        }
    rows = functools.partial(
        rows_of, part=PART, case=name, unit=_UNIT, units=case.num_steps, images=case.batch_size
    )
    return [
        *rows(seconds=seconds, reference="one device"),
        *rows(seconds=of_processes, reference=next(iter(of_processes))),
    ]


def epoch(case: Case, how: Plan) -> Callable[[], None]:
    """Makes an epoch of images that are on the devices."""
    trainer, states = _start(case)
    run_epoch = sweep.make_swept_epoch(trainer, case.batch_size, how)
    run_epoch, states, pixels = sweep.compile_epoch(run_epoch, states, jnp.asarray(case.pixels()))

    def run():
        nonlocal states
        states, _ = jax.block_until_ready(run_epoch(states, pixels))

    return run


def streamed_epoch(case: Case, images: np.ndarray, how: Plan) -> Callable[[], None]:
    """Makes an epoch of images that are read while it runs."""
    trainer, states = _start(case)
    run_epoch, states = streamed.compile_streamed_epoch(
        trainer, case.batch_size, images, functools.partial(data.stream, images), how, states
    )

    def run():
        nonlocal states
        states, _ = jax.block_until_ready(run_epoch(states))

    return run


def _start(case: Case):
    trainer = trainer_of(case)
    keys = jax.random.split(jax.random.key(0), 1)
    return trainer, sweep.init(trainer, keys, data.mean_example(case.pixels()), {})


def process_seconds(folder: Path, case: Case, count: int, rounds: int) -> list[float]:
    """The seconds of each epoch after the second, for `count` commands that train together.

    Raises:
      BadInputError: a command fails.
    """
    workdir = RunFolder(folder / f"{count}-processes")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    together = (f"--coordinator=127.0.0.1:{port}", f"--num_processes={count}") if count > 1 else ()
    commands = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "experiments.mnist"),
                *flags_of(case, f"{folder}/"),
                *(f"--workdir={workdir.path}", f"--epochs={rounds + 2}", "--stream"),
                *("--num_validation=1", "--nll_samples=1", f"--checkpoint_every={rounds + 2}"),
                *together,
                *((f"--process_id={number}",) if count > 1 else ()),
            ],
            env=environment() | {"JAX_COMPILATION_CACHE_DIR": str(folder / "cache")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    said = [command.communicate()[1] for command in commands]
    if any(command.returncode for command in commands):
        raise BadInputError(f"python -m experiments.mnist failed: {' '.join(said).strip()}")
    return [row["seconds"] for row in workdir.metrics()[2:]]

"""Part "sweep": the time of a lane and step in a sweep, beside that of one run by itself."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from experiments.benchmark import cases, matrix_products
from experiments.benchmark.cases import Case
from experiments.benchmark.rounds import Row, interleaved, rows_of
from experiments.benchmark.training_step import compiled_epoch, trainer_of
from vae_jax import data
from vae_jax.training import sweep

PART = "sweep"
NUM_LANES = (1, 2, 4, 8, 16)
SOLO = "one run by itself"


def measure(rounds: int) -> list[Row]:
    """Rows of the small VAE at both batches, for all numbers of lanes."""
    return [row for case in cases.SWEPT for row in measure_case(case, NUM_LANES, rounds)]


def measure_case(case: Case, num_lanes: tuple[int, ...], rounds: int) -> list[Row]:
    """Rows of one case: milliseconds of a lane and step, their ratio to the run by itself."""
    solo, _ = compiled_epoch(case)
    runs = {SOLO: solo, matrix_products.NAME: matrix_products.training(case)}
    lanes = {name_of(number): number for number in num_lanes}
    runs |= {name: swept_epoch(case, number) for name, number in lanes.items()}
    seconds = {
        name: [value / lanes.get(name, 1) for value in values]
        for name, values in interleaved(runs, rounds).items()
    }
    return rows_of(
        part=PART,
        case=f"sweep of {case}",
        unit="ms/lane and step",
        seconds=seconds,
        units=case.num_steps,
        images=case.batch_size,
        reference=SOLO,
    )


def name_of(num_lanes: int) -> str:
    """Of a row."""
    return f"{num_lanes} lane{'s' * (num_lanes > 1)}"


def swept_epoch(case: Case, num_lanes: int) -> Callable[[], None]:
    """An epoch of so many lanes, as `sweep.plan` has them share the machine."""
    pixels = case.pixels()
    trainer = trainer_of(case)
    on_device = jnp.asarray(pixels)
    keys = jax.random.split(jax.random.key(0), num_lanes)
    states = sweep.init(trainer, keys, data.mean_example(pixels), {})
    how = sweep.plan(
        num_lanes,
        case.batch_size,
        lambda: sweep.lane_bytes(trainer, case.batch_size, sweep.lane_of(states, 0), on_device),
    )
    run_epoch = sweep.make_swept_epoch(trainer, case.batch_size, how)
    run_epoch, states, on_device = sweep.compile_epoch(run_epoch, states, on_device)

    def run():
        nonlocal states
        states, _ = jax.block_until_ready(run_epoch(states, on_device))

    return run

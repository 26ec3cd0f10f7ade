"""Part "sweep": the time of a lane and step in a sweep, beside one run and what bounds it.

The bounds are those of lanes that run one after the other on each device: their matrix products,
and what their optimiser reads and writes.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from experiments.benchmark import cases, matrix_products
from experiments.benchmark.cases import Case
from experiments.benchmark.rounds import Row, interleaved, rows_of
from experiments.benchmark.training_step import (
    CLIP_NORM,
    Epoch,
    compiled_epoch,
    mebibytes_of,
    optimiser,
    trainer_of,
)
from vae_jax import data
from vae_jax.training import sweep
from vae_jax.training.trainer import norm

PART = "sweep"
NUM_LANES = (1, 2, 4, 8, 16)
SOLO = "one run by itself"
PRODUCTS = "matrix products alone, of a lane on each device"
OPTIMISER = "optimiser alone, of a lane on each device"


def measure(rounds: int) -> list[Row]:
    """Rows of the small VAE at both batches, for all numbers of lanes."""
    return [row for case in cases.SWEPT for row in measure_case(case, NUM_LANES, rounds)]


def measure_case(case: Case, num_lanes: tuple[int, ...], rounds: int) -> list[Row]:
    """Rows of one case: milliseconds of a lane and step, their ratio to the run by itself."""
    runs = {
        SOLO: compiled_epoch(case).run,
        PRODUCTS: on_each_device(*matrix_products.training_program(case)),
        OPTIMISER: on_each_device(*optimiser_program(case)),
    }
    lanes = {PRODUCTS: len(jax.devices()), OPTIMISER: len(jax.devices())}
    for number in num_lanes:
        name = f"{number} lane{'s' * (number > 1)}"
        runs[name], lanes[name] = swept_epoch(case, number).run, number
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


def swept_epoch(case: Case, num_lanes: int) -> Epoch:
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

    return Epoch(run, 0.0, mebibytes_of(run_epoch))


def optimiser_program(case: Case) -> tuple[Callable, tuple[Any, ...]]:
    """What a step does to parameters whose gradient is there: clipping, Adam, the moving average.

    Returns the function of an epoch and its arguments.
    """
    encoder, decoder = matrix_products.weights(case)
    params = {"kernels": [*encoder, *decoder], "biases": [w[0] for w in (*encoder, *decoder)]}
    update = optimiser()

    def run_epoch(params, gradient):
        def step(state, index):
            params, average, moments = state
            # Else the compiler would take its norm, the same in every step, out of the loop.
            held, _ = jax.lax.optimization_barrier((gradient, index))
            scale = jnp.minimum(1.0, CLIP_NORM / norm(held))
            held = jax.tree.map(lambda leaf: scale * leaf, held)
            updates, moments = update.update(held, moments, params)
            params = optax.apply_updates(params, updates)
            return (params, optax.incremental_update(params, average, 0.001), moments), None

        state = params, params, update.init(params)
        return jax.lax.scan(step, state, jnp.arange(case.num_steps))[0]

    return run_epoch, (params, jax.tree.map(lambda leaf: 0.01 * leaf, params))


def on_each_device(function: Callable, arguments: tuple[Any, ...]) -> Callable[[], None]:
    """The function on all devices at once, each with a copy of the arguments."""
    mesh = Mesh(jax.devices(), ("devices",))
    divided = P("devices")

    def on_one(*one):
        result = function(*jax.tree.map(lambda leaf: leaf[0], one))
        return jax.tree.map(lambda leaf: leaf[None], result)

    on_all = jax.jit(
        jax.shard_map(on_one, mesh=mesh, in_specs=divided, out_specs=divided, check_vma=False)
    )
    copies = jax.device_put(
        jax.tree.map(lambda leaf: jnp.stack([leaf] * len(jax.devices())), arguments),
        NamedSharding(mesh, divided),
    )
    return lambda: jax.block_until_ready(on_all(*copies))

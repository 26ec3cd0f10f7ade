"""Part "sweep": the time of a step of a lane in a sweep, beside a single run and the lower bounds.

The bounds hold for lanes that run one after the other on each device: their matrix products, and
the memory traffic of their optimiser.
"""

import time
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
ONE_THREAD = "one run by itself, one thread in products"
# Other ways than that of `sweep.plan` for eight lanes to share the machine.
OTHER_PLANS = {
    "8 lanes, in turn on one device": lambda devices: sweep.Plan(1, "lanes", 1),
    "8 lanes, vmap on one device": lambda devices: sweep.Plan(1, "lanes", 8),
    "8 lanes, vmap on all devices": lambda devices: sweep.Plan(devices, "lanes", 8 // devices),
}


def measure(rounds: int) -> list[Row]:
    """Measures the small VAE at both batch sizes, for all numbers of lanes."""
    return [row for case in cases.SWEPT for row in measure_case(case, NUM_LANES, rounds)]


def measure_case(case: Case, num_lanes: tuple[int, ...], rounds: int) -> list[Row]:
    """Measures one case: milliseconds per lane and step, and their ratios to the single run."""
    one_thread = {"xla_cpu_multi_thread_eigen": False}
    on_cpu = jax.devices()[0].platform == "cpu"
    runs = {
        SOLO: compiled_epoch(case).run,
        **({ONE_THREAD: compiled_epoch(case, None, one_thread).run} if on_cpu else {}),
        PRODUCTS: on_each_device(*matrix_products.training_program(case)),
        OPTIMISER: on_each_device(*optimiser_program(case)),
    }
    lanes = {PRODUCTS: len(jax.devices()), OPTIMISER: len(jax.devices())}
    swept = {f"{n} lane{'s' * (n > 1)}": (n, swept_epoch(case, n)) for n in num_lanes}
    for name, how in OTHER_PLANS.items():
        if 8 in num_lanes and 8 % len(jax.devices()) == 0:
            swept[name] = 8, swept_epoch(case, 8, how(len(jax.devices())))
    for name, (number, epoch) in swept.items():
        runs[name], lanes[name] = epoch.run, number
    seconds = {
        name: [value / lanes.get(name, 1) for value in values]
        for name, values in interleaved(runs, rounds).items()
    }
    rows = rows_of(
        part=PART,
        case=f"sweep of {case}",
        unit="ms/lane and step",
        seconds=seconds,
        units=case.num_steps,
        images=case.batch_size,
        reference=SOLO,
    )
    return rows + [
        Row(PART, f"sweep of {case}", f"{name}, compiling the epoch", "s", [epoch.compile_seconds])
        for name, (_, epoch) in swept.items()
    ]


def swept_epoch(case: Case, num_lanes: int, how: sweep.Plan | None = None) -> Epoch:
    """Makes an epoch of several lanes, which share the machine by `sweep.plan` or by `how`."""
    pixels = case.pixels()
    trainer = trainer_of(case)
    on_device = jnp.asarray(pixels)
    keys = jax.random.split(jax.random.key(0), num_lanes)
    mean = data.mean_example(pixels)
    one = jax.eval_shape(trainer.init, keys[0], mean, {})
    how = how or sweep.plan(
        num_lanes,
        case.batch_size,
        lambda: sweep.memory_of(trainer, case.batch_size, one, on_device),
    )
    states = sweep.init(trainer, keys, mean, {}, how)
    run_epoch = sweep.make_swept_epoch(trainer, case.batch_size, how)
    start = time.perf_counter()
    run_epoch, states, on_device = sweep.compile_epoch(run_epoch, states, on_device)
    compile_seconds = time.perf_counter() - start

    def run():
        nonlocal states
        states, _ = jax.block_until_ready(run_epoch(states, on_device))

    return Epoch(run, compile_seconds, mebibytes_of(run_epoch))


def optimiser_program(case: Case) -> tuple[Callable, tuple[Any, ...]]:
    """The update of the parameters from a given gradient: clipping, Adam, the moving average.

    Returns the function of an epoch and its arguments.
    """
    encoder, decoder = matrix_products.weights(case)
    params = {"kernels": [*encoder, *decoder], "biases": [w[0] for w in (*encoder, *decoder)]}
    update = optimiser()

    def run_epoch(params, gradient):
        def step(state, index):
            params, average, moments = state
            # A norm that is the same in every step would be taken out of the loop by the compiler.
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
    """Runs the function on all devices at once, each with a copy of the arguments."""
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

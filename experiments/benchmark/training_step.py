"""Part "training": the time of a training step of experiments.mnist."""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.benchmark import cases, matrix_products, pytorch
from experiments.benchmark.cases import Case
from experiments.benchmark.rounds import Row, interleaved, rows_of
from vae_jax import data, training
from vae_jax.objectives import Objective

PART = "training"
LEARNING_RATE = 1e-3
CLIP_NORM, _WARMUP_STEPS, _TOTAL_STEPS = 200.0, 100, 100_000


def measure(rounds: int, peers: bool) -> list[Row]:
    """Measures all cases: a step, its matrix products alone, PyTorch if `peers`, compiling."""
    rows = []
    for case in cases.CASES:
        print(f"  {case}", flush=True)
        rows += measure_case(case, rounds, peers)
    return rows


def measure_case(case: Case, rounds: int, peers: bool) -> list[Row]:
    """Measures one case."""
    epoch = compiled_epoch(case)
    runs = {matrix_products.NAME: matrix_products.training(case), "vae_jax": epoch.run}
    if peers:
        runs |= pytorch.epochs(case, LEARNING_RATE)
    seconds = interleaved(runs, rounds)
    return [
        *rows_of(
            part=PART,
            case=str(case),
            unit="ms/step",
            seconds=seconds,
            units=case.num_steps,
            images=case.batch_size,
            reference=matrix_products.NAME,
        ),
        Row(PART, str(case), "vae_jax, compiling the epoch", "s", [epoch.compile_seconds]),
        Row(PART, str(case), "vae_jax, memory of the epoch", "MiB", [epoch.mebibytes]),
    ]


def trainer_of(case: Case, objective: Objective | None = None) -> training.Trainer:
    """The trainer of `case`, with another objective if given."""
    return training.make_trainer(
        case.model(),
        objective or case.objective(),
        optimiser(),
        num_samples=case.num_samples,
        clip_norm=CLIP_NORM,
        binarise=data.dynamic,
    )


def optimiser() -> optax.GradientTransformation:
    """Adam with its schedule."""
    return training.adam(LEARNING_RATE, _TOTAL_STEPS, warmup_steps=_WARMUP_STEPS)


class Epoch(NamedTuple):
    """A compiled epoch."""

    run: Callable[[], None]
    compile_seconds: float
    mebibytes: float  # memory while it runs: data, state and temporary arrays


def compiled_epoch(
    case: Case,
    objective: Objective | None = None,
    compiler_options: dict[str, bool] | None = None,
) -> Epoch:
    """Compiles an epoch of `case`, with another objective or other options of XLA if given.

    It has dynamic binarisation, Adam with its schedule, clipping and the moving average.
    """
    pixels = case.pixels()
    trainer = trainer_of(case, objective)
    state = jax.jit(trainer.init)(jax.random.key(0), data.mean_example(pixels))
    on_device = jnp.asarray(pixels)
    start = time.perf_counter()
    run_epoch = training.make_epoch(trainer, case.batch_size).lower(state, on_device)
    run_epoch = run_epoch.compile(compiler_options)
    compile_seconds = time.perf_counter() - start

    def run():
        nonlocal state
        state, _ = jax.block_until_ready(run_epoch(state, on_device))

    return Epoch(run, compile_seconds, mebibytes_of(run_epoch))


def mebibytes_of(program: jax.stages.Compiled) -> float:
    """The memory of a program while it runs, on one device, as XLA reports it."""
    sizes = program.memory_analysis()
    kept = sizes.output_size_in_bytes - sizes.alias_size_in_bytes  # others are donated
    return (sizes.argument_size_in_bytes + kept + sizes.temp_size_in_bytes) / 2**20

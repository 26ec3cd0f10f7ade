"""The program that trains runs side by side: an epoch of all of them, compiled."""

import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vae_jax import data, training
from vae_jax.config import Hardware
from vae_jax.runs.events import Listener, Said
from vae_jax.runs.examples import Examples, are_streamed
from vae_jax.runs.resuming import Lane
from vae_jax.training import TrainState, streamed, sweep


class Program(NamedTuple):
    """A compiled epoch of all runs, and their states on the devices that train them."""

    run_epoch: Callable[[TrainState], tuple[TrainState, training.EpochInfo]]
    lanes: TrainState
    plan: sweep.Plan
    compile_seconds: float


def compile_program(
    trainer: training.Trainer,
    examples: Examples,
    lanes: list[Lane],
    states: list[TrainState],
    hardware: Hardware,
    axis: str | None,
    tell: Listener,
) -> Program:
    """Compiles an epoch of all lanes, and puts their states on the devices that share them."""
    start, config = time.perf_counter(), lanes[0].config
    plan = sweep.plan(
        len(states),
        config.batch_size,
        lambda: sweep.memory_of(
            trainer,
            config.batch_size,
            states[0],
            jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), examples.train),
        ),
        axis=axis,
        num_devices=hardware.num_devices,
        lanes_at_once=hardware.lanes_at_once,
    )
    if len(states) > 1 or plan.num_devices > 1:
        tell(Said(_in_words(plan, len(states), config.batch_size)))
    stacked = sweep.stack(states, plan)
    if are_streamed(config):
        tell(Said("Training examples are read while training, in blocks."))
        read = functools.partial(data.stream, examples.train)
        run_epoch, stacked = streamed.compile_streamed_epoch(
            trainer, config.batch_size, examples.train, read, plan, stacked
        )
    else:
        swept = sweep.make_swept_epoch(trainer, config.batch_size, plan)
        epoch, stacked, on_devices = sweep.compile_epoch(
            swept, stacked, jax.tree.map(jnp.asarray, examples.train)
        )

        def run_epoch(states):
            return epoch(states, on_devices)

    return Program(run_epoch, stacked, plan, time.perf_counter() - start)


def _in_words(plan: sweep.Plan, num_runs: int, batch_size: int) -> str:
    devices = f"{plan.num_devices} {jax.devices()[0].platform} device"
    devices += "s" * (plan.num_devices > 1)
    if plan.axis == "batch":
        return f"Batches of {batch_size} are divided among {devices}."
    return (
        f"{num_runs} run{'s' * (num_runs > 1)} on {devices}, {plan.lanes_at_once} at once on each."
    )

"""An epoch whose examples the hosts bring to the devices while it runs, block by block.

For data larger than memory, and for several hosts, each of which reads what its devices need. The
order of the examples is that of `make_epoch`, and so are the numbers.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from vae_jax.training.epoch import EpochInfo, StepsReport, info_of, rows_of, take_steps
from vae_jax.training.sweep import Plan, batch_sharding, on_devices, over_lanes
from vae_jax.training.trainer import Metrics, Trainer, TrainState

# (rows [num_steps, S, B], n) -> their examples, in blocks of n steps [n, S, B, *event].
Read = Callable[[np.ndarray, int], Iterator[np.ndarray]]
StreamedEpoch = Callable[[TrainState], tuple[TrainState, EpochInfo]]


class Pixels(Protocol):
    """Images of which only the shape [N, *event] and the dtype are asked."""

    @property
    def shape(self) -> tuple[int, ...]:
        """[N, *event]."""

    @property
    def dtype(self) -> np.dtype:
        """The type of a number, as it is stored."""


def compile_streamed_epoch(
    trainer: Trainer,
    batch_size: int,
    pixels: Pixels,
    read: Read,
    how: Plan,
    states: TrainState,
    *,
    bytes_at_once: int = 1 << 26,
) -> tuple[StreamedEpoch, TrainState]:
    """`sweep.make_swept_epoch` of data that are not on the devices, compiled.

    Args:
      trainer: the step.
      batch_size: B.
      pixels: the data.
      read: reads them. Each host is asked for what its own devices need of each step: the rows of
        its lanes, or its part of the batch.
      how: plan of the devices, from `sweep.plan`; they may be those of several hosts.
      states: states of S lanes, leaves [S, ...], the same on all hosts.
      bytes_at_once: about the most of one block on each host, unless two steps need more. At once
        there are two on the devices, that in training and the next, beside what `read` reads ahead
        and, while it is copied to the devices, what it has just read: with `data.stream` no more
        than three on the host.

    Returns:
      states -> (states, info), which DONATES its states, and the states on their devices.

    Raises:
      ValueError: the batch is larger than the data.
    """
    num_examples, *event = pixels.shape
    of_states = on_devices(how, 0 if how.axis == "lanes" else None)
    states = _put(states, how)
    rows_of_states = rows_of_lanes(num_examples, batch_size, how).lower(states).compile()
    run_block = over_lanes(
        lambda state, batches: take_steps(trainer, state, batches, batch_sharding(how)),
        how,
        shared=False,
    )
    num_lanes, num_steps = len(states.step), num_examples // batch_size
    step_bytes = batch_size * num_lanes * math.prod(event) * pixels.dtype.itemsize
    length = block_length(num_steps, bytes_at_once * jax.process_count() // step_bytes)
    of_batches = on_devices(how, 0 if how.axis == "lanes" else 2)  # of [S, n, B, ...]
    programs = {}
    for n in {length, num_steps % length} - {0}:
        shape = (num_lanes, n, batch_size, *event)
        batches = jax.ShapeDtypeStruct(shape, pixels.dtype, sharding=of_batches)
        programs[n] = run_block.lower(states, batches).compile()
    info_of_lanes = jax.jit(
        lambda ends, reports: jax.lax.map(lambda lane: info_of(*lane), (ends, reports)),
        out_shardings=on_devices(how, None),
    )

    def on_their_devices(block):
        return jax.make_array_from_process_local_data(of_batches, np.moveaxis(block, 1, 0))

    def run_epoch(states):
        rows = _of_this_host(rows_of_states(states))
        report: Any = None
        series = []
        for block in read(rows, length):
            before = report
            states, report = programs[len(block)](states, on_their_devices(block))
            del block  # which would stay in memory while the next is awaited
            if before is not None:
                # Waits for the block before, or reading would run ahead of training, while this
                # one is there to go on with.
                series.append(_on_host(before))
        series.append(_on_host(report))
        report = report._replace(series=_joined(series, of_states))
        return states, info_of_lanes(states.step, report)

    return run_epoch, states


def rows_of_lanes(num_examples: int, batch_size: int, how: Plan) -> jax.stages.Wrapped:
    """`rows_of` for S lanes, compiled for their devices, each of which orders its own lanes.

    Returns states -> [num_steps, S, B] int32, divided among the devices like the lanes, or the
    batch.
    """

    def in_turn(states):
        rows = jax.lax.map(lambda state: rows_of(state, num_examples, batch_size), states)
        return jnp.moveaxis(rows, 0, 1)

    if how.axis == "batch":
        whole, batch = on_devices(how, None), on_devices(how, 2)
        return jax.jit(in_turn, in_shardings=whole, out_shardings=batch)
    lanes, lanes_of_steps = on_devices(how, 0), on_devices(how, 1)
    on_all_devices = jax.shard_map(
        in_turn,
        mesh=lanes.mesh,
        in_specs=lanes.spec,
        out_specs=lanes_of_steps.spec,
        check_vma=False,
    )
    return jax.jit(on_all_devices, in_shardings=lanes)


def _on_host(report: StepsReport) -> dict[str, np.ndarray]:
    """What this host has of a block's series, [S, n], when the block is done."""
    jax.block_until_ready(report)  # series may be there before
    return {name: _of_this_host(values) for name, values in report.series.items()}


def _joined(series: list[dict[str, np.ndarray]], sharding: NamedSharding) -> Metrics:
    """The series of all blocks, on the devices. Programs do not depend on how many they are."""
    joined = {name: np.concatenate([one[name] for one in series], axis=1) for name in series[0]}
    return {
        name: jax.make_array_from_process_local_data(sharding, values)
        for name, values in joined.items()
    }


def block_length(num_steps: int, most: int) -> int:
    """Steps in a block: about `most`, in blocks that are as equal as can be.

    No block is of a single step, unless the epoch is: XLA compiles that to no loop, and to other
    roundings.
    """
    num_blocks = math.ceil(num_steps / max(2, most))
    length = math.ceil(num_steps / num_blocks)
    while length > 1 and num_steps % length == 1:
        length += 1
    return length


def on_this_host(states: TrainState, how: Plan) -> TrainState:
    """The states of all S lanes as arrays that this host can read."""
    if jax.process_count() == 1:
        return states
    copied = _copies_on_all_devices(how)(states)
    return _map_arrays(lambda leaf: leaf.addressable_data(0), copied)


@functools.cache
def _copies_on_all_devices(how: Plan) -> Callable[[TrainState], TrainState]:
    return jax.jit(lambda states: states, out_shardings=on_devices(how, None))


def _put(states: TrainState, how: Plan) -> TrainState:
    """States of S lanes, the same on all hosts, on the devices that train them."""
    sharding = on_devices(how, 0 if how.axis == "lanes" else None)

    def put(leaf):
        values = np.asarray(leaf)
        # Copies, as training donates its state.
        return jax.make_array_from_callback(
            values.shape, sharding, lambda index: values[index].copy()
        )

    return _map_arrays(put, states)


def _map_arrays(function: Callable[[jax.Array], jax.Array], tree: TrainState) -> TrainState:
    """`function` of all leaves, of typed keys that of their data."""

    def of_leaf(leaf):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = function(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return function(leaf)

    return jax.tree.map(of_leaf, tree)


def _of_this_host(array: jax.Array) -> np.ndarray:
    """The part of an array, divided along one dimension, that is on the devices of this host."""
    shards = {
        tuple(part.start or 0 for part in shard.index): np.asarray(shard.data)
        for shard in array.addressable_shards
    }
    (dimension,) = {d for d in range(array.ndim) if len({start[d] for start in shards}) > 1} or {0}
    return np.concatenate([shards[start] for start in sorted(shards)], axis=dimension)

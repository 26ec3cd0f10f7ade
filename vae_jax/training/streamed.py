"""An epoch whose examples the hosts bring to the devices while it runs, block by block.

For data larger than memory, and for several hosts, each of which reads what its devices need. The
order of the examples is that of `make_epoch`, and so are the numbers.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.training.epoch import EpochInfo, StepsReport, info_of, rows_of, take_steps
from vae_jax.training.sweep import Plan, batch_sharding, on_devices, over_lanes
from vae_jax.training.trainer import Trainer, TrainState

# (rows [num_steps, S, B], n) -> their examples, in blocks of n steps [n, S, B, *event].
Read = Callable[[np.ndarray, int], Iterator[np.ndarray]]
StreamedEpoch = Callable[[TrainState], tuple[TrainState, EpochInfo]]


class Pixels(Protocol):
    """Images of which only the shape [N, *event] and the dtype are asked."""

    shape: tuple[int, ...]
    dtype: np.dtype


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
      how: see `sweep.plan`; its devices may be those of several hosts.
      states: of S lanes, leaves [S, ...], the same on all hosts.
      bytes_at_once: most that a host holds of one block, unless two steps need more.

    Returns:
      states -> (states, info), which DONATES its states, and the states on their devices.

    Raises:
      ValueError: the batch is larger than the data.
    """
    num_examples, *event = pixels.shape
    of_states = on_devices(how, 0 if how.axis == "lanes" else None)
    of_steps = on_devices(how, 1 if how.axis == "lanes" else 2)  # of [n, S, B, ...]

    def rows_of_lanes(states):
        rows = jax.lax.map(lambda state: rows_of(state, num_examples, batch_size), states)
        return jnp.moveaxis(rows, 0, 1)

    states = _put(states, how)
    rows_of_states = jax.jit(rows_of_lanes, in_shardings=of_states, out_shardings=of_steps)
    rows_of_states = rows_of_states.lower(states).compile()
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
        lambda ends, *reports: jax.lax.map(lambda lane: info_of(*lane), (ends, _joined(reports))),
        out_shardings=on_devices(how, None),
    )

    def run_epoch(states):
        rows = _of_this_host(rows_of_states(states))
        reports = []
        for block in read(rows, length):
            by_lanes = np.moveaxis(block, 1, 0)
            batches = jax.make_array_from_process_local_data(of_batches, by_lanes)
            states, report = programs[len(block)](states, batches)
            reports.append(report)
        return states, info_of_lanes(states.step, *reports)

    return run_epoch, states


def _joined(reports: Sequence[StepsReport]) -> StepsReport:
    """The report of all blocks, leaves [S, ...]."""
    series = jax.tree.map(
        lambda *parts: jnp.concatenate(parts, axis=1), *(report.series for report in reports)
    )
    return StepsReport(series, reports[-1].parameter_norm)


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

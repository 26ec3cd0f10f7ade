"""An epoch whose examples are read while it runs, block by block.

It is for data larger than memory, and for several hosts, each of which reads the examples of its
own devices. The order of the examples and the numbers are the same as with `make_epoch`.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from vae_jax.models.batch import as_batch
from vae_jax.training.epoch import EpochInfo, StepsReport, info_of, rows_of, take_steps
from vae_jax.training.sweep import Plan, batch_sharding, on_devices, over_lanes
from vae_jax.training.trainer import Metrics, Trainer, TrainState

# (rows [num_steps, S, B], n) -> the examples of these rows, in blocks of n steps, of the structure
# of the data, with leaves [n, S, B, ...].
Read = Callable[[np.ndarray, int], Iterator[Any]]
StreamedEpoch = Callable[[TrainState], tuple[TrainState, EpochInfo]]


def compile_streamed_epoch(
    trainer: Trainer,
    batch_size: int,
    data: Any,
    read: Read,
    how: Plan,
    states: TrainState,
    *,
    bytes_at_once: int = 1 << 26,
) -> tuple[StreamedEpoch, TrainState]:
    """Compiles `sweep.make_swept_epoch` for data that are not on the devices.

    Args:
      trainer: the trainer, whose step is scanned.
      batch_size: B.
      data: pixels [N, *event] or a `Batch` of them, of which shapes and dtypes are used.
      read: function that reads examples. On each host it gets the rows that the devices of this
        host need: those of their lanes, or their share of the batch.
      how: plan of the devices, from `sweep.plan`. The devices may belong to several hosts.
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
    data = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), data)
    num_examples = jax.tree.leaves(as_batch(data).x)[0].shape[0]
    of_states = on_devices(how, 0 if how.axis == "lanes" else None)
    states = _put(states, how)
    rows_of_states = rows_of_lanes(num_examples, batch_size, how).lower(states).compile()
    run_block = over_lanes(
        lambda state, batches: take_steps(trainer, state, batches, batch_sharding(how)),
        how,
        shared=False,
    )
    num_lanes, num_steps = len(states.step), num_examples // batch_size
    step_bytes = batch_size * num_lanes * _bytes_of_one(data)
    length = block_length(num_steps, bytes_at_once * jax.process_count() // step_bytes)
    of_batches = on_devices(how, 0 if how.axis == "lanes" else 2)  # of [S, n, B, ...]
    programs = {}
    for n in {length, num_steps % length} - {0}:
        of_block = functools.partial(_block_of, (num_lanes, n, batch_size), of_batches)
        programs[n] = run_block.lower(states, jax.tree.map(of_block, data)).compile()
    info_of_lanes = jax.jit(
        lambda ends, reports: jax.lax.map(lambda lane: info_of(*lane), (ends, reports)),
        out_shardings=on_devices(how, None),
    )

    def on_their_devices(block):
        def put(leaf):
            return jax.make_array_from_process_local_data(of_batches, np.moveaxis(leaf, 1, 0))

        return jax.tree.map(put, block)

    def run_epoch(states):
        rows = _of_this_host(rows_of_states(states))
        report: Any = None
        series = []
        for block in read(rows, length):
            before = report
            number = len(jax.tree.leaves(block)[0])
            states, report = programs[number](states, on_their_devices(block))
            del block  # which would stay in memory while the next is awaited
            if before is not None:
                # Waits for the block before, or reading would run ahead of training, while this
                # one is there to go on with.
                series.append(_on_host(before))
        series.append(_on_host(report))
        report = report._replace(series=_joined(series, of_states))
        return states, info_of_lanes(states.step, report)

    return run_epoch, states


def _bytes_of_one(data: Any) -> int:
    """The bytes of one example, as it is stored."""
    leaves = jax.tree.leaves(data)
    return sum(math.prod(leaf.shape[1:]) * leaf.dtype.itemsize for leaf in leaves)


def _block_of(
    axes: tuple[int, ...], sharding: NamedSharding, leaf: jax.ShapeDtypeStruct
) -> jax.ShapeDtypeStruct:
    """The shape of a block of an array [N, ...] of the data, [*axes, ...]."""
    return jax.ShapeDtypeStruct((*axes, *leaf.shape[1:]), leaf.dtype, sharding=sharding)


def rows_of_lanes(num_examples: int, batch_size: int, how: Plan) -> jax.stages.Wrapped:
    """`rows_of` for S lanes, compiled. Each device orders the examples of its own lanes.

    Returns states -> [num_steps, S, B] int32, divided among the devices like the lanes or like the
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
    """The series of a block, [S, n], as far as they are on this host. It waits for the block."""
    jax.block_until_ready(report)  # series may be there before
    return {name: _of_this_host(values) for name, values in report.series.items()}


def _joined(series: list[dict[str, np.ndarray]], sharding: NamedSharding) -> Metrics:
    """Joins the series of all blocks on the devices, for any number of blocks."""
    joined = {name: np.concatenate([one[name] for one in series], axis=1) for name in series[0]}
    return {
        name: jax.make_array_from_process_local_data(sharding, values)
        for name, values in joined.items()
    }


def block_length(num_steps: int, most: int) -> int:
    """The number of steps in a block, about `most`, so that blocks are as equal as possible.

    No block has a single step, unless the epoch has: XLA compiles a single step without a loop, and
    with other roundings.
    """
    num_blocks = math.ceil(num_steps / max(2, most))
    length = math.ceil(num_steps / num_blocks)
    while length > 1 and num_steps % length == 1:
        length += 1
    return length


def on_one_device(lanes: Any, how: Plan) -> Any:
    """All S lanes of a pytree on the first device of this host, which can read them."""
    if how.num_devices == 1:
        return lanes
    copied = _copies_on_all_devices(how)(lanes)
    return _map_arrays(lambda leaf: leaf.addressable_data(0), copied)


@functools.cache
def _copies_on_all_devices(how: Plan) -> Callable[[Any], Any]:
    return jax.jit(lambda lanes: lanes, out_shardings=on_devices(how, None))


def _put(states: TrainState, how: Plan) -> TrainState:
    """Puts the states of S lanes, which are the same on all hosts, on their devices."""
    sharding = on_devices(how, 0 if how.axis == "lanes" else None)

    def put(leaf):
        values = np.asarray(leaf)
        # Copies, as training donates its state.
        return jax.make_array_from_callback(
            values.shape, sharding, lambda index: values[index].copy()
        )

    return _map_arrays(put, states)


def _map_arrays(function: Callable[[jax.Array], jax.Array], tree: Any) -> Any:
    """Applies `function` to all leaves, and to the data of typed keys."""

    def of_leaf(leaf):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = function(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return function(leaf)

    return jax.tree.map(of_leaf, tree)


def _of_this_host(array: jax.Array) -> np.ndarray:
    """The shards of an array on the devices of this host, joined along the divided dimension."""
    shards = {
        tuple(part.start or 0 for part in shard.index): np.asarray(shard.data)
        for shard in array.addressable_shards
    }
    (dimension,) = {d for d in range(array.ndim) if len({start[d] for start in shards}) > 1} or {0}
    return np.concatenate([shards[start] for start in sorted(shards)], axis=dimension)

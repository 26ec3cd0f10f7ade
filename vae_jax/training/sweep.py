"""Several runs, called lanes, in one program, and several devices for one program."""

import collections
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vae_jax.models.batch import Batch
from vae_jax.training.epoch import Epoch, epoch_of
from vae_jax.training.trainer import Trainer, TrainState


class Memory(NamedTuple):
    """The memory that training needs on a device, in bytes."""

    data: int
    state: int  # of one lane
    work: int  # of one lane while it runs, beside its state


class Plan(NamedTuple):
    """How S lanes, or the examples of a batch, are divided among devices."""

    num_devices: int
    axis: str  # "lanes", of which each device has the same number, or "batch"
    lanes_at_once: int  # number of lanes that one device trains at the same time, by vmap


def plan(
    num_lanes: int,
    batch_size: int,
    memory: Callable[[], Memory],
    *,
    axis: str | None = None,
    num_devices: int | None = None,
    lanes_at_once: int | None = None,
) -> Plan:
    """Chooses the plan that is fastest for small models.

    On accelerators all lanes of a device run at once, by vmap, as far as memory allows, since one
    small model leaves most of a device idle. The batch of a single lane is divided among the
    devices. On the CPU lanes run one after the other, on as many host devices as there are cores
    (`jax_num_cpu_devices`). A single lane runs on one host device, whose threads use all cores.
    Measured with the 784-200-200-50 VAE, 8 lanes, 2 cores, milliseconds of a lane and step at
    batch 20 and 100:

        one run by itself, whose threads use both cores  0.66    2.1
        vmap, one device                                 0.92    2.2
        one after the other, one device                  0.66    2.2
        vmap, two devices                                0.78    2.0
        one after the other, two devices                 0.53    1.8

    Under vmap the matrix products of lanes are no faster than one by one, and the parameters and
    moments of all lanes pass through the caches in every step. A lane that runs through its whole
    epoch keeps them in the caches. XLA's option for one thread in products
    (xla_cpu_multi_thread_eigen) changes nothing. `experiments.benchmark --only=sweep` measures all
    of this again.

    Args:
      num_lanes: S.
      batch_size: B.
      memory: function that returns the memory of training (`memory_of`). It is called only where
        memory limits the plan.
      axis: "lanes" or "batch"; None for "lanes", and for "batch" if there is one lane. What is
        left of an interrupted sweep, even a single lane, keeps its bits with the axis "lanes".
      num_devices: number of devices, the same in each process; None for the rule above, which is
        `devices_for` for lanes, and for a batch the largest number that divides it.
      lanes_at_once: number of lanes that one device trains at once; None for the rule above.

    Raises:
      ValueError: there are fewer devices, or they do not divide the lanes or the batch.
    """
    devices, num_hosts = jax.devices(), jax.process_count()
    axis = axis or ("lanes" if num_lanes > 1 else "batch")
    on_cpu = devices[0].platform == "cpu"
    of_hosts = collections.Counter(device.process_index for device in devices)
    most = min(of_hosts.values()) * num_hosts
    possible = range(num_hosts, most + 1, num_hosts)  # as many on each host
    asked_for = num_devices is not None
    if num_devices is None and axis == "lanes":
        num_devices = devices_for(num_lanes, possible)
    elif num_devices is None:
        dividing = [n for n in possible if batch_size % n == 0 and not on_cpu]
        num_devices = max(dividing, default=num_hosts)
    if num_devices not in possible:
        raise ValueError(
            f"num_devices={num_devices} must be between 1 and {most}, as there are no more"
            + (f", and a multiple of {num_hosts} processes." if num_hosts > 1 else ".")
        )
    if axis == "lanes" and asked_for and num_lanes % num_devices:
        raise ValueError(f"num_devices={num_devices} must divide the {num_lanes} runs.")
    if axis == "batch" and not asked_for and batch_size % num_devices:
        raise ValueError(f"batch_size={batch_size} must be a multiple of {num_hosts} processes.")
    if axis == "batch" and batch_size % num_devices:
        raise ValueError(f"num_devices={num_devices} must divide the batch of {batch_size}.")
    on_each = math.ceil(num_lanes / num_devices) if axis == "lanes" else 1
    if lanes_at_once is None:
        limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
        lanes_at_once = 1
        if on_each > 1 and not on_cpu and limit is not None:
            needed = memory()
            # The loop over lanes reads all states from one place and writes them to another.
            left = int(0.8 * limit) - needed.data - 2 * on_each * needed.state
            lanes_at_once = max(1, left // needed.work)
    return Plan(num_devices, axis, min(lanes_at_once, on_each))


def devices_for(num_lanes: int, possible: Iterable[int]) -> int:
    """The smallest number of devices with which the lanes take the fewest turns.

    If it does not divide the number of lanes, some devices have no lane in the last turn; see
    `stack`.
    """
    return min(possible, key=lambda number: (math.ceil(num_lanes / number), number))


def memory_of(trainer: Trainer, batch_size: int, state: TrainState, data: Any) -> Memory:
    """The memory of the compiled epoch, as XLA reports it.

    Args:
      trainer: the trainer.
      batch_size: B.
      state: state of one lane, or its shapes and dtypes.
      data: pixels [N, *event] or a `Batch` of them, or their shapes and dtypes.
    """
    program = jax.jit(epoch_of(trainer, batch_size), donate_argnums=0).lower(state, data)
    sizes: Any = program.compile().memory_analysis()
    # What goes in is the state and the data; what comes out is a state, for each lane at work.
    data_bytes = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(data))
    state_bytes = sizes.argument_size_in_bytes - data_bytes
    return Memory(data_bytes, state_bytes, sizes.temp_size_in_bytes + sizes.output_size_in_bytes)


def stack(lanes: list[TrainState], how: Plan | None = None) -> TrainState:
    """Stacks the states of S lanes, to leaves [S, ...].

    how: plan of the devices. If their number does not divide S, copies of the last lane are added,
    whose results nobody reads.
    """
    missing = -len(lanes) % how.num_devices if how is not None and how.axis == "lanes" else 0
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *lanes, *lanes[-1:] * missing)


@jax.jit
def lane_of(lanes: Any, index: int) -> Any:
    """Selects one lane of a pytree whose leaves are [S, ...].

    It is one program, since devices that hold lanes exchange them: hundreds of small exchanges at
    once can block one another.
    """
    return jax.tree.map(lambda leaf: leaf[index], lanes)


def init(
    trainer: Trainer,
    keys: jax.Array,
    x: jax.Array | Batch,
    settings: dict[str, np.ndarray],
    how: Plan | None = None,
) -> TrainState:
    """The states of S lanes. keys: [S]; x: one example; settings: name -> [S]; how: see `stack`."""
    lanes = [lane_of((keys, settings), index) for index in range(len(keys))]
    start = jax.jit(trainer.init)
    return stack([start(key, x, values) for key, values in lanes], how)


def make_swept_epoch(trainer: Trainer, batch_size: int, how: Plan) -> jax.stages.Wrapped:
    """`make_epoch` for S lanes on the same data, which is on the devices.

    A lane gives the same numbers as a run by itself on one device. They are the same to the bit
    where lanes run one after the other. They are the same up to rounding where several lanes run at
    once (vmap), or where the examples of a batch are divided among devices.

    Args:
      trainer: the trainer, whose step is scanned.
      batch_size: B.
      how: plan of the devices, from `plan`.

    Returns:
      (states, data) -> (states, info), with leaves [S, ...]. data: pixels [N, *event] or a `Batch`
      of them. It DONATES its states.

    Raises:
      ValueError: (when called) the devices do not divide the lanes.
    """
    return over_lanes(epoch_of(trainer, batch_size, batch_sharding(how)), how, shared=True)


def batch_sharding(how: Plan) -> NamedSharding | None:
    """The sharding of the examples of a step, if devices share them."""
    return on_devices(how, 0) if how.axis == "batch" and how.num_devices > 1 else None


def over_lanes(
    one_lane: Callable[[TrainState, Any], Any], how: Plan, *, shared: bool
) -> jax.stages.Wrapped:
    """Maps a function of one state and its data over S lanes, compiled for their devices.

    Args:
      one_lane: (state, data) -> pytree.
      how: plan of the devices, from `plan`.
      shared: whether all lanes have the same data. If not, the data are [S, ...] and divided among
        devices like the lanes, or [S, n, B, ...] and divided like the examples of a batch.

    Returns:
      (states, data) -> pytree, with leaves [S, ...]. It DONATES its states.
    """
    at_once = how.lanes_at_once if how.lanes_at_once > 1 else None
    whole = on_devices(how, None)

    def lanes_in_turn(states, data):
        if shared:
            return jax.lax.map(lambda state: one_lane(state, data), states, batch_size=at_once)
        return jax.lax.map(lambda both: one_lane(*both), (states, data), batch_size=at_once)

    if how.axis == "batch":
        data = whole if shared else on_devices(how, 2)
        return jax.jit(
            lanes_in_turn, donate_argnums=0, in_shardings=(whole, data), out_shardings=whole
        )
    lanes = on_devices(how, 0)
    data = whole if shared else lanes
    on_all_devices = jax.shard_map(
        lanes_in_turn,
        mesh=lanes.mesh,
        in_specs=(lanes.spec, data.spec),
        out_specs=lanes.spec,
        check_vma=False,
    )
    return jax.jit(on_all_devices, donate_argnums=0, in_shardings=(lanes, data))


def on_devices(how: Plan, dimension: int | None) -> NamedSharding:
    """The sharding of arrays that are divided among devices along a dimension.

    dimension: the dimension; None if each device has a copy of the whole array. The same number of
    devices of each host takes part, host by host.
    """
    on_each = how.num_devices // jax.process_count()
    devices = [
        device
        for host in range(jax.process_count())
        for device in [one for one in jax.devices() if one.process_index == host][:on_each]
    ]
    mesh = Mesh(np.array(devices), (how.axis,))
    return NamedSharding(mesh, P() if dimension is None else P(*[None] * dimension, how.axis))


def compile_epoch(
    run_epoch: jax.stages.Wrapped, states: TrainState, data: jax.Array | Batch
) -> tuple[Epoch, TrainState, jax.Array | Batch]:
    """Compiles the result of `make_swept_epoch` and puts its arguments on their devices.

    Returns (the compiled program, the states, the data).
    """
    program = run_epoch.lower(states, data).compile()
    arguments, _ = program.input_shardings
    return program, *jax.device_put((states, data), arguments)

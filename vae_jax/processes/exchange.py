"""Messages between processes that compute together. A single process sends none."""

import functools
import json
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vae_jax import errors
from vae_jax.errors import BadInputError

_ERRORS = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
}
_in_first = False  # whether `on_first` is running in the first process


class Signals(Protocol):
    """An object that notes signals: `number` is the number of the first signal, 0 before it."""

    number: int


def several() -> bool:
    """Whether there are other processes."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
    """Whether this is the process that reads, writes and prints."""
    return not several() or jax.process_index() == 0


def introduce(say: Callable[[str], None]) -> None:
    """Sets the number of processes and which of them this is; does nothing for a single process."""
    if not several():
        return
    number, count = jax.process_index(), jax.process_count()
    if number == 0:
        say(f"{count} processes train together; this one, the first, prints and writes.")
    else:
        say(f"Process {number} of {count}: process 0 prints and writes.")


def require_same(given: dict[str, str]) -> None:
    """Raises a BadInputError in all processes if one has other settings than the first."""
    first = on_first(lambda: given)
    differences = [
        f"{name}={first.get(name, 'default')} there, {given.get(name, 'default')} here"
        for name in sorted(first.keys() | given.keys())
        if first.get(name) != given.get(name)
    ]
    for number, text in enumerate(gather_bytes("; ".join(differences).encode())):
        if text:
            raise BadInputError(
                f"Process {number} has other settings than process 0: {text.decode()}."
            )


def on_first(function: Callable[[], Any]) -> Any:
    """Calls a function in the first process, and returns or raises its result in all of them.

    Args:
      function: function of no arguments, whose result JSON can hold. It may raise errors of
        `vae_jax.errors` or subclasses of them, and may call `on_first` itself.
    """
    global _in_first
    if not several() or _in_first:
        return function()
    outcome = {}
    if jax.process_index() == 0:
        _in_first = True
        try:
            outcome = {"value": function()}
        except tuple(_ERRORS.values()) as error:
            names = (kind.__name__ for kind in type(error).__mro__)
            known = next(name for name in names if name in _ERRORS)
            outcome = {"error": known, "message": str(error), "more": dict(vars(error))}
        finally:
            _in_first = False
    outcome = json.loads(gather_bytes(json.dumps(outcome).encode())[0])
    if "error" in outcome:
        raised = _ERRORS[outcome["error"]](outcome["message"])
        for name, value in outcome["more"].items():
            setattr(raised, name, value)
        raise raised
    return outcome["value"]


def gather_bytes(own: bytes) -> list[bytes]:
    """The bytes of all processes, in their order; each gives any number of bytes."""
    if not several():
        return [own]
    own_length = np.frombuffer(np.int64(len(own)).tobytes(), np.uint8)
    lengths = _gather_equal(own_length).view(np.int64).ravel()
    # Each size needs a compiled program, so that few sizes are used.
    padded = np.zeros(1 << int(max(lengths)).bit_length(), np.uint8)
    padded[: len(own)] = np.frombuffer(own, np.uint8)
    rows = _gather_equal(padded)
    return [row[:length].tobytes() for row, length in zip(rows, lengths, strict=True)]


def gather(own: np.ndarray) -> list[np.ndarray]:
    """The arrays [n, *rest] of all processes, exactly; n may differ."""
    own = np.ascontiguousarray(own)
    return [
        np.frombuffer(part, own.dtype).reshape(-1, *own.shape[1:])
        for part in gather_bytes(own.tobytes())
    ]


def of_first(tree: Any) -> Any:
    """The arrays and typed keys of the first process, exactly; all have the same shapes."""
    if not several():
        return tree
    leaves, structure = jax.tree.flatten(tree)
    is_key = [jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in leaves]
    arrays = [
        np.asarray(jax.random.key_data(leaf) if key else leaf)
        for leaf, key in zip(leaves, is_key, strict=True)
    ]
    own = b"".join(array.tobytes() for array in arrays) if jax.process_index() == 0 else b""
    first, offset, found = gather_bytes(own)[0], 0, []
    for leaf, key, array in zip(leaves, is_key, arrays, strict=True):
        values = np.frombuffer(first, array.dtype, array.size, offset).reshape(array.shape)
        offset += array.nbytes
        value = jnp.array(values)  # a copy, which training may donate
        found.append(
            jax.random.wrap_key_data(value, impl=jax.random.key_impl(leaf)) if key else value
        )
    return jax.tree.unflatten(structure, found)


def share(number: int, multiple: int = 1) -> slice:
    """The slice of a number of items for this process; it begins at a multiple of `multiple`.

    If the number is not divisible, the first processes have more.
    """
    if not several():
        return slice(0, number)
    blocks = -(-number // multiple)
    start, stop = (
        min(number, -(-blocks * index // jax.process_count()) * multiple)
        for index in (jax.process_index(), jax.process_index() + 1)
    )
    return slice(start, stop)


def heed(stop: Signals) -> bool:
    """Whether any process has received a signal, so that all of them stop here.

    A signal that comes later counts at the next call, in all of them.
    """
    number = max(int(number[0]) for number in gather(np.array([stop.number])))
    if number:
        stop.number = number
    return number != 0


def _gather_equal(own: np.ndarray) -> np.ndarray:
    """own: [n] bytes, n the same in all processes. Returns [processes, n].

    It uses one device of each process. `jax.experimental.multihost_utils` uses all devices, and
    fails if processes have different numbers of them.
    """
    first_of_each = {device.process_index: device for device in reversed(jax.devices())}
    mesh = Mesh([device for _, device in sorted(first_of_each.items())], ("processes",))
    divided, whole = NamedSharding(mesh, P("processes")), NamedSharding(mesh, P())
    rows = jax.make_array_from_process_local_data(divided, own[None])
    return np.asarray(_copies(whole)(rows).addressable_data(0))


@functools.cache
def _copies(where: NamedSharding) -> Callable[[jax.Array], jax.Array]:
    return jax.jit(lambda array: array, out_shardings=where)

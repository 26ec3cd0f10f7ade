"""How much is computed at once, so that the memory of an estimate does not grow with the event.

An estimate that goes through examples or samples holds several arrays of a likelihood, as large as
the event, for each of them. The rule: at most `BYTES_AT_ONCE` in each of these arrays. The peak is
a small multiple of it, about three to five times.
"""

from collections.abc import Callable
from typing import Any

import jax

from vae_jax.models import Model, Params
from vae_jax.models.checks import accepted

BYTES_AT_ONCE = 2**28


def decodings_at_once(model: Model, params: Params) -> int:
    """How many likelihoods p(x|z), each of one z, are held together; at least 1.

    Each counts as its parameters, or as its event where that is larger: 784 floats for a Bernoulli
    likelihood of 28 x 28 pixels, and 100 times as many for a mixture with 100 numbers a pixel.
    """
    wanted = accepted(model, params)
    return at_once(max(_num_bytes(wanted.likelihood), _num_bytes(wanted.x)))


def at_once(num_bytes: int) -> int:
    """How many arrays of so many bytes are held together; at least 1."""
    return max(1, BYTES_AT_ONCE // max(1, num_bytes))


def map_in_chunks(function: Callable[[Any], Any], inputs: Any, most: int) -> Any:
    """`jax.vmap` of a function of one input, for at most so many inputs at a time.

    inputs: pytree, leaves [N, ...]. Returns the values, leaves [N, ...].
    """
    num_inputs = len(jax.tree.leaves(inputs)[0])
    if num_inputs <= most:
        return jax.vmap(function)(inputs)
    return jax.lax.map(function, inputs, batch_size=most)


def _num_bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))

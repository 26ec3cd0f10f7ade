"""The size of chunks, chosen so that the memory of an estimate does not grow with the event.

An estimate over examples or samples holds several arrays for each of them that are as large as the
event. The rule is that each of these arrays takes at most `BYTES_AT_ONCE`. The peak of memory is
then about three to five times as large.
"""

from collections.abc import Callable
from typing import Any

import jax

from vae_jax.models import Model, Params
from vae_jax.models.checks import accepted

BYTES_AT_ONCE = 2**28


def decodings_at_once(model: Model, params: Params) -> int:
    """The number of likelihoods p(x|z), each for one z, that are held together; at least 1.

    model: the VAE; `models.given(model, c)` for a conditional one.

    The size of a likelihood is that of its parameters or of its event, whichever is larger: 784
    floats for a Bernoulli likelihood of 28 x 28 pixels, and 100 times as many for a mixture with
    100 numbers for each pixel.
    """
    wanted = accepted(model, params)
    return at_once(max(_num_bytes(wanted.likelihood), _num_bytes(wanted.x)))


def at_once(num_bytes: int) -> int:
    """The number of arrays of this many bytes that are held together; at least 1."""
    return max(1, BYTES_AT_ONCE // max(1, num_bytes))


def map_in_chunks(function: Callable[[Any], Any], inputs: Any, most: int) -> Any:
    """`jax.vmap` of a function of one input, applied to a limited number of inputs at a time.

    inputs: pytree, leaves [N, ...]. Returns the values, leaves [N, ...].
    """
    num_inputs = len(jax.tree.leaves(inputs)[0])
    if num_inputs <= most:
        return jax.vmap(function)(inputs)
    return jax.lax.map(function, inputs, batch_size=most)


def _num_bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))

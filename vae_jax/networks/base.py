"""The interface of networks: (init, apply) pairs of one input, and perhaps of a condition."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

#: The parameters of a network or a model, a pytree of arrays.
Params = Any


class Network(NamedTuple):
    """A network of one input, as two pure functions.

    Attributes:
      init: (key, output_bias) -> params. output_bias: [] or [*output_shape], which an untrained
        network adds to its outputs, so that it starts near a sensible output.
      apply: (params, x) -> [*output_shape], or (params, x, c) of a network with a condition.
        x: [*input_shape]; c: [*condition_shape].
      apply_with_dropout: (key, params, x), or (key, params, x, c), -> [*output_shape], the outputs
        with hidden units dropped at random by a typed PRNG key; None of a network that drops none.
    """

    init: Callable[[jax.Array, jax.Array | float], Params]
    apply: Callable[..., jax.Array]
    apply_with_dropout: Callable[..., jax.Array] | None = None


#: The shape of an array without batch axes.
Shape = tuple[int, ...]


class Architecture(Protocol):
    """A function that makes a network of given shapes.

    A function of the first two arguments is enough for models without a condition.
    """

    def __call__(self, input_shape: Shape, output_shape: Shape, *condition_shape: Shape) -> Network:
        """Makes a network of x, or of x and c if the shape of c is given, too."""


def zeros_of(input_shape: Shape, *condition_shape: Shape) -> tuple[jax.Array, ...]:
    """The inputs of a network, all zero, with which its parameters are initialised."""
    return tuple(jnp.zeros(shape) for shape in (input_shape, *condition_shape))


def joined(x: jax.Array, *condition: jax.Array) -> jax.Array:
    """The values of an input and of its condition, if there is one, in one vector."""
    if not condition:
        return jnp.ravel(x)
    return jnp.concatenate([jnp.ravel(x), *(jnp.ravel(c) for c in condition)])

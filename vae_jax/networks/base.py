"""The interface of networks: (init, apply) pairs of one input."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

#: The parameters of a network or a model, a pytree of arrays.
Params = Any


class Network(NamedTuple):
    """A network of one input, as two pure functions.

    Attributes:
      init: (key, output_bias) -> params. output_bias: [] or [*output_shape], which an untrained
        network adds to its outputs, so that it starts near a sensible output.
      apply: (params, x) -> [*output_shape]. x: [*input_shape].
    """

    init: Callable[[jax.Array, jax.Array | float], Params]
    apply: Callable[[Params, jax.Array], jax.Array]


#: The shape of an array without batch axes.
Shape = tuple[int, ...]

#: A function that makes a network: (input_shape, output_shape) -> `Network`.
Architecture = Callable[[Shape, Shape], Network]

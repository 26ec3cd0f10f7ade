"""Networks as (init, apply) pairs. The only file that knows flax.linen."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

Params = Any


class Network(NamedTuple):
    """A network of one input, as two pure functions.

    init: (key, x, output_bias) -> params. x: an input, for its shape; output_bias: [] or
      [num_outputs], added to the (zero) bias of the last layer, so that an untrained network
      starts near a sensible output.
    apply: (params, x) -> [num_outputs]. x: [*input], any shape; it is flattened.
    """

    init: Callable[[jax.Array, jax.Array, jax.Array | float], Params]
    apply: Callable[[Params, jax.Array], jax.Array]


Architecture = Callable[[int], Network]  # num_outputs -> Network


def mlp(
    hidden: Sequence[int] = (400,), activation: Callable[[jax.Array], jax.Array] = nn.relu
) -> Architecture:
    """A multi-layer perceptron: dense layers with one activation between them.

    Args:
      hidden: widths of the hidden layers; empty for an affine map.
      activation: elementwise function.

    Returns:
      A function num_outputs -> `Network`.
    """
    return lambda num_outputs: _as_network(_MLP(tuple(hidden), num_outputs, activation))


def gated_mlp(
    hidden: Sequence[int] = (300, 300), activation: Callable[[jax.Array], jax.Array] | None = None
) -> Architecture:
    """A multi-layer perceptron of gated units: h = f(A x + a) * sigmoid(B x + b).

    The network of Tomczak & Welling 2018 (VampPrior), there with f the identity; gated linear
    units are Dauphin et al. 2017, eq. 1.

    Args:
      hidden: widths of the hidden layers; empty for an affine map.
      activation: elementwise f; None for the identity.

    Returns:
      A function num_outputs -> `Network`.
    """
    activation = activation or (lambda h: h)
    return lambda num_outputs: _as_network(_GatedMLP(tuple(hidden), num_outputs, activation))


class _MLP(nn.Module):
    hidden: tuple[int, ...]
    num_outputs: int
    activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x):
        h = jnp.ravel(x)
        for width in self.hidden:
            h = self.activation(nn.Dense(width)(h))
        return nn.Dense(self.num_outputs, name="output")(h)


class _GatedMLP(nn.Module):
    hidden: tuple[int, ...]
    num_outputs: int
    activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x):
        h = jnp.ravel(x)
        for width in self.hidden:
            # One product for values and gates is faster than two of half the size.
            value, gate = jnp.split(nn.Dense(2 * width)(h), 2)
            h = self.activation(value) * nn.sigmoid(gate)
        return nn.Dense(self.num_outputs, name="output")(h)


def _as_network(module: nn.Module) -> Network:
    def init(key, x, output_bias=0.0):
        params = module.init(key, x)["params"]
        output = params["output"]
        return {**params, "output": {**output, "bias": output["bias"] + output_bias}}

    return Network(init=init, apply=lambda params, x: module.apply({"params": params}, x))

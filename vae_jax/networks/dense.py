"""Multi-layer perceptrons."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vae_jax.networks.base import Architecture, Network, Params, Shape, joined, zeros_of


def mlp(
    hidden: Sequence[int] = (400,), activation: Callable[[jax.Array], jax.Array] = nn.relu
) -> Architecture:
    """A multi-layer perceptron: dense layers with one activation between them.

    Args:
      hidden: widths of the hidden layers; empty for an affine map.
      activation: elementwise activation function.

    Returns:
      A function (input_shape, output_shape) -> `Network`. Inputs are flattened, and
        a condition is appended to them.
    """
    return _dense(lambda num_outputs: _MLP(tuple(hidden), num_outputs, activation))


def gated_mlp(
    hidden: Sequence[int] = (300, 300), activation: Callable[[jax.Array], jax.Array] | None = None
) -> Architecture:
    """A multi-layer perceptron of gated units: h = f(A x + a) * sigmoid(B x + b).

    It is the network of Tomczak & Welling 2018 (VampPrior), where f is the identity. Gated linear
    units are those of Dauphin et al. 2017, eq. 1.

    Args:
      hidden: widths of the hidden layers; empty for an affine map.
      activation: elementwise function f; None for the identity.

    Returns:
      A function (input_shape, output_shape) -> `Network`. Inputs are flattened, and
        a condition is appended to them.
    """
    chosen = activation or (lambda h: h)
    return _dense(lambda num_outputs: _GatedMLP(tuple(hidden), num_outputs, chosen))


class _MLP(nn.Module):
    hidden: tuple[int, ...]
    num_outputs: int
    activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x, *condition):
        h = joined(x, *condition)
        for width in self.hidden:
            h = self.activation(nn.Dense(width)(h))
        return nn.Dense(self.num_outputs, name="output")(h)


class _GatedMLP(nn.Module):
    hidden: tuple[int, ...]
    num_outputs: int
    activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x, *condition):
        h = joined(x, *condition)
        for width in self.hidden:
            # One product for values and gates is faster than two of half the size.
            value, gate = jnp.split(nn.Dense(2 * width)(h), 2)
            h = self.activation(value) * nn.sigmoid(gate)
        return nn.Dense(self.num_outputs, name="output")(h)


def _dense(module_of: Callable[[int], nn.Module]) -> Architecture:
    def architecture(input_shape, output_shape, *condition_shape):
        module = module_of(math.prod(output_shape))
        return with_dense_output(module, input_shape, output_shape, *condition_shape)

    return architecture


def with_dense_output(
    module: nn.Module, input_shape: Shape, output_shape: Shape, *condition_shape: Shape
) -> Network:
    """The network of a module whose last layer is dense and named "output"."""

    def init(key, output_bias=0.0):
        params = module.init(key, *zeros_of(input_shape, *condition_shape))["params"]
        output = params["output"]
        return {**params, "output": {**output, "bias": output["bias"] + jnp.ravel(output_bias)}}

    def apply(params: Params, x: jax.Array, *condition: jax.Array) -> jax.Array:
        outputs: Any = module.apply({"params": params}, x, *condition)
        return outputs.reshape(output_shape)

    return Network(init=init, apply=apply)

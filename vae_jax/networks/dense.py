"""Multi-layer perceptrons."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vae_jax.networks.base import Architecture, Network, Params, Shape, joined, zeros_of


def mlp(
    hidden: Sequence[int] = (400,),
    activation: Callable[[jax.Array], jax.Array] = nn.relu,
    *,
    dropout: float = 0.0,
) -> Architecture:
    """A multi-layer perceptron: dense layers with one activation between them.

    Args:
      hidden: widths of the hidden layers; empty for an affine map.
      activation: elementwise activation function.
      dropout: probability with which `Network.apply_with_dropout` drops a hidden unit (Srivastava
        et al. 2014); the others are divided by 1 - dropout. 0 for a network without it.

    Returns:
      A function (input_shape, output_shape) -> `Network`. Inputs are flattened, and
        a condition is appended to them.

    Raises:
      ValueError: `dropout` is outside [0, 1).
    """
    rate = _rate(dropout)
    return _dense(lambda num_outputs: _MLP(tuple(hidden), num_outputs, activation, rate))


def gated_mlp(
    hidden: Sequence[int] = (300, 300),
    activation: Callable[[jax.Array], jax.Array] | None = None,
    *,
    dropout: float = 0.0,
) -> Architecture:
    """A multi-layer perceptron of gated units: h = f(A x + a) * sigmoid(B x + b).

    It is the network of Tomczak & Welling 2018 (VampPrior), where f is the identity. Gated linear
    units are those of Dauphin et al. 2017, eq. 1.

    Args:
      hidden: widths of the hidden layers; empty for an affine map.
      activation: elementwise function f; None for the identity.
      dropout: the same as for `mlp`.

    Returns:
      A function (input_shape, output_shape) -> `Network`. Inputs are flattened, and
        a condition is appended to them.

    Raises:
      ValueError: `dropout` is outside [0, 1).
    """
    chosen, rate = activation or (lambda h: h), _rate(dropout)
    return _dense(lambda num_outputs: _GatedMLP(tuple(hidden), num_outputs, chosen, rate))


def _rate(dropout: float) -> float:
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout must lie in [0, 1), not {dropout}.")
    return dropout


class _DenseOfSeveral(nn.Module):
    """A dense layer of several vectors, with the parameters of one of all of them joined.

    It adds a product for each: where one of them is the same for several of another, as x is for
    the labels that are summed over, `jax.vmap` computes its product once.
    """

    features: int

    @nn.compact
    def __call__(self, *inputs):
        vectors = [jnp.ravel(of) for of in inputs]
        ends = list(itertools.accumulate(map(len, vectors), initial=0))
        shape = (ends[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        parts = zip(vectors, itertools.pairwise(ends), strict=True)
        return sum(vector @ kernel[begin:end] for vector, (begin, end) in parts) + bias


def _dense_layer(layer: int, width: int) -> Callable[..., jax.Array]:
    """The dense layer of a number, in the module that is being defined, of one or more inputs."""

    def apply(*inputs):
        name = f"Dense_{layer}"
        if len(inputs) == 1:
            return nn.Dense(width, name=name)(jnp.ravel(inputs[0]))
        return _DenseOfSeveral(width, name=name)(*inputs)

    return apply


class _MLP(nn.Module):
    hidden: tuple[int, ...]
    num_outputs: int
    activation: Callable[[jax.Array], jax.Array]
    dropout: float

    @nn.compact
    def __call__(self, x, *condition):
        h = joined(x, *condition)
        for layer, width in enumerate(self.hidden):
            sums = _dense_layer(layer, width)(*((x, *condition) if layer == 0 else (h,)))
            h = _dropped(self, self.activation(sums))
        return nn.Dense(self.num_outputs, name="output")(h)


class _GatedMLP(nn.Module):
    hidden: tuple[int, ...]
    num_outputs: int
    activation: Callable[[jax.Array], jax.Array]
    dropout: float

    @nn.compact
    def __call__(self, x, *condition):
        h = joined(x, *condition)
        for layer, width in enumerate(self.hidden):
            # One product for values and gates is faster than two of half the size.
            sums = _dense_layer(layer, 2 * width)(*((x, *condition) if layer == 0 else (h,)))
            value, gate = jnp.split(sums, 2)
            h = _dropped(self, self.activation(value) * nn.sigmoid(gate))
        return nn.Dense(self.num_outputs, name="output")(h)


def _dropped(module: _MLP | _GatedMLP, h: jax.Array) -> jax.Array:
    """The hidden units h of a module, some of them dropped if it is applied with a key for it."""
    return nn.Dropout(module.dropout, deterministic=not module.has_rng("dropout"))(h)


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

    def apply_with_dropout(key: jax.Array, params: Params, x: jax.Array, *condition: jax.Array):
        outputs: Any = module.apply({"params": params}, x, *condition, rngs={"dropout": key})
        return outputs.reshape(output_shape)

    drops = getattr(module, "dropout", 0.0) > 0.0
    return Network(init, apply, apply_with_dropout if drops else None)

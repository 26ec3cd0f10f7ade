"""Networks that a user writes as Flax modules."""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.errors import InvalidRngError

from vae_jax.networks.base import Architecture, Network, Shape, zeros_of


def from_linen(module: nn.Module | Callable[[Shape], nn.Module]) -> Architecture:
    """An encoder or decoder written as a flax.linen module.

        vae((28, 28, 1), 2, encoder=from_linen(lambda output_shape: Encoder(*output_shape)))

    The module is called with ONE input, without a batch axis: an example in an encoder, a latent
    code in a decoder. In a conditional model the condition is a second input. Its output may have
    another shape than `output_shape` with the same number of values, and is then reshaped. If a
    head takes two numbers for each dimension of an event [*, C], `output_shape` is [*, 2 C]: the
    means and then the log standard deviations, along the last axis.

    The params are {"module": params of the module, "output_bias": [*output_shape]}. The bias is
    added to the outputs, so that an untrained model starts near a sensible output whatever the last
    layer is. It is trained like the rest.

    Args:
      module: function output_shape -> module, or a module with the right number of outputs.

    Returns:
      A function (input_shape, output_shape) -> `Network`.

    Raises:
      TypeError: (when called) the module is no linen module.
      ValueError: (when initialised) the module has another number of outputs; or it has variables
        other than params, as batch normalisation has; or it draws random numbers, as dropout does.
    """

    def architecture(input_shape, output_shape, *condition_shape):
        made = module if isinstance(module, nn.Module) else module(output_shape)
        if not isinstance(made, nn.Module):
            raise TypeError(f"from_linen needs a flax.linen module, not a {type(made).__name__}.")
        name = f"The module {type(made).__name__}"

        def init(key):
            variables = made.init(key, *zeros_of(input_shape, *condition_shape))
            _require_params_only(name, set(variables) - {"params"})
            return variables.get("params", {})

        def apply(params, *inputs):
            try:
                return made.apply({"params": params}, *inputs)
            except InvalidRngError as error:
                raise ValueError(
                    f"{name} draws random numbers when it is applied, as dropout does, but a "
                    "network here is a function of its params and its input alone."
                ) from error

        inputs = zeros_of(input_shape, *condition_shape)
        return with_output_bias(name, inputs, output_shape, init, apply)

    return architecture


def from_nnx(factory: Callable[[Shape, Any], Any]) -> Architecture:
    """An encoder or decoder written as a flax.nnx module.

        vae((28, 28, 1), 2, encoder=from_nnx(lambda output_shape, rngs: Encoder(..., rngs=rngs)))

    Inputs, outputs and params are those of `from_linen`. The params of the module are a nested dict
    whose keys are the names of attributes and, as strings, the indices of lists.

    Args:
      factory: function (output_shape, rngs) -> module. The key of `Network.init` gives the
        `nnx.Rngs`.

    Returns:
      A function (input_shape, output_shape) -> `Network`.

    Raises:
      TypeError: (when called) the factory makes no nnx module.
      ValueError: (when called) the module has variables other than params, as batch normalisation
        and dropout have; (when initialised) it has another number of outputs.
    """
    from flax import nnx  # here, since it would make the import of vae_jax slower

    def make(output_shape, key):
        made = factory(output_shape, nnx.Rngs(key))
        if not isinstance(made, nnx.Module):
            raise TypeError(f"from_nnx needs a flax.nnx module, not a {type(made).__name__}.")
        return made

    def architecture(input_shape, output_shape, *condition_shape):
        abstract = nnx.eval_shape(lambda: make(output_shape, jax.random.key(0)))
        name = f"The module {type(abstract).__name__}"
        graph, state, others = cast(Any, nnx.split(abstract, nnx.Param, ...))
        kinds = {type(variable).__name__ for _, variable in nnx.to_flat_state(others)}
        _require_params_only(name, kinds)
        structure = jax.tree.structure(state)
        paths = [_names(path) for path, _ in jax.tree_util.tree_flatten_with_path(state)[0]]

        def init(key):
            values = nnx.state(make(output_shape, key), nnx.Param)
            return _nested(paths, jax.tree.leaves(values))

        def apply(params, *inputs):
            leaves = [functools.reduce(operator.getitem, path, params) for path in paths]
            return nnx.merge(graph, jax.tree.unflatten(structure, leaves))(*inputs)

        inputs = zeros_of(input_shape, *condition_shape)
        return with_output_bias(name, inputs, output_shape, init, apply)

    return architecture


def with_output_bias(
    name: str, inputs: tuple[jax.Array, ...], output_shape: Shape, init: Any, apply: Any
) -> Network:
    """A network of a module's key -> params and (params, *inputs) -> outputs of any shape."""

    def outputs_of(params, *inputs):
        outputs = apply(params, *inputs)
        if not isinstance(outputs, jax.Array):
            raise ValueError(f"{name} must return one array, not a {type(outputs).__name__}.")
        if outputs.size != math.prod(output_shape):
            raise ValueError(
                f"{name} returns {outputs.size} values of the shape {outputs.shape}, but this "
                f"place in the model needs {math.prod(output_shape)}, of the shape {output_shape}."
            )
        return outputs.reshape(output_shape)

    def init_both(key, output_bias=0.0):
        params = init(key)
        outputs = jax.eval_shape(outputs_of, params, *inputs)
        bias = jnp.zeros(output_shape, outputs.dtype) + output_bias
        return {"module": params, "output_bias": bias}

    return Network(
        init=init_both,
        apply=lambda params, *inputs: outputs_of(params["module"], *inputs) + params["output_bias"],
    )


def _require_params_only(name: str, others: set[str]) -> None:
    if others:
        raise ValueError(
            f"{name} has variables other than params ({', '.join(sorted(others))}), but a network "
            "here is a function of its params and its input alone."
        )


def _names(path: tuple) -> list[str]:
    """The keys of a path in an nnx state, without the attribute that holds a variable's value."""
    keys = path[:-1] if isinstance(path[-1], jax.tree_util.GetAttrKey) else path
    return [jax.tree_util.keystr((key,), simple=True) for key in keys]


def _nested(paths: list[list[str]], leaves: list[jax.Array]) -> dict:
    """A nested dict with each leaf under the keys of its path."""
    tree: dict[str, Any] = {}
    for path, leaf in zip(paths, leaves, strict=True):
        place = tree
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = leaf
    return tree

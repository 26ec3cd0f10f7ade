"""Encoder and decoder of a trained VAE as ONNX models, for programs without JAX.

They are made by jax2onnx, which is an extra: pip install 'vae_jax[onnx]'.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from vae_jax.distributions import Code, point_of, without_parameters
from vae_jax.errors import BadInputError
from vae_jax.trained import TrainedVAE, event_shape_of

# What is known of q(z|x), by the names of the outputs of the encoder.
_OF_POSTERIOR = ("mean", "std", "concentration", "logits", "index", "vector")


def encoder_to_onnx(vae: TrainedVAE) -> bytes:
    """The encoder: input x [B, *event] as the model takes it, outputs what is known of q(z|x).

    The outputs are mean and std of continuous latents, on a sphere also the concentration, the mean
    of bits and of one-hot vectors, index and vector of codes; in a hierarchy those of each layer,
    mean_1 to mean_L, given the points of the layers that are drawn before it.

    Raises:
      BadInputError: the model has a condition or missing values, a part of it has no counterpart in
        ONNX, or jax2onnx is not installed.
    """
    _require_plain(vae)
    shape = event_shape_of(vae.metadata)
    example = jax.ShapeDtypeStruct(shape, jnp.float32)

    def known(x):
        return _known_of(_posterior_of(vae)(x))

    names = tuple(jax.eval_shape(known, example))

    def encode(x):
        found = known(x)
        return tuple(found[name] for name in names)

    return _to_onnx(encode, [example], ["x"], list(names), "encoder")


def decoder_to_onnx(vae: TrainedVAE) -> bytes:
    """The decoder: input z [B, *latent], output the mean of p(x|z), [B, *event].

    The input of codes is their vector, that of a hierarchy z_1 to z_L.

    Raises:
      BadInputError: the same as for `encoder_to_onnx`, or the pixels depend on one another, so that
        they have no mean.
    """
    _require_plain(vae)
    z = jax.eval_shape(lambda params: vae.model.prior(params).sample(jax.random.key(0)), vae.params)
    likelihood = jax.eval_shape(vae.model.likelihood, vae.params, z)
    if not hasattr(type(likelihood), "mean"):
        raise BadInputError(
            f"A {type(likelihood).__name__} likelihood has no mean in one pass, which an ONNX "
            "decoder could give: export the encoder alone."
        )
    if isinstance(z, Code):
        inputs, names, whole = [z.vector], ["vector"], lambda vector: Code(_no_index(z), vector)
    else:
        inputs, structure = jax.tree.flatten(z)
        names = ["z"] if len(inputs) == 1 else [f"z_{at + 1}" for at in range(len(inputs))]
        whole = lambda *leaves: jax.tree.unflatten(structure, leaves)  # noqa: E731

    def decode(*leaves):
        likelihood: Any = vae.model.likelihood(vae.params, whole(*leaves))
        return (likelihood.mean,)

    return _to_onnx(decode, inputs, names, ["mean"], "decoder")


def _no_index(code: Code) -> jax.Array:
    return jnp.zeros(code.index.shape, jnp.int32)


def _posterior_of(vae: TrainedVAE) -> Callable[[jax.Array], Any]:
    return lambda x: without_parameters(vae.model.posterior(vae.params, x))


def _known_of(q: Any) -> dict[str, jax.Array]:
    """What the encoder says of one q(z|x), name -> array."""
    layers = {"": q}
    if hasattr(q, "of_each"):
        layers = {f"_{layer}": one for layer, one in enumerate(q.of_each, start=1)}
    found: dict[str, jax.Array] = {}
    for suffix, one in layers.items():
        known = {name: getattr(one, name) for name in _OF_POSTERIOR if hasattr(one, name)}
        known = known or {"centre": point_of(one)}
        if "index" in known:
            known = {name: known[name] for name in ("index", "vector")}
        found |= {name + suffix: value for name, value in known.items()}
    return found


def _require_plain(vae: TrainedVAE) -> None:
    spec = vae.metadata.get("model") or {}
    if vae.metadata.get("condition_shape") is not None or spec.get("missing"):
        raise BadInputError(
            "Only models of whole examples, p(x), are exported, and this one has a condition or "
            "missing values."
        )


def _to_onnx(
    function: Callable[..., tuple[jax.Array, ...]],
    inputs: list[Any],
    input_names: list[str],
    output_names: list[str],
    name: str,
) -> bytes:
    """A function of one example as an ONNX model of a batch of any size."""
    try:
        import jax2onnx
    except ImportError as error:
        raise BadInputError(
            "An ONNX model needs the package jax2onnx: pip install 'vae_jax[onnx]'."
        ) from error
    (batch,) = jax.export.symbolic_shape("B")
    shapes = [jax.ShapeDtypeStruct((batch, *of.shape), of.dtype) for of in inputs]
    with jax.default_matmul_precision("highest"):
        closed = jax.make_jaxpr(jax.vmap(function))(*shapes)
    try:
        model: Any = jax2onnx.to_onnx(
            lambda *values: tuple(_evaluated(closed.jaxpr, closed.consts, values)),
            inputs=shapes,
            model_name=name,
            input_names=input_names,
            output_names=output_names,
        )
    except (NotImplementedError, TypeError, ValueError) as error:
        raise BadInputError(
            f"The {name} has a part without a counterpart in ONNX: {error}"
        ) from error
    return model.SerializeToString()


def _evaluated(jaxpr: Any, consts: Any, values: Any) -> list[Any]:
    """The outputs of a jaxpr, on any device: where it chooses by platform, the usual way is taken.

    It is the interpreter of JAX's documentation, with calls and such choices taken apart.
    """
    known: dict[Any, Any] = {}

    def read(variable):
        return variable.val if isinstance(variable, core.Literal) else known[variable]

    known.update(zip(jaxpr.constvars, consts, strict=True))
    known.update(zip(jaxpr.invars, values, strict=True))
    for equation in jaxpr.eqns:
        given: list[Any] = [read(variable) for variable in equation.invars]
        name = equation.primitive.name
        found: list[Any]
        if name == "platform_index":
            found = [_default_of(equation.params["platforms"])]
        elif name == "cond" and isinstance(given[0], int):
            branch = equation.params["branches"][given[0]]
            found = _evaluated(branch.jaxpr, branch.consts, given[1:])
        elif "jaxpr" in equation.params and name in ("jit", "pjit", "closed_call"):
            inner = equation.params["jaxpr"]
            found = _evaluated(inner.jaxpr, inner.consts, given)
        elif "call_jaxpr" in equation.params and name.startswith("custom_jvp"):
            inner = equation.params["call_jaxpr"]
            found = _evaluated(inner.jaxpr, inner.consts, given)
        elif name == "pad":
            found = [_padded(given[0], given[1], equation.params["padding_config"])]
        elif name == "conv_general_dilated":
            found = [_convolved(given[0], given[1], equation.params)]
        else:
            result = equation.primitive.bind(*given, **equation.params)
            found = result if equation.primitive.multiple_results else [result]
        known.update(zip(equation.outvars, found, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _padded(x: jax.Array, value: jax.Array, paddings: Any) -> jax.Array:
    """A padding by concatenation, which ONNX converters know for batches of any size."""
    for axis, (low, high, inner) in enumerate(paddings):
        if min(low, high) < 0 or inner:
            return jax.lax.pad(x, value, paddings)
        shape = [(*x.shape[:axis], number, *x.shape[axis + 1 :]) for number in (low, high)]
        before, after = (jnp.broadcast_to(value, of) for of in shape)
        parts = [before] * (low > 0) + [x] + [after] * (high > 0)
        x = jnp.concatenate(parts, axis=axis) if len(parts) > 1 else x
    return x


def _convolved(x: jax.Array, kernel: jax.Array, params: Any) -> jax.Array:
    """The convolution of images with its axes in the order that ONNX converters know."""
    numbers = params["dimension_numbers"]
    batch, channel, *plane = numbers.lhs_spec
    outputs, inputs, *size = numbers.rhs_spec
    found = jax.lax.conv_general_dilated(
        jnp.transpose(x, (batch, *plane, channel)),
        jnp.transpose(kernel, (*size, inputs, outputs)),
        params["window_strides"],
        params["padding"],
        params["lhs_dilation"],
        params["rhs_dilation"],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=params["precision"],
    )
    batch, channel, *plane = numbers.out_spec
    return jnp.transpose(found, tuple(np.argsort((batch, *plane, channel))))


def _default_of(platforms: Any) -> int:
    return next(index for index, of in enumerate(platforms) if of is None)

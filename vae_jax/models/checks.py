"""Checks of the inputs of a model: of shapes always, and of values where they are known."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.distributions import Affine, Distribution, HasSupport, Observed, PartlyObserved
from vae_jax.errors import BadInputError
from vae_jax.models.base import Model, Params, given
from vae_jax.models.batch import Batch, as_batch


class Accepted(NamedTuple):
    """The likelihood, examples and latents of a model, as shapes and dtypes only."""

    likelihood: Distribution  # p(x|z)
    x: Any  # [*event], one example
    z: Any  # [*latent], the latent code of one example


def accepted(model: Model, params: Params) -> Accepted:
    """Finds the shapes of x and z from the prior and the likelihood. Nothing is computed."""

    def one(params):
        z = model.prior(params).sample(jax.random.key(0))
        likelihood = model.likelihood(params, z)
        return Accepted(likelihood, likelihood.sample(jax.random.key(0)), z)

    return jax.eval_shape(one, params)


def require_example(model: Model, params: Params, x: Any) -> None:
    """Checks that x, [*event] or a pytree of arrays, is one example of the model.

    Values are checked where they are known. They are unknown inside a function that is being traced
    by `jax.jit` or `jax.vmap`.

    Raises:
      TypeError: x is of integers.
      BadInputError: x has another shape, or values outside the support of the likelihood.
    """
    require_floats(x)
    wanted = accepted(model, params)
    for name, part, of in parts(x, wanted.x):
        require_shape_of_one(name, "example", part, of.shape)
    batch = jax.tree.map(lambda leaf: leaf[None], x)
    _require_support(wanted.likelihood, batch, lambda index: "x")


def require_examples(model: Model, params: Params, x: jax.Array | np.ndarray | Batch) -> None:
    """Checks that x, [B, *event] or a `Batch`, is a batch of examples of the model.

    It checks the same as `require_example` and raises the same errors.
    """
    batch = as_batch(x)
    require_floats(batch.x)
    wanted = accepted(given_first(model, batch), params)
    require_batch_of(batch, wanted)
    _require_support(wanted.likelihood, batch.x, lambda index: f"x[{index}]")


def require_batch_of(batch: Batch, wanted: Accepted, name: str = "x") -> None:
    """Raises a BadInputError if the examples of a batch do not have the shape of `wanted`."""
    for part_name, part, of in parts(batch.x, wanted.x, name):
        require_shape_of_batch(part_name, "example", part, of.shape)
    for leaf in jax.tree.leaves(batch.c):
        if leaf.shape[:1] != (len(batch),):
            raise BadInputError(
                f"c has an array of the shape {tuple(leaf.shape)}, but there are {len(batch)} "
                "examples, each of which has a condition."
            )


def given_first(model: Model, batch: Batch) -> Model:
    """The model given the condition of the first example, of which only the shapes matter.

    Raises:
      BadInputError: there are conditions, but no examples.
    """
    if batch.c is None:
        return model
    if not all(leaf.shape[:1] > (0,) for leaf in jax.tree.leaves(batch.c)):
        raise BadInputError("A batch with conditions must have at least one example.")
    return given(model, jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), batch.c))


def parts(
    x: Any, wanted: Any, name: str = "x", what: str = "an example of this model"
) -> list[tuple[str, Any, Any]]:
    """The arrays of x and those of `wanted`, a pytree of the same structure, with their names.

    Raises:
      BadInputError: x has another structure.
    """
    is_whole = not isinstance(x, Observed) and len(jax.tree.leaves(x)) == 1
    if isinstance(wanted, Observed) and is_whole:
        raise BadInputError(
            f"{name} is an array, but {what} is an Observed(value, mask): distributions.observed("
            f"{name}) makes one of an array in which missing values are nan."
        )
    given_leaves, _ = jax.tree_util.tree_flatten_with_path(x)
    found, structure = str(jax.tree.structure(x)), str(jax.tree.structure(wanted))
    if found != structure:
        raise BadInputError(f"{name} is the pytree {found}, but {what} is {structure}.")
    return [
        (name + jax.tree_util.keystr(path), leaf, of)
        for (path, leaf), of in zip(given_leaves, jax.tree.leaves(wanted), strict=True)
    ]


def require_floats(x: Any) -> None:
    """Raises a TypeError for stored pixels, whose white is 255 and not 1."""
    for leaf in jax.tree.leaves(x, is_leaf=lambda node: isinstance(node, Observed)):
        _require_floats(leaf.value if isinstance(leaf, Observed) else leaf)


def _require_floats(x: jax.Array | np.ndarray) -> None:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(
            "x must be floats, such as data.dynamic or data.grey make of stored pixels, or their "
            f"division by 255, not {x.dtype}."
        )


def require_shape_of_one(name: str, what: str, value: jax.Array, shape: tuple[int, ...]) -> None:
    """Raises a BadInputError if `value` does not have the shape of one `what`."""
    given = tuple(value.shape)
    if given == shape:
        return
    if given[1:] == shape:
        raise BadInputError(
            f"{name} has the shape {given}, a batch of {given[0]}, but one {what} of the shape "
            f"{shape} is wanted: use jax.vmap to go through a batch."
        )
    raise BadInputError(
        f"{name} has the shape {given}, but one {what} of this model has the shape {shape}."
    )


def require_layers(z: Any, shapes: Sequence[tuple[int, ...]]) -> None:
    """Raises a BadInputError if z is no tuple of arrays of these shapes, those of its layers."""
    if not isinstance(z, tuple) or len(z) != len(shapes):
        raise BadInputError(
            f"The latents of this model are a tuple of {len(shapes)} arrays, z_1 first."
        )
    for layer, (one, shape) in enumerate(zip(z, shapes, strict=True), start=1):
        require_shape_of_one(f"z_{layer}", "latent code", one, shape)


def require_shape_of_batch(name: str, what: str, value: Any, shape: tuple[int, ...]) -> None:
    """Raises a BadInputError if `value` does not have the shape of a batch of `what`s."""
    given = tuple(value.shape)
    if given[1:] == shape and len(given) == len(shape) + 1:
        return
    batch = f"({', '.join(map(str, ('N', *shape)))})"
    if given == shape:
        raise BadInputError(
            f"{name} has the shape {given}, one {what}, but a batch of the shape {batch} is "
            f"wanted: {name}[None] is a batch of one."
        )
    raise BadInputError(
        f"{name} has the shape {given}, but a batch of {what}s of this model has the shape {batch}."
    )


def in_support(likelihood: Distribution, x: Any) -> jax.Array:
    """Whether each example of x, [B, *event], lies in the support of the likelihood, [B] bool.

    It is True for a likelihood that does not state its support.
    """
    if not hasattr(likelihood, "in_support"):
        return jnp.ones(len(jax.tree.leaves(x)[0]), bool)
    return jax.vmap(likelihood.in_support)(x)


def support_of(likelihood: Distribution) -> str:
    """The support of a likelihood that states one, as the end of a sentence."""
    while isinstance(likelihood, Affine | PartlyObserved):
        likelihood = likelihood.base
    support = cast(HasSupport, likelihood).support
    return f"the support of the {type(likelihood).__name__} likelihood: {support}"


def _require_support(likelihood: Distribution, x: Any, name_of: Callable[[int], str]) -> None:
    """Checks a batch x, [B, *event], if its values are known.

    name_of: index of an example -> its name in the message.
    """
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(x)):
        return
    inside = in_support(likelihood, x)
    if isinstance(inside, jax.core.Tracer) or np.all(inside):
        return
    index = int(np.argmin(inside))
    x = x.value if isinstance(x, Observed) else x
    values = np.concatenate([np.ravel(leaf[index]) for leaf in jax.tree.leaves(x)])
    is_finite = np.all(np.isfinite(values))
    found = f"between {values.min():g} and {values.max():g}" if is_finite else "not all finite"
    raise BadInputError(f"{name_of(index)} has values ({found}) outside {support_of(likelihood)}.")

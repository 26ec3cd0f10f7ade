"""A batch that several devices share. Their gradients are summed in one piece."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.sharding import NamedSharding

from vae_jax.models import Draw, DrawFn, Model, Params, draw_batch
from vae_jax.models.batch import Batch

LossFn = Callable[[DrawFn], tuple[jax.Array, Any]]  # draw_fn -> (loss, what it reports)


def value_and_gradient(
    loss: LossFn,
    model: Model,
    params: Params,
    batch: Batch,
    noise_keys: jax.Array,
    *,
    dropout_keys: jax.Array | None = None,
    left_out: Any = None,
    sharding: NamedSharding | None = None,
) -> tuple[tuple[jax.Array, Any], Params]:
    """The loss of a batch and its gradient.

    XLA by itself would sum the gradient of each matrix and bias over the devices separately. Each
    sum costs a round trip, and ten of them take ten times as long as a small step. So each device
    differentiates with respect to a copy of all parameters, which is one row of an array, and the
    rows are summed.

    Args:
      loss: the loss of a batch. It may depend on all examples together.
      model: the VAE.
      params: its parameters.
      batch: B examples.
      noise_keys: [K, B] typed PRNG keys.
      dropout_keys: the same as for `draw_batch`.
      left_out: the same as for `draw_batch`.
      sharding: sharding of arrays whose first axis is the devices that share the batch; None if
        one device has the whole batch.

    Returns:
      ((loss, what the loss reports), gradient).
    """
    of_examples = {"dropout_keys": dropout_keys, "left_out": left_out}
    if sharding is None:

        def loss_of(params):
            of_batch = functools.partial(draw_batch, model, params, batch, noise_keys)
            return loss(_once(functools.partial(of_batch, **of_examples)))

        return jax.value_and_grad(loss_of, has_aux=True)(params)

    flat, unravel = ravel_pytree(params)
    num_parts = sharding.mesh.size

    def on_parts(array):
        return jax.lax.with_sharding_constraint(array, sharding)

    def loss_of_copies(copies):
        given = (model, unravel, copies, batch, noise_keys, of_examples, on_parts)
        return loss(_once(functools.partial(_draw_parts, *given)))

    copies = on_parts(jnp.broadcast_to(flat, (num_parts, flat.size)))
    value, gradients = jax.value_and_grad(loss_of_copies, has_aux=True)(copies)
    return value, unravel(jnp.sum(on_parts(gradients), axis=0))


def _once(draw_fn: DrawFn) -> DrawFn:
    """A function that draws once for equal arguments, as those of the terms of one loss are.

    XLA merges equal draws by itself, except for loops, as those over the layers of a very deep VAE.
    """
    found: dict[Any, Draw] = {}

    def draw(**options: Any) -> Draw:
        if any(isinstance(value, jax.Array) for value in options.values()):
            return draw_fn(**options)
        key = tuple(sorted(options.items()))
        if key not in found:
            found[key] = draw_fn(**options)
        return found[key]

    return draw


def _draw_parts(
    model: Model,
    unravel: Callable[[jax.Array], Params],
    copies: jax.Array,
    batch: Batch,
    noise_keys: jax.Array,
    of_examples: dict[str, Any],
    on_parts: Callable[[jax.Array], jax.Array],
    *,
    path: bool | jax.Array = True,
    **options: Any,
) -> Draw:
    """`draw_batch`, of which part d is drawn with parameters `copies[d]`. copies: [D, P]."""
    num_parts = len(copies)

    def part(array, axis):
        """[..., B, ...] -> [D, ..., B / D, ...]."""
        shape = (*array.shape[:axis], num_parts, -1, *array.shape[axis + 1 :])
        return jnp.moveaxis(array.reshape(shape), axis, 0)

    def whole(array, axis):
        """[D, ..., B / D, ...] -> [..., B, ...], the inverse."""
        array = jnp.moveaxis(array, 0, axis)
        return array.reshape(*array.shape[:axis], -1, *array.shape[axis + 2 :])

    def draw(copy, batch, keys, of_examples, path):
        chosen = {"path": path, **of_examples, **options}
        return draw_batch(model, unravel(copy), batch, keys, **chosen)

    paths = path if isinstance(path, bool) else part(path, 1)
    batches = jax.tree.map(lambda leaf: on_parts(part(leaf, 0)), batch)
    of_parts = jax.tree.map(lambda leaf: part(leaf, 0), of_examples)
    draws = jax.vmap(draw, (0, 0, 0, 0, None if isinstance(path, bool) else 0))(
        copies, batches, part(noise_keys, 1), of_parts, paths
    )
    of_first = (lambda leaf: leaf[0]) if draws.c is None else (lambda leaf: whole(leaf, 0))
    of_samples = ("z", "log_likelihood", "log_prior", "log_posterior", "layer_kl")
    wholes: dict[str, Callable[[jax.Array], jax.Array]] = {
        **dict.fromkeys(of_samples, lambda leaf: whole(leaf, 1)),
        **dict.fromkeys(("posterior", "c"), lambda leaf: whole(leaf, 0)),
        "prior": of_first,
    }
    return Draw(**{name: jax.tree.map(wholes[name], of) for name, of in draws._asdict().items()})

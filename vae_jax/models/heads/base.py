"""The interface of heads, and what several of them share."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.distributions import Affine, Distribution
from vae_jax.networks import Params, Shape

LOG_STD_BOUND = 7.0  # nats, from which on `diagonal_normal` bounds the log std


class Head(NamedTuple):
    """A family of distributions over one event, driven by the outputs of a network.

    Attributes:
      output_shape: event_shape -> shape of the outputs that a network must have. Channels are last:
        n numbers for each dimension of an event [*, C] are outputs [*, n C].
      init: (key, event) -> (params, output_bias). event: [*event], the mean that an untrained
        network should give; output_bias: [*output_shape].
      apply: (params, outputs [*output_shape], event_shape) -> distribution over one event.
    """

    output_shape: Callable[[Shape], Shape]
    init: Callable[[jax.Array, jax.Array], tuple[Params, jax.Array]]
    apply: Callable[[Params, jax.Array, Shape], Distribution]


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def soft_bound(values: jax.Array, bound: float) -> jax.Array:
    """The values themselves, to the bit, up to `bound`; beyond, they grow by their logarithm.

    v where |v| <= b, and sign(v) (b + log(1 + |v| - b)) elsewhere, elementwise. Its derivative,
    1 / (1 + max(|v| - b, 0)), is continuous, is never larger than 1 and reaches 0 for no finite
    value, so that a value that went too far can always come back.
    """
    excess = jnp.maximum(jnp.abs(values) - bound, 0.0)
    return jnp.where(excess == 0.0, values, jnp.sign(values) * (bound + jnp.log1p(excess)))


@soft_bound.defjvp
def _soft_bound_jvp(bound, primals, tangents):
    (values,), (tangent,) = primals, tangents
    excess = jnp.maximum(jnp.abs(values) - bound, 0.0)
    return soft_bound(values, bound), tangent / (1.0 + excess)


def standardised(head: Head, shift: jax.Array, scale: jax.Array) -> Head:
    """A head for data in other units: x = shift + scale y, and the head is that of y.

    Args:
      head: the head of y, whose distributions have independent dimensions.
      shift: [*event], such as the means of the training data.
      scale: [*event], such as their standard deviations.

    Raises:
      ValueError: a scale is not positive.
    """
    if not np.all(np.asarray(scale) > 0):
        raise ValueError("scale must be positive.")

    def init(key, event):
        return head.init(key, (event - shift) / scale)

    def apply(params, outputs, event_shape):
        return Affine(head.apply(params, outputs, event_shape), shift, scale)

    return Head(output_shape=head.output_shape, init=init, apply=apply)


def location_and_scale(
    family: Callable[..., Distribution], initial_scale: float, shape_of: Callable[[Any], Shape]
) -> Head:
    """A family with outputs as locations and learned scales. shape_of: event -> their shape."""
    require_positive("The initial scale", initial_scale)

    def init(key, event):
        del key
        return {"log_scale": jnp.full(shape_of(event), math.log(initial_scale), event.dtype)}, event

    def apply(params, outputs, event_shape):
        return family(outputs, jnp.broadcast_to(params["log_scale"], event_shape))

    return Head(output_shape=blocks(1), init=init, apply=apply)


def both_from_network(family: Callable[..., Distribution], initial_scale: float) -> Head:
    """A family whose locations and log scales, softly bounded, are both outputs."""

    def init(key, event):
        del key
        log_scale = jnp.full_like(event, math.log(initial_scale))
        return {}, jnp.concatenate([event, log_scale], axis=-1)

    def apply(params, outputs, event_shape):
        del params, event_shape
        location, log_scale = jnp.split(outputs, 2, axis=-1)
        return family(location, soft_bound(log_scale, LOG_STD_BOUND))

    return Head(output_shape=blocks(2), init=init, apply=apply)


def along_last(values: jax.Array, num_axes: int) -> jax.Array:
    """values [n] as [1, ..., 1, n], behind a number of axes."""
    return values.reshape((1,) * num_axes + values.shape)


def require_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be positive, not {value}.")


def blocks(number: int) -> Callable[[Shape], Shape]:
    """The output shape of a head with a number of outputs for each dimension of the event."""
    return lambda event_shape: (*event_shape[:-1], number * event_shape[-1])

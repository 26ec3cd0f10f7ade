"""Heads: how the outputs of a network become a distribution over one event."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vae_jax.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Normal,
    UnnormalisedBernoulli,
)
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


def bernoulli() -> Head:
    """Independent Bernoulli variables; the outputs are their logits.

    The output bias is the logit of the mean, clipped to [0.001, 0.999] as in Burda et al. 2016.
    """
    return _bernoulli(Bernoulli)


def bernoulli_unnormalised() -> Head:
    """The formula of `bernoulli` for grey values in [0, 1]: the cross-entropy, no likelihood.

    An objective that uses it is no bound on log p(x). It has a separate name so that nobody uses it
    by accident.
    """
    return _bernoulli(UnnormalisedBernoulli)


def categorical() -> Head:
    """Independent categorical variables, one-hot along the last axis; the outputs are their logits.

    The output bias is the logarithm of the mean, which is kept from zero by 0.001 / C for C
    categories.

    Raises:
      ValueError: (when applied) the last axis of the event has fewer than 2 categories.
    """

    def init(key, event):
        del key
        return {}, jnp.log(jnp.maximum(event, 0.001 / event.shape[-1]))

    def apply(params, outputs, event_shape):
        del params
        if event_shape[-1] < 2:
            raise ValueError(
                "The last axis of a categorical event is that of its categories, at least 2 of "
                f"them, which event_shape={event_shape} has not."
            )
        return Categorical(logits=outputs)

    return Head(output_shape=_blocks(1), init=init, apply=apply)


def normal_fixed_scale(std: float = 1.0) -> Head:
    """A normal distribution whose mean is the outputs; its standard deviation is given.

    Args:
      std: standard deviation of every dimension, in the units of the event.

    Raises:
      ValueError: `std` is not positive.
    """
    if not std > 0:
        raise ValueError(f"The standard deviation of a likelihood must be positive, not {std}.")

    def init(key, event):
        del key
        return {}, event

    def apply(params, outputs, event_shape):
        del params, event_shape
        return Normal(mean=outputs, log_std=jnp.full_like(outputs, math.log(std)))

    return Head(output_shape=_blocks(1), init=init, apply=apply)


def normal_learned_scale() -> Head:
    """A normal distribution whose mean is the outputs, with ONE learned standard deviation.

    The sigma-VAE of Rybkin et al. 2021, section 3.1. It starts at std 1.
    """

    def init(key, event):
        del key
        return {"log_std": jnp.zeros((), event.dtype)}, event

    def apply(params, outputs, event_shape):
        del event_shape
        return Normal(mean=outputs, log_std=jnp.full_like(outputs, params["log_std"]))

    return Head(output_shape=_blocks(1), init=init, apply=apply)


def diagonal_normal() -> Head:
    """A normal distribution whose means and log standard deviations are both outputs.

    The usual posterior of a VAE (Kingma & Welling 2014, appendix C.2). It starts at std 1.

    Raw log standard deviations within [-7, 7] are taken as they are, to the bit: from a thousandth
    to a thousand times the std 1 of the usual prior, a range that no posterior of use leaves.
    Beyond, they grow only by their logarithm (`soft_bound`): the first full-sized steps of an
    optimiser drive the outputs of wide networks to tens, whose exponential squared is no number.
    """

    def init(key, event):
        del key
        return {}, jnp.concatenate([event, jnp.zeros_like(event)], axis=-1)

    def apply(params, outputs, event_shape):
        del params, event_shape
        mean, log_std = jnp.split(outputs, 2, axis=-1)
        return Normal(mean=mean, log_std=soft_bound(log_std, LOG_STD_BOUND))

    return Head(output_shape=_blocks(2), init=init, apply=apply)


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


def _bernoulli(family: type[Bernoulli]) -> Head:
    def init(key, event):
        del key
        mean = jnp.clip(event, 0.001, 0.999)
        return {}, jnp.log(mean) - jnp.log1p(-mean)

    def apply(params, outputs, event_shape):
        del params, event_shape
        return family(logits=outputs)

    return Head(output_shape=_blocks(1), init=init, apply=apply)


def _blocks(number: int) -> Callable[[Shape], Shape]:
    """The output shape of a head with a number of outputs for each dimension of the event."""
    return lambda event_shape: (*event_shape[:-1], number * event_shape[-1])

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
from vae_jax.networks import Params

LOG_STD_BOUND = 7.0  # nats, from which on `diagonal_normal` bounds the log std


class Head(NamedTuple):
    """A family of distributions over one event, driven by the outputs of a network.

    Attributes:
      outputs_per_dim: how many network outputs each dimension of the event takes.
      init: (event) -> (params, output_bias). event: [*event], the mean that an untrained network
        should give; output_bias: [outputs_per_dim * event.size].
      apply: (params, outputs, event_shape) -> distribution over one event.
    """

    outputs_per_dim: int
    init: Callable[[jax.Array], tuple[Params, jax.Array]]
    apply: Callable[[Params, jax.Array, tuple[int, ...]], Distribution]


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

    def init(event):
        return {}, jnp.ravel(jnp.log(jnp.maximum(event, 0.001 / event.shape[-1])))

    def apply(params, outputs, event_shape):
        del params
        if event_shape[-1] < 2:
            raise ValueError(
                "The last axis of a categorical event is that of its categories, at least 2 of "
                f"them, which event_shape={event_shape} has not."
            )
        return Categorical(logits=outputs.reshape(event_shape))

    return Head(outputs_per_dim=1, init=init, apply=apply)


def normal_fixed_scale(std: float = 1.0) -> Head:
    """A normal distribution whose mean is the outputs; its standard deviation is given.

    Args:
      std: standard deviation of every dimension, in the units of the event.

    Raises:
      ValueError: `std` is not positive.
    """
    if not std > 0:
        raise ValueError(f"The standard deviation of a likelihood must be positive, not {std}.")

    def init(event):
        return {}, jnp.ravel(event)

    def apply(params, outputs, event_shape):
        del params
        mean = outputs.reshape(event_shape)
        return Normal(mean=mean, log_std=jnp.full_like(mean, math.log(std)))

    return Head(outputs_per_dim=1, init=init, apply=apply)


def normal_learned_scale() -> Head:
    """A normal distribution whose mean is the outputs, with ONE learned standard deviation.

    The sigma-VAE of Rybkin et al. 2021, section 3.1. It starts at std 1.
    """

    def init(event):
        return {"log_std": jnp.zeros((), event.dtype)}, jnp.ravel(event)

    def apply(params, outputs, event_shape):
        mean = outputs.reshape(event_shape)
        return Normal(mean=mean, log_std=jnp.full_like(mean, params["log_std"]))

    return Head(outputs_per_dim=1, init=init, apply=apply)


def diagonal_normal() -> Head:
    """A normal distribution whose means and log standard deviations are both outputs.

    The usual posterior of a VAE (Kingma & Welling 2014, appendix C.2). It starts at std 1.

    Raw log standard deviations within [-7, 7] are taken as they are, to the bit: from a thousandth
    to a thousand times the std 1 of the usual prior, a range that no posterior of use leaves.
    Beyond, they grow only by their logarithm (`soft_bound`): the first full-sized steps of an
    optimiser drive the outputs of wide networks to tens, whose exponential squared is no number.
    """

    def init(event):
        return {}, jnp.concatenate([jnp.ravel(event), jnp.zeros(event.size, event.dtype)])

    def apply(params, outputs, event_shape):
        del params
        mean, log_std = jnp.split(outputs, 2)
        log_std = soft_bound(log_std, LOG_STD_BOUND)
        return Normal(mean=mean.reshape(event_shape), log_std=log_std.reshape(event_shape))

    return Head(outputs_per_dim=2, init=init, apply=apply)


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
    def init(event):
        mean = jnp.clip(jnp.ravel(event), 0.001, 0.999)
        return {}, jnp.log(mean) - jnp.log1p(-mean)

    def apply(params, outputs, event_shape):
        del params
        return family(logits=outputs.reshape(event_shape))

    return Head(outputs_per_dim=1, init=init, apply=apply)

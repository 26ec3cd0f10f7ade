"""Heads of counts.

Their outputs are the logs of the mean counts, or with `proportions` the logits of proportions that
sum to one over the event: times a size factor, such as the total count of a cell, they are the
means (the parameters of scVI, Lopez et al. 2018).
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vae_jax.distributions import (
    Binomial,
    Distribution,
    NegativeBinomial,
    Poisson,
    ZeroInflatedNegativeBinomial,
)
from vae_jax.models.heads.base import Head, blocks, require_positive, soft_bound

LOG_MEAN_BOUND = 15.0  # nats, from which on the log of a mean count is bounded
_LEAST_MEAN = 1e-4  # at the start, for dimensions of which no count was seen


def poisson(proportions: bool = False) -> Head:
    """Poisson counts; the outputs are the logs of their means."""

    def init(key, event):
        del key
        return {}, _log_mean(event, proportions)

    def apply(params, outputs, event_shape):
        del params, event_shape
        return Poisson(_bounded(outputs, proportions))

    return Head(output_shape=blocks(1), init=init, apply=apply)


#: What the dispersions of negative binomials are: one for each dimension, or outputs.
DISPERSIONS = ("dim", "network")


def negative_binomial(
    dispersion: str = "dim", proportions: bool = False, initial_dispersion: float = 1.0
) -> Head:
    """Negative binomial counts, with a learned inverse dispersion for each dimension.

    Args:
      dispersion: one of DISPERSIONS; those of scVI are "gene" and "gene-cell".
      proportions: whether the means are proportions times a size factor.
      initial_dispersion: inverse dispersion at the start.

    Raises:
      ValueError: `dispersion` is unknown, or `initial_dispersion` is not positive.
    """
    return _overdispersed(dispersion, proportions, initial_dispersion, NegativeBinomial, 0)


def zero_inflated_negative_binomial(
    dispersion: str = "dim", proportions: bool = False, initial_dispersion: float = 1.0
) -> Head:
    """Negative binomial counts with additional zeros, whose logits are outputs, too.

    The probability of an additional zero starts at 0.1. Arguments and errors are those of
    `negative_binomial`.
    """
    family = ZeroInflatedNegativeBinomial
    return _overdispersed(dispersion, proportions, initial_dispersion, family, 1)


def binomial(total: int) -> Head:
    """Counts of `total` trials; the outputs are the logits of their probabilities.

    The output bias gives the mean, kept from 0 and `total` by a hundredth of a trial.

    Raises:
      ValueError: `total` is below 1.
    """
    if total < 1:
        raise ValueError(f"total must be at least 1, not {total}.")

    def init(key, event):
        del key
        mean = jnp.clip(event, 0.01, total - 0.01)
        return {}, jnp.log(mean) - jnp.log(total - mean)

    def apply(params, outputs, event_shape):
        del params, event_shape
        return Binomial(outputs, total)

    return Head(output_shape=blocks(1), init=init, apply=apply)


def _overdispersed(
    dispersion: str,
    proportions: bool,
    initial_dispersion: float,
    family: Callable[..., Distribution],
    num_logits: int,
) -> Head:
    """A family with log means, log dispersions and a number of further outputs."""
    if dispersion not in DISPERSIONS:
        raise ValueError(f"dispersion must be {' or '.join(DISPERSIONS)}, not {dispersion!r}.")
    require_positive("initial_dispersion", initial_dispersion)
    from_network = dispersion == "network"

    def init(key, event):
        del key
        start = jnp.full_like(event, math.log(initial_dispersion))
        outputs = [_log_mean(event, proportions)]
        outputs += [jnp.full_like(event, math.log(0.1 / 0.9))] * num_logits
        params: dict[str, Any] = {} if from_network else {"log_dispersion": start}
        return params, jnp.concatenate(outputs + [start] * from_network, axis=-1)

    def apply(params, outputs, event_shape):
        log_mean, *others = jnp.split(outputs, 1 + num_logits + from_network, axis=-1)
        log_dispersion = others.pop() if from_network else params["log_dispersion"]
        bounded = soft_bound(log_dispersion, LOG_MEAN_BOUND)
        return family(_bounded(log_mean, proportions), bounded, *others)

    return Head(output_shape=blocks(1 + num_logits + from_network), init=init, apply=apply)


def _log_mean(event: jax.Array, proportions: bool) -> jax.Array:
    log_mean = jnp.log(jnp.maximum(event, _LEAST_MEAN))
    return log_mean - jax.nn.logsumexp(log_mean) if proportions else log_mean


def _bounded(outputs: jax.Array, proportions: bool) -> jax.Array:
    """The log means of the outputs."""
    if proportions:
        return outputs - jax.nn.logsumexp(outputs)
    return soft_bound(outputs, LOG_MEAN_BOUND)

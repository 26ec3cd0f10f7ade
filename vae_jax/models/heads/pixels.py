"""Heads of the levels of 8-bit pixels."""

import math

import jax.numpy as jnp
import numpy as np

from vae_jax.distributions import (
    CategoricalLevels,
    DiscretisedLogistic,
    DiscretisedNormal,
    LogisticMixture,
)
from vae_jax.models.heads.base import (
    LOG_STD_BOUND,
    Head,
    along_last,
    blocks,
    both_from_network,
    location_and_scale,
    require_positive,
    soft_bound,
)

#: What the scales of `discretised_logistic` are: one parameter, one for each channel, or outputs.
LOGISTIC_SCALES = ("one", "channel", "network")


def discretised_logistic(scale: str = "channel", initial_scale: float = 0.1) -> Head:
    """Discretised logistics of 8-bit pixels; the outputs are their locations.

    Args:
      scale: one of LOGISTIC_SCALES.
      initial_scale: scale at the start, in units of values in [0, 1].

    Raises:
      ValueError: `scale` is unknown, or `initial_scale` is not positive.
    """
    if scale not in LOGISTIC_SCALES:
        raise ValueError(f"scale must be {', '.join(LOGISTIC_SCALES)}, not {scale!r}.")
    if scale != "network":
        shape_of = {"one": lambda event: (), "channel": lambda event: event.shape[-1:]}[scale]
        return location_and_scale(DiscretisedLogistic, initial_scale, shape_of)
    require_positive("initial_scale", initial_scale)
    return both_from_network(DiscretisedLogistic, initial_scale)


def discretised_normal(initial_scale: float = 0.1) -> Head:
    """Normal variables that are rounded to 8-bit pixels; the outputs are their locations.

    There is one learned scale for each channel.

    Args:
      initial_scale: scale at the start, in units of values in [0, 1].

    Raises:
      ValueError: `initial_scale` is not positive.
    """
    return location_and_scale(DiscretisedNormal, initial_scale, lambda event: event.shape[-1:])


def logistic_mixture(num_components: int = 10, initial_scale: float = 0.1) -> Head:
    """The mixture of discretised logistics of PixelCNN++ for 8-bit pixels, with coupled channels.

    The outputs of a pixel of C channels are M logits, and for each component C locations, C log
    scales and C (C - 1) / 2 couplings, which pass through tanh. The components start around the
    mean, spread by `initial_scale`.

    Args:
      num_components: M.
      initial_scale: scale of the components at the start, in units of values in [0, 1].

    Raises:
      ValueError: `num_components` is below 1, or `initial_scale` is not positive.
    """
    if num_components < 1:
        raise ValueError(f"num_components must be at least 1, not {num_components}.")
    require_positive("initial_scale", initial_scale)

    def output_shape(event_shape):
        channels = event_shape[-1]
        each = 1 + 2 * channels + channels * (channels - 1) // 2
        return (*event_shape[:-1], each * num_components)

    def init(key, event):
        del key
        *pixels, channels = event.shape
        spread = jnp.linspace(-1.0, 1.0, num_components + 2)[1:-1] * 2.0 * initial_scale
        location = event[..., None] + along_last(spread, event.ndim)
        log_scale = jnp.full_like(location, math.log(initial_scale))
        logits = jnp.zeros((*pixels, num_components), event.dtype)
        coupling = jnp.zeros((*pixels, channels * (channels - 1) // 2 * num_components))
        flat = [part.reshape(*pixels, -1) for part in (location, log_scale)]
        return {}, jnp.concatenate([logits, *flat, coupling], axis=-1)

    def apply(params, outputs, event_shape):
        del params
        *pixels, channels = event_shape
        ends = num_components * np.cumsum([1, channels, channels])
        logits, *others = jnp.split(outputs, ends.tolist(), axis=-1)
        location, log_scale, coupling = (
            part.reshape(*pixels, -1, num_components) for part in others
        )
        log_scale = soft_bound(log_scale, LOG_STD_BOUND)
        return LogisticMixture(logits, location, log_scale, jnp.tanh(coupling))

    return Head(output_shape=output_shape, init=init, apply=apply)


def categorical_levels(levels: int = 256) -> Head:
    """A probability for each level of each pixel; the outputs are their logits.

    The probabilities start like those of a normal distribution around the mean with std 0.3.

    Args:
      levels: number of levels, 256 for 8-bit pixels.

    Raises:
      ValueError: there are fewer than 2 levels.
    """
    if levels < 2:
        raise ValueError(f"levels must be at least 2, not {levels}.")

    def init(key, event):
        del key
        values = jnp.arange(levels) / (levels - 1)
        distance = (along_last(values, event.ndim) - event[..., None]) / 0.3
        return {}, (-0.5 * jnp.square(distance)).reshape(*event.shape[:-1], -1)

    def apply(params, outputs, event_shape):
        del params
        return CategoricalLevels(outputs.reshape(*event_shape, levels))

    return Head(output_shape=blocks(levels), init=init, apply=apply)

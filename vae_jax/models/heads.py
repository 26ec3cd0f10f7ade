"""Heads: how the outputs of a network become a distribution over one event."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.distributions import (
    Bernoulli,
    Categorical,
    CategoricalLevels,
    ContinuousBernoulli,
    DiscretisedLogistic,
    Distribution,
    Laplace,
    LogisticMixture,
    Normal,
    StudentT,
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


def normal_scale_per_dim(initial_std: float = 1.0) -> Head:
    """A normal distribution whose mean is the outputs, with a learned std for each dimension.

    With a linear decoder it is factor analysis.

    Args:
      initial_std: standard deviation at the start, in the units of the event.

    Raises:
      ValueError: `initial_std` is not positive.
    """
    return _location_and_scale(Normal, initial_std, lambda event: event.shape)


def laplace(initial_scale: float = 1.0) -> Head:
    """A Laplace distribution whose centre is the outputs, with ONE learned scale.

    Args:
      initial_scale: scale at the start, in the units of the event.

    Raises:
      ValueError: `initial_scale` is not positive.
    """
    return _location_and_scale(Laplace, initial_scale, lambda event: ())


def student_t(initial_scale: float = 1.0, initial_df: float = 5.0) -> Head:
    """Student's t whose centre is the outputs, with ONE learned scale and degrees of freedom.

    Args:
      initial_scale: scale at the start, in the units of the event.
      initial_df: degrees of freedom at the start.

    Raises:
      ValueError: an argument is not positive.
    """
    for name, value in (("initial_scale", initial_scale), ("initial_df", initial_df)):
        _require_positive(name, value)

    def init(key, event):
        del key
        start = {"log_scale": math.log(initial_scale), "log_df": math.log(initial_df)}
        return {name: jnp.asarray(value, event.dtype) for name, value in start.items()}, event

    def apply(params, outputs, event_shape):
        del event_shape
        scale, df = (jnp.full_like(outputs, params[name]) for name in ("log_scale", "log_df"))
        return StudentT(outputs, scale, df)

    return Head(output_shape=_blocks(1), init=init, apply=apply)


def continuous_bernoulli() -> Head:
    """A continuous Bernoulli distribution of intensities in [0, 1]; the outputs are its logits.

    The output bias gives the mean, clipped to [0.01, 0.99] (Loaiza-Ganem & Cunningham 2019).
    """

    def init(key, event):
        del key
        mean = jnp.clip(event, 0.01, 0.99)

        def halve(bounds, _):
            low, high = bounds
            middle = 0.5 * (low + high)
            is_below = ContinuousBernoulli(middle).mean < mean
            return (jnp.where(is_below, middle, low), jnp.where(is_below, high, middle)), None

        bounds = jnp.full_like(mean, -120.0), jnp.full_like(mean, 120.0)
        (low, high), _ = jax.lax.scan(halve, bounds, length=40)
        return {}, 0.5 * (low + high)

    def apply(params, outputs, event_shape):
        del params, event_shape
        return ContinuousBernoulli(outputs)

    return Head(output_shape=_blocks(1), init=init, apply=apply)


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
        return _location_and_scale(DiscretisedLogistic, initial_scale, shape_of)
    _require_positive("initial_scale", initial_scale)

    def init(key, event):
        del key
        start = jnp.full_like(event, math.log(initial_scale))
        return {}, jnp.concatenate([event, start], axis=-1)

    def apply(params, outputs, event_shape):
        del params, event_shape
        location, log_scale = jnp.split(outputs, 2, axis=-1)
        return DiscretisedLogistic(location, soft_bound(log_scale, LOG_STD_BOUND))

    return Head(output_shape=_blocks(2), init=init, apply=apply)


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
    _require_positive("initial_scale", initial_scale)

    def output_shape(event_shape):
        channels = event_shape[-1]
        each = 1 + 2 * channels + channels * (channels - 1) // 2
        return (*event_shape[:-1], each * num_components)

    def init(key, event):
        del key
        *pixels, channels = event.shape
        spread = jnp.linspace(-1.0, 1.0, num_components + 2)[1:-1] * 2.0 * initial_scale
        location = event[..., None] + _along_last(spread, event.ndim)
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
        distance = (_along_last(values, event.ndim) - event[..., None]) / 0.3
        return {}, (-0.5 * jnp.square(distance)).reshape(*event.shape[:-1], -1)

    def apply(params, outputs, event_shape):
        del params
        return CategoricalLevels(outputs.reshape(*event_shape, levels))

    return Head(output_shape=_blocks(levels), init=init, apply=apply)


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


def _location_and_scale(
    family: Callable[..., Distribution], initial_scale: float, shape_of: Callable[[Any], Shape]
) -> Head:
    """A family with outputs as locations and learned scales. shape_of: event -> their shape."""
    _require_positive("The initial scale", initial_scale)

    def init(key, event):
        del key
        return {"log_scale": jnp.full(shape_of(event), math.log(initial_scale), event.dtype)}, event

    def apply(params, outputs, event_shape):
        return family(outputs, jnp.broadcast_to(params["log_scale"], event_shape))

    return Head(output_shape=_blocks(1), init=init, apply=apply)


def _along_last(values: jax.Array, num_axes: int) -> jax.Array:
    """values [n] as [1, ..., 1, n], behind a number of axes."""
    return values.reshape((1,) * num_axes + values.shape)


def _require_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be positive, not {value}.")


def _blocks(number: int) -> Callable[[Shape], Shape]:
    """The output shape of a head with a number of outputs for each dimension of the event."""
    return lambda event_shape: (*event_shape[:-1], number * event_shape[-1])

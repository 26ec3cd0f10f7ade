"""Heads of densities of real numbers."""

import math

import jax
import jax.numpy as jnp

from vae_jax.distributions import ContinuousBernoulli, Laplace, LogNormal, Normal, StudentT
from vae_jax.models.heads.base import (
    Head,
    blocks,
    both_from_network,
    location_and_scale,
    require_positive,
)


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

    return Head(output_shape=blocks(1), init=init, apply=apply)


def normal_learned_scale(initial_std: float = 1.0) -> Head:
    """A normal distribution whose mean is the outputs, with ONE learned standard deviation.

    The sigma-VAE of Rybkin et al. 2021, section 3.1.

    Args:
      initial_std: standard deviation at the start, in the units of the event.

    Raises:
      ValueError: `initial_std` is not positive.
    """
    require_positive("initial_std", initial_std)

    def init(key, event):
        del key
        return {"log_std": jnp.asarray(math.log(initial_std), event.dtype)}, event

    def apply(params, outputs, event_shape):
        del event_shape
        return Normal(mean=outputs, log_std=jnp.full_like(outputs, params["log_std"]))

    return Head(output_shape=blocks(1), init=init, apply=apply)


def normal_scale_per_dim(initial_std: float = 1.0) -> Head:
    """A normal distribution whose mean is the outputs, with a learned std for each dimension.

    With a linear decoder it is factor analysis.

    Args:
      initial_std: standard deviation at the start, in the units of the event.

    Raises:
      ValueError: `initial_std` is not positive.
    """
    return location_and_scale(Normal, initial_std, lambda event: event.shape)


def diagonal_normal(initial_std: float = 1.0) -> Head:
    """A normal distribution whose means and log standard deviations are both outputs.

    The usual posterior of a VAE (Kingma & Welling 2014, appendix C.2).

    Raw log standard deviations within [-7, 7] are taken as they are, to the bit: from a thousandth
    to a thousand times the std 1 of the usual prior, a range that no posterior of use leaves.
    Beyond, they grow only by their logarithm (`soft_bound`): the first full-sized steps of an
    optimiser drive the outputs of wide networks to tens, whose exponential squared is no number.

    Args:
      initial_std: standard deviation at the start, in the units of the event.

    Raises:
      ValueError: `initial_std` is not positive.
    """
    require_positive("initial_std", initial_std)
    return both_from_network(Normal, initial_std)


def laplace(initial_scale: float = 1.0) -> Head:
    """A Laplace distribution whose centre is the outputs, with ONE learned scale.

    Args:
      initial_scale: scale at the start, in the units of the event.

    Raises:
      ValueError: `initial_scale` is not positive.
    """
    return location_and_scale(Laplace, initial_scale, lambda event: ())


def student_t(initial_scale: float = 1.0, initial_df: float = 5.0) -> Head:
    """Student's t whose centre is the outputs, with ONE learned scale and degrees of freedom.

    Args:
      initial_scale: scale at the start, in the units of the event.
      initial_df: degrees of freedom at the start.

    Raises:
      ValueError: an argument is not positive.
    """
    for name, value in (("initial_scale", initial_scale), ("initial_df", initial_df)):
        require_positive(name, value)

    def init(key, event):
        del key
        start = {"log_scale": math.log(initial_scale), "log_df": math.log(initial_df)}
        return {name: jnp.asarray(value, event.dtype) for name, value in start.items()}, event

    def apply(params, outputs, event_shape):
        del event_shape
        scale, df = (jnp.full_like(outputs, params[name]) for name in ("log_scale", "log_df"))
        return StudentT(outputs, scale, df)

    return Head(output_shape=blocks(1), init=init, apply=apply)


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

    return Head(output_shape=blocks(1), init=init, apply=apply)


def log_normal(initial_scale: float = 1.0) -> Head:
    """Log-normal positive numbers; the outputs are the means of their logs, with ONE learned scale.

    The output bias is the log of the mean, at least 1e-6.

    Args:
      initial_scale: standard deviation of the logs at the start.

    Raises:
      ValueError: `initial_scale` is not positive.
    """
    head = location_and_scale(LogNormal, initial_scale, lambda event: ())

    def init(key, event):
        params, mean = head.init(key, event)
        return params, jnp.log(jnp.maximum(mean, 1e-6))

    return head._replace(init=init)

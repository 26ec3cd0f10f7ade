"""How good a gradient estimator is: bias, variance and signal-to-noise ratio of each parameter."""

import functools
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.models import Model, Params, draw_batch
from vae_jax.objectives import Bound, Estimator

Gradient = Any  # pytree of parameters, or several of them
GradientFn = Callable[[Params, jax.Array], Gradient]  # (params, key) -> an estimate of a gradient

# The mean square of n estimates of zero is their squared error times 1 +- sqrt(2 / n): what exceeds
# it by half is no chance for some tens of independent parameters.
_LEAST_EXCESS = 0.5


class GradientMoments(NamedTuple):
    """Mean and variance over the keys of a gradient estimator; float64 on the host."""

    mean: Gradient
    variance: Gradient  # of the estimate of ONE key, likewise; nan of a single key
    num_keys: int

    def select(self, choose: Callable[[Gradient], Gradient]) -> "GradientMoments":
        """The moments of a part of the gradient, such as those of the encoder."""
        return GradientMoments(choose(self.mean), choose(self.variance), self.num_keys)


class GradientQuality(NamedTuple):
    """How good an estimator is, over the parameters whose gradient is not the same in all keys.

    Bias, gradient and signal-to-noise ratio are root mean squares over parameters (rms).
    """

    num_parameters: int  # n
    gradient: float  # of the reference; its error is removed, nan if nothing is left then
    bias: float  # mean - reference, as measured, so with the errors of both
    bias_by_chance: float  # what an unbiased estimator has
    share_above_2: float  # of the parameters' |t|; 0.046 by chance
    largest_t: float  # compare `largest_by_chance`
    variance: float  # the mean
    signal_to_noise: float  # the error of the mean is removed; nan if it is below the floor
    noise_floor: float  # what the signal-to-noise ratio must reach to be told from that error
    mean_signal_to_noise: float  # mean over parameters of |mean| / std, with its error in it


def bound_gradient(
    model: Model, bound: Bound, estimator: Estimator, x: jax.Array, num_samples: int
) -> GradientFn:
    """The gradient of a bound, averaged over examples, as an estimator estimates it by one key.

    Args:
      model: the VAE.
      bound: log_w [K, B] -> [B] nats; the gradient is that of the bound, not of its negative.
      estimator: of its gradient, such as `estimators.pathwise`.
      x: [B, *event].
      num_samples: K. Estimators with the same K get the same noise from a key.
    """

    def gradient(params, key):
        noise_keys = jax.random.split(key, (num_samples, len(x)))

        def value(params):
            draw_fn = functools.partial(draw_batch, model, params, x, noise_keys)
            return jnp.mean(estimator(bound, draw_fn)[0])

        return jax.grad(value)(params)

    return gradient


def gradient_moments(
    gradient_fn: GradientFn,
    params: Params,
    key: jax.Array,
    num_keys: int,
    *,
    keys_at_once: int = 100,
    progress: Callable[[int], object] = lambda num_keys: None,
) -> GradientMoments:
    """The mean and variance of a gradient estimator over N independent keys.

    Key i depends on `key` and i alone, so that the chunk changes nothing but rounding. Chunks are
    reduced in single precision on the device, each around its own mean, and merged in double on
    the host (Chan et al. 1983), which does not cancel where the mean is large.

    Args:
      gradient_fn: compiled once.
      params: its first argument.
      key: typed PRNG key.
      num_keys: N.
      keys_at_once: estimates that are held together in memory.
      progress: called with the number of keys done after each chunk.

    Raises:
      ValueError: `num_keys` or `keys_at_once` < 1.
    """
    if num_keys < 1 or keys_at_once < 1:
        raise ValueError(
            f"num_keys and keys_at_once must be at least 1, not {num_keys} and {keys_at_once}."
        )
    keys_at_once = min(keys_at_once, num_keys)

    @jax.jit
    @jax.default_matmul_precision("highest")  # what is reported is exact on accelerators too
    def reduce_chunk(params, key, start):
        index = start + jnp.arange(keys_at_once)
        is_counted = index < num_keys  # the last chunk is padded
        count = jnp.sum(is_counted)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
        gradients = jax.vmap(gradient_fn, (None, 0))(params, keys)

        def reduce(values):
            counted = is_counted.reshape(-1, *[1] * (values.ndim - 1))
            mean = jnp.sum(jnp.where(counted, values, 0.0), axis=0) / count
            deviation = jnp.where(counted, values - mean[None], 0.0)
            return mean, jnp.sum(jnp.square(deviation), axis=0)

        return [reduce(values) for values in jax.tree.leaves(gradients)]

    structure = jax.tree.structure(jax.eval_shape(gradient_fn, params, key))
    means, squares, done = [0.0] * structure.num_leaves, [0.0] * structure.num_leaves, 0
    for start in range(0, num_keys, keys_at_once):
        count = min(keys_at_once, num_keys - start)
        weight = count / (done + count)
        for i, chunk in enumerate(jax.device_get(reduce_chunk(params, key, start))):
            mean, square = (np.asarray(value, np.float64) for value in chunk)
            difference = mean - means[i]
            means[i] = means[i] + weight * difference
            squares[i] = squares[i] + square + done * weight * difference**2
        done += count
        progress(done)
    with np.errstate(invalid="ignore"):
        variances = [square / np.float64(num_keys - 1) for square in squares]
    return GradientMoments(
        jax.tree.unflatten(structure, means), jax.tree.unflatten(structure, variances), num_keys
    )


def exactly(gradient: Gradient) -> GradientMoments:
    """An exact gradient as a reference: its variance is zero."""
    mean = jax.tree.map(lambda values: np.asarray(values, np.float64), gradient)
    return GradientMoments(mean, jax.tree.map(np.zeros_like, mean), num_keys=1)


def t_statistics(moments: GradientMoments, reference: GradientMoments) -> Gradient:
    """(mean - reference) / its standard error, for each parameter.

    Standard normal for an unbiased estimator, if keys are many and those of the reference others.
    The standard error joins those of both; nan where both are zero, as is the gradient of a
    parameter that has no influence.
    """
    return jax.tree.map(
        _t_statistics,
        moments.mean,
        reference.mean,
        _squared_error(moments),
        _squared_error(reference),
    )


def signal_to_noise(moments: GradientMoments) -> Gradient:
    """|mean| / std of each parameter (Rainforth et al. 2018, section 3).

    It is biased upwards: of N keys a gradient that is zero in the mean has about sqrt(2 / (pi N)).
    nan where mean and variance are zero.
    """

    def ratio(mean, variance):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.abs(mean) / np.sqrt(variance)

    return jax.tree.map(ratio, moments.mean, moments.variance)


def quality(moments: GradientMoments, reference: GradientMoments) -> GradientQuality:
    """What there is to say of all parameters of a gradient together.

    Args:
      moments: of the estimator.
      reference: the moments of an unbiased one for other keys, or `exactly` the true gradient.
    """
    mean, exact, variance = _flat(moments.mean), _flat(reference.mean), _flat(moments.variance)
    reference_error = _flat(_squared_error(reference))
    error = variance / moments.num_keys + reference_error
    varies = error > 0
    if not np.any(varies):
        return GradientQuality(0, *[float("nan")] * (len(GradientQuality._fields) - 1))
    t = np.abs(_flat(t_statistics(moments, reference)))[varies]
    ratio = _flat(signal_to_noise(moments))[varies]
    numbers = {
        "gradient": _rms_above(exact[varies], np.mean(reference_error[varies])),
        "bias": np.sqrt(np.mean((mean - exact)[varies] ** 2)),
        "bias_by_chance": np.sqrt(np.mean(error[varies])),
        "share_above_2": np.mean(t > 2),
        "largest_t": np.max(t),
        "variance": np.mean(variance[varies]),
        "signal_to_noise": _rms_above(ratio, 1 / moments.num_keys),
        "noise_floor": np.sqrt(_LEAST_EXCESS / moments.num_keys),
        "mean_signal_to_noise": np.mean(ratio),
    }
    return GradientQuality(len(t), **{name: float(value) for name, value in numbers.items()})


def largest_by_chance(count: int, probability: float = 0.95) -> float:
    """What the largest |t| of so many independent, unbiased parameters stays below so probably.

    Parameters that are correlated have a smaller one.
    """
    return NormalDist().inv_cdf(0.5 * (1.0 + probability ** (1.0 / count)))


def log_log_slope(num_samples: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """The least-squares slope of log values against log K, and its standard error.

    num_samples, values: [n] positive. The error is that of the scatter around the line; it needs
    n > 2, the slope n > 1, else they are nan.
    """
    x, y = np.log(np.asarray(num_samples, np.float64)), np.log(np.asarray(values, np.float64))
    if len(x) < 2:
        return float("nan"), float("nan")
    x = x - x.mean()
    slope = np.sum(x * y) / np.sum(x**2)
    if len(x) == 2:
        return float(slope), float("nan")
    residual = y - y.mean() - slope * x
    return float(slope), float(np.sqrt(np.sum(residual**2) / (len(x) - 2) / np.sum(x**2)))


def _squared_error(moments: GradientMoments) -> Gradient:
    return jax.tree.map(lambda variance: variance / moments.num_keys, moments.variance)


def _t_statistics(mean, exact, squared_error, reference_squared_error):
    # Rounding in single precision must not make a bias of an estimator without variance.
    rounding = np.finfo(np.float32).eps * np.maximum(np.abs(mean), np.abs(exact))
    error = np.sqrt(squared_error + reference_squared_error + rounding**2)
    with np.errstate(invalid="ignore"):
        return (mean - exact) / error


def _rms_above(values: np.ndarray, squared_error: float) -> float:
    """The root mean square that values [n] have without their errors; nan if it is too small a
    part of them to be told from an error."""
    squared = np.mean(values**2) - squared_error
    return np.sqrt(squared) if squared > _LEAST_EXCESS * squared_error else np.nan


def _flat(gradient: Gradient) -> np.ndarray:
    return np.concatenate([np.ravel(values) for values in jax.tree.leaves(gradient)])

"""The quality of a gradient estimator: bias, variance and signal-to-noise ratio."""

import functools
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.models import Model, Params, draw_batch
from vae_jax.models.batch import Batch
from vae_jax.objectives import Bound, Estimator

Gradient = Any  # a pytree of parameters, or of parts of them
GradientFn = Callable[[Params, jax.Array], Gradient]  # (params, key) -> an estimate of a gradient


class GradientMoments(NamedTuple):
    """Mean and variance over the keys of a gradient estimator; float64 on the host."""

    mean: Gradient
    variance: Gradient  # variance of the estimate from ONE key, likewise; nan if there is one key
    num_keys: int

    @property
    def squared_error(self) -> Gradient:
        """The square of the standard error of the mean."""
        return jax.tree.map(lambda variance: variance / self.num_keys, self.variance)

    def select(self, choose: Callable[[Gradient], Gradient]) -> "GradientMoments":
        """The moments of a part of the gradient, such as those of the encoder."""
        return GradientMoments(choose(self.mean), choose(self.variance), self.num_keys)


class GradientQuality(NamedTuple):
    """The quality of an estimator over all parameters (rms: root mean square).

    A parameter is left out if its gradient is the same for all keys and in the reference, such as
    the weight of a pixel that is always black.
    """

    num_parameters: int  # number of parameters that are not left out; if it is 0, all else is nan
    gradient: float  # rms of the true gradient; nan if it is not larger than its error
    bias: float  # rms of mean - reference, which includes the errors of both
    bias_by_chance: float  # rms of these errors, the measured bias if there is none
    rms_t: float  # rms of the t-statistics; about 1 for an unbiased estimator
    largest_t: float  # largest |t|; compare it with `largest_by_chance`
    variance: float  # mean over parameters
    signal_to_noise: float  # norm of the expectation / root of the total variance
    noise_floor: float  # a smaller one cannot be told from the error of the norm, and is nan


def bound_gradient(
    model: Model, bound: Bound, estimator: Estimator, x: jax.Array | Batch, num_samples: int
) -> GradientFn:
    """Makes the gradient of a bound, averaged over examples, as an estimator gives it for one key.

    Args:
      model: the VAE.
      bound: bound, log_w [K, B] -> [B] nats, whose gradient it is, and not that of its negative.
      estimator: estimator of its gradient, such as `estimators.pathwise`.
      x: [B, *event], or a `Batch`.
      num_samples: K. From one key, estimators with the same K get the same noise.
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

    Key i is folded from `key` and i, so that the size of a chunk changes the result by no more than
    rounding. Chunks are reduced in single precision on the device, each around its own mean, and
    merged in double precision on the host (Chan et al. 1983). A large mean cancels no digits.

    Args:
      gradient_fn: function (params, key) -> gradient, which is compiled once.
      params: first argument of the function.
      key: typed PRNG key.
      num_keys: N.
      keys_at_once: number of estimates that are held together in memory.
      progress: function that is called with the number of keys done after each chunk.

    Raises:
      ValueError: `num_keys` or `keys_at_once` < 1.
    """
    if num_keys < 1 or keys_at_once < 1:
        raise ValueError(
            f"num_keys and keys_at_once must be at least 1, not {num_keys} and {keys_at_once}."
        )
    keys_at_once = min(keys_at_once, num_keys)

    @jax.jit
    @jax.default_matmul_precision("highest")  # in full precision on accelerators, too
    def reduce_chunk(params, key, start):
        index = start + jnp.arange(keys_at_once)
        is_counted = index < num_keys  # the last chunk is padded
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
        gradients = jax.vmap(gradient_fn, (None, 0))(params, keys)

        def reduce(values):
            counted = is_counted.reshape(-1, *[1] * (values.ndim - 1))
            mean = jnp.sum(jnp.where(counted, values, 0.0), axis=0) / jnp.sum(is_counted)
            deviation = jnp.where(counted, values - mean[None], 0.0)
            return mean, jnp.sum(jnp.square(deviation), axis=0)

        return [reduce(values) for values in jax.tree.leaves(gradients)]

    leaves, structure = jax.tree.flatten(jax.eval_shape(gradient_fn, params, key))
    means = [np.zeros(leaf.shape) for leaf in leaves]
    squares = [np.zeros(leaf.shape) for leaf in leaves]
    for done in range(0, num_keys, keys_at_once):
        count = min(keys_at_once, num_keys - done)
        weight = count / (done + count)
        for i, chunk in enumerate(jax.device_get(reduce_chunk(params, key, done))):
            mean, square = (np.asarray(value, np.float64) for value in chunk)
            difference = mean - means[i]
            means[i] = means[i] + weight * difference
            squares[i] = squares[i] + square + done * weight * difference**2
        progress(done + count)
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

    They are standard normal for an unbiased estimator if there are many keys and the reference has
    other keys. The standard error is that of the difference. A parameter without influence, whose
    gradient neither varies nor differs, has nan.
    """

    def t(mean, expected, squared_error, reference_squared_error):
        # Rounding in single precision must not look like the bias of an estimator without variance.
        rounding = np.finfo(np.float32).eps * np.maximum(np.abs(mean), np.abs(expected))
        error = np.sqrt(squared_error + reference_squared_error + rounding**2)
        with np.errstate(invalid="ignore"):
            return (mean - expected) / error

    return jax.tree.map(
        t, moments.mean, reference.mean, moments.squared_error, reference.squared_error
    )


def signal_to_noise(moments: GradientMoments, signal: GradientMoments) -> Gradient:
    """|expectation| / std of each parameter (Rainforth et al. 2018, section 3).

    moments and signal are those of `quality`. If the signal is the mean of the same N keys, the
    ratio has an error of 1 / sqrt(N). It is nan where both are zero.
    """

    def ratio(mean, variance):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.abs(mean) / np.sqrt(variance)

    return jax.tree.map(ratio, signal.mean, moments.variance)


def quality(
    moments: GradientMoments,
    reference: GradientMoments,
    truth: GradientMoments,
    signal: GradientMoments,
) -> GradientQuality:
    """Computes the quality of a gradient estimator over all parameters.

    Args:
      moments: moments of the estimator.
      reference: reference for the bias: the moments of an unbiased estimator for other keys, or the
        true gradient by `exactly`.
      truth: best estimate of the true gradient: the moments of the unbiased estimator with the
        smallest variance, for any keys, or the true gradient by `exactly`.
      signal: best estimate of the expectation of the estimator: the truth if the estimator is
        unbiased in theory, otherwise `moments`.
    """
    mean, expected, variance = _flat(moments.mean), _flat(reference.mean), _flat(moments.variance)
    squared_error = _flat(moments.squared_error) + _flat(reference.squared_error)
    chosen = (squared_error > 0) | (mean != expected)
    if not np.any(chosen):
        return GradientQuality(0, *[float("nan")] * (len(GradientQuality._fields) - 1))
    t = np.abs(_flat(t_statistics(moments, reference)))[chosen]
    mean_variance = np.mean(variance[chosen])
    gradient, _ = _rms_without_error(truth, chosen)
    expectation, floor = _rms_without_error(signal, chosen)
    std = np.sqrt(mean_variance) if mean_variance > 0 else np.nan
    numbers = {
        "gradient": gradient,
        "bias": np.sqrt(np.mean((mean - expected)[chosen] ** 2)),
        "bias_by_chance": np.sqrt(np.mean(squared_error[chosen])),
        "rms_t": np.sqrt(np.mean(t**2)),
        "largest_t": np.max(t),
        "variance": mean_variance,
        "signal_to_noise": expectation / std,
        "noise_floor": floor / std,
    }
    return GradientQuality(len(t), **{name: float(value) for name, value in numbers.items()})


def largest_by_chance(count: int, probability: float = 0.95) -> float:
    """The value that the largest |t| of independent, unbiased parameters stays below.

    It does so with the given probability. For correlated parameters the probability is higher.
    """
    return NormalDist().inv_cdf(0.5 * (1.0 + probability ** (1.0 / count)))


def log_log_slope(num_samples: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """The least-squares slope of log values against log K, and its standard error.

    num_samples, values: [n], positive. The error comes from the scatter around the line. The slope
    is nan for n < 2, and the error for n < 3.
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


def _rms_without_error(moments: GradientMoments, chosen: np.ndarray) -> tuple[float, float]:
    """The rms of means over the chosen parameters, corrected for their errors; the rms of these.

    The first is nan if the errors are more than half of the mean square.
    """
    square = np.mean(_flat(moments.mean)[chosen] ** 2)
    error = np.mean(_flat(moments.squared_error)[chosen])
    return np.sqrt(square - error) if square > 2.0 * error else np.nan, np.sqrt(error)


def _flat(gradient: Gradient) -> np.ndarray:
    return np.concatenate([np.ravel(values) for values in jax.tree.leaves(gradient)])

"""Bounds on the log-evidence, as functions of the log-weights. Nats; higher is better.

All of them are lower bounds in expectation, except `cubo` and `renyi` with a negative alpha. Under
the exact posterior all weights are p(x), and every bound is log p(x).
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.objectives.schedules import is_array

#: A function of the log-weights of K samples of B examples: log_w [K, B] -> [B], nats.
Bound = Callable[[jax.Array], jax.Array]


def elbo(log_w: jax.Array) -> jax.Array:
    """Evidence lower bound, the mean log-weight (Kingma & Welling 2014, eq. 6).

    log_w: [K, B] nats. Returns [B]; its mean is at most log p(x), whatever K is.
    """
    return jnp.mean(log_w, axis=0)


def iwae(log_w: jax.Array) -> jax.Array:
    """Importance-weighted bound, log of the mean weight (Burda et al. 2016, eq. 8).

    log_w: [K, B] nats. Returns [B]; its mean is at most log p(x) and does not decrease in K.
    """
    return _log_mean_exp(log_w, 1.0)


def renyi(alpha: float) -> Bound:
    """Variational Renyi bound, log E[w^(1 - alpha)] / (1 - alpha) (Li & Turner 2016, eq. 4 and 14).

    It falls in alpha: it is the largest log weight at -inf (VR-max), `iwae` at 0, `elbo` at 1 and
    the smallest log weight at inf. For alpha >= 0 its mean over K samples is at most log p(x). For
    negative alpha its mean rises with K to an upper bound on log p(x).

    Args:
      alpha: order of the divergence, any number up to 1e30 in size, or +-inf.

    Raises:
      ValueError: alpha is another number, or nan.
    """
    if is_array(alpha):
        return lambda log_w: _renyi_of_any_order(log_w, jnp.asarray(alpha))
    if math.isnan(alpha) or 1e30 < abs(alpha) < math.inf:
        raise ValueError(f"alpha must be within 1e30 of 0, or -inf or inf, not {alpha}.")
    if alpha == 1.0:
        return elbo
    if math.isinf(alpha):
        return lambda log_w: (jnp.max if alpha < 0 else jnp.min)(log_w, axis=0)
    return lambda log_w: _log_mean_exp(log_w, 1.0 - alpha)


def miwae(num_groups: int) -> Bound:
    """MIWAE, the mean of `iwae` over groups of samples (Rainforth et al. 2018, eq. 9).

    With M groups of the K samples it lies between `elbo` (M = K) and `iwae` (M = 1).

    Args:
      num_groups: M, which must divide K.

    Raises:
      ValueError: `num_groups` < 1, or (when called) it does not divide K.
    """
    if num_groups < 1:
        raise ValueError(f"num_groups must be at least 1, not {num_groups}.")

    def bound(log_w):
        num_samples = log_w.shape[0]
        if num_samples % num_groups:
            raise ValueError(f"num_groups={num_groups} must divide the {num_samples} samples.")
        groups = log_w.reshape(num_groups, num_samples // num_groups, *log_w.shape[1:])
        return jnp.mean(jax.vmap(iwae)(groups), axis=0)

    return bound


def ciwae(beta: float) -> Bound:
    """Combination beta * `elbo` + (1 - beta) * `iwae` (Rainforth et al. 2018, eq. 12).

    Args:
      beta: weight of the ELBO, in [0, 1].

    Raises:
      ValueError: beta is outside [0, 1].
    """
    if not is_array(beta) and not 0 <= beta <= 1:
        raise ValueError(f"The beta of CIWAE must lie in [0, 1], not {beta}.")
    return lambda log_w: beta * elbo(log_w) + (1.0 - beta) * iwae(log_w)


def tvo(num_intervals: int = 5, first: float = 0.03) -> Bound:
    """Thermodynamic variational objective, its lower sum (Masrani et al. 2019, eq. 9 and 14).

    log p(x) is the integral over b in [0, 1] of the mean of log w under the density proportional to
    q w^b. This mean rises in b, so the sum over left end points is below the integral. The mean at
    b is estimated by self-normalised importance weights w^b. For the same samples the bound lies
    between `elbo` (one interval) and `iwae` (infinitely many).

    Args:
      num_intervals: number of intervals between the points b = 0, `first`, ..., 1, which are
        equally spaced in log b from `first` on.
      first: the first b above 0. It has no effect if there is one interval.

    Raises:
      ValueError: `num_intervals` < 1 or `first` outside (0, 1).
    """
    if num_intervals < 1:
        raise ValueError(f"num_intervals must be at least 1, not {num_intervals}.")
    if not 0 < first < 1:
        raise ValueError(f"The first point of the TVO must lie in (0, 1), not {first}.")
    points = [first ** (1.0 - i / (num_intervals - 1)) for i in range(num_intervals - 1)]
    points = [0.0, *points, 1.0]

    def bound(log_w):
        below_first = points[1] * elbo(log_w)
        # From here on a weight of zero, whose logarithm is -inf, counts for nothing.
        log_w = jnp.maximum(log_w, -1e30)
        pivot = jax.lax.stop_gradient(jnp.max(log_w, axis=0))
        relative = log_w - pivot[None]  # what is large and common cancels before it is weighed
        left, widths = (jnp.asarray(v, log_w.dtype) for v in (points[1:-1], np.diff(points[1:])))
        means = jax.vmap(
            lambda b: jnp.sum(jax.nn.softmax(b * relative, axis=0) * relative, axis=0)
        )(left)
        return below_first + (1.0 - points[1]) * pivot + jnp.sum(widths[:, None] * means, axis=0)

    return bound


def cubo(n: float = 2.0) -> Bound:
    """Chi upper bound, log E[w^n] / n (Dieng et al. 2017, eq. 4), for evaluation.

    It is the Renyi bound with alpha = 1 - n. It is an upper bound in the limit of many samples. The
    mean over K samples is below this limit, since the logarithm is concave, and rises to it with K.

    Args:
      n: order of the bound, at least 1; 2 is the chi-squared divergence.

    Raises:
      ValueError: n < 1.
    """
    if not 1 <= n < math.inf:
        raise ValueError(f"The n of CUBO must be at least 1 and finite, not {n}.")
    return renyi(1.0 - n)


def _renyi_of_any_order(log_w: jax.Array, alpha: jax.Array) -> jax.Array:
    """`renyi` with an alpha that is an array, such as that of a sweep. Returns [B]."""
    scale = 1.0 - alpha
    is_limit = (scale == 0) | jnp.isinf(scale)
    extreme = jnp.where(scale > 0, jnp.max(log_w, axis=0), jnp.min(log_w, axis=0))
    limit = jnp.where(scale == 0, elbo(log_w), extreme)
    return jnp.where(is_limit, limit, _log_mean_exp(log_w, jnp.where(is_limit, 1.0, scale)))


def _log_mean_exp(log_w: jax.Array, scale: float | jax.Array) -> jax.Array:
    """log(mean over K of w^scale) / scale, for any scale except 0. log_w: [K, B]. Returns [B].

    It is exact to rounding for small scales, too, where the mean is close to 1. Its gradients are
    finite for all weights, including log_w = -inf.
    """
    pivot = jnp.where(scale > 0, jnp.max(log_w, axis=0), jnp.min(log_w, axis=0))
    is_zero = jnp.isneginf(pivot)  # all weights are, or one of a negative power
    pivot = jax.lax.stop_gradient(jnp.where(is_zero, 0.0, pivot))
    # At most 0, and 0 for one sample, so that the mean is at least 1 / K.
    shifted = scale * jnp.where(is_zero[None], 0.0, log_w - pivot[None])
    below_one = jnp.mean(jnp.expm1(shifted), axis=0)
    log_mean = jnp.where(
        below_one > -0.5,
        jnp.log1p(jnp.maximum(below_one, -0.5)),
        jnp.log(jnp.mean(jnp.exp(shifted), axis=0)),
    )
    return jnp.where(is_zero, -jnp.inf, pivot + log_mean / scale)

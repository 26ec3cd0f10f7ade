"""Gradient estimators for any bound. They change its gradient and not its value.

The gradient of F(log_w), z ~ q(z|x), takes three routes: theta (the parameters of p(x|z) and p(z)),
path (through z) and score (the parameters of log q(z|x) at a fixed z). An estimator closes or
weights some of them; see `models.draw`.
"""

from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp

from vae_jax.models import Draw, DrawFn
from vae_jax.objectives.bounds import Bound
from vae_jax.objectives.schedules import is_array

Term = Callable[[Draw], jax.Array]  # draw -> the argument of the bound, [K, B] nats


class Estimator(Protocol):
    """An estimator of the gradient of a bound."""

    def __call__(self, bound: Bound, draw_fn: DrawFn, term: Term = ...) -> tuple[jax.Array, Draw]:
        """Returns (the bound of the term, [B] nats; the draw from which it was computed).

        The gradient of the bound is the estimator's. Only the posterior and the prior of the draw
        may be differentiated (for a KL divergence in closed form); for `pathwise`, all of it. The
        term is log_w if not given.
        """


def log_w(draw: Draw) -> jax.Array:
    """The log-weights [K, B], of which most bounds are functions."""
    return draw.log_w


def log_likelihood(draw: Draw) -> jax.Array:
    """log p(x|z) [K, B], for objectives whose KL term is in closed form."""
    return draw.log_likelihood


def negative_kl(draw: Draw) -> jax.Array:
    """Minus the sampled KL term [K, B], of samples (`Draw.sampled_kl`)."""
    return -draw.sampled_kl


def pathwise(bound: Bound, draw_fn: DrawFn, term: Term = log_w) -> tuple[jax.Array, Draw]:
    """The total derivative through reparameterised samples (Kingma & Welling 2014, section 2.4).

    Raises:
      TypeError: the posterior is discrete.
    """
    draw = draw_fn()
    _require_reparameterised(draw, "The pathwise gradient")
    return bound(term(draw)), draw


def sticking_the_landing(
    bound: Bound, draw_fn: DrawFn, term: Term = log_w
) -> tuple[jax.Array, Draw]:
    """STL: pathwise without the score route (Roeder et al. 2017, eq. 7).

    Where q(z|x) is the exact posterior, the estimate of the encoder's gradient is zero for every
    sample, not only in the mean. The estimator is unbiased for `bounds.elbo`. For bounds that are
    not linear in log_w it is BIASED in the encoder (Tucker et al. 2018, section 3.1), and
    `doubly_reparameterised` is not.

    Raises:
      TypeError: the posterior is discrete.
      ValueError: the term is not log_w.
    """
    _require_log_w(term, "Sticking the landing")
    draw = draw_fn(score=False)
    _require_reparameterised(draw, "Sticking the landing")
    return bound(draw.log_w), draw


def doubly_reparameterised(
    bound: Bound, draw_fn: DrawFn, term: Term = log_w
) -> tuple[jax.Array, Draw]:
    """DReG (Tucker et al. 2018, eq. 6), for any bound F.

    Let w_k = dF/dlog_w_k, which depends on z_k. The mean of the score route is minus the mean of
    the path route weighted by dw_k/dlog_w_k. So the score route is closed, the theta route is
    weighted by w_k, and the path route by w_k - dw_k/dlog_w_k. For `bounds.iwae`, whose w_k are the
    normalised weights, the path route is weighted by w_k^2. For `bounds.elbo` the estimator is STL.

    It is unbiased for bounds with a continuous gradient. The bounds that are the largest or the
    smallest log weight have none, and for them it is STL. Where q(z|x) is the exact posterior, the
    estimate of the encoder's gradient is zero for every sample.

    Raises:
      TypeError: the posterior is discrete.
      ValueError: the term is not log_w.
    """
    _require_log_w(term, "The doubly reparameterised gradient")
    at = jax.lax.stop_gradient(draw_fn().log_w)  # the compiler shares this draw with the next
    draw = draw_fn(path=_path_weights(bound, at), score=False)
    _require_reparameterised(draw, "The doubly reparameterised gradient")
    return bound(draw.log_w), draw


def score_function(bound: Bound, draw_fn: DrawFn, term: Term = log_w) -> tuple[jax.Array, Draw]:
    """The score-function estimator, REINFORCE (Williams 1992), without a baseline.

    It is unbiased for any posterior. Its variance is far larger than that of `pathwise`.
    """
    return _score_function(bound, draw_fn, term, lambda values: 0.0)


def vimco(bound: Bound, draw_fn: DrawFn, term: Term = log_w) -> tuple[jax.Array, Draw]:
    """VIMCO: the score function with leave-one-out baselines (Mnih & Rezende 2016, eq. 10).

    The baseline of sample k is the bound with the k-th log-weight replaced by the mean of the
    others. The estimator is unbiased for any posterior.

    Raises:
      ValueError: there is only one sample, so that its baseline has no others.
    """

    def leave_one_out(values):
        num_samples = values.shape[0]
        if num_samples < 2:
            raise ValueError("VIMCO needs num_samples of at least 2, not 1.")

        def without(k):
            is_k = (jnp.arange(num_samples) == k)[:, None]
            mean_of_others = jnp.sum(jnp.where(is_k, 0.0, values), axis=0) / (num_samples - 1)
            return bound(jnp.where(is_k, mean_of_others[None], values))

        return jax.lax.map(without, jnp.arange(num_samples), batch_size=_AT_ONCE)

    return _score_function(bound, draw_fn, term, leave_one_out)


def concrete(temperature: float = 0.5) -> Estimator:
    """The relaxed path for discrete posteriors: Gumbel-softmax (Jang et al. 2017, section 2).

    The gradient is that of the bound at relaxed samples. The log-probabilities of discrete z are
    evaluated at the relaxed values, as Jang et al. do; Maddison et al. 2017 use the densities of
    Concrete variables instead. The gradient is biased. As the temperature falls, the bias vanishes
    and the variance grows. The VALUE is the bound at discrete samples.

    Args:
      temperature: temperature of the relaxation, in [1e-6, 1e6].

    Raises:
      ValueError: the temperature is out of range.
      TypeError: (when called) the posterior is not discrete.
    """
    if not is_array(temperature) and not 1e-6 <= temperature <= 1e6:
        raise ValueError(f"The temperature must lie in [1e-6, 1e6], not {temperature}.")

    def estimator(bound, draw_fn, term=log_w):
        relaxed = bound(term(draw_fn(temperature=temperature)))
        draw = draw_fn(path=False)
        value = jax.lax.stop_gradient(bound(term(draw)))
        return value + relaxed - jax.lax.stop_gradient(relaxed), draw

    return estimator


def straight_through(bound: Bound, draw_fn: DrawFn, term: Term = log_w) -> tuple[jax.Array, Draw]:
    """The gradient of a sample taken for that of what was rounded or drawn, for discrete posteriors
    (Bengio et al. 2013, section 4; for codes van den Oord et al. 2017, section 3.2).

    Bits and one-hot vectors have the gradient of their probabilities, codes that of the encoder's
    outputs. It is biased. The value is the bound at discrete samples.

    Raises:
      TypeError: the posterior is not discrete.
    """
    draw = draw_fn(surrogate="straight_through")
    return bound(term(draw)), draw


def rotation(bound: Bound, draw_fn: DrawFn, term: Term = log_w) -> tuple[jax.Array, Draw]:
    """The rotation trick for the codes of a codebook (Fifty et al. 2024, eq. 4): as
    `straight_through`, with the gradient turned and scaled as the outputs were.

    Raises:
      TypeError: the posterior has no codebook.
    """
    draw = draw_fn(surrogate="rotation")
    return bound(term(draw)), draw


_AT_ONCE = 64  # samples whose [K, B] arrays are held together


def _score_function(bound, draw_fn, term, baseline):
    draw = draw_fn(path=False)
    values = term(draw)
    value = bound(values)
    signal = jax.lax.stop_gradient(value[None] - baseline(values))
    surrogate = jnp.sum(signal * draw.log_posterior, axis=0)
    return value + surrogate - jax.lax.stop_gradient(surrogate), draw


def _path_weights(bound: Bound, log_w: jax.Array) -> jax.Array:
    """1 - (dw_k/dlog_w_k) / w_k for w = dF/dlog_w, the factor of the path route of each sample.

    The gradient through z_k already carries the factor w_k. log_w: [K, B]. Returns [K, B].
    """
    weights = jax.grad(lambda log_w: jnp.sum(bound(log_w)))

    def derivative(k):
        direction = jnp.zeros_like(log_w).at[k].set(1.0)
        return jax.jvp(weights, (log_w,), (direction,))[1][k]

    derivatives = jax.lax.map(derivative, jnp.arange(log_w.shape[0]), batch_size=_AT_ONCE)
    w = weights(log_w)
    return jnp.where(w == 0, 0.0, 1.0 - derivatives / jnp.where(w == 0, 1.0, w))


def _require_reparameterised(draw: Draw, what: str) -> None:
    if not draw.posterior.is_reparameterised:
        raise TypeError(
            f"{what} needs a posterior whose samples can be differentiated, which those of a "
            f"{type(draw.posterior).__name__} cannot: use vimco, concrete or straight_through."
        )


def _require_log_w(term: Term, what: str) -> None:
    if term is not log_w:
        raise ValueError(
            f"{what} is for the sampled log q(z|x), which a KL term in closed form does not have."
        )

"""Objectives: what training minimises, as (init, loss) pairs over a draw."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vae_jax.models import Draw, DrawFn, ElboTerms, mean_elbo
from vae_jax.objectives import bounds, estimators
from vae_jax.objectives.bounds import Bound
from vae_jax.objectives.estimators import Estimator

ObjectiveState = Any
Metrics = dict[str, jax.Array]


class Objective(NamedTuple):
    """A training objective.

    init: (key, draw) -> state, whatever the objective carries from step to step. draw: of a batch
      of one example and one sample; only its shapes matter.
    loss: (state, step, key, draw_fn) -> (loss, (state, metrics)). step: [] int, steps taken; key:
      for what the objective draws itself; draw_fn: `models.draw_batch` of the batch, given all but
      its keyword arguments. loss: [] nats, lower is better, the mean over examples; metrics: name
      -> [], among them always the true "elbo" and its terms "reconstruction" and "kl", nats.
    """

    init: Callable[[jax.Array, Draw], ObjectiveState]
    loss: Callable[
        [ObjectiveState, jax.Array, jax.Array, DrawFn],
        tuple[jax.Array, tuple[ObjectiveState, Metrics]],
    ]


def stateless(loss: Callable[[jax.Array, jax.Array, DrawFn], tuple[jax.Array, Metrics]]):
    """The objective of a loss (step, key, draw_fn) -> (loss, metrics) that carries nothing."""

    def loss_with_state(state, step, key, draw_fn):
        value, metrics = loss(step, key, draw_fn)
        return value, (state, metrics)

    return Objective(init=lambda key, draw: (), loss=loss_with_state)


def closed_form_elbo(estimator: Estimator = estimators.pathwise) -> Objective:
    """Maximises the ELBO with its KL term in closed form (Kingma & Welling 2014, eq. 7).

    Args:
      estimator: estimator of the gradient of the reconstruction term.
    """

    def loss(step, key, draw_fn):
        del step, key
        terms, _ = closed_form_terms(draw_fn, estimator)
        metrics = elbo_metrics(terms)
        return -metrics["elbo"], metrics

    return stateless(loss)


def maximise(bound: Bound, estimator: Estimator = estimators.pathwise) -> Objective:
    """Maximises a bound of the sampled log-weights, averaged over examples.

    Args:
      bound: log_w [K, B] -> [B] nats, such as `bounds.iwae`.
      estimator: estimator of its gradient, such as `estimators.doubly_reparameterised`.
    """

    def loss(step, key, draw_fn):
        del step, key
        value, draw = estimator(bound, draw_fn)
        value = jnp.mean(value)
        return -value, {"bound": value, **_sampled_elbo_metrics(draw)}

    return stateless(loss)


def split(
    decoder_bound: Bound, encoder_bound: Bound, estimator: Estimator = estimators.pathwise
) -> Objective:
    """Maximises one bound over the decoder and prior, another over the encoder.

    With `bounds.iwae` and `bounds.miwae` it is PIWAE (Rainforth et al. 2018, eq. 11). The loss is
    that of the decoder.

    Args:
      decoder_bound: log_w [K, B] -> [B] nats, whose gradient takes the theta route.
      encoder_bound: likewise, whose gradient takes the path and score routes.
      estimator: estimator of the encoder's gradient.
    """

    def loss(step, key, draw_fn):
        del step, key
        draw = draw_fn(path=False, score=False)
        value = jnp.mean(decoder_bound(draw.log_w))
        encoder_value, _ = estimator(encoder_bound, partial(draw_fn, theta=False))
        encoder_value = jnp.mean(encoder_value)
        loss = -value - (encoder_value - jax.lax.stop_gradient(encoder_value))
        metrics = {"bound": value, "encoder_bound": encoder_value, **_sampled_elbo_metrics(draw)}
        return loss, metrics

    return stateless(loss)


def closed_form_terms(
    draw_fn: DrawFn, estimator: Estimator = estimators.pathwise
) -> tuple[ElboTerms, Draw]:
    """The terms of the ELBO [B] with their gradients, KL in closed form, and the draw.

    Args:
      draw_fn: the function that draws, as an objective gets it.
      estimator: estimator of the gradient of the reconstruction term.

    Raises:
      TypeError: posterior and prior have no closed-form KL.
      ValueError: the estimator is one for the sampled log q(z|x).
    """
    reconstruction, draw = estimator(bounds.elbo, draw_fn, estimators.log_likelihood)
    _, terms = mean_elbo(draw, closed_form_kl=True)
    return ElboTerms(reconstruction, terms.kl), draw


def elbo_metrics(terms: ElboTerms) -> Metrics:
    """The true ELBO and its two terms, averaged over the examples of a batch, [] nats."""
    reconstruction, kl = jnp.mean(terms.reconstruction), jnp.mean(terms.kl)
    return {"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}


def require_batch(draw: Draw, what: str) -> None:
    """Raises a ValueError for a batch of one, over which a penalty cannot be estimated."""
    if draw.log_prior.shape[1] < 2:
        raise ValueError(f"{what} is estimated over a batch and needs at least 2 examples, not 1.")


def _sampled_elbo_metrics(draw: Draw) -> Metrics:
    _, terms = mean_elbo(draw, closed_form_kl=False)
    return elbo_metrics(terms)

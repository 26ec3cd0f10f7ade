"""Objectives: what training minimises, as (init, loss) pairs over a draw."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vae_jax.distributions import Coded, has_closed_form_kl, perplexity, usage
from vae_jax.models import Draw, DrawFn, ElboTerms, kl_term
from vae_jax.objectives import bounds, estimators
from vae_jax.objectives.bounds import Bound
from vae_jax.objectives.estimators import Estimator

ObjectiveState = Any
Metrics = dict[str, jax.Array]  # name -> [], what a training step reports


class Objective(NamedTuple):
    """A training objective.

    Attributes:
      init: (key, draw) -> state. The state is what the objective carries from step to step. draw:
        the draw of one example and one sample, of which only the shapes matter.
      loss: (state, step, key, draw_fn) -> (loss, (state, metrics)). step: [] int, number of steps
        taken. key: PRNG key of what the objective samples itself. draw_fn: `models.draw_batch` with
        everything but its keyword arguments given. loss: [] nats, the mean over examples, lower is
        better. metrics: name -> []; they hold the true "elbo" and its terms "reconstruction"
        and "kl", in nats.
      fitted: (state, params) -> params, with parameters that the objective fits itself, without a
        gradient, such as the averages that are the entries of a codebook; None if it fits none. The
        state is that after the step, and the parameters those of the optimiser.
    """

    init: Callable[[jax.Array, Draw], ObjectiveState]
    loss: Callable[
        [ObjectiveState, jax.Array, jax.Array, DrawFn],
        tuple[jax.Array, tuple[ObjectiveState, Metrics]],
    ]
    fitted: Callable[[ObjectiveState, Any], Any] | None = None


def stateless(loss: Callable[[jax.Array, jax.Array, DrawFn], tuple[jax.Array, Metrics]]):
    """Makes an objective without state from a loss (step, key, draw_fn) -> (loss, metrics)."""

    def loss_with_state(state, step, key, draw_fn):
        value, metrics = loss(step, key, draw_fn)
        return value, (state, metrics)

    return Objective(init=lambda key, draw: (), loss=loss_with_state)


def closed_form_elbo(estimator: Estimator = estimators.pathwise) -> Objective:
    """Maximises the ELBO with its KL term in closed form (Kingma & Welling 2014, eq. 7).

    Where the closed form is not known, the KL term is sampled; see `models.kl_term`.

    Args:
      estimator: estimator of the gradient of the reconstruction term.
    """

    def loss(step, key, draw_fn):
        del step, key
        terms, draw = elbo_terms(draw_fn, estimator)
        metrics = elbo_metrics(terms, draw)
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
    """Maximises one bound over the decoder and the prior, and another one over the encoder.

    With `bounds.iwae` and `bounds.miwae` it is PIWAE (Rainforth et al. 2018, eq. 11). The value of
    the loss is minus the bound of the decoder.

    Args:
      decoder_bound: log_w [K, B] -> [B] nats; its gradient takes the theta route.
      encoder_bound: log_w [K, B] -> [B] nats; its gradient takes the path and score routes.
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


def elbo_terms(
    draw_fn: DrawFn, estimator: Estimator = estimators.pathwise
) -> tuple[ElboTerms, Draw]:
    """Returns the terms of the ELBO [B] for a draw, and the draw.

    The KL term is that of `models.kl_term`. In closed form its gradient is exact; where it is
    sampled, the estimator has its gradient, too.

    Args:
      draw_fn: the function that an objective gets.
      estimator: estimator of the gradient of the reconstruction term.

    Raises:
      ValueError: the estimator needs the sampled log q(z|x).
    """
    reconstruction, draw = estimator(bounds.elbo, draw_fn, estimators.log_likelihood)
    if has_closed_form_kl(draw.posterior, draw.prior):
        return ElboTerms(reconstruction, kl_term(draw)), draw
    negative_kl, draw = estimator(bounds.elbo, draw_fn, estimators.negative_kl)
    return ElboTerms(reconstruction, -negative_kl), draw


def elbo_metrics(terms: ElboTerms, draw: Draw) -> Metrics:
    """The true ELBO and its two terms, averaged over the examples of a batch, [] nats.

    A hierarchy also has the KL term of each layer, "kl_1", "kl_2" and so on. Codes also have their
    "perplexity" in the batch, and the share "codes_in_use" of a codebook there.

    Args:
      terms: the terms of each example, [B].
      draw: the draw that they are of.
    """
    reconstruction, kl = jnp.mean(terms.reconstruction), jnp.mean(terms.kl)
    metrics = {"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}
    if isinstance(draw.posterior, Coded):
        counts = usage(draw.posterior.index, draw.posterior.num_codes)
        metrics["perplexity"] = jnp.mean(perplexity(counts))
        metrics["codes_in_use"] = jnp.mean(counts > 0)
    if draw.layer_kl is not None:
        of_layers = jnp.mean(draw.layer_kl, axis=(0, 1))
        metrics |= {f"kl_{layer}": of_layers[layer - 1] for layer in range(1, len(of_layers) + 1)}
    return metrics


def require_batch(draw: Draw, what: str) -> None:
    """Raises a ValueError for a batch of one example, which is too few to estimate a penalty."""
    if draw.log_prior.shape[1] < 2:
        raise ValueError(f"{what} is estimated over a batch and needs at least 2 examples, not 1.")


def require_of_posterior(draw: Draw, names: tuple[str, ...], what: str) -> None:
    """Raises a TypeError for a posterior that lacks attributes, such as those of a `Normal`."""
    if not all(hasattr(draw.posterior, name) for name in names):
        raise TypeError(
            f"{what} needs independent latents, whose posterior has {' and '.join(names)}, which a "
            f"{type(draw.posterior).__name__} does not have."
        )


def _sampled_elbo_metrics(draw: Draw) -> Metrics:
    kl, reconstruction = jnp.mean(draw.sampled_kl, axis=0), jnp.mean(draw.log_likelihood, axis=0)
    return elbo_metrics(ElboTerms(reconstruction, kl), draw)

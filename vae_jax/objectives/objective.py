"""Objectives: what training minimises, as (init, loss) pairs over a draw."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vae_jax.models import Draw, mean_elbo
from vae_jax.objectives.bounds import Bound

ObjectiveState = Any
Metrics = dict[str, jax.Array]


class Objective(NamedTuple):
    """A training objective.

    init: () -> state, whatever the objective carries from step to step; () if nothing.
    loss: (state, draw_fn) -> (loss, (state, metrics)). draw_fn: () -> `Draw` of a batch; loss: []
      nats, lower is better, the mean over examples; metrics: name -> [] nats, among them always
      the true "elbo" and its terms "reconstruction" and "kl".
    """

    init: Callable[[], ObjectiveState]
    loss: Callable[
        [ObjectiveState, Callable[[], Draw]], tuple[jax.Array, tuple[ObjectiveState, Metrics]]
    ]


def closed_form_elbo() -> Objective:
    """Maximises the ELBO with its KL term in closed form (Kingma & Welling 2014, eq. 7)."""

    def loss(state, draw_fn):
        metrics = _elbo_metrics(draw_fn(), closed_form_kl=True)
        return -metrics["elbo"], (state, metrics)

    return Objective(init=lambda: (), loss=loss)


def maximise(bound: Bound) -> Objective:
    """Maximises a bound of the sampled log-weights, averaged over examples.

    Args:
      bound: log_w [K, B] -> [B] nats, such as `bounds.iwae`.
    """

    def loss(state, draw_fn):
        draw = draw_fn()
        value = jnp.mean(bound(draw.log_w))
        return -value, (state, {"bound": value, **_elbo_metrics(draw, closed_form_kl=False)})

    return Objective(init=lambda: (), loss=loss)


def _elbo_metrics(draw: Draw, *, closed_form_kl: bool) -> Metrics:
    """The ELBO and its two terms, each averaged over the examples of a batch, [] nats."""
    elbo, terms = mean_elbo(draw, closed_form_kl=closed_form_kl)
    return {
        "elbo": jnp.mean(elbo),
        "reconstruction": jnp.mean(terms.reconstruction),
        "kl": jnp.mean(terms.kl),
    }

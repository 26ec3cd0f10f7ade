"""GECO: the smallest KL that satisfies a constraint on the reconstruction."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vae_jax.objectives import estimators
from vae_jax.objectives.estimators import Estimator
from vae_jax.objectives.objective import Objective, elbo_metrics, elbo_terms
from vae_jax.objectives.schedules import is_array

_LOG_MULTIPLIER_RANGE = 10.0  # so that a constraint that cannot be satisfied does not overflow


class GecoState(NamedTuple):
    """The state of GECO: the multiplier and the mean violation of the constraint."""

    log_multiplier: jax.Array  # []
    violation: jax.Array  # [] nats, moving average of target - reconstruction


def geco(
    target_reconstruction: float,
    rate: float = 1e-3,
    decay: float = 0.99,
    estimator: Estimator = estimators.pathwise,
) -> Objective:
    """Minimises KL subject to E[log p(x|z)] >= a target (Rezende & Viola 2018, algorithm 1).

    The loss is KL + multiplier * (target - reconstruction). The multiplier begins at 1. Every step
    multiplies it by exp(rate * v), where v is the moving average of the violation in nats. Here v
    is limited to [-10, 10], so that a bad start does not make the multiplier useless.

    Args:
      target_reconstruction: target for the mean of log p(x|z) over examples, in nats.
      rate: learning rate of the multiplier for each nat and step, positive.
      decay: decay rate of the moving average, in [0, 1).
      estimator: estimator of the gradient of the reconstruction term.

    Raises:
      ValueError: a value is out of range.
    """
    if not is_array(target_reconstruction) and not abs(target_reconstruction) <= 1e30:
        raise ValueError(f"target_reconstruction must be finite, not {target_reconstruction}.")
    if not rate > 0:
        raise ValueError(f"The rate of GECO must be positive, not {rate}.")
    if not 0 <= decay < 1:
        raise ValueError(f"The decay of GECO must lie in [0, 1), not {decay}.")

    def loss(state, step, key, draw_fn):
        del key
        terms, draw = elbo_terms(draw_fn, estimator)
        metrics = elbo_metrics(terms, draw)
        violation = target_reconstruction - metrics["reconstruction"]
        multiplier = jnp.exp(state.log_multiplier)
        smoothed = decay * state.violation + (1.0 - decay) * violation
        average = jnp.where(step == 0, violation, smoothed)
        log_multiplier = state.log_multiplier + rate * jnp.clip(average, -10.0, 10.0)
        limit = _LOG_MULTIPLIER_RANGE
        state = GecoState(jnp.clip(log_multiplier, -limit, limit), average)
        metrics |= {"multiplier": multiplier, "violation": violation}
        return metrics["kl"] + multiplier * violation, (state, metrics)

    return Objective(lambda key, draw: GecoState(jnp.zeros(()), jnp.zeros(())), loss)

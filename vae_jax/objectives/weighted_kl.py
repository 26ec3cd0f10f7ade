"""Objectives that weight, constrain or bound the KL term of the ELBO."""

from typing import Any, cast

import jax
import jax.numpy as jnp

from vae_jax.models import Draw
from vae_jax.objectives import estimators
from vae_jax.objectives.estimators import Estimator
from vae_jax.objectives.objective import (
    Objective,
    elbo_metrics,
    elbo_terms,
    require_of_posterior,
    stateless,
)
from vae_jax.objectives.schedules import Schedule, as_schedule, require_weight


def beta_vae(beta: float | Schedule, estimator: Estimator = estimators.pathwise) -> Objective:
    """beta-VAE: reconstruction - beta * KL (Higgins et al. 2017, eq. 4).

    A schedule of beta that rises to 1 gives the ELBO with KL annealing (Bowman et al. 2016).

    Args:
      beta: weight of the KL term, not negative; a number or a schedule.
      estimator: estimator of the gradient of the reconstruction term.

    Raises:
      ValueError: beta is negative or not finite.
    """
    require_weight("beta", beta)
    weight = as_schedule(beta)

    def loss(step, key, draw_fn):
        del key
        terms, draw = elbo_terms(draw_fn, estimator)
        metrics = {**elbo_metrics(terms, draw), "beta": weight(step)}
        return metrics["beta"] * metrics["kl"] - metrics["reconstruction"], metrics

    return stateless(loss)


def capacity(
    target_kl: float | Schedule, gamma: float = 10.0, estimator: Estimator = estimators.pathwise
) -> Objective:
    """Capacity control: reconstruction - gamma * |KL - target_kl| (Burgess et al. 2018, eq. 8).

    Args:
      target_kl: target for the mean KL term of a batch, in nats, not negative; a number or, as in
        the paper, a schedule that rises from 0.
      gamma: weight of the deviation, not negative.
      estimator: estimator of the gradient of the reconstruction term.

    Raises:
      ValueError: a number is negative or not finite.
    """
    require_weight("target_kl", target_kl)
    require_weight("gamma", gamma)
    capacity_at = as_schedule(target_kl)

    def loss(step, key, draw_fn):
        del key
        terms, draw = elbo_terms(draw_fn, estimator)
        metrics = {**elbo_metrics(terms, draw), "target_kl": capacity_at(step)}
        penalty = gamma * jnp.abs(metrics["kl"] - metrics["target_kl"])
        return penalty - metrics["reconstruction"], metrics

    return stateless(loss)


def free_bits(
    free_nats: float | Schedule,
    num_groups: int | None = None,
    estimator: Estimator = estimators.pathwise,
) -> Objective:
    """Free bits: reconstruction - sum of max(free_nats, KL) of groups (Kingma et al. 2016, eq. 15).

    The KL of a group of latents is averaged over the batch before the maximum, as in the paper, so
    that a group below the floor has no gradient from its KL. In a hierarchy the layers stand for
    the latents.

    Args:
      free_nats: floor of each group in nats, not negative; a number or a schedule.
      num_groups: number of groups of neighbouring latents, all of one size; None for one group for
        each latent, or for each layer of a hierarchy.
      estimator: estimator of the gradient of the reconstruction term.

    Raises:
      ValueError: the floor is negative or not finite, or the groups do not divide the latents.
    """
    require_weight("free_nats", free_nats)
    if num_groups is not None and num_groups < 1:
        raise ValueError(f"num_groups must be at least 1, not {num_groups}.")
    floor = as_schedule(free_nats)

    def loss(step, key, draw_fn):
        del key
        terms, draw = elbo_terms(draw_fn, estimator)
        kl = jnp.ravel(jnp.mean(_kl_per_dim(draw), axis=0))
        groups = len(kl) if num_groups is None else num_groups
        if len(kl) % groups:
            what = "latents" if draw.layer_kl is None else "layers"
            raise ValueError(f"num_groups={groups} must divide the {len(kl)} {what}.")
        group_kl = jnp.sum(kl.reshape(groups, -1), axis=1)
        metrics = {**elbo_metrics(terms, draw), "free_nats": floor(step)}
        penalty = jnp.sum(jnp.maximum(metrics["free_nats"], group_kl))
        return penalty - metrics["reconstruction"], metrics

    return stateless(loss)


def _kl_per_dim(draw: Draw) -> jax.Array:
    """KL(q(z_j|x) || p(z_j)) in closed form, [B, *event], or that of each layer, [B, L], nats."""
    if draw.layer_kl is not None:
        return jnp.mean(draw.layer_kl, axis=0)
    require_of_posterior(draw, ("kl_per_dim",), "Free bits")
    return draw.of_each_example(lambda q, prior: cast(Any, q).kl_per_dim(prior))

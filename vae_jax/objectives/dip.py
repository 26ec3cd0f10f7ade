"""DIP-VAE: the covariance of the aggregate posterior is matched to that of the prior."""

from typing import cast

import jax
import jax.numpy as jnp

from vae_jax.distributions import HasMean
from vae_jax.objectives.objective import (
    Objective,
    elbo_metrics,
    elbo_terms,
    require_batch,
    require_of_posterior,
    stateless,
)
from vae_jax.objectives.schedules import require_weight


def dip_vae_i(off_diagonal: float = 10.0, diagonal: float = 10.0) -> Objective:
    """DIP-VAE-I: on the covariance of the posterior means (Kumar et al. 2018, eq. 6).

    ELBO - off_diagonal * sum_{i != j} C_ij^2 - diagonal * sum_i (C_ii - 1)^2, with C the covariance
    over the batch.

    Args:
      off_diagonal: weight of the covariances, not negative.
      diagonal: weight of the variances, not negative.

    Raises:
      ValueError: a weight is negative or not finite; or (when called) the batch is one example.
    """
    return _dip_vae(off_diagonal, diagonal, lambda posterior: 0.0)


def dip_vae_ii(off_diagonal: float = 10.0, diagonal: float = 10.0) -> Objective:
    """DIP-VAE-II: on the covariance of z, means and variances (Kumar et al. 2018, eq. 7).

    Formula, arguments and errors are those of `dip_vae_i`.
    """

    def mean_variance(posterior):
        return jnp.diag(jnp.mean(jnp.exp(2.0 * posterior.log_std), axis=0))

    return _dip_vae(off_diagonal, diagonal, mean_variance)


def covariance(means: jax.Array) -> jax.Array:
    """The covariance over a batch, with divisor B. means: [B, L]. Returns [L, L]."""
    centred = means - jnp.mean(means, axis=0, keepdims=True)
    return jnp.dot(centred.T, centred, precision=jax.lax.Precision.HIGHEST) / len(means)


def _dip_vae(off_diagonal, diagonal, added_covariance):
    for name, weight in (("off_diagonal", off_diagonal), ("diagonal", diagonal)):
        require_weight(name, weight)

    def loss(step, key, draw_fn):
        del step, key
        terms, draw = elbo_terms(draw_fn)
        require_batch(draw, "The covariance of the latents")
        require_of_posterior(draw, ("mean", "log_std"), "DIP-VAE")
        matrix = covariance(cast(HasMean, draw.posterior).mean) + added_covariance(draw.posterior)
        variances = jnp.diagonal(matrix)
        penalty = off_diagonal * (jnp.sum(matrix**2) - jnp.sum(variances**2))
        penalty += diagonal * jnp.sum((variances - 1.0) ** 2)
        metrics = {**elbo_metrics(terms, draw), "penalty": penalty}
        return penalty - metrics["elbo"], metrics

    return stateless(loss)

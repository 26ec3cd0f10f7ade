"""The objective of a joint encoder of several modalities, and of those of each."""

from typing import cast

import jax
import jax.numpy as jnp

from vae_jax.distributions import JointNormal
from vae_jax.objectives import estimators
from vae_jax.objectives.estimators import Estimator
from vae_jax.objectives.objective import Objective, elbo_metrics, elbo_terms, stateless
from vae_jax.objectives.schedules import require_weight


def jmvae(alpha: float = 0.1, estimator: Estimator = estimators.pathwise) -> Objective:
    """JMVAE-kl: the ELBO minus alpha times the sum of KL(q(z|x_1 .. x_M) || q(z|x_m)).

    It trains the encoder of each modality to be the joint one (Suzuki et al. 2016, eq. 5), for
    `models.multimodal(..., joining="joint")`.

    Args:
      alpha: weight of the KL divergences, not negative.
      estimator: estimator of the gradient of the reconstruction term.

    Raises:
      ValueError: alpha is negative or not finite.
      TypeError: (when called) the posterior has no encoder of each modality.
    """
    require_weight("alpha", alpha)

    def loss(step, key, draw_fn):
        del step, key
        terms, draw = elbo_terms(draw_fn, estimator)
        if not isinstance(draw.posterior, JointNormal):
            raise TypeError(
                "JMVAE needs a joint posterior: models.multimodal(..., joining='joint')."
            )
        of_each = jax.vmap(lambda q: cast(JointNormal, q).kl_to_experts())(draw.posterior)
        metrics = elbo_metrics(terms, draw)
        metrics["kl_to_experts"] = jnp.mean(jnp.sum(of_each, axis=-1))
        return -metrics["elbo"] + alpha * metrics["kl_to_experts"], metrics

    return stateless(loss)

"""The ELBO of a hierarchy, whose layers get their KL terms one after the other, or in balance."""

import jax
import jax.numpy as jnp

from vae_jax.models import Draw
from vae_jax.objectives import bounds, estimators
from vae_jax.objectives.estimators import Estimator
from vae_jax.objectives.objective import Objective, elbo_metrics, elbo_terms, stateless
from vae_jax.objectives.schedules import Schedule, as_schedule, is_array


def in_turn(beta: jax.Array, draw: Draw) -> jax.Array:
    """Weights [L] that rise to 1 one after the other, that of z_1 first and that of z_L last.

    An upper layer is free of its KL term until those below have theirs, so that it is in use before
    it costs anything: the warm-up of Sønderby et al. 2016, one layer after the other.

    Args:
      beta: [], in [0, 1]; in its first L-th the weight of z_1 rises, and so on.
      draw: the draw of a batch.
    """
    num_layers = draw.layer_kl.shape[-1]
    return jnp.clip(num_layers * beta - jnp.arange(num_layers), 0.0, 1.0)


def balanced(beta: jax.Array, draw: Draw) -> jax.Array:
    """Weights [L] proportional to the KL term of each layer for each of its latents, of mean beta.

    Layers that say much pay more than those that say little (Vahdat & Kautz 2020, app. A, where the
    size of a layer must divide its KL term). All weights are 1 as soon as beta is.

    Args:
      beta: [], in [0, 1].
      draw: the draw of a batch.
    """
    sizes = [leaf[0, 0].size for leaf in jax.tree.leaves(draw.z)]
    share = jnp.abs(jnp.mean(draw.layer_kl, axis=(0, 1))) / jnp.array(sizes, jnp.float32)
    share = jax.lax.stop_gradient(share) + 1e-8  # all layers alike where none says anything
    return jnp.where(beta < 1.0, beta * share / jnp.mean(share), 1.0)


LAYER_WEIGHTS = {"in_turn": in_turn, "balanced": balanced}


def layer_warm_up(
    beta: float | Schedule = 1.0,
    layer_weights: str = "in_turn",
    estimator: Estimator = estimators.pathwise,
) -> Objective:
    """Reconstruction - sum of w_l KL_l over layers, the ELBO once beta is 1.

    The warm-up of a hierarchy (Vahdat & Kautz 2020, app. A, for "balanced"; see `in_turn` for the
    other).

    Args:
      beta: how far the warm-up has come, in [0, 1]; a number or a schedule that rises to 1.
      layer_weights: rule for the weights w_l as long as beta is below 1, "in_turn" or "balanced".
      estimator: estimator of the gradient of the reconstruction term.

    Raises:
      ValueError: beta is a number outside [0, 1], or the weights are unknown; or (when called) the
        latents are one layer.
    """
    if not callable(beta) and not is_array(beta) and not 0 <= beta <= 1:
        raise ValueError(f"beta must lie in [0, 1], not {beta}.")
    if layer_weights not in LAYER_WEIGHTS:
        raise ValueError(
            f"layer_weights={layer_weights!r} is unknown; it is one of {', '.join(LAYER_WEIGHTS)}."
        )
    rise, weights_of = as_schedule(beta), LAYER_WEIGHTS[layer_weights]

    def loss(step, key, draw_fn):
        del key
        now = rise(step)

        def weighted_kl(draw):
            return -jnp.sum(weights_of(now, draw)[None, None] * draw.layer_kl, axis=-1)

        terms, draw = elbo_terms(draw_fn, estimator)
        if draw.layer_kl is None:
            raise ValueError("The latents are one layer, and layer_warm_up is for hierarchies.")
        negative_kl, _ = estimator(bounds.elbo, draw_fn, weighted_kl)
        metrics = elbo_metrics(terms, draw)
        weights = weights_of(now, draw)
        metrics |= {f"weight_{layer + 1}": weights[layer] for layer in range(len(weights))}
        return -metrics["reconstruction"] - jnp.mean(negative_kl), metrics

    return stateless(loss)

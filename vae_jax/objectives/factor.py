"""FactorVAE: the total correlation from a discriminator that is trained together with the VAE."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from vae_jax.networks import Architecture, Network, mlp
from vae_jax.objectives.estimators import pathwise
from vae_jax.objectives.objective import Objective, elbo_metrics, elbo_terms, require_batch
from vae_jax.objectives.schedules import Schedule, as_schedule, require_weight


class FactorState(NamedTuple):
    """The state of FactorVAE: the discriminator and its optimiser."""

    params: Any  # of the discriminator
    optimiser_state: optax.OptState


def factor_vae(
    gamma: float | Schedule,
    *,
    discriminator: Architecture | None = None,
    optimiser: optax.GradientTransformation | None = None,
) -> Objective:
    """ELBO - gamma * TC(z) (Kim & Mnih 2018, eq. 2), with TC by the density-ratio trick (eq. 3).

    The discriminator learns to tell samples of q(z) from samples of prod_j q(z_j), which are made
    by permuting every latent over the batch. Its logit is then log q(z) / prod_j q(z_j). It takes
    one step for every step of the VAE, on the first sample of each example. (The paper permutes the
    samples of a second batch.)

    Args:
      gamma: weight of the total correlation, not negative; a number or a schedule.
      discriminator: architecture of the discriminator; None for two hidden layers of 256 leaky
        rectifiers. (The paper has six layers of 1000.)
      optimiser: optimiser of the discriminator; None for the paper's Adam(1e-4, b1=0.5, b2=0.9).

    Raises:
      ValueError: gamma is negative or not finite; or (when called) the batch is a single example.
    """
    require_weight("gamma", gamma)
    architecture = discriminator or mlp((256, 256), jax.nn.leaky_relu)
    optimiser = optimiser or optax.adam(1e-4, b1=0.5, b2=0.9)
    weight = as_schedule(gamma)

    def init(key, draw):
        params = architecture(draw.z.shape[2:], (1,)).init(key, 0.0)
        return FactorState(params, optimiser.init(params))

    def loss(state, step, key, draw_fn):
        terms, draw = elbo_terms(draw_fn, pathwise)
        require_batch(draw, "The total correlation")
        z = draw.z[0]
        network = architecture(z.shape[1:], (1,))
        total_correlation = jnp.mean(log_density_ratio(network, state.params, z))
        discriminator_loss, gradient = jax.value_and_grad(_discriminator_loss, argnums=1)(
            network, state.params, jax.lax.stop_gradient(z), key
        )
        updates, optimiser_state = optimiser.update(gradient, state.optimiser_state, state.params)
        state = FactorState(optax.apply_updates(state.params, updates), optimiser_state)
        metrics = {
            **elbo_metrics(terms, draw),
            "total_correlation": total_correlation,
            "discriminator_loss": discriminator_loss,
            "gamma": weight(step),
        }
        return metrics["gamma"] * total_correlation - metrics["elbo"], (state, metrics)

    return Objective(init=init, loss=loss)


def log_density_ratio(network: Network, params: Any, z: jax.Array) -> jax.Array:
    """The discriminator's estimate of log q(z) / prod_j q(z_j). z: [B, L]. Returns [B] nats."""
    return jax.vmap(lambda z: network.apply(params, z)[0])(z)


def permute_dims(key: jax.Array, z: jax.Array) -> jax.Array:
    """Samples of prod_j q(z_j): each latent is permuted over the batch separately. z: [B, L]."""
    return jax.random.permutation(key, z, axis=0, independent=True)


def _discriminator_loss(network, params, z, key):
    """The cross-entropy of telling z from permuted z, [] nats. It is log 2 for a blind guess."""
    joint = log_density_ratio(network, params, z)
    product = log_density_ratio(network, params, permute_dims(key, z))
    return 0.5 * jnp.mean(jax.nn.softplus(-joint) + jax.nn.softplus(product))

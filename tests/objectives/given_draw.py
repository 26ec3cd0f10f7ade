"""Draws that no network made: a loss is a function of a draw alone, and so is its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from vae_jax.distributions import Normal, standard_normal
from vae_jax.models import Draw
from vae_jax.objectives import Objective


def normal_draw(
    seed: int = 0, num_samples: int = 2, batch_size: int = 6, num_latents: int = 4
) -> Draw:
    """Draws of normal posteriors, further from the prior in later latents; log p(x|z) near -7."""
    rng = np.random.default_rng(seed)
    spread = np.linspace(0.3, 1.5, num_latents)
    mean = spread * rng.normal(size=(batch_size, num_latents))
    log_std = -0.3 * spread + 0.2 * rng.normal(size=(batch_size, num_latents))
    z = mean + np.exp(log_std) * rng.normal(size=(num_samples, batch_size, num_latents))
    return Draw(
        z=jnp.asarray(z),
        log_likelihood=jnp.asarray(rng.normal(-7.0, 1.0, (num_samples, batch_size))),
        log_prior=jnp.asarray(stats.norm.logpdf(z).sum(axis=2)),
        log_posterior=jnp.asarray(stats.norm.logpdf(z, mean, np.exp(log_std)).sum(axis=2)),
        posterior=Normal(jnp.asarray(mean), jnp.asarray(log_std)),
        prior=standard_normal((num_latents,)),
    )


def loss_of(objective: Objective, draw: Draw, *, state=(), step=0, key=None):
    """(loss, (state, metrics)), as training gets them."""
    key = jax.random.key(0) if key is None else key

    @jax.jit
    def loss(state, key, draw):
        return objective.loss(state, step, key, lambda **options: draw)

    return loss(state, key, draw)


def gradient_of(objective: Objective, draw: Draw, **options) -> Draw:
    """The gradient of the loss with respect to everything that the draw holds."""
    return jax.jit(jax.grad(lambda draw: loss_of(objective, draw, **options)[0]))(draw)


def kl_by_dimension(draw: Draw) -> np.ndarray:
    """[B, L], the textbook formula in float64."""
    mean, log_std = np.float64(draw.posterior.mean), np.float64(draw.posterior.log_std)
    return 0.5 * (mean**2 + np.exp(2.0 * log_std) - 1.0 - 2.0 * log_std)


def reconstruction_of(draw: Draw) -> float:
    return np.float64(draw.log_likelihood).mean()

"""The one number: log_w = log p(x|z) + log p(z) - log q(z|x) for z ~ q(z|x)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vae_jax.distributions import Distribution
from vae_jax.models.base import Model, Params


class Draw(NamedTuple):
    """Posterior samples of one example, or of a batch, with the terms of their log-weights.

    Every bound on log p(x), every estimate of it and every gradient estimator is a function of
    these. Shapes are those of a batch of B examples; for one example the axis B is missing.
    """

    z: Any  # [K, B, *latent], samples of the posterior
    log_likelihood: jax.Array  # [K, B], log p(x|z), nats
    log_prior: jax.Array  # [K, B], log p(z), nats
    log_posterior: jax.Array  # [K, B], log q(z|x), nats
    posterior: Distribution  # q(z|x), stacked over B
    prior: Distribution  # p(z), not stacked

    @property
    def log_w(self) -> jax.Array:
        """[K, B], nats; E[exp(log_w)] = p(x) under q(z|x)."""
        return self.log_likelihood + self.log_prior - self.log_posterior


def draw(model: Model, params: Params, x: jax.Array, noise_keys: jax.Array) -> Draw:
    """Draws K posterior samples of ONE example.

    Args:
      model: the VAE.
      params: its parameters.
      x: [*event].
      noise_keys: [K] typed PRNG keys, one for each sample.

    Returns:
      A `Draw` without the axis B.

    Raises:
      TypeError: x is of integers: stored pixels, which must be binarised or scaled first.
    """
    require_floats(x)
    posterior = model.posterior(params, x)
    prior = model.prior(params)

    def one_sample(key):
        z, log_posterior = posterior.sample_and_log_prob(key)
        log_likelihood = model.likelihood(params, z).log_prob(x)
        return z, log_likelihood, prior.log_prob(z), log_posterior

    return Draw(*jax.vmap(one_sample)(noise_keys), posterior, prior)


def require_floats(x: jax.Array) -> None:
    """Raises a TypeError for stored pixels, whose white is 255 and not 1."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"x must be floats, such as data.dynamic or data.grey make, not {x.dtype}.")


def draw_batch(model: Model, params: Params, x: jax.Array, noise_keys: jax.Array) -> Draw:
    """Draws K posterior samples of each of B examples.

    Args:
      model: the VAE.
      params: its parameters.
      x: [B, *event].
      noise_keys: [K, B] typed PRNG keys, one for each sample.

    Returns:
      A `Draw`, log-terms [K, B].
    """
    over_examples = jax.vmap(
        lambda x, keys: draw(model, params, x, keys),
        in_axes=(0, 1),
        out_axes=Draw(1, 1, 1, 1, posterior=0, prior=None),
    )
    return over_examples(x, noise_keys)

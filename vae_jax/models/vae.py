"""The VAE with one layer of latent variables."""

import math

import jax
import jax.numpy as jnp

from vae_jax.models.base import Model
from vae_jax.models.checks import require_shape_of_one
from vae_jax.models.heads import Head, bernoulli
from vae_jax.models.latents import Latents, normal
from vae_jax.networks import Architecture, mlp


def vae(
    event_shape: tuple[int, ...],
    latent_dim: int,
    *,
    encoder: Architecture | None = None,
    decoder: Architecture | None = None,
    likelihood: Head | None = None,
    latents: Latents | None = None,
) -> Model:
    """A VAE, by default with a diagonal normal posterior and a standard normal prior.

    z ~ p(z), x ~ p(x | decoder(z)); q(z|x) from encoder(x) (Kingma & Welling 2014).

    Args:
      event_shape: shape of one example x, such as (28, 28, 1).
      latent_dim: number of latent variables.
      encoder: architecture of the encoder; None for one hidden layer of 400 (`networks.mlp`).
      decoder: architecture of the decoder; None likewise.
      likelihood: head of p(x|z); None for `heads.bernoulli()`.
      latents: family of q(z|x) and p(z); None for `latents.normal()`.

    Returns:
      A `Model` with params {"encoder", "decoder", "likelihood"}. Its functions raise a
      BadInputError for an x or a z of another shape than `event_shape` or that of its latents.

    Raises:
      ValueError: a size is not positive.
    """
    if latent_dim < 1 or math.prod(event_shape) < 1:
        raise ValueError(
            f"A VAE needs positive sizes, not event_shape={event_shape}, latent_dim={latent_dim}."
        )
    event_shape = tuple(event_shape)
    head = likelihood or bernoulli()
    posterior, prior = latents or normal()
    latent_shape = jax.eval_shape(lambda: prior(latent_dim).sample(jax.random.key(0))).shape
    encode = (encoder or mlp())(posterior.outputs_per_dim * math.prod(latent_shape))
    decode = (decoder or mlp())(head.outputs_per_dim * math.prod(event_shape))

    def init(key, x):
        require_shape_of_one("x", "example", x, event_shape)
        encoder_key, decoder_key = jax.random.split(key)
        z = jnp.zeros(latent_shape)
        likelihood_params, output_bias = head.init(x)
        return {
            "encoder": encode.init(encoder_key, x, 0.0),
            "decoder": decode.init(decoder_key, z, output_bias),
            "likelihood": likelihood_params,
        }

    def posterior_of(params, x):
        require_shape_of_one("x", "example", x, event_shape)
        return posterior.apply({}, encode.apply(params["encoder"], x), latent_shape)

    def likelihood_of(params, z):
        require_shape_of_one("z", "latent code", z, latent_shape)
        outputs = decode.apply(params["decoder"], z)
        return head.apply(params["likelihood"], outputs, event_shape)

    return Model(
        init=init,
        posterior=posterior_of,
        prior=lambda params: prior(latent_dim),
        likelihood=likelihood_of,
    )

"""The VAE with one layer of latent variables."""

import functools
import math
from collections.abc import Callable, Collection
from typing import Any, cast

import jax
import jax.numpy as jnp

from vae_jax.distributions import Distribution, is_on_sphere, value_of
from vae_jax.errors import BadInputError
from vae_jax.models.base import Model
from vae_jax.models.checks import require_shape_of_one
from vae_jax.models.conditions import CONDITION_IN, condition_of
from vae_jax.models.heads import Head, bernoulli
from vae_jax.models.latents import Latents, normal
from vae_jax.models.partial import partly_observed, reader_of
from vae_jax.models.priors import Prior, fixed
from vae_jax.networks import Architecture, mlp


def vae(
    event_shape: tuple[int, ...],
    latent_dim: int,
    *,
    encoder: Architecture | None = None,
    decoder: Architecture | None = None,
    likelihood: Head | None = None,
    latents: Latents | None = None,
    prior: Prior | None = None,
    condition_shape: tuple[int, ...] | None = None,
    condition_in: Collection[str] = CONDITION_IN,
    condition_optional: bool = False,
    size_factors: bool = False,
    encoder_inputs: Callable[[Any], jax.Array] | None = None,
    missing: bool = False,
) -> Model:
    """A VAE, by default with a diagonal normal posterior and a standard normal prior.

    z ~ p(z), x ~ p(x | decoder(z)); q(z|x) from encoder(x) (Kingma & Welling 2014). A conditional
    VAE has q(z|x, c) from encoder(x, c) and p(x | decoder(z, c)) (Sohn et al. 2015).

    Args:
      event_shape: shape of one example x, such as (28, 28, 1).
      latent_dim: number of latent variables.
      encoder: architecture of the encoder; None for one hidden layer of 400 (`networks.mlp`). If it
        has dropout, training draws z with it.
      decoder: architecture of the decoder; None likewise.
      likelihood: head of p(x|z); None for `heads.bernoulli()`.
      latents: family of q(z|x) and p(z); None for `latents.normal()`.
      prior: p(z); None for that of the latents.
      condition_shape: shape of the condition c, which encoder and decoder take as a second input;
        None for no such input.
      condition_in: parts that take the condition: "encoder", "prior" and "decoder". A prior that
        calls the encoder gives it what the encoder takes.
      condition_optional: whether a condition of nan stands for none (`models.no_condition`), so
        that the model also is one of p(x).
      size_factors: whether the means of the likelihood, which must be one of counts, are multiplied
        by a size factor; c is then a `models.Sized`.
      encoder_inputs: function of x whose values the encoder takes, such as `jnp.log1p` for counts;
        None for x itself.
      missing: whether examples are `Observed` ones, some of whose values are missing. The encoder
        then takes the values, zero where missing, and the mask (`models.masked_inputs`), unless
        `encoder_inputs` says otherwise, and log p(x|z) is that of the observed values (Mattei &
        Frellsen 2019).

    Returns:
      A `Model` with params {"encoder", "posterior", "prior", "decoder", "likelihood"}. Its
      functions raise a BadInputError for an x or a z of another shape than `event_shape` or that of
      its latents.

    Raises:
      ValueError: a size is not positive, or `condition_in` names another part.
    """
    if latent_dim < 1 or math.prod(event_shape) < 1:
        raise ValueError(
            f"A VAE needs positive sizes, not event_shape={event_shape}, latent_dim={latent_dim}."
        )
    event_shape = tuple(event_shape)
    head = likelihood or bernoulli()
    head = partly_observed(head) if missing else head
    reader = reader_of(event_shape, encoder_inputs, missing)
    family = latents or normal()
    posterior_head, usual_prior = family.posterior, family.prior
    latent_shape, quantiser = usual_prior(latent_dim).event_shape, family.quantiser
    if quantiser is not None:  # the shape of what the decoder takes
        latent_shape = quantiser.vector_shape(latent_shape[:-1])
    chosen_prior = prior or fixed(lambda: usual_prior(latent_dim))
    condition = condition_of(condition_shape, size_factors, condition_in, condition_optional)
    of_q, of_x = posterior_head.output_shape(latent_shape), head.output_shape(event_shape)
    encode = (encoder or mlp())(reader.shape, of_q, *condition.shapes("encoder"))
    decode = (decoder or mlp())(latent_shape, of_x, *condition.shapes("decoder"))

    def init(key, x):
        x = value_of(x)
        require_shape_of_one("x", "example", x, event_shape)
        keys = jax.random.split(key, 5)
        likelihood_params, output_bias = head.init(keys[2], x)
        # An untrained posterior is near the standard one of its family.
        posterior_params, _ = posterior_head.init(keys[3], jnp.zeros(latent_shape))
        return {
            "encoder": encode.init(keys[0], 0.0),
            "posterior": posterior_params,
            "prior": chosen_prior.init(keys[4], x),
            "decoder": decode.init(keys[1], output_bias),
            "likelihood": likelihood_params,
        }

    def outputs_of(apply: Callable[..., jax.Array], params, x, c):
        return apply(params["encoder"], reader.read(x), *condition.inputs("encoder", c))

    def encoder_of(params, x, c=None):
        return outputs_of(encode.apply, params, x, c)

    def posterior_of_outputs(params, outputs, c=None):
        del c  # the outputs know it
        return posterior_head.apply(params["posterior"], outputs, latent_shape)

    def posterior_of(params, x, c=None):
        return posterior_of_outputs(params, encoder_of(params, x, c))

    def posterior_with_dropout(key, params, x, c=None):
        apply = functools.partial(cast(Callable, encode.apply_with_dropout), key)
        return posterior_of_outputs(params, outputs_of(apply, params, x, c))

    def of_prior(apply: Callable[..., Distribution] | None, params, c, *examples):
        inputs = condition.inputs("prior", c)

        def encode(x):
            return posterior_of(params, x, c)

        function = cast(Callable[..., Distribution], apply)
        found = function(params["prior"], encode, inputs[0] if inputs else None, *examples)
        if is_on_sphere(found) != is_on_sphere(usual_prior(latent_dim)):
            raise BadInputError(
                "The prior and the latents must both be on a sphere, or neither: the densities of "
                f"this {type(found).__name__} are of another kind."
            )
        return found if quantiser is None else quantiser.prior(params["posterior"], found)

    def prior_of(params, c=None):
        return of_prior(chosen_prior.apply, params, c)

    def prior_without(params, x, c=None):
        return of_prior(chosen_prior.apply_without, params, c, x)

    def likelihood_of(params, z, c=None):
        z = z if quantiser is None else z.vector
        require_shape_of_one("z", "latent code", z, latent_shape)
        inputs, size = condition.inputs("decoder", c), condition.size(c)
        outputs = decode.apply(params["decoder"], z, *inputs)
        distribution = head.apply(params["likelihood"], outputs, event_shape)
        return distribution if size is None else cast(Any, distribution).scaled(size)

    return Model(
        init=init,
        posterior=posterior_of,
        prior=prior_of,
        likelihood=likelihood_of,
        posterior_with_dropout=encode.apply_with_dropout and posterior_with_dropout,
        encoder=encoder_of,
        posterior_of=posterior_of_outputs,
        prior_without=chosen_prior.apply_without and prior_without,
    )

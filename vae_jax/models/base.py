"""The interface of variational autoencoders: four pure functions of ONE example."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from vae_jax.distributions import Distribution
from vae_jax.networks import Params


class Joint(NamedTuple):
    """A sample of q(z|x) of one example, with everything that the ELBO needs of it."""

    z: Any
    likelihood: Distribution  # p(x|z)
    log_prior: jax.Array  # [], nats
    log_posterior: jax.Array  # [], nats
    layer_kl: jax.Array  # [L], the KL term of each layer, nats


class Summed(NamedTuple):
    """The terms of the ELBO of one example, with discrete latents summed over by their q.

    log_likelihood, log_prior and log_posterior are means over these latents, so that their sum is
    one sample's ELBO and no weight of importance sampling.
    """

    z: Any  # with the most probable values of the discrete latents
    log_likelihood: jax.Array  # [], nats
    log_prior: jax.Array  # [], nats
    log_posterior: jax.Array  # [], nats
    layer_kl: jax.Array  # [L], the KL term of each layer, nats


class Model(NamedTuple):
    """A variational autoencoder (Kingma & Welling 2014), as four pure functions of one example.

    Attributes:
      init: (key, x) -> params. x: [*event], an example. The untrained decoder starts at its value,
        so pass the mean of the training examples.
      posterior: (params, x) -> q(z|x), the encoder.
      prior: (params) -> p(z).
      likelihood: (params, z) -> p(x|z), the decoder.
      posterior_with_dropout: (key, params, x) -> q(z|x) of an encoder whose hidden units are
        dropped at random, with which training draws z; None of a model without dropout. The bounds
        hold for any q(z|x), and so for each choice of dropped units.
      encoder: (params, x) -> outputs, a pytree of arrays; the first step of `posterior`, for
        inference that goes on from what the encoder says. None of a model without such steps.
      posterior_of: (params, outputs) -> q(z|x), the second step; None likewise.
      joint: (params, outputs of the encoder, key) -> `Joint`, the same as sampling from
        `posterior_of` and asking `prior` and `likelihood`, in one pass, for models in which these
        share a network; None of others.
      summed: (params, generative params, x, key) -> `Summed`, the terms of the ELBO with discrete
        latents summed over instead of drawn; None of a model that cannot.
      prior_without: (params, x) -> p(z) without the example x, as it is stored, for training; None
        of a model whose prior holds no training examples.

    All but `init` take the condition c of a conditional model p(x|c) as one more argument, at the
    end. `given(model, c)` is the model of ONE condition, without that argument.
    """

    init: Callable[[jax.Array, Any], Params]
    posterior: Callable[..., Distribution]
    prior: Callable[..., Distribution]
    likelihood: Callable[..., Distribution]
    posterior_with_dropout: Callable[..., Distribution] | None = None
    encoder: Callable[..., Any] | None = None
    posterior_of: Callable[..., Distribution] | None = None
    prior_without: Callable[..., Distribution] | None = None
    joint: Callable[..., Joint] | None = None
    summed: Callable[..., Summed] | None = None


def given(model: Model, c: Any) -> Model:
    """The model p(x|c) of ONE condition, for functions of one example.

    c: the condition, a pytree of arrays without batch axes; None for the model itself.
    """
    if c is None:
        return model
    of_c: dict[str, Any] = {
        name: function and functools.partial(_last, function, c)
        for name, function in model._asdict().items()
        if name != "init"
    }
    return model._replace(**of_c)


def _last(function: Callable[..., Distribution], c: Any, *arguments: Any) -> Distribution:
    return function(*arguments, c)

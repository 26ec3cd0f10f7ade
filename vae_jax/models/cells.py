"""What models of cells have beside a VAE of counts (scVI, Lopez et al. 2018)."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from vae_jax.distributions import Chain, Normal
from vae_jax.models.base import Model
from vae_jax.models.conditions import Sized
from vae_jax.models.heads import diagonal_normal
from vae_jax.models.hierarchy import with_small_outputs
from vae_jax.networks import Architecture, Shape, mlp


def dispersion_by_condition(model: Model, num_inputs: int, event_shape: Shape) -> Model:
    """A model of overdispersed counts whose log dispersions are a linear function of the condition.

    With a one-hot condition each dimension has a dispersion for each of its values ("gene-batch"
    of scVI). The log dispersion is that of the model plus c' table, which starts at zero.

    Args:
      model: model of a negative binomial likelihood, zero-inflated or not, and of a condition.
      num_inputs: number C of inputs of the condition.
      event_shape: shape of one example.

    Returns a `Model` with params {**those of `model`, "dispersion" [C, *event]}.
    """

    def init(key, x):
        table = jnp.zeros((num_inputs, *event_shape))
        return {**model.init(key, x), "dispersion": table}

    def likelihood_of(params, z, c):
        likelihood: Any = model.likelihood(params, z, c)
        inputs = jnp.ravel(c.inputs if isinstance(c, Sized) else c)
        more = jnp.tensordot(inputs, params["dispersion"], axes=1)
        return dataclasses.replace(likelihood, log_dispersion=likelihood.log_dispersion + more)

    return model._replace(init=init, likelihood=likelihood_of)


def latent_size(
    model: Model,
    moments: Sequence[tuple[float, float]],
    event_shape: Shape,
    *,
    encoder: Architecture | None = None,
) -> Model:
    """A model of counts whose size factor is a latent variable instead of the total count.

    log l ~ N(mean, std^2), with the mean and the standard deviation of the log total counts of the
    training cells, or of those of each batch (Lopez et al. 2018, the latent library size); q(log
    l|x) is normal, from a network of log(1 + x). The latents are (z, log l).

    Args:
      model: model whose condition is a `Sized`.
      moments: the mean and the standard deviation of log total counts; one pair, or one for each of
        the first inputs of the condition, which are then one-hot, such as batches.
      event_shape: shape of one example.
      encoder: architecture of q(log l|x); None for one hidden layer of 128.

    Returns:
      A `Model` with params {**those of `model`, "size"}, whose condition is that of `model` without
      the size factor.

    Raises:
      ValueError: there are no moments, or a standard deviation is not positive.
    """
    if not moments or not all(std > 0 for _, std in moments):
        raise ValueError(f"moments={moments} must be pairs of a mean and a positive std.")
    table = jnp.asarray(moments, jnp.float32)
    head = diagonal_normal()
    network = (encoder or mlp((128,)))(event_shape, head.output_shape((1,)))

    def sized(c, size: Any = 1.0) -> Sized:
        return Sized(jnp.asarray(size, jnp.float32), c)

    def init(key, x):
        model_key, size_key = jax.random.split(key)
        start = jnp.concatenate([table.mean(axis=0)[:1], jnp.log(table.mean(axis=0)[1:])])
        size = with_small_outputs(network.init(size_key, start))
        return {**model.init(model_key, x), "size": size}

    def size_given_x(carry, z):
        del z
        params, x = carry
        outputs = network.apply(params["size"], jnp.log1p(x))
        return carry, head.apply({}, outputs, (1,))

    def size_given_c(c, z):
        del z
        weights = jnp.ones(1) if len(moments) == 1 else jnp.ravel(c)[: len(moments)]
        mean, std = weights @ table
        return c, Normal(mean[None], jnp.log(std)[None])

    of_posterior, of_prior = (Partial(size_given_x),), (Partial(size_given_c),)

    def with_size(of_z, params, x):
        return Chain(of_z, (params, x), of_posterior, (0, 1), of_z.is_reparameterised)

    def posterior_of(params, x, c=None):
        return with_size(model.posterior(params, x, sized(c)), params, x)

    def posterior_with_dropout(key, params, x, c=None):
        apply = cast(Callable, model.posterior_with_dropout)
        return with_size(apply(key, params, x, sized(c)), params, x)

    def prior_of(params, c=None):
        of_z = model.prior(params, sized(c))
        return Chain(of_z, c, of_prior, (0, 1), of_z.is_reparameterised)

    def likelihood_of(params, latents, c=None):
        z, log_size = latents
        return model.likelihood(params, z, sized(c, jnp.exp(log_size[0])))

    return Model(
        init=init,
        posterior=posterior_of,
        prior=prior_of,
        likelihood=likelihood_of,
        posterior_with_dropout=model.posterior_with_dropout and posterior_with_dropout,
    )

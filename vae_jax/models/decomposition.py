"""The evidence lower bound and its decomposition."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp

from vae_jax.distributions import (
    Chain,
    Distribution,
    has_closed_form_kl,
    kl_by_layer,
    kl_divergence,
)
from vae_jax.models.base import Model, Params
from vae_jax.models.draws import Draw, draw


class ElboTerms(NamedTuple):
    """ELBO = reconstruction - kl (Kingma & Welling 2014, eq. 3). Both in nats."""

    reconstruction: jax.Array  # [] or [B], E_q[log p(x|z)]
    kl: jax.Array  # [] or [B], KL(q(z|x) || p(z))


def elbo(model: Model, params: Params, x: Any, key: jax.Array) -> tuple[jax.Array, ElboTerms]:
    """A one-sample estimate of the evidence lower bound of ONE example.

    log p(x) = KL(q(z|x) || p(z|x)) + ELBO, so its mean over keys is at most log p(x). It returns
    the bound (higher is better); a loss is its negative. Differentiate it with
    `jax.grad(elbo, argnums=1, has_aux=True)`.

    The KL term is that of `kl_term`. The bound with a sampled KL term (Kingma & Welling 2014, eq.
    6) is the one number log_w of `draw`.

    The shape of x is always checked, its values only outside `jax.jit` and `jax.vmap`.

    Args:
      model: the VAE; `given(model, c)` for a conditional one.
      params: its parameters.
      x: [*event], or a pytree of arrays.
      key: typed PRNG key, for the posterior sample.

    Returns:
      The ELBO, [] nats, and the two terms whose difference it is.

    Raises:
      TypeError: x is of integers: stored pixels, which must be binarised or scaled first.
      BadInputError: x does not have the shape of one example of the model, or its values are known
        and some are outside the support of the likelihood.
    """
    return mean_elbo(draw(model, params, x, key[None]))


def elbo_of(
    model: Model,
    params: Params,
    x: Any,
    q: Distribution,
    keys: jax.Array,
    mapped: Callable[[Callable, jax.Array], jax.Array] = lambda term, keys: jax.vmap(term)(keys),
) -> jax.Array:
    """The ELBO of ONE example with any posterior q, averaged over samples, [] nats.

    The KL term is in closed form where that is known, also by layer, and else sampled, as in
    `kl_term`.

    Args:
      model: the VAE; `given(model, c)` for a conditional one.
      params: its parameters.
      x: [*event], or a pytree of arrays.
      q: posterior of the example.
      keys: [K] typed PRNG keys, one for each sample of q.
      mapped: (function of one key, keys) -> its values [K], such as `jax.vmap` or a loop.
    """
    prior = model.prior(params)
    is_known = has_closed_form_kl(q, prior)

    def term(key):
        if isinstance(q, Chain):
            z, _, layers = q.sample_with_layers(key)
            kl = jnp.sum(kl_by_layer(q, cast(Chain, prior), z, layers))
            return model.likelihood(params, z).log_prob(x) - kl
        if is_known:
            return model.likelihood(params, q.sample(key)).log_prob(x)
        z, log_q = q.sample_and_log_prob(key)
        return model.likelihood(params, z).log_prob(x) + prior.log_prob(z) - log_q

    mean = jnp.mean(mapped(term, keys))
    return mean - kl_divergence(q, prior) if is_known else mean


def mean_elbo(sample: Draw) -> tuple[jax.Array, ElboTerms]:
    """The ELBO averaged over the samples of a draw, of one example or of a batch.

    Args:
      sample: log-terms [K] of one example or [K, B] of a batch.

    Returns:
      The ELBO, [] or [B] nats, and its two terms, likewise.
    """
    kl = kl_term(sample)
    reconstruction = jnp.mean(sample.log_likelihood, axis=0)
    return reconstruction - kl, ElboTerms(reconstruction, kl)


def kl_term(sample: Draw) -> jax.Array:
    """KL(q(z|x) || p(z)) for a draw of one example or of a batch, [] or [B] nats.

    It is in closed form where that is known (Kingma & Welling 2014, eq. 7), and else the mean of
    `Draw.sampled_kl` over the samples: of log q(z|x) - log p(z) (eq. 6), or for a hierarchy of the
    sum of the KL terms of its layers. `kl_form` says which.
    """
    if not has_closed_form_kl(sample.posterior, sample.prior):
        return jnp.mean(sample.sampled_kl, axis=0)
    if sample.log_prior.ndim == 2:
        return sample.of_each_example(kl_divergence)
    return kl_divergence(sample.posterior, sample.prior)


def kl_form(
    posterior: Distribution, prior: Distribution
) -> Literal["closed form", "by layer", "sampled"]:
    """The form of the KL term of a posterior and a prior in `kl_term`."""
    if has_closed_form_kl(posterior, prior):
        return "closed form"
    if isinstance(posterior, Chain) and posterior.order == cast(Chain, prior).order:
        return "by layer"
    return "sampled"

"""The evidence lower bound and its decomposition."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vae_jax.distributions import kl_divergence
from vae_jax.models.base import Model, Params
from vae_jax.models.draws import Draw, draw


class ElboTerms(NamedTuple):
    """ELBO = reconstruction - kl (Kingma & Welling 2014, eq. 3). Both in nats."""

    reconstruction: jax.Array  # [] or [B], E_q[log p(x|z)]
    kl: jax.Array  # [] or [B], KL(q(z|x) || p(z))


def elbo(
    model: Model, params: Params, x: jax.Array, key: jax.Array, *, closed_form_kl: bool = True
) -> tuple[jax.Array, ElboTerms]:
    """A one-sample estimate of the evidence lower bound of ONE example.

    log p(x) = KL(q(z|x) || p(z|x)) + ELBO, so its mean over keys is at most log p(x). It returns
    the bound (higher is better); a loss is its negative. Differentiate it with
    `jax.grad(elbo, argnums=1, has_aux=True)`.

    The shape of x is always checked, its values only outside `jax.jit` and `jax.vmap`.

    Args:
      model: the VAE.
      params: its parameters.
      x: [*event].
      key: typed PRNG key, for the posterior sample.
      closed_form_kl: the KL term in closed form (Kingma & Welling 2014, eq. 7) or, if False,
        sampled like the reconstruction (their eq. 6), so that the bound is log_w itself.

    Returns:
      The ELBO, [] nats, and the two terms whose difference it is.

    Raises:
      TypeError: the posterior and the prior have no closed-form KL; use `closed_form_kl=False`. Or
        x is of integers: stored pixels, which must be binarised or scaled first.
      BadInputError: x does not have the shape of one example of the model, or its values are known
        and some are outside the support of the likelihood.
    """
    return mean_elbo(draw(model, params, x, key[None]), closed_form_kl=closed_form_kl)


def mean_elbo(sample: Draw, *, closed_form_kl: bool = True) -> tuple[jax.Array, ElboTerms]:
    """The ELBO averaged over the samples of a draw, of one example or of a batch.

    Args:
      sample: log-terms [K] of one example or [K, B] of a batch.
      closed_form_kl: the same as for `elbo`.

    Returns:
      The ELBO, [] or [B] nats, and its two terms, likewise.

    Raises:
      TypeError: as for `elbo`.
    """
    if closed_form_kl:
        is_batch = sample.log_prior.ndim == 2
        divergence = jax.vmap(kl_divergence, (0, None)) if is_batch else kl_divergence
        kl = divergence(sample.posterior, sample.prior)
    else:
        kl = jnp.mean(sample.log_posterior - sample.log_prior, axis=0)
    reconstruction = jnp.mean(sample.log_likelihood, axis=0)
    return reconstruction - kl, ElboTerms(reconstruction, kl)

"""Latent variables: the family of q(z|x), and the prior that goes with it."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from vae_jax.distributions import Bernoulli, Categorical, Distribution, standard_normal
from vae_jax.models import heads
from vae_jax.models.heads import Head


class Latents(NamedTuple):
    """A family of latent variables of a VAE with one layer of them.

    posterior: head of q(z|x), one that has no parameters of its own.
    prior: (number of latent variables) -> p(z); the shape of its event is that of z.
    """

    posterior: Head
    prior: Callable[[int], Distribution]


def normal() -> Latents:
    """z [L] ~ N(0, I), with a diagonal normal posterior (Kingma & Welling 2014)."""
    return Latents(posterior=heads.diagonal_normal(), prior=lambda num: standard_normal((num,)))


def bernoulli() -> Latents:
    """z [L] of fair bits, with independent Bernoulli posteriors.

    No sample of them can be differentiated: train with an estimator for discrete latents.
    """
    return Latents(
        posterior=heads.bernoulli(), prior=lambda num: Bernoulli(logits=jnp.zeros((num,)))
    )


def categorical(num_categories: int) -> Latents:
    """z [L, C] of one-hot vectors, all equally probable, with independent categorical posteriors.

    As for `bernoulli`, no sample of them can be differentiated.

    Args:
      num_categories: C, of each latent variable.

    Raises:
      ValueError: there are fewer than 2 categories.
    """
    if num_categories < 2:
        raise ValueError(f"num_categories must be at least 2, not {num_categories}.")
    return Latents(
        posterior=heads.categorical(),
        prior=lambda num: Categorical(logits=jnp.zeros((num, num_categories))),
    )

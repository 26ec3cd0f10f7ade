"""Latent variables: the family of q(z|x), and the priors that go with it."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from vae_jax.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    UniformIndices,
    standard_normal,
    uniform_on_sphere,
)
from vae_jax.errors import BadInputError
from vae_jax.models import heads
from vae_jax.models.heads import Head
from vae_jax.models.quantisers import Quantiser


class Latents(NamedTuple):
    """A family of latent variables.

    Attributes:
      posterior: head of q(z|x).
      prior: (number of latent variables) -> p(z) without parameters, the usual prior of the family.
        The shape of its event is the shape of z.
      layer: head of p(z_l | z_{l+1}) in a hierarchy of such latents; None for `posterior`.
      quantiser: what rounds to deterministic codes, whose prior is over indices; None for latents
        that are no codes.
    """

    posterior: Head
    prior: Callable[[int], Distribution]
    layer: Head | None = None
    quantiser: Quantiser | None = None


def normal(posterior: Head | None = None) -> Latents:
    """z [L] ~ N(0, I).

    posterior: head of q(z|x) over vectors [L]; None for a diagonal normal one (Kingma & Welling
    2014).
    """
    diagonal = heads.diagonal_normal()
    return Latents(posterior or diagonal, lambda num: standard_normal((num,)), diagonal)


def sphere(posterior: Head | None = None) -> Latents:
    """z [L] uniform on the unit sphere (Davidson et al. 2018).

    posterior: head of q(z|x) over unit vectors [L]; None for a von Mises-Fisher one.

    Raises:
      BadInputError: (when called) there are fewer than 2 latents.
    """

    def prior(num):
        if num < 2:
            raise BadInputError(f"A sphere needs at least 2 latents, and there is {num}.")
        return uniform_on_sphere(num)

    return Latents(posterior or heads.von_mises_fisher(), prior)


def bernoulli() -> Latents:
    """z [L] ~ fair bits, with independent Bernoulli posteriors.

    Their samples cannot be differentiated: train with an estimator for discrete latents.
    """
    return Latents(
        posterior=heads.bernoulli(), prior=lambda num: Bernoulli(logits=jnp.zeros((num,)))
    )


def categorical(num_categories: int) -> Latents:
    """z [L, C] ~ uniform one-hot vectors, with independent categorical posteriors.

    Their samples cannot be differentiated: train with an estimator for discrete latents.

    Args:
      num_categories: C, the number of categories of each latent variable.

    Raises:
      ValueError: there are fewer than 2 categories.
    """
    if num_categories < 2:
        raise ValueError(f"num_categories must be at least 2, not {num_categories}.")
    return Latents(
        posterior=heads.categorical(),
        prior=lambda num: Categorical(logits=jnp.zeros((num, num_categories))),
    )


def codes(quantiser: Quantiser, grid: tuple[int, ...] | None = None) -> Latents:
    """A code at each place of a grid, uniform under p(z), with a deterministic q(z|x).

    z is a `Code`. Train with the estimators `straight_through` or `rotation`.

    Args:
      quantiser: what rounds the outputs of the encoder, such as `quantisers.vector_quantiser()`.
      grid: (h, w) for networks that keep the plane, such as (7, 7); None for one row of as many
        codes as there are latents.
    """

    def prior(num):
        return UniformIndices((*(grid or (num,)), quantiser.num_indices), quantiser.num_codes)

    return Latents(quantiser.posterior(), prior, quantiser=quantiser)

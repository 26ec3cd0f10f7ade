"""Densities over one event, as pytrees, with closed-form divergences. Nats throughout."""

from vae_jax.distributions.base import Distribution, HasKl, HasMean, HasSupport, kl_divergence
from vae_jax.distributions.bernoulli import Bernoulli, UnnormalisedBernoulli
from vae_jax.distributions.categorical import Categorical
from vae_jax.distributions.normal import Normal, reparameterise, standard_normal

__all__ = [
    "Bernoulli",
    "Categorical",
    "Distribution",
    "HasKl",
    "HasMean",
    "HasSupport",
    "Normal",
    "UnnormalisedBernoulli",
    "kl_divergence",
    "reparameterise",
    "standard_normal",
]

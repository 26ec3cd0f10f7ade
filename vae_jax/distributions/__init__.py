"""Densities over one event, as pytrees, with closed-form divergences. Nats throughout."""

from vae_jax.distributions.affine import Affine
from vae_jax.distributions.base import (
    Distribution,
    HasKl,
    HasMean,
    HasSupport,
    has_closed_form_kl,
    kl_divergence,
)
from vae_jax.distributions.bernoulli import Bernoulli, UnnormalisedBernoulli
from vae_jax.distributions.categorical import Categorical
from vae_jax.distributions.continuous_bernoulli import ContinuousBernoulli
from vae_jax.distributions.counts import (
    Binomial,
    NegativeBinomial,
    Poisson,
    ZeroInflatedNegativeBinomial,
)
from vae_jax.distributions.normal import Normal, reparameterise, standard_normal
from vae_jax.distributions.pixels import CategoricalLevels, DiscretisedLogistic, LogisticMixture
from vae_jax.distributions.real import Laplace, LogNormal, StudentT

__all__ = [
    "Affine",
    "Bernoulli",
    "Binomial",
    "Categorical",
    "CategoricalLevels",
    "ContinuousBernoulli",
    "DiscretisedLogistic",
    "Distribution",
    "HasKl",
    "HasMean",
    "HasSupport",
    "Laplace",
    "LogNormal",
    "LogisticMixture",
    "NegativeBinomial",
    "Normal",
    "Poisson",
    "StudentT",
    "UnnormalisedBernoulli",
    "ZeroInflatedNegativeBinomial",
    "has_closed_form_kl",
    "kl_divergence",
    "reparameterise",
    "standard_normal",
]

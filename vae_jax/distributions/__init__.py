"""Densities over one event, as pytrees, with closed-form divergences. Nats throughout."""

from vae_jax.distributions.affine import Affine
from vae_jax.distributions.annealed import Annealed
from vae_jax.distributions.autoregressive import (
    AutoregressiveBernoulli,
    AutoregressiveCategorical,
)
from vae_jax.distributions.base import (
    Distribution,
    HasJointKl,
    HasKl,
    HasMean,
    HasSupport,
    flat_points_of,
    has_closed_form_kl,
    kl_divergence,
    point_of,
    points_of,
)
from vae_jax.distributions.bernoulli import Bernoulli, UnnormalisedBernoulli
from vae_jax.distributions.categorical import Categorical
from vae_jax.distributions.chain import Chain, Layers, kl_by_layer
from vae_jax.distributions.codes import (
    SURROGATES,
    Code,
    Coded,
    CodePrior,
    Indices,
    UniformIndices,
    perplexity,
    usage,
)
from vae_jax.distributions.columns import Codes, Columns, Ordinal, Positive
from vae_jax.distributions.continuous_bernoulli import ContinuousBernoulli
from vae_jax.distributions.counts import (
    Binomial,
    NegativeBinomial,
    Poisson,
    ZeroInflatedNegativeBinomial,
)
from vae_jax.distributions.encoded import without_parameters
from vae_jax.distributions.experts import JointNormal, Modalities, modalities, product_of_experts
from vae_jax.distributions.label import Label, unknown
from vae_jax.distributions.mixture import Mixture, NormalMixture, normal_mixture
from vae_jax.distributions.multivariate import FullNormal, LowRankNormal
from vae_jax.distributions.normal import (
    Normal,
    matched_normal,
    reparameterise,
    standard_normal,
)
from vae_jax.distributions.observed import (
    NotAtRandom,
    Observed,
    PartlyObserved,
    estimate_of,
    expected_of,
    observed,
    value_of,
    whole_sample,
)
from vae_jax.distributions.pixels import (
    CategoricalLevels,
    DiscretisedLogistic,
    DiscretisedNormal,
    LogisticMixture,
)
from vae_jax.distributions.raster import Raster
from vae_jax.distributions.real import Laplace, LogNormal, StudentT
from vae_jax.distributions.spherical import VonMisesFisher, is_on_sphere, uniform_on_sphere

__all__ = [
    "SURROGATES",
    "Affine",
    "Annealed",
    "AutoregressiveBernoulli",
    "AutoregressiveCategorical",
    "Bernoulli",
    "Binomial",
    "Categorical",
    "CategoricalLevels",
    "Chain",
    "Code",
    "CodePrior",
    "Coded",
    "Codes",
    "Columns",
    "ContinuousBernoulli",
    "DiscretisedLogistic",
    "DiscretisedNormal",
    "Distribution",
    "FullNormal",
    "HasJointKl",
    "HasKl",
    "HasMean",
    "HasSupport",
    "Indices",
    "JointNormal",
    "Label",
    "Laplace",
    "Layers",
    "LogNormal",
    "LogisticMixture",
    "LowRankNormal",
    "Mixture",
    "Modalities",
    "NegativeBinomial",
    "Normal",
    "NormalMixture",
    "NotAtRandom",
    "Observed",
    "Ordinal",
    "PartlyObserved",
    "Poisson",
    "Positive",
    "Raster",
    "StudentT",
    "UniformIndices",
    "UnnormalisedBernoulli",
    "VonMisesFisher",
    "ZeroInflatedNegativeBinomial",
    "estimate_of",
    "expected_of",
    "flat_points_of",
    "has_closed_form_kl",
    "is_on_sphere",
    "kl_by_layer",
    "kl_divergence",
    "matched_normal",
    "modalities",
    "normal_mixture",
    "observed",
    "perplexity",
    "point_of",
    "points_of",
    "product_of_experts",
    "reparameterise",
    "standard_normal",
    "uniform_on_sphere",
    "unknown",
    "usage",
    "value_of",
    "whole_sample",
    "without_parameters",
]

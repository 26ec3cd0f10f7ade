"""Estimates of the evidence log p(x), and exact truth to check them with."""

from vae_jax.evidence import (
    annealed,
    chain,
    chunks,
    enumeration,
    hmc,
    linear_gaussian,
    quadrature,
    rainforth,
)
from vae_jax.evidence.importance import (
    EXAMPLES_AT_ONCE,
    Evidence,
    EvidenceEstimator,
    bits_per_dim,
    log_weights,
    make_importance_sampler,
    mean_and_standard_error,
)
from vae_jax.evidence.imputation import Imputed, Imputer, make_imputer
from vae_jax.evidence.rate_distortion import RateDistortion, rate_distortion
from vae_jax.evidence.short_run import Refined, short_run_hmc
from vae_jax.evidence.weights import effective_sample_size, pareto_shape

__all__ = [
    "EXAMPLES_AT_ONCE",
    "Evidence",
    "EvidenceEstimator",
    "Imputed",
    "Imputer",
    "RateDistortion",
    "Refined",
    "annealed",
    "bits_per_dim",
    "chain",
    "chunks",
    "effective_sample_size",
    "enumeration",
    "hmc",
    "linear_gaussian",
    "log_weights",
    "make_importance_sampler",
    "make_imputer",
    "mean_and_standard_error",
    "pareto_shape",
    "quadrature",
    "rainforth",
    "rate_distortion",
    "short_run_hmc",
]

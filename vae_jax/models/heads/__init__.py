"""Heads: how the outputs of a network become a distribution over one event."""

from vae_jax.models.heads.autoregressive import autoregressive
from vae_jax.models.heads.base import LOG_STD_BOUND, Head, soft_bound, standardised
from vae_jax.models.heads.columns import COLUMN_TYPES, ColumnType, columns, features
from vae_jax.models.heads.counts import (
    DISPERSIONS,
    binomial,
    negative_binomial,
    poisson,
    zero_inflated_negative_binomial,
)
from vae_jax.models.heads.discrete import bernoulli, bernoulli_unnormalised, categorical
from vae_jax.models.heads.pixels import (
    LOGISTIC_SCALES,
    categorical_levels,
    discretised_logistic,
    discretised_normal,
    logistic_mixture,
)
from vae_jax.models.heads.real import (
    continuous_bernoulli,
    diagonal_normal,
    laplace,
    log_normal,
    normal_fixed_scale,
    normal_learned_scale,
    normal_scale_per_dim,
    student_t,
)
from vae_jax.models.heads.vectors import (
    flow,
    full_normal,
    low_rank_normal,
    mixture_of_normals,
    von_mises_fisher,
)

__all__ = [
    "COLUMN_TYPES",
    "DISPERSIONS",
    "LOGISTIC_SCALES",
    "LOG_STD_BOUND",
    "ColumnType",
    "Head",
    "autoregressive",
    "bernoulli",
    "bernoulli_unnormalised",
    "binomial",
    "categorical",
    "categorical_levels",
    "columns",
    "continuous_bernoulli",
    "diagonal_normal",
    "discretised_logistic",
    "discretised_normal",
    "features",
    "flow",
    "full_normal",
    "laplace",
    "log_normal",
    "logistic_mixture",
    "low_rank_normal",
    "mixture_of_normals",
    "negative_binomial",
    "normal_fixed_scale",
    "normal_learned_scale",
    "normal_scale_per_dim",
    "poisson",
    "soft_bound",
    "standardised",
    "student_t",
    "von_mises_fisher",
    "zero_inflated_negative_binomial",
]

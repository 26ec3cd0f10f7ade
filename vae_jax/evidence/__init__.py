"""Estimates of the evidence log p(x), and exact truth to check them with."""

from vae_jax.evidence import linear_gaussian, rainforth
from vae_jax.evidence.importance import (
    Evidence,
    bits_per_dim,
    make_importance_sampler,
    mean_and_standard_error,
)

__all__ = [
    "Evidence",
    "bits_per_dim",
    "linear_gaussian",
    "make_importance_sampler",
    "mean_and_standard_error",
    "rainforth",
]

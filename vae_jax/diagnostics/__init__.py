"""Measurements of models and of the way they are trained."""

from vae_jax.diagnostics import aggregate, gradients, inference_gap, outliers

__all__ = ["aggregate", "gradients", "inference_gap", "outliers"]

"""Measurements of models and of the way they are trained."""

from vae_jax.diagnostics import gradients

__all__ = ["gradients"]

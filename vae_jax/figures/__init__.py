"""Figures for a paper: arrays in, matplotlib figures out.

Every function returns a `matplotlib.figure.Figure`, which the caller saves. None of them uses
pyplot: drawing needs no display, and no figure stays open behind the caller's back.
"""

from matplotlib.figure import Figure

from vae_jax.figures.curves import gradient_estimators, training_curves
from vae_jax.figures.images import (
    image_grid,
    interpolation,
    manifold,
    mosaic,
    reconstructions,
    samples,
)

__all__ = [
    "Figure",
    "gradient_estimators",
    "image_grid",
    "interpolation",
    "manifold",
    "mosaic",
    "reconstructions",
    "samples",
    "training_curves",
]

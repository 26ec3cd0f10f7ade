"""Figures for a paper: arrays in, matplotlib figures out.

Every function returns a `matplotlib.figure.Figure`, which the caller saves. None of them uses
pyplot: drawing needs no display, and no figure stays open behind the caller's back.
"""

from matplotlib.figure import Figure

from vae_jax.figures.curves import gradient_estimators, training_curves
from vae_jax.figures.evidence import (
    GapBar,
    evidence_bounds,
    inference_gaps,
    latent_units,
    rate_distortion,
    score_histograms,
)
from vae_jax.figures.images import (
    image_grid,
    interpolation,
    manifold,
    mosaic,
    reconstructions,
    samples,
)
from vae_jax.figures.mechanics import (
    LatentSpace,
    Plane,
    bayes_theorem,
    evidence_decomposition,
    gradient_histograms,
    switched_off_terms,
    variational_fit,
)
from vae_jax.figures.speed import CostPanel, TimeBar, costs, times_over_bound
from vae_jax.figures.sweeps import metric_against, swept_curves

__all__ = [
    "CostPanel",
    "Figure",
    "GapBar",
    "LatentSpace",
    "Plane",
    "TimeBar",
    "bayes_theorem",
    "costs",
    "evidence_bounds",
    "evidence_decomposition",
    "gradient_estimators",
    "gradient_histograms",
    "image_grid",
    "inference_gaps",
    "interpolation",
    "latent_units",
    "manifold",
    "metric_against",
    "mosaic",
    "rate_distortion",
    "reconstructions",
    "samples",
    "score_histograms",
    "swept_curves",
    "switched_off_terms",
    "times_over_bound",
    "training_curves",
    "variational_fit",
]

"""Figures for a paper: arrays in, matplotlib figures out.

Every function returns a `matplotlib.figure.Figure`, which `save` writes as PNG, PDF or SVG. None of
them uses pyplot, so that drawing needs no display and no figure stays open. A notebook shows them.
"""

from vae_jax.figures.curves import gradient_estimators, training_curves
from vae_jax.figures.evidence import (
    GapBar,
    evidence_bounds,
    inference_gaps,
    latent_units,
    rate_distortion,
    score_histograms,
)
from vae_jax.figures.figure import Figure
from vae_jax.figures.files import ENDINGS, save
from vae_jax.figures.images import (
    image_grid,
    interpolation,
    labelled_rows,
    manifold,
    mosaic,
    reconstructions,
    samples,
    side_by_side,
)
from vae_jax.figures.latents import latent_scatter
from vae_jax.figures.posteriors import posterior_contours
from vae_jax.figures.sweeps import metric_against, swept_curves
from vae_jax.figures.tables import heat_maps, marginals, pairs

__all__ = [
    "ENDINGS",
    "Figure",
    "GapBar",
    "evidence_bounds",
    "gradient_estimators",
    "heat_maps",
    "image_grid",
    "inference_gaps",
    "interpolation",
    "labelled_rows",
    "latent_scatter",
    "latent_units",
    "manifold",
    "marginals",
    "metric_against",
    "mosaic",
    "pairs",
    "posterior_contours",
    "rate_distortion",
    "reconstructions",
    "samples",
    "save",
    "score_histograms",
    "side_by_side",
    "swept_curves",
    "training_curves",
]

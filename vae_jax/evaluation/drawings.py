"""The figures of an evaluation."""

from typing import Any

import numpy as np

from vae_jax import evidence, figures
from vae_jax.diagnostics.aggregate import Units
from vae_jax.distributions import Normal
from vae_jax.evaluation.annealing import Bounds
from vae_jax.evaluation.measures import CURVE_EXAMPLES
from vae_jax.evaluation.numbers import Numbers


def drawn(
    numbers: Numbers,
    test: Bounds,
    importance: dict[str, np.ndarray],
    simulated: tuple[Bounds, Bounds],
    units: Units,
    prior: Normal,
    curve: evidence.RateDistortion,
    scores: dict[str, np.ndarray] | None,
) -> dict[str, Any]:
    """Draws every figure of the page: name -> figure. prior: moments of the prior, [L]."""
    low, high = numbers["log_evidence"]["interval"]
    bars = {
        split: figures.GapBar(
            elbo=of_split["elbo"][0],
            best_elbo=of_split["best_elbo"][0],
            log_evidence=of_split["log_evidence"][0],
            standard_error=of_split["inference"][1],
        )
        for split, of_split in numbers["gaps"].items()
    }
    point = numbers["rate_distortion"]
    found = {
        "gaps": figures.inference_gaps(bars, high - low),
        "bounds": figures.evidence_bounds(
            simulated[0].lower,
            simulated[1].upper,
            test.lower,
            importance["log_evidence"],
            numbers["settings"]["iwae_samples"],
        ),
        "latents": figures.latent_units(
            units.kl,
            units.active,
            units.aggregate_mean,
            units.aggregate_std,
            prior_mean=prior.mean,
            prior_std=prior.std,
            num_carrying=None if units.carrying is None else int(units.carrying.sum()),
        ),
        "rate_distortion": figures.rate_distortion(
            curve.rate.mean(axis=0),
            curve.distortion.mean(axis=0),
            (point["vae_rate"], point["vae_distortion"]),
            float(test.lower[:CURVE_EXAMPLES].mean()),
        ),
    }
    if scores is not None:
        labels = {"elbo": "ELBO (nats)", "log_evidence": "log p(x) (nats)"}
        found["outliers"] = figures.score_histograms(
            {
                f"{label}, AUROC {numbers['outliers'][score]['auroc']:.3f}": (
                    scores[f"inside_{score}"],
                    scores[f"outside_{score}"],
                )
                for score, label in labels.items()
            },
            (numbers["dataset"], numbers["outliers_of"]),
        )
    return found

"""The numbers of an evaluation, in the form of evidence.json."""

import math
from typing import Any

import numpy as np

from vae_jax import evidence
from vae_jax.diagnostics import outliers
from vae_jax.diagnostics.aggregate import Surgery, Units
from vae_jax.evaluation.annealing import Bounds

Numbers = dict[str, Any]


def log_evidence(
    test: Bounds,
    importance: dict[str, np.ndarray],
    simulated: tuple[Bounds, Bounds],
    exact: dict[str, np.ndarray] | None,
) -> Numbers:
    """Bounds on log p(x). Pairs are a mean over images and its standard error."""
    gap = simulated[1].upper - simulated[0].lower
    gap_mean, gap_error = mean_of(gap)
    lower, by_importance = mean_of(test.lower), mean_of(importance["log_evidence"])
    low = max(lower[0], by_importance[0])  # both are lower bounds
    shapes = importance["pareto_shape"].tolist()
    return {
        "interval": [low, max(low, lower[0] + gap_mean)],
        "interval_errors": [test.chain_error, math.hypot(test.chain_error, gap_error)],
        "annealed": lower,
        "acceptance": float(test.acceptance.mean()),
        "importance": by_importance,
        "annealed_minus_importance": mean_of(test.lower - importance["log_evidence"]),
        "simulated_lower": mean_of(simulated[0].lower),
        "simulated_upper": mean_of(simulated[1].upper),
        "simulated_gap": [gap_mean, gap_error],
        "simulated_gap_median": float(np.median(gap)),
        "simulated_gap_max": float(gap.max()),
        "pareto_shape_above_0.7": sum(shape > 0.7 for shape in shapes),
        "effective_sample_size_median": float(np.median(importance["effective_sample_size"])),
        "exact": None if exact is None else mean_of(exact["log_evidence"]),
        "exact_error": None if exact is None else float(exact["error"].max()),
        "annealed_minus_exact": (
            None if exact is None else mean_of(test.lower - exact["log_evidence"])
        ),
    }


def gaps(bounds: Bounds, elbos: dict[str, np.ndarray]) -> Numbers:
    """The inference gap of a split and its two causes, mean and standard error over images."""
    return {
        "elbo": mean_of(elbos["encoder"]),
        "best_elbo": mean_of(elbos["best"]),
        "log_evidence": mean_of(bounds.lower),
        "inference": mean_of(bounds.lower - elbos["encoder"]),
        "approximation": mean_of(bounds.lower - elbos["best"]),
        "amortisation": mean_of(elbos["best"] - elbos["encoder"]),
    }


def latent_space(
    surgery: Surgery | None, units: Units, layer_kl: np.ndarray | None = None
) -> Numbers:
    """ELBO surgery, and the statistics of every latent dimension. What is not known is None.

    layer_kl: KL term of each layer of a hierarchy and example, [N, L] nats; None for one layer.
    """
    of_surgery = dict.fromkeys(Surgery._fields) if surgery is None else surgery._asdict()
    return {
        **of_surgery,
        "log_num_examples": None if surgery is None else math.log(surgery.num_examples),
        "num_active": int(units.active.sum()),
        "num_carrying": None if units.carrying is None else int(units.carrying.sum()),
        "num_latents": len(units.active),
        "active": units.active.tolist(),
        "layer_kl": None if layer_kl is None else [mean_of(of_layer) for of_layer in layer_kl.T],
        **{f"unit_{name}": values for name, values in units._asdict().items()},
    }


def outlier_numbers(scores: dict[str, np.ndarray]) -> Numbers:
    """Areas under the ROC curve, and means, of the scores of two data sets."""
    return {
        score: {
            "auroc": outliers.auroc(scores[f"inside_{score}"], scores[f"outside_{score}"]),
            "inside": mean_of(scores[f"inside_{score}"]),
            "outside": mean_of(scores[f"outside_{score}"]),
        }
        for score in ("elbo", "log_evidence")
    }


def curve_numbers(
    curve: evidence.RateDistortion, rate: float, elbos: dict[str, np.ndarray]
) -> Numbers:
    """The rate-distortion curve, and the point of the VAE. elbos: those of `measures.elbos`."""
    return {
        "num_examples": len(curve.rate),
        "vae_rate": rate,
        "vae_distortion": -float(elbos["encoder"][: len(curve.rate)].mean()) - rate,
        "b": curve.b,
        "rate": curve.rate.mean(axis=0),
        "distortion": curve.distortion.mean(axis=0),
    }


def mean_of(values: np.ndarray) -> list[float]:
    """The mean over examples and its standard error. values: [N]."""
    return list(evidence.mean_and_standard_error(values))

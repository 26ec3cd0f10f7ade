"""All bounds and gradient estimators, for the laws that each must keep. A new one is a new row."""

import math

import numpy as np
import pytest

from vae_jax.objectives import bounds, estimators


def mean_exp(log_w):
    return np.exp(log_w).mean(axis=0)


def tempered_mean(log_w, power):
    weights = np.exp(power * log_w)
    counted = np.where(weights > 0, log_w, 0.0)
    return (weights * counted).sum(axis=0) / weights.sum(axis=0)


# name -> (bound, its definition computed naively in float64); of an even number of samples.
BOUNDS = {
    "elbo": (bounds.elbo, lambda log_w: log_w.mean(axis=0)),
    "iwae": (bounds.iwae, lambda log_w: np.log(mean_exp(log_w))),
    "renyi_half": (bounds.renyi(0.5), lambda log_w: 2.0 * np.log(mean_exp(0.5 * log_w))),
    "renyi_2": (bounds.renyi(2.0), lambda log_w: -np.log(mean_exp(-log_w))),
    "renyi_minus_1": (bounds.renyi(-1.0), lambda log_w: 0.5 * np.log(mean_exp(2.0 * log_w))),
    "renyi_almost_1": (
        bounds.renyi(1.0 - 1e-6),
        lambda log_w: 1e6 * np.log(mean_exp(1e-6 * log_w)),
    ),
    "vr_max": (bounds.renyi(-math.inf), lambda log_w: log_w.max(axis=0)),
    "vr_min": (bounds.renyi(math.inf), lambda log_w: log_w.min(axis=0)),
    "miwae": (
        bounds.miwae(2),
        lambda log_w: 0.5 * sum(np.log(mean_exp(half)) for half in np.split(log_w, 2)),
    ),
    "ciwae": (
        bounds.ciwae(0.3),
        lambda log_w: 0.3 * log_w.mean(axis=0) + 0.7 * np.log(mean_exp(log_w)),
    ),
    "tvo": (
        bounds.tvo(3, first=0.04),
        lambda log_w: (
            0.04 * log_w.mean(axis=0)
            + 0.16 * tempered_mean(log_w, 0.04)
            + 0.8 * tempered_mean(log_w, 0.2)
        ),
    ),
    "cubo": (bounds.cubo(3.0), lambda log_w: np.log(mean_exp(3.0 * log_w)) / 3.0),
}

# name -> estimator of any bound for any reparameterised posterior. All are unbiased; STL for the
# ELBO only, DReG not for the largest and smallest weight.
ESTIMATORS = {
    "pathwise": estimators.pathwise,
    "stl": estimators.sticking_the_landing,
    "dreg": estimators.doubly_reparameterised,
    "score_function": estimators.score_function,
    "vimco": estimators.vimco,
}


def by_speed(names):
    """Names of bounds as parameters of a test that compiles much: most of them are slow."""
    fast = ("elbo", "iwae")
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]

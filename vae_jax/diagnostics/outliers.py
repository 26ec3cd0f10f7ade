"""Scores by which to detect examples that a model was not trained for.

Likelihoods are known to fail here: a model of Fashion-MNIST or CIFAR-10 may find digits more likely
than its own test images (Nalisnick et al. 2019). Measure it before you rely on it.
"""

from typing import NamedTuple

import jax
import numpy as np

from vae_jax.evidence import make_importance_sampler
from vae_jax.models import Model, Params
from vae_jax.models.batch import Batch


class Scores(NamedTuple):
    """Scores of N examples, higher for familiar ones; nats, float64 on the host."""

    elbo: np.ndarray  # [N]
    log_evidence: np.ndarray  # [N], importance-weighted estimate of log p(x)


def scores(
    model: Model,
    params: Params,
    x: np.ndarray | jax.Array | Batch,
    key: jax.Array,
    *,
    num_samples: int = 100,
) -> Scores:
    """ELBO and estimated log-likelihood of every example. x: [N, *event], or a `Batch`.

    num_samples: K, samples of the importance-weighted estimate
      (`evidence.make_importance_sampler`).
    """
    found = make_importance_sampler(model, num_samples)(params, x, key)
    return Scores(found.elbo, found.log_evidence)


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """The area under the ROC curve: the probability that an inside example scores higher.

    Ties count half. The value 1/2 is chance; below it, the model prefers the outside.
    inside: [N] scores. outside: [M] scores.

    Raises:
      ValueError: one of them is empty or holds a nan.
    """
    inside, outside = np.asarray(inside, np.float64), np.sort(np.asarray(outside, np.float64))
    if not inside.size or not outside.size or np.isnan(inside).any() or np.isnan(outside).any():
        raise ValueError("auroc needs at least one score of each kind, and none that is nan.")
    below = np.searchsorted(outside, inside, side="left")
    not_above = np.searchsorted(outside, inside, side="right")
    return float((below + not_above).mean() / (2 * outside.size))

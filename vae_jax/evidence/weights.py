"""Diagnostics of importance weights: how far an estimate made of them can be trusted."""

import numpy as np


def effective_sample_size(log_w: np.ndarray) -> np.ndarray:
    """(sum of w)^2 / sum of w^2 (Kong 1992): K for K equal weights, 1 if one weight dominates.

    log_w: [K, ...] nats. Returns [...].
    """
    log_w = np.asarray(log_w, np.float64)
    weights = np.exp(log_w - log_w.max(axis=0))
    return weights.sum(axis=0) ** 2 / (weights**2).sum(axis=0)


def pareto_shape(log_w: np.ndarray) -> float:
    """k-hat, the shape of the tail of the weights (Vehtari et al. 2024, section 2).

    Moments of order 1 / k-hat and higher do not exist. Below 0.5 the variance of the weights is
    finite; above 0.7 the estimate needs too many samples to be useful. The generalised Pareto
    distribution is fitted to the largest min(K / 5, 3 sqrt(K)) weights by the posterior mean of
    Zhang & Stephens 2009, with the weak prior of Vehtari et al., appendix G.

    Args:
      log_w: [K] nats.

    Returns:
      k-hat; inf if the tail has fewer than five weights, and -inf if all weights are equal.
    """
    log_w = np.sort(np.asarray(log_w, np.float64))
    if log_w[0] == log_w[-1]:
        return -np.inf
    weights = np.exp(log_w - log_w[-1])
    length = int(np.ceil(min(len(weights) / 5, 3 * np.sqrt(len(weights)))))
    if length >= len(weights):
        return np.inf
    threshold = weights[-length - 1]
    tail = weights[weights > threshold] - threshold
    return _shape_of_tail(tail) if len(tail) > 4 else np.inf


def _shape_of_tail(tail: np.ndarray) -> float:
    """The shape of a generalised Pareto distribution. tail: [n], rising, positive."""
    n = len(tail)
    num_points = 30 + int(np.sqrt(n))
    quartile = tail[int(n / 4 + 0.5) - 1]
    # theta = -shape / scale, on the grid of Zhang & Stephens 2009, section 3.
    grid = 1.0 - np.sqrt(num_points / (np.arange(num_points) + 0.5))
    theta = 1.0 / tail[-1] + grid / (3.0 * quartile)
    shapes = np.mean(np.log1p(-theta[:, None] * tail[None]), axis=1)
    log_likelihood = n * (np.log(-theta / shapes) - shapes - 1.0)
    posterior = np.exp(log_likelihood - log_likelihood.max())
    mean_theta = np.sum(theta * posterior) / np.sum(posterior)
    shape = np.mean(np.log1p(-mean_theta * tail))
    return float((n * shape + 5.0) / (n + 10.0))

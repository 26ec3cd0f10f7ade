"""MIG: is each factor known by one latent alone?"""

import numpy as np
from numpy.typing import ArrayLike

from vae_jax.disentanglement.arrays import checked, without_inactive

_NUM_BINS = 20


def mig(codes: ArrayLike, factors: ArrayLike) -> float:
    """Mutual information gap (Chen et al. 2018, section 4), in [0, 1], higher is better.

    The mean over factors of the difference between the mutual information of the factor with its
    best and its second best latent, divided by the entropy of the factor.

    Args:
      codes: [N, L] posterior means.
      factors: [N, F] integers.

    Raises:
      ValueError: the same as for `arrays.checked`.
    """
    codes, factors = checked(codes, factors)
    information = mutual_information(without_inactive(codes), factors)
    second, best = np.sort(information, axis=0)[-2:]
    return float(np.mean((best - second) / [_entropy(np.bincount(column)) for column in factors.T]))


def mutual_information(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Mutual information of each latent, in 20 bins of equal width, and each factor.

    Args:
      codes: [N, L].
      factors: [N, F] integers from 0.

    Returns:
      [L, F] nats.
    """
    bins = _binned(codes)
    return np.array([[_information(b, column) for column in factors.T] for b in bins.T])


def _binned(codes: np.ndarray) -> np.ndarray:
    lowest, width = codes.min(axis=0), np.ptp(codes, axis=0)
    relative = (codes - lowest) / np.where(width > 0, width, 1.0)
    return np.minimum((relative * _NUM_BINS).astype(np.int64), _NUM_BINS - 1)


def _information(bins: np.ndarray, values: np.ndarray) -> float:
    joint = np.bincount(values * _NUM_BINS + bins)
    return _entropy(np.bincount(bins)) + _entropy(np.bincount(values)) - _entropy(joint)


def _entropy(counts: np.ndarray) -> float:
    p = counts[counts > 0] / counts.sum()
    return -float(np.sum(p * np.log(p)))

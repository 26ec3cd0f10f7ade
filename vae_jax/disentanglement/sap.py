"""SAP: how much better does the best latent predict a factor than the second best?"""

import numpy as np
from numpy.typing import ArrayLike

from vae_jax.disentanglement.arrays import checked, is_active


def sap(codes: ArrayLike, factors: ArrayLike) -> float:
    """Separated attribute predictability (Kumar et al. 2018, section 3), from 0, higher is better.

    The mean over factors of the difference between the accuracies with which the best and the
    second best latent predict the factor. A latent without information is right by chance, so that
    a factor of K values contributes at most 1 - 1/K, unless all latents but one are inactive.

    Args:
      codes: [N, L] posterior means.
      factors: [N, F] integers.

    Raises:
      ValueError: the same as for `arrays.checked`.
    """
    codes, factors = checked(codes, factors)
    accuracy = np.zeros((codes.shape[1], factors.shape[1]))  # stays 0 for an inactive latent
    for i in np.flatnonzero(is_active(codes)):
        accuracy[i] = [balanced_accuracy(codes[:, i], column) for column in factors.T]
    second, best = np.sort(accuracy, axis=0)[-2:]
    return float(np.mean(best - second))


def balanced_accuracy(latent: np.ndarray, values: np.ndarray) -> float:
    """The greatest accuracy, balanced over the values of a factor, of thresholds on one latent.

    K - 1 thresholds divide the line into an interval for each value, in the order of the mean
    latents of the values. (Every linear classifier of one feature does so.) As in the paper, the
    thresholds are the best ones for the same examples.

    Args:
      latent: [N].
      values: [N], integers 0 .. K - 1, each of which occurs.

    Returns:
      The mean over the K values of the fraction of their examples in their interval.
    """
    counts = np.bincount(values)
    means = np.bincount(values, weights=latent) / counts
    # No threshold divides examples of equal latents, so that positions count different latents.
    different, position = np.unique(latent, return_inverse=True)
    # best[n]: accuracy of the intervals so far, if they end before position n.
    best = np.zeros(len(different) + 1)
    for k in np.argsort(means, kind="stable"):
        at = np.bincount(position[values == k], minlength=len(different)) / counts[k]
        before = np.concatenate([[0.0], np.cumsum(at)])
        # The interval of value k begins at the best position at or before its end.
        best = before + np.maximum.accumulate(best - before)
    return float(best[-1] / len(counts))

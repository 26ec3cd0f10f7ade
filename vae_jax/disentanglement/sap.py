"""SAP: how much better does the best latent predict a factor than the second best?"""

import numpy as np
from numpy.typing import ArrayLike

from vae_jax.disentanglement.arrays import checked, is_active


def sap(codes: ArrayLike, factors: ArrayLike) -> float:
    """Separated attribute predictability (Kumar et al. 2018, section 3), from 0, higher is better.

    The accuracy by which the best latent predicts a factor less that of the second best; the mean
    over factors. As a latent that knows nothing is right by chance, a factor of K values adds at
    most 1 - 1/K, unless all latents but one are inactive.

    Args:
      codes: [N, L] posterior means.
      factors: [N, F] integers.

    Raises:
      ValueError: as `arrays.checked`.
    """
    codes, factors = checked(codes, factors)
    accuracy = np.zeros((codes.shape[1], factors.shape[1]))  # remains 0 for an inactive latent
    for i in np.flatnonzero(is_active(codes)):
        accuracy[i] = [balanced_accuracy(codes[:, i], column) for column in factors.T]
    second, best = np.sort(accuracy, axis=0)[-2:]
    return float(np.mean(best - second))


def balanced_accuracy(latent: np.ndarray, values: np.ndarray) -> float:
    """The greatest accuracy, balanced over the values of a factor, of thresholds on one latent.

    K - 1 thresholds divide the line into an interval for each value (as every linear classifier of
    one feature does), in the order of the means of their latents. As in the paper, the thresholds
    are the best for these very examples.

    Args:
      latent: [N].
      values: [N] places 0 .. K - 1, each of them there.

    Returns:
      The mean over the K values of the part of their examples that is in their interval.
    """
    counts = np.bincount(values)
    means = np.bincount(values, weights=latent) / counts
    # No threshold can divide examples of equal latents, so positions are those among all different.
    different, position = np.unique(latent, return_inverse=True)
    # best[n]: the accuracy of the intervals so far, if they end before position n.
    best = np.zeros(len(different) + 1)
    for k in np.argsort(means, kind="stable"):
        at = np.bincount(position[values == k], minlength=len(different)) / counts[k]
        before = np.concatenate([[0.0], np.cumsum(at)])
        # The interval of value k begins wherever that is best, at or before its end.
        best = before + np.maximum.accumulate(best - before)
    return float(best[-1] / len(counts))

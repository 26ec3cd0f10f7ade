"""The beta-VAE score: do differences of codes tell which factor two examples share?"""

import numpy as np
from numpy.typing import ArrayLike

from vae_jax.disentanglement.arrays import checked, draw_alike, standardised


def beta_vae_score(
    codes: ArrayLike,
    factors: ArrayLike,
    seed: int | np.random.Generator = 0,
    *,
    num_points: int = 1_000,
    num_pairs: int = 64,
) -> float:
    """The metric of Higgins et al. 2017, section 3, from chance 1/F to 1, higher is better.

    A point is |difference of codes|, averaged over pairs of examples that share their value of one
    factor. The score is the accuracy with which a linear classifier recognises the factor of other
    points. Latents are in units of their standard deviation, so that their scales do not matter,
    and inactive latents are left out.

    Args:
      codes: [N, L] posterior means.
      factors: [N, F] integers.
      seed: seed of the pairs.
      num_points: number of points of each factor for the classifier, and again for its accuracy.
      num_pairs: number of pairs for each point, drawn with replacement.

    Raises:
      ValueError: the same as for `arrays.checked`.
    """
    from sklearn.linear_model import LogisticRegression

    codes, factors = checked(codes, factors)
    codes = standardised(codes)
    if codes.shape[1] == 0:
        return 1.0 / factors.shape[1]
    rng = np.random.default_rng(seed)
    train, test = (_points(rng, codes, factors, num_points, num_pairs) for _ in range(2))
    return float(LogisticRegression(max_iter=1_000).fit(*train).score(*test))


def _points(rng, codes, factors, num_points, num_pairs) -> tuple[np.ndarray, np.ndarray]:
    """Points [F * num_points, active], and for each the factor that the examples share."""
    points = []
    for values in factors.T:
        first = rng.integers(len(codes), size=(num_points, num_pairs))
        second = draw_alike(rng, values, first)
        points.append(np.abs(codes[first] - codes[second]).mean(axis=1))
    return np.concatenate(points), np.repeat(np.arange(factors.shape[1]), num_points)

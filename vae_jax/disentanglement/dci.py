"""DCI: does each latent know one factor, and each factor need one latent?"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vae_jax.disentanglement.arrays import checked, without_inactive

_NUM_TREES = 50


class DCI(NamedTuple):
    """Three scores in [0, 1], higher is better."""

    disentanglement: float  # 1: each latent is of use for one factor only
    completeness: float  # 1: for each factor one latent only is of use
    informativeness: float  # accuracy on other examples; chance is that of the commonest value


def dci(codes: ArrayLike, factors: ArrayLike, seed: int | np.random.Generator = 0) -> DCI:
    """Disentanglement, completeness, informativeness (Eastwood & Williams 2018).

    A random forest for each factor classifies its values, of three quarters of the examples; its
    importances say of what use each latent is, and the other quarter how much is known. Every
    split looks at all latents, so that none is used for want of a better one.

    Args:
      codes: [N, L] posterior means.
      factors: [N, F] integers.
      seed: seed of the forests and of the choice of examples.

    Raises:
      ValueError: as `arrays.checked`.
    """
    from sklearn.ensemble import RandomForestClassifier

    codes, factors = checked(codes, factors)
    codes = without_inactive(codes)
    rng = np.random.default_rng(seed)
    test, train = np.split(rng.permutation(len(codes)), [-(-len(codes) // 4)])
    importance, accuracy = [], []
    for column in factors.T:
        forest = RandomForestClassifier(
            _NUM_TREES, max_features=None, random_state=int(rng.integers(2**32))
        ).fit(codes[train], column[train])
        importance.append(forest.feature_importances_)
        accuracy.append(forest.score(codes[test], column[test]))
    return DCI(
        *disentanglement_and_completeness(np.transpose(importance)), float(np.mean(accuracy))
    )


def disentanglement_and_completeness(importance: np.ndarray) -> tuple[float, float]:
    """The two scores of a matrix of importances.

    Disentanglement is 1 - entropy (base F) of each latent's importances over the factors, averaged
    with the latents' total importances as weights; completeness is 1 - entropy (base L) of each
    factor's importances over the latents, averaged over factors. What is of no importance at all
    counts as equally important to all, so 0.

    Args:
      importance: [L, F], not negative: of what use latent i is for factor j.
    """
    of_latent = importance.sum(axis=1)
    # Without any importance at all, the scores are 0 and the weights do not matter.
    weights = of_latent if of_latent.any() else None
    disentanglement = np.average(1.0 - _relative_entropy(importance), weights=weights)
    completeness = np.mean(1.0 - _relative_entropy(importance.T))
    return float(disentanglement), float(completeness)


def _relative_entropy(rows: np.ndarray) -> np.ndarray:
    """The entropy, base C, of each row; 1 of a row of zeros. [R, C] -> [R]."""
    total = rows.sum(axis=1, keepdims=True)
    p = np.divide(rows, total, where=total > 0, out=np.full(rows.shape, 1.0 / rows.shape[1]))
    return -np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=1) / np.log(rows.shape[1])

"""DCI: does each latent know one factor, and each factor need one latent?"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vae_jax.disentanglement.arrays import checked, without_inactive

_NUM_TREES = 50


class DCI(NamedTuple):
    """Three scores in [0, 1], higher is better."""

    disentanglement: float  # 1 if each latent is important for one factor only
    completeness: float  # 1 if one latent only is important for each factor
    informativeness: float  # accuracy on other examples; chance is the most frequent value


def dci(codes: ArrayLike, factors: ArrayLike, seed: int | np.random.Generator = 0) -> DCI:
    """Disentanglement, completeness, informativeness (Eastwood & Williams 2018).

    A random forest for each factor learns to classify its values from three quarters of the
    examples. The importances of the forest give the first two scores, its accuracy on the other
    quarter gives the third. Every split considers all latents, so that no latent is used only
    because a better one was not offered.

    Args:
      codes: [N, L] posterior means.
      factors: [N, F] integers.
      seed: seed of the forests and of the choice of examples.

    Raises:
      ValueError: the same as for `arrays.checked`.
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
    factor's importances over the latents, averaged over factors. A latent or factor without any
    importance has the score 0.

    Args:
      importance: [L, F], importance of latent i for factor j, not negative.
    """
    of_latent = importance.sum(axis=1)
    # Without any importance the scores are 0, and the weights do not matter.
    weights = of_latent if of_latent.any() else None
    disentanglement = np.average(1.0 - _relative_entropy(importance), weights=weights)
    completeness = np.mean(1.0 - _relative_entropy(importance.T))
    return float(disentanglement), float(completeness)


def _relative_entropy(rows: np.ndarray) -> np.ndarray:
    """The entropy, base C, of each row, [R, C] -> [R]. A row of zeros has 1."""
    total = rows.sum(axis=1, keepdims=True)
    p = np.divide(rows, total, where=total > 0, out=np.full(rows.shape, 1.0 / rows.shape[1]))
    return -np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=1) / np.log(rows.shape[1])

"""The FactorVAE score: does a fixed factor keep one latent still?"""

import numpy as np
from numpy.typing import ArrayLike

from vae_jax.disentanglement.arrays import checked, draw_alike, standardised


def factor_vae_score(
    codes: ArrayLike,
    factors: ArrayLike,
    seed: int | np.random.Generator = 0,
    *,
    num_votes: int = 1_000,
    batch_size: int = 64,
) -> float:
    """The metric of Kim & Mnih 2018, section 4, from chance 1/F to 1, higher is better.

    A batch has examples with the same value of one factor. Its vote is the latent with the smallest
    variance in the batch, relative to its variance in all examples; inactive latents are left out.
    The classifier assigns to each latent the factor that causes most of its votes. The score is its
    accuracy on the votes of other batches.

    Args:
      codes: [N, L] posterior means.
      factors: [N, F] integers.
      seed: seed of the batches.
      num_votes: number of votes of each factor for the classifier, and again for its accuracy.
      batch_size: number of examples of a batch, drawn with replacement.

    Raises:
      ValueError: the same as for `arrays.checked`.
    """
    codes, factors = checked(codes, factors)
    codes = standardised(codes)
    if codes.shape[1] == 0:
        return 1.0 / factors.shape[1]
    rng = np.random.default_rng(seed)
    train, test = (_votes(rng, codes, factors, num_votes, batch_size) for _ in range(2))
    classifier = train.argmax(axis=0)
    return float(test[classifier, np.arange(codes.shape[1])].sum() / test.sum())


def _votes(rng, codes, factors, num_votes, batch_size) -> np.ndarray:
    """The number of votes for each latent while each factor is fixed, [F, active]."""
    votes = []
    for values in factors.T:
        examples = rng.integers(len(codes), size=(num_votes, 1))
        batches = codes[draw_alike(rng, values, np.repeat(examples, batch_size, axis=1))]
        stillest = batches.var(axis=1).argmin(axis=1)
        votes.append(np.bincount(stillest, minlength=codes.shape[1]))
    return np.array(votes)

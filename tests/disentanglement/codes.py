"""Factors of which every combination is there, and codes whose scores are known."""

import numpy as np

# Orthogonal up to a factor 2. All its entries have the same size, and those of a column times
# those of another are a third one, so that the rotated codes of equally distributed factors do not
# tell one factor from another.
HADAMARD = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])


def every_combination(*sizes):
    """[N, F] integers."""
    return np.indices(sizes).reshape(len(sizes), -1).T


def perfect(factors):
    """[N, F]: one latent for each factor, in another order and on scales of their own."""
    num_factors = factors.shape[1]
    scales = (-1.0) ** np.arange(num_factors) * 3.0 ** np.arange(num_factors)
    return np.roll(factors, 1, axis=1) * scales - 5.0


def rotated(factors):
    """[N, 4] of 4 factors: all of them in equal parts in each latent."""
    return (factors - factors.mean(axis=0)) @ HADAMARD / 2.0

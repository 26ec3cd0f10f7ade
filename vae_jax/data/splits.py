"""Which examples are for training, validation and test."""

import numpy as np

from vae_jax.errors import DataError


def split_indices(
    num_examples: int, *, num_validation: int, num_test: int = 0, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Disjoint indices (train, validation, test) that cover range(num_examples), shuffled.

    They depend on the arguments only: `seed` fixes them on every machine and NumPy version.
    Raises DataError if the seed is negative, or unless validation and train keep an example each.
    """
    if seed < 0:
        raise DataError(f"split_seed is {seed} but must be 0 or more")
    most = num_examples - num_test - 1
    if most < 1:
        raise DataError(f"{num_examples} examples are too few to split into train and held-out")
    if not 1 <= num_validation <= most:
        raise DataError(
            f"num_validation is {num_validation} but must lie in 1..{most}, "
            f"as {num_examples - num_test} training examples are to be divided"
        )
    # NumPy guarantees the raw stream of a bit generator for ever, but not Generator.permutation.
    order = np.argsort(np.random.PCG64(seed).random_raw(num_examples), kind="stable")
    num_held_out = num_test + num_validation
    return order[num_held_out:], order[num_test:num_held_out], order[:num_test]

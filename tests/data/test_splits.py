import numpy as np
import pytest

from vae_jax.data import DataError, split_indices


@pytest.mark.parametrize(
    ("num_examples", "num_validation", "num_test"),
    [(60_000, 5_000, 0), (5_000, 375, 500), (3, 1, 1), (2, 1, 0)],
)
def test_splits_are_disjoint_and_cover_everything(num_examples, num_validation, num_test):
    train, validation, test = split_indices(
        num_examples, num_validation=num_validation, num_test=num_test, seed=3
    )
    assert len(validation) == num_validation
    assert len(test) == num_test
    np.testing.assert_array_equal(
        np.sort(np.concatenate([train, validation, test])), np.arange(num_examples)
    )


def test_splits_depend_on_the_seed_only():
    first, again, other = (
        np.concatenate(split_indices(1000, num_validation=100, seed=seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.mean(first == other) < 0.01


def test_splits_are_the_same_for_ever():
    train, validation, test = split_indices(10, num_validation=2, num_test=3, seed=0)
    assert test.tolist() == [3, 2, 1]
    assert validation.tolist() == [8, 6]
    assert train.tolist() == [0, 7, 4, 5, 9]


def test_splits_leave_no_order_of_the_source():
    """Held-out positions are uniform: their mean is that of uniform draws, to four errors."""
    _, validation, _ = split_indices(60_000, num_validation=5_000, seed=0)
    error = 60_000 / np.sqrt(12 * 5_000)
    deviation = validation.mean() - 30_000
    assert abs(deviation) < 4 * error, (deviation, error)


@pytest.mark.parametrize(
    ("num_examples", "num_validation", "num_test", "seed", "said"),
    [
        (100, 0, 0, 0, "num_validation is 0 but must lie in 1..99"),
        (100, -1, 0, 0, "num_validation is -1 but must lie in 1..99"),
        (100, 100, 0, 0, "num_validation is 100 but must lie in 1..99"),
        (100, 90, 10, 0, "num_validation is 90 but must lie in 1..89"),
        (1, 1, 0, 0, "1 examples are too few"),
        (100, 10, 0, -1, "split_seed is -1"),
    ],
)
def test_impossible_splits_are_refused(num_examples, num_validation, num_test, seed, said):
    with pytest.raises(DataError, match=said):
        split_indices(num_examples, num_validation=num_validation, num_test=num_test, seed=seed)

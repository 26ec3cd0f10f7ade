import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.data import DataError, Dataset, from_arrays, load
from vae_jax.errors import BadInputError

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (30, 4, 4), np.uint8)
UNIT = RNG.uniform(size=(30, 4, 4))
LABELS = RNG.integers(0, 10, 30)


@pytest.mark.parametrize("test", [True, False])
@pytest.mark.parametrize("values", [BYTES, UNIT, BYTES > 99, BYTES.reshape(30, 16)])
def test_it_is_the_data_set_of_an_npz_file(tmp_path, values, test):
    path = tmp_path / "same.npz"
    more = {"x_test": values[:7], "y_test": LABELS[:7]} if test else {}
    np.savez(path, x_train=values, y_train=LABELS, **more)
    options = {"num_validation": 4, "split_seed": 5}
    expected = load(str(path), **options)
    given = {"x_test": values[:7], "test_labels": LABELS[:7]} if test else {}
    dataset = from_arrays(values, labels=LABELS, **given, **options, name="mine")
    assert isinstance(dataset, Dataset)
    assert dataset.name == "mine"
    for split, same in zip(dataset[1:4], expected[1:4], strict=True):
        np.testing.assert_array_equal(split.x, same.x, strict=True)
        np.testing.assert_array_equal(split.labels, same.labels, strict=True)


def test_lists_and_arrays_of_jax_are_arrays():
    expected = from_arrays(BYTES).train.x
    for given in (BYTES.tolist(), jnp.asarray(BYTES)):
        np.testing.assert_array_equal(from_arrays(given).train.x, expected, strict=True)


def test_the_data_set_does_not_change_with_the_arrays():
    train, test = BYTES.copy(), BYTES.copy()
    dataset = from_arrays(train, test, test_labels=LABELS)
    train[:], test[:] = 0, 0
    np.testing.assert_array_equal(dataset.test.x[..., 0], BYTES)
    assert dataset.train.x.max() > 200


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x_train": None}, "^x_train has dtype object but must hold real numbers"),
        ({"x_train": [[[1, 2]], [[3]]]}, "^x_train cannot be made one array of numbers"),
        ({"x_train": np.ma.masked_equal(BYTES, 0)}, "^x_train is a masked array, but a mask"),
        ({"x_train": np.where(UNIT > 0.5, UNIT, np.nan)}, "^x_train holds NaN or infinite values"),
        ({"x_train": BYTES, "x_test": BYTES[:, :3]}, "^x_train is uint8 .* but x_test is uint8"),
        ({"x_train": BYTES, "x_test": UNIT}, "^x_train is uint8 .* but x_test is float64"),
        ({"x_train": BYTES, "labels": [[1, 2], [3]]}, "^labels cannot be made one array of"),
        (
            {"x_train": BYTES, "num_validation": 30},
            r"^num_validation is 30 but must lie in 1\.\.26",
        ),
        ({"x_train": BYTES, "split_seed": -1}, "^split_seed is -1 but must be 0 or more"),
        ({"x_train": BYTES[:1], "x_test": BYTES}, "^1 examples are too few to split"),
    ],
)
def test_what_is_refused_is_named(arrays, said):
    with pytest.raises(DataError, match=said) as caught:
        from_arrays(**arrays)
    assert isinstance(caught.value, BadInputError)
    assert "\n" not in str(caught.value)

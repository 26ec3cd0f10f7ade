"""Labels belong to their images, whatever the source, and are None where there are none."""

import numpy as np
import pytest

from vae_jax.data import DataError, Split, array_cache, from_arrays, load

# Image i of all is filled with 255 - i, and its label is i.
NUMBERS = np.arange(60)
IMAGES = np.broadcast_to((255 - NUMBERS)[:, None, None], (60, 4, 4)).astype(np.uint8)
FACTORS = np.stack([NUMBERS, NUMBERS**2], axis=1)


def as_npz(folder, **arrays):
    names = {"labels": "y_train", "test_labels": "y_test"}
    np.savez(folder / "mine.npz", **{names.get(key, key): x for key, x in arrays.items()})
    return load(str(folder / "mine.npz"), split_seed=3)


def as_arrays(folder, **arrays):
    return from_arrays(**arrays, split_seed=3)


def as_shards(folder, x_train, x_test=None, labels=None, test_labels=None):
    arrays = {"train-0": x_train[:20], "train-1": x_train[20:], "test-0": x_test}
    for name, array in (arrays | {"train-labels": labels, "test-labels": test_labels}).items():
        if array is not None:
            np.save(folder / f"{name}.npy", array)
    return load(f"{folder}/", split_seed=3, in_memory=False)


EVERY_WAY = pytest.mark.parametrize("given", [as_npz, as_arrays, as_shards])


def numbers_of(split):
    return 255 - split.x[:][:, 0, 0, 0].astype(int)


@EVERY_WAY
@pytest.mark.parametrize("factors", [False, True])
def test_every_image_keeps_its_labels_when_it_is_divided(tmp_path, given, factors):
    labels = FACTORS if factors else NUMBERS
    dataset = given(tmp_path, x_train=IMAGES, labels=labels.astype(np.uint16))
    for split in dataset[1:4]:
        assert split.labels.dtype == np.int64
        np.testing.assert_array_equal(split.labels, labels[numbers_of(split)])
    everything = np.concatenate([numbers_of(split) for split in dataset[1:4]])
    np.testing.assert_array_equal(np.sort(everything), NUMBERS)


@EVERY_WAY
def test_labels_of_both_splits(tmp_path, given):
    arrays = {"x_train": IMAGES[:50], "x_test": IMAGES[50:]}
    dataset = given(tmp_path, **arrays, labels=NUMBERS[:50], test_labels=NUMBERS[50:].astype(float))
    for split in dataset[1:4]:
        np.testing.assert_array_equal(split.labels, numbers_of(split))
    np.testing.assert_array_equal(dataset.test.labels, NUMBERS[50:])
    assert dataset.label_names is None


@EVERY_WAY
def test_missing_labels_are_none(tmp_path, given):
    assert all(split.labels is None for split in given(tmp_path, x_train=IMAGES)[1:4])
    arrays = {"x_train": IMAGES[:50], "x_test": IMAGES[50:]}
    dataset = given(tmp_path, **arrays, test_labels=NUMBERS[50:])
    assert dataset.train.labels is None
    assert dataset.validation.labels is None
    np.testing.assert_array_equal(dataset.test.labels, NUMBERS[50:])


@EVERY_WAY
@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"labels": NUMBERS[1:]}, "has 59 labels but .*train.* 60 examples, yet each example must"),
        ({"labels": NUMBERS + 0.5}, "holds fractions or NaN, but labels must be whole numbers"),
        (
            {"labels": np.where(NUMBERS, 1, np.nan)},
            "holds fractions or NaN, but labels must be whole numbers",
        ),
        ({"labels": NUMBERS.astype(str)}, "has dtype <U.* but must hold real numbers"),
        ({"labels": NUMBERS.reshape(60, 1, 1)}, r"has shape \(60, 1, 1\) but must be \[N\] or"),
        ({"x_test": IMAGES[:9], "test_labels": NUMBERS}, "has 60 labels but .*test.* 9 examples"),
    ],
)
def test_labels_that_cannot_be_are_named(tmp_path, given, arrays, said):
    name = "test_labels" if "x_test" in arrays else "labels"
    called = {
        as_npz: {"labels": "mine.npz: y_train", "test_labels": "mine.npz: y_test"},
        as_arrays: {"labels": "^labels", "test_labels": "^test_labels"},
        as_shards: {"labels": "train-labels.npy", "test_labels": "test-labels.npy"},
    }[given][name]
    with pytest.raises(DataError, match=f"{called} {said}") as caught:
        given(tmp_path, x_train=IMAGES, **arrays)
    assert "\n" not in str(caught.value)


def test_test_labels_need_test_images(tmp_path):
    said = "is given without test examples that it is for"
    with pytest.raises(DataError, match=f"mine.npz: y_test {said}"):
        as_npz(tmp_path, x_train=IMAGES, test_labels=NUMBERS)
    with pytest.raises(DataError, match=f"^test_labels {said}"):
        from_arrays(IMAGES, test_labels=NUMBERS)
    with pytest.raises(DataError, match=f"test-labels.npy {said}"):
        as_shards(tmp_path, IMAGES, test_labels=NUMBERS)


@EVERY_WAY
def test_both_splits_have_the_same_kind_of_labels(tmp_path, given):
    arrays = {"x_train": IMAGES, "x_test": IMAGES}
    with pytest.raises(DataError, match=r"has shape \(60, 2\) but .* \(60,\), yet both must hold"):
        given(tmp_path, **arrays, labels=FACTORS, test_labels=NUMBERS)


def test_labels_of_python_objects_are_never_unpickled(tmp_path):
    objects = np.array([None] * 60)
    with pytest.raises(DataError, match="y_train is no plain array of numbers"):
        as_npz(tmp_path, x_train=IMAGES, labels=objects)
    with pytest.raises(DataError, match=r"train-labels.npy is damaged or no .npy file"):
        as_shards(tmp_path, IMAGES, labels=objects)


def test_a_cache_with_labels_of_a_part_of_the_examples_or_of_none(tmp_path):
    """TFDS gives -1 to examples whose label it does not know."""
    arrays = {"train": IMAGES[..., None], "test": IMAGES[:9, ..., None]}
    unknown = np.where(NUMBERS < 5, -1, NUMBERS)
    array_cache.write(
        tmp_path / "vae_jax" / "mnist" / "arrays",
        arrays
        | {"train-labels": unknown, "test-labels": np.full(9, -1)}
        | {"label-names": np.array(["Öl", "a longer name"])},
    )
    dataset = load("mnist", data_dir=str(tmp_path))
    for split in (dataset.train, dataset.validation):
        np.testing.assert_array_equal(split.labels, unknown[numbers_of(split)])
    assert dataset.test.labels is None
    assert dataset.label_names == ("Öl", "a longer name")


def test_a_cache_of_an_older_version_has_no_labels(tmp_path):
    arrays = {"train": IMAGES[..., None], "test": IMAGES[:9, ..., None]}
    array_cache.write(tmp_path / "vae_jax" / "mnist" / "arrays", arrays)
    dataset = load("mnist", data_dir=str(tmp_path))
    assert all(split.labels is None for split in dataset[1:4])
    assert dataset.label_names is None


def test_a_split_is_sliced_and_cannot_be_changed():
    split = Split(IMAGES, NUMBERS)
    assert len(split) == 60
    for index in (slice(3, 9), slice(None, None, -7), np.array([5, 1, 5])):
        part = split[index]
        np.testing.assert_array_equal(part.x, IMAGES[index])
        np.testing.assert_array_equal(part.labels, NUMBERS[index])
        assert Split(IMAGES)[index].labels is None
    with pytest.raises(AttributeError):
        split.labels = None
    with pytest.raises(TypeError, match=r"by a slice or an array, not by 3: split.x\[i\]"):
        split[3]
    with pytest.raises(ValueError, match="labels has 59 rows but must have 60"):
        Split(IMAGES, NUMBERS[1:])

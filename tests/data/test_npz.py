import zipfile

import numpy as np
import pytest

from vae_jax.data import DataError, load, npz

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (30, 4, 4), np.uint8)
BITS = RNG.integers(0, 2, (30, 4, 4))
UNIT = RNG.uniform(size=(30, 4, 4))


def saved(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (BYTES, BYTES),
        (BYTES.astype(np.int64), BYTES),
        (BYTES.astype(np.float64), BYTES),
        (BITS, 255 * BITS.astype(np.uint8)),
        (BITS.astype(bool), 255 * BITS.astype(np.uint8)),
        (BITS.astype(np.uint8), 255 * BITS.astype(np.uint8)),
        (BITS.astype(np.float32), BITS.astype(np.float32)),
        (UNIT, UNIT.astype(np.float32)),
        (UNIT.astype(np.float16), UNIT.astype(np.float16).astype(np.float32)),
    ],
)
def test_values_end_on_one_of_two_scales(tmp_path, values, expected):
    images = npz.read(saved(tmp_path / "mine.npz", x_train=values)).train.x
    assert images.dtype == expected.dtype
    np.testing.assert_array_equal(images[..., 0], expected)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 5, 4), (6, 5, 4, 1)),
        ((6, 5, 4, 1), (6, 5, 4, 1)),
        ((6, 5, 4, 3), (6, 5, 4, 3)),
        ((6, 784), (6, 28, 28, 1)),
        ((6, 1), (6, 1, 1, 1)),
    ],
)
def test_shapes_become_images(tmp_path, shape, expected):
    values = 255 - np.arange(np.prod(shape)).reshape(shape) % 256
    images = npz.read(saved(tmp_path / "mine.npz", x_train=values)).train.x
    assert images.shape == expected
    np.testing.assert_array_equal(images.ravel(), values.ravel())


def test_dark_images_come_in_as_floats(tmp_path):
    dark = (BYTES // 16) / 255
    images = npz.read(saved(tmp_path / "mine.npz", x_train=dark)).train.x
    np.testing.assert_array_equal(images[..., 0], dark.astype(np.float32))


def test_load_splits_it(tmp_path):
    path = saved(tmp_path / "mine.npz", x_train=BYTES, x_test=BYTES[:7], y_train=np.zeros(30))
    dataset = load(str(path), num_validation=4)
    assert dataset.name == "npz:mine"
    assert [len(images) for images in dataset[1:4]] == [26, 4, 7]
    np.testing.assert_array_equal(dataset.test.x[..., 0], BYTES[:7])

    dataset = load(str(saved(tmp_path / "train_only.npz", x_train=BYTES)))
    assert [len(images) for images in dataset[1:4]] == [25, 2, 3]
    together = np.concatenate([split.x for split in dataset[1:4]]).reshape(30, 16)
    np.testing.assert_array_equal(
        np.unique(together, axis=0), np.unique(BYTES.reshape(30, 16), axis=0)
    )


def with_one(value, dtype=float):
    values = BYTES.astype(dtype)
    values[3, 2, 1] = value
    return values


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"train": BYTES}, "must hold the key x_train but holds train"),
        ({}, "must hold the key x_train but holds nothing"),
        ({"x_test": BYTES}, "must hold the key x_train but holds x_test"),
        ({"x_train": np.array(["a", None], object)}, "x_train is no plain array of numbers"),
        ({"x_train": np.array([["a"]])}, "x_train has dtype <U1 but must hold real numbers"),
        ({"x_train": UNIT + 1j}, "x_train has dtype complex128"),
        ({"x_train": BYTES[:0]}, r"x_train is empty, its shape is \(0, 4, 4\)"),
        ({"x_train": BYTES, "x_test": BYTES[:0]}, "x_test is empty"),
        ({"x_train": BYTES.ravel()}, r"x_train has shape \(480,\) but pixels must be"),
        ({"x_train": np.uint8(3)}, r"x_train has shape \(\) but pixels must be"),
        ({"x_train": BYTES.reshape(2, 15, 4, 2, 2)}, r"x_train has shape \(2, 15, 4, 2, 2\)"),
        ({"x_train": BYTES.reshape(15, 4, 4, 2)}, r"x_train has shape \(15, 4, 4, 2\)"),
        ({"x_train": with_one(np.nan)}, "x_train holds NaN or infinite values"),
        ({"x_train": with_one(np.inf)}, "x_train holds NaN or infinite values"),
        ({"x_train": with_one(-1, int)}, r"x_train has values in -1\.\.255"),
        ({"x_train": with_one(256, int)}, r"x_train has values in 0\.\.256"),
        ({"x_train": with_one(0.5)}, "x_train has fractions though values exceed 1"),
        ({"x_train": UNIT - 0.01}, r"x_train has values in -0\.0"),
        ({"x_train": UNIT, "x_test": UNIT * 1.01}, "x_train has fractions though values exceed 1"),
        ({"x_train": BYTES, "x_test": BYTES[:, :3]}, r"x_test is uint8 \(30, 3, 4, 1\), yet both"),
        ({"x_train": BYTES, "x_test": UNIT}, "x_train is uint8 .* but x_test is float64"),
    ],
)
def test_what_is_refused_is_named(tmp_path, arrays, said):
    path = saved(tmp_path / "mine.npz", **arrays)
    with pytest.raises(DataError, match=rf"mine\.npz\b.*{said}") as caught:
        load(str(path))
    assert "\n" not in str(caught.value)


def test_files_that_are_no_npz_are_named(tmp_path):
    path = tmp_path / "mine.npz"
    with pytest.raises(DataError, match=r"mine.npz does not exist"):
        load(str(path))
    path.write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"mine.npz is not an .npz file"):
        load(str(path))
    np.save(path.with_suffix(".npy"), BYTES)
    path.with_suffix(".npy").rename(path)
    with pytest.raises(DataError, match=r"mine.npz is not an .npz file"):
        load(str(path))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x_train.npy", "text")
    with pytest.raises(DataError, match=r"mine.npz: x_train has dtype"):
        load(str(path))


def test_a_damaged_npz_is_named(tmp_path):
    path = saved(tmp_path / "mine.npz", x_train=BYTES)
    content = bytearray(path.read_bytes())
    content[300:320] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"mine.npz is damaged"):
        load(str(path))

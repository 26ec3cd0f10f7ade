"""Numbers that are not the intensities that they would be taken for are refused, however given."""

import numpy as np
import pytest

from vae_jax.data import DataError, Rows, brightness, from_arrays, load

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (60, 4, 4), np.uint8)
BYTES[0, 0, 0] = 255


def levels(most, dtype=np.uint8):
    """Images of the levels 0..most, each there."""
    return (np.arange(60 * 16).reshape(60, 4, 4) % (most + 1)).astype(dtype)


def as_npz(folder, x_train, x_test=None):
    test = {} if x_test is None else {"x_test": x_test}
    np.savez(folder / "mine.npz", x_train=x_train, **test)
    return load(str(folder / "mine.npz"))


def as_arrays(folder, x_train, x_test=None):
    return from_arrays(x_train, x_test)


def as_shards(folder, x_train, x_test=None):
    np.save(folder / "train-0.npy", x_train[:50])
    np.save(folder / "train-1.npy", x_train[50:])
    if x_test is not None:
        np.save(folder / "test-0.npy", x_test)
    return load(f"{folder}/", in_memory=False)


EVERY_WAY = pytest.mark.parametrize("given", [as_npz, as_arrays, as_shards])
IN_MEMORY = pytest.mark.parametrize("given", [as_npz, as_arrays])


@EVERY_WAY
@pytest.mark.parametrize("most", [2, 16, 100, 127])
def test_other_levels_and_counts_are_not_taken_for_nearly_black(tmp_path, given, most):
    said = (
        f"the brightest pixel of .*train.* is {most} of 255: if {most} is white, give x / {most} as"
        r" float32 in \[0, 1\]; if the images really are so dark, give x / 255 as float32$"
    )
    with pytest.raises(DataError, match=said) as caught:
        given(tmp_path, levels(most))
    assert "\n" not in str(caught.value)
    # The sentence tells what to do, and that works.
    for scale in (most, 255):
        floats = levels(most).astype(np.float32) / np.float32(scale)
        dataset = given(tmp_path, floats)
        assert dataset.train.x[:].max() <= np.float32(most / scale)
        assert dataset.train.x.dtype == np.float32


@IN_MEMORY
@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.uint16, np.int8])
def test_the_dtype_of_whole_numbers_does_not_matter(tmp_path, given, dtype):
    with pytest.raises(DataError, match="brightest pixel of x_train is 16 of 255"):
        given(tmp_path, levels(16, dtype))


@EVERY_WAY
@pytest.mark.parametrize("most", [128, 255])
def test_examples_of_8_bits_are_taken_as_they_are(tmp_path, given, most):
    dataset = given(tmp_path, levels(most))
    assert dataset.train.x[:].dtype == np.uint8
    assert max(split.x[:].max() for split in dataset[1:4]) == most


@EVERY_WAY
def test_black_images_are_black_on_every_scale(tmp_path, given):
    dataset = given(tmp_path, BYTES, np.zeros_like(BYTES))
    assert dataset.test.x[:].max() == 0
    assert given(tmp_path, np.zeros_like(BYTES)).train.x[:].max() == 0


@EVERY_WAY
def test_one_split_of_zeros_and_ones_beside_one_of_0_to_255_is_refused(tmp_path, given):
    for splits, name in (((BYTES, BYTES % 2), "test"), ((BYTES % 2, BYTES), "train")):
        with pytest.raises(DataError, match=rf"brightest pixel of .*{name}.* is 1 of 255: if 1 is"):
            given(tmp_path, *splits)


@IN_MEMORY
def test_bools_beside_bytes_are_refused(tmp_path, given):
    with pytest.raises(DataError, match="brightest pixel of x_test is 1 of 255"):
        given(tmp_path, BYTES, BYTES > 9)


def test_zeros_and_ones_in_uint8_shards_are_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"pixel of train-\*.npy is 1 of 255: if 1 is white, give x"
    ):
        as_shards(tmp_path, BYTES % 2)


@EVERY_WAY
def test_floats_that_were_divided_twice_are_refused(tmp_path, given):
    once = (BYTES / 255).astype(np.float32)
    np.testing.assert_array_equal(given(tmp_path, once).train.x[:].max(), 1)
    with pytest.raises(DataError, match=r"pixel of .*train.* is 0\.0039, where 1 is white"):
        given(tmp_path, once / 255)
    with pytest.raises(DataError, match=r"pixel of .*test.* is 0\.0039, where 1 is white"):
        given(tmp_path, once, once / 255)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_one_level_of_8_bits_is_the_limit_in_every_precision(dtype):
    one, two = ((np.full((2, 4, 4), level) / 255).astype(dtype) for level in (1, 2))
    with pytest.raises(DataError, match="where 1 is white"):
        brightness.require_bright({"x": one.astype(np.float32)})
    brightness.require_bright({"x": two.astype(np.float32)})


@IN_MEMORY
def test_what_exceeds_8_bits_is_told_how_to_scale(tmp_path, given):
    said = r"x_train has values in 0\.\.4095, .*: if 4095 is white, give x / 4095 as float32"
    values = levels(900, np.uint16)
    values[0, 0, 0] = 0
    values[3, 2, 1] = 4095
    with pytest.raises(DataError, match=said):
        given(tmp_path, values)


def test_bright_images_are_not_read_beyond_the_first_that_shows_it(monkeypatch):
    monkeypatch.setattr(brightness, "_BYTES_AT_ONCE", 16 * 5)
    read = []

    class Noted(Rows):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    images = levels(16)[..., None].copy()
    assert brightness.brightest(Noted(images), enough=128) == 16
    assert read == [slice(None, 1), *(slice(start, start + 5) for start in range(0, 60, 5))]
    images[12] = 200
    read.clear()
    assert brightness.brightest(Noted(images), enough=128) == 200
    assert read == [slice(None, 1), slice(0, 5), slice(5, 10), slice(10, 15)]

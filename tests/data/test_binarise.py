import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax import data

INTENSITIES = np.arange(256, dtype=np.uint8)


def binomial_test(draws, probability):
    """draws: [N, ...] of zeros and ones; each has its probability within 5 standard errors."""
    mean = np.mean(draws, axis=0, dtype=np.float64)
    error = np.sqrt(probability * (1 - probability) / len(draws))
    worst = np.max(np.abs(mean - probability) / np.maximum(error, 1e-12))
    assert np.all(np.abs(mean - probability) <= 5 * error), worst


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_dynamic_draws_have_the_intensity_as_their_mean(dtype):
    pixels = INTENSITIES if dtype == np.uint8 else (INTENSITIES / 255).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), 40_000)
    draws = np.asarray(jax.vmap(lambda key: data.dynamic(key, jnp.asarray(pixels)))(keys))
    assert draws.dtype == np.float32
    assert set(np.unique(draws)) == {0.0, 1.0}
    binomial_test(draws, INTENSITIES / 255)
    # Black stays black and white stays white, always: their error above is zero.
    assert not draws[:, 0].any()
    assert draws[:, 255].all()


def test_dynamic_draws_of_neighbouring_pixels_are_independent():
    draws = data.dynamic(jax.random.key(0), jnp.full((20_000, 8), 128, jnp.uint8))
    correlation = np.corrcoef(np.asarray(draws), rowvar=False) - np.eye(8)
    assert np.max(np.abs(correlation)) < 5 / np.sqrt(20_000)


def test_threshold_is_white_from_a_half_on():
    key = jax.random.key(0)
    white = np.asarray(data.threshold(key, jnp.asarray(INTENSITIES)))
    np.testing.assert_array_equal(white, INTENSITIES >= 128)
    np.testing.assert_array_equal(
        data.threshold(key, jnp.array([0.0, 0.49, 0.5, 1.0])), [0, 0, 1, 1]
    )


def test_grey_is_the_intensity():
    key = jax.random.key(0)
    np.testing.assert_allclose(data.grey(key, jnp.asarray(INTENSITIES)), INTENSITIES / 255)
    floats = jnp.array([0.0, 0.3, 1.0])
    np.testing.assert_array_equal(data.grey(key, floats), floats)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_draw_once_is_fixed_by_its_seed_and_has_the_right_mean(dtype):
    pixels = np.tile(INTENSITIES, (10_000, 1))  # more than one chunk
    if dtype == np.float32:
        pixels = (pixels / 255).astype(np.float32)
    first, again, other = (data.draw_once(pixels, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.uint8
    assert data.is_binary(first)
    binomial_test(first / 255, INTENSITIES / 255)
    # The chunks have noise of their own.
    assert not np.array_equal(first[:4096], first[4096:8192])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_rows_give_the_same_bits_as_their_array(dtype, tmp_path):
    rng = np.random.default_rng(0)
    if dtype == np.uint8:
        pixels = rng.integers(0, 256, (9_000, 2, 3), dtype)
    else:
        pixels = rng.uniform(size=(9_000, 2, 3)).astype(dtype)
    rows = data.Rows(pixels[:1000], pixels[1000:])
    np.testing.assert_array_equal(data.mean_example(rows), data.mean_example(pixels), strict=True)
    drawn = data.draw_once(pixels, seed=3)
    np.testing.assert_array_equal(data.draw_once(rows, seed=3), drawn, strict=True)

    path = tmp_path / "drawn.npy"
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=rows.shape)
    assert data.draw_once(rows, seed=3, out=out) is out
    out.flush()
    np.testing.assert_array_equal(np.load(path), drawn, strict=True)


@pytest.mark.parametrize("out", [np.empty((4, 2), np.uint8), np.empty((3, 2), np.float32)])
def test_a_draw_goes_into_what_it_fits_alone(out):
    with pytest.raises(ValueError, match=r"but must be uint8 \(3, 2\)"):
        data.draw_once(np.zeros((3, 2), np.uint8), seed=0, out=out)


def test_binary_pixels_are_recognised():
    assert data.is_binary(np.array([0, 255], np.uint8))
    assert not data.is_binary(np.array([0, 1], np.uint8))
    assert data.is_binary(np.array([0.0, 1.0], np.float32))
    assert not data.is_binary(np.array([0.5, 1.0], np.float32))
    pixels = np.zeros((9_000, 2), np.uint8)
    assert data.is_binary(data.Rows(pixels))
    pixels[-1, 1] = 254
    assert not data.is_binary(pixels)
    assert not data.is_binary(data.Rows(pixels))


def test_mean_example_is_the_mean_over_all_chunks():
    pixels = np.random.default_rng(0).integers(0, 256, (9_000, 3), dtype=np.uint8)
    np.testing.assert_allclose(data.mean_example(pixels), pixels.mean(axis=0) / 255, rtol=1e-5)
    white = data.mean_example(pixels, data.threshold)
    np.testing.assert_allclose(white, (pixels >= 128).mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("number", [1, 3, 9_000])
def test_sums_of_parts_are_those_of_all_to_the_bit(number):
    pixels = np.random.default_rng(0).integers(0, 256, (number, 3), dtype=np.uint8)
    whole = data.sum_of_examples(pixels)
    assert (type(whole), whole.dtype) == (np.ndarray, np.float64)
    for bound in (data.CHUNK, 2 * data.CHUNK):
        parts = [slice(0, bound), slice(bound, None)]
        sums = [data.sum_of_examples(pixels, part=part) for part in parts]
        np.testing.assert_array_equal(sum(sums), whole, strict=True)
    np.testing.assert_allclose(whole, pixels.sum(axis=0) / 255, rtol=1e-6)

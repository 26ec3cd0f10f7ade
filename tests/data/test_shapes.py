"""Shapes of known factors: all different, whole, and where their factors say they are."""

import zlib

import numpy as np
import pytest

from vae_jax.data import is_binary, load, shapes, split_indices


@pytest.fixture(scope="module")
def drawn():
    """Images [shape, scale, orientation, x, y, 32, 32] of 0 and 1."""
    images, _ = shapes.all_images()
    return images.reshape(*shapes.FACTORS.values(), 32, 32) // 255


def test_every_combination_of_factors_is_another_image():
    images, factors = shapes.all_images()
    assert images.shape == (13_824, 32, 32, 1)
    assert images.dtype == np.uint8
    assert is_binary(images)
    assert len({image.tobytes() for image in images}) == len(images)
    np.testing.assert_array_equal(np.unique(factors, axis=0), factors)
    assert len(factors) == len(images)
    np.testing.assert_array_equal(factors.max(axis=0) + 1, list(shapes.FACTORS.values()))
    assert factors.min() == 0


def test_no_shape_meets_the_border(drawn):
    assert not drawn[..., [0, -1], :].any()
    assert not drawn[..., [0, -1]].any()


def test_x_moves_to_the_right_and_y_upwards_by_a_pixel(drawn):
    np.testing.assert_array_equal(drawn[:, :, :, 1:, :, :, 1:], drawn[:, :, :, :-1, :, :, :-1])
    np.testing.assert_array_equal(drawn[..., 1:, :-1, :], drawn[..., :-1, 1:, :])


def test_scale_grows_in_equal_steps_whatever_the_shape(drawn):
    """Areas are proportional to the square of the size; the border's pixels are the error."""
    area = drawn[..., 0, 0, :, :].sum(axis=(-1, -2), dtype=float)
    relative = np.sqrt(area / area[:, -1:])
    expected = np.broadcast_to(np.array([0.55, 0.7, 0.85, 1.0])[None, :, None], relative.shape)
    np.testing.assert_allclose(relative, expected, atol=0.05)


def test_areas_are_those_of_the_formulas(drawn):
    """The largest ones, upright or turned: a square, an ellipse, and a heart by Monte Carlo."""
    area = drawn[:, -1, :, 0, 0].sum(axis=(-1, -2)).mean(axis=-1)
    x, y = np.random.default_rng(0).uniform(-1.5, 1.5, (2, 100_000))
    heart = 9.0 * np.mean((x**2 + y**2 - 1.0) ** 3 < x**2 * y**3) / 1.26**2
    expected = 9.85**2 * np.array([(2 * 0.68) ** 2, np.pi * 0.55, heart])
    np.testing.assert_allclose(area, expected, rtol=0.02)


def test_orientation_turns_anticlockwise_within_a_quarter(drawn):
    """The long axis of the ellipse, by its second moments, and the tip of the heart."""
    rows, columns = np.indices((32, 32))
    for orientation in range(8):
        angle = np.pi / 2 * orientation / 8
        ellipse, heart = drawn[1, -1, orientation, 0, 0], drawn[2, -1, orientation, 0, 0]
        x, y = columns[ellipse > 0], -rows[ellipse > 0]
        covariance = np.cov(x, y)
        found = 0.5 * np.arctan2(2 * covariance[0, 1], covariance[0, 0] - covariance[1, 1])
        assert abs(found - angle) < 0.05
        # The heart is widest at the end away from its tip, so that its third moment along its axis
        # is negative where the axis points away from the tip.
        x, y = (
            columns[heart > 0] - columns[heart > 0].mean(),
            rows[heart > 0].mean() - rows[heart > 0],
        )
        along = -np.sin(angle) * x + np.cos(angle) * y
        across = np.cos(angle) * x + np.sin(angle) * y
        assert np.mean(along**3) < -3 * abs(np.mean(across**3))


def test_the_images_are_the_same_everywhere():
    images, _ = shapes.all_images()
    assert zlib.crc32(images.tobytes()) == 0xDBC9AC70


def test_they_are_a_data_set_with_splits_whose_factors_can_be_found():
    dataset = load("shapes", split_seed=1)
    assert dataset.name == "shapes"
    assert [len(split) for split in dataset[1:4]] == [11_406, 1_036, 1_382]
    assert dataset.label_names == tuple(shapes.FACTORS)
    images, factors = shapes.all_images()
    splits = split_indices(len(images), num_validation=1_036, num_test=1_382, seed=1)
    for split, indices in zip(dataset[1:4], splits, strict=True):
        np.testing.assert_array_equal(split.x, images[indices])
        np.testing.assert_array_equal(split.labels, factors[indices])

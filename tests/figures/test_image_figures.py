"""Figures of images show every pixel that they are given."""

import io
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from vae_jax import figures


def random_images(*shape):
    return np.random.default_rng(0).uniform(size=shape)


def drawn(figure):
    """The array that a figure of images shows."""
    (image,) = figure.axes[0].images
    return np.asarray(image.get_array())


def png(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


EXAMPLES = {
    "image_grid": lambda: figures.image_grid(random_images(5, 4, 3, 3), 3, "title"),
    "samples": lambda: figures.samples(random_images(12, 8, 8, 1)),
    "side_by_side": lambda: figures.side_by_side(
        {"one": random_images(12, 8, 8, 1), "other": random_images(12, 8, 8, 1)}
    ),
    "reconstructions": lambda: figures.reconstructions(*random_images(2, 12, 8, 8, 1)),
    "labelled_rows": lambda: figures.labelled_rows(
        {"one": random_images(6, 8, 8, 1), "$z_2$ kept": random_images(6, 8, 8, 1)}
    ),
    "interpolation": lambda: figures.interpolation(random_images(2, 5, 8, 8, 1)),
    "manifold": lambda: figures.manifold(random_images(3, 3, 8, 8, 1), [0.1, 0.5, 0.9]),
}


@pytest.mark.parametrize("gap", [0, 2])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("count", "num_columns"), [(6, 3), (7, 3), (2, 3), (4, 1)])
def test_mosaic_holds_every_image_on_white(count, num_columns, channels, gap):
    images = random_images(count, 5, 4, channels)
    canvas = figures.mosaic(images, num_columns, gap)
    covered = np.zeros(canvas.shape, bool)
    for k in range(count):
        top, left = k // num_columns * (5 + gap), k % num_columns * (4 + gap)
        tile = np.s_[top : top + 5, left : left + 4]
        np.testing.assert_array_equal(canvas[tile], images[k])
        covered[tile] = True
    assert np.all(canvas[~covered] == 1)
    # The canvas ends where the last row and the widest one end.
    assert covered[-1].any()
    assert covered[:, -1].any()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "count"), [(3, 1), (7, 19), (28, 30), (46, 2)])
def test_png_repeats_every_pixel_equally_often(size, count, channels):
    # Values that eight bits hold exactly.
    images = np.round(255 * random_images(count, size, size, channels)) / 255
    figure = figures.image_grid(images, 10, "title")
    pixels = imread(io.BytesIO(png(figure)))[..., :3]
    (axes,) = figure.axes
    left, bottom, width, height = np.round(axes.get_window_extent().bounds).astype(int)
    top = len(pixels) - bottom - height
    region = pixels[top : top + height, left : left + width]
    canvas = figures.mosaic(images, 10)
    scale = width // canvas.shape[1]
    assert scale >= 1
    expected = canvas.repeat(scale, axis=0).repeat(scale, axis=1)
    # Grey goes through a colour map of 256 levels.
    np.testing.assert_allclose(region, np.broadcast_to(expected, region.shape), atol=1.01 / 255)


def test_reconstructions_stand_below_their_data():
    originals, means = random_images(2, 7, 6, 4, 3)
    figure = figures.reconstructions(originals, means, num_columns=3)
    canvas = drawn(figure)
    (axes,) = figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["data", "reconstruction"] * 3
    for row, centre in enumerate(axes.get_yticks()):
        top = round(centre - 2.5)
        source = (originals, means)[row % 2]
        for column, image in enumerate(source[row // 2 * 3 :][:3]):
            left = column * (canvas.shape[1] + 2) // 3
            np.testing.assert_array_equal(canvas[top : top + 6, left : left + 4], image)


def test_interpolation_runs_along_rows_from_0_to_1():
    images = random_images(2, 5, 6, 4, 3)
    figure = figures.interpolation(images)
    np.testing.assert_array_equal(
        drawn(figure), figures.mosaic(images.reshape(10, 6, 4, 3), num_columns=5)
    )
    (axes,) = figure.axes
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["0", "0.25", "0.5", "0.75", "1"]
    ends = [text.xy[0] for text in axes.texts if text.get_text() == "reconstruction"]
    assert ends == [axes.get_xticks()[0], axes.get_xticks()[-1]]


@pytest.mark.parametrize(("size", "num_ticks"), [(1, 1), (5, 5), (6, 6), (20, 5)])
def test_manifold_shows_each_latent_at_its_quantiles(size, num_ticks):
    images = random_images(size, size, 6, 4, 3)
    quantiles = (np.arange(size) + 0.5) / size
    figure = figures.manifold(images, quantiles)
    canvas = drawn(figure)
    (axes,) = figure.axes
    index = {f"{quantile:.3g}": k for k, quantile in enumerate(quantiles)}
    assert len(axes.get_xticks()) == len(axes.get_yticks()) == num_ticks
    assert axes.get_xlabel().startswith("$z_1$")
    assert axes.get_ylabel().startswith("$z_2$")
    for x, x_label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True):
        for y, y_label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True):
            left, top = round(x - 1.5), round(y - 2.5)
            np.testing.assert_array_equal(
                canvas[top : top + 6, left : left + 4],
                images[index[x_label.get_text()], index[y_label.get_text()]],
            )
    # Towards larger quantiles z1 goes right and z2 up.
    np.testing.assert_array_equal(canvas[-6:, :4], images[0, 0])
    np.testing.assert_array_equal(canvas[:6, :4], images[0, -1])
    np.testing.assert_array_equal(canvas[-6:, -4:], images[-1, 0])


@pytest.mark.parametrize("name", EXAMPLES)
def test_figures_are_deterministic(name):
    assert png(EXAMPLES[name]()) == png(EXAMPLES[name]())


def test_global_state_of_matplotlib_is_left_alone():
    code = """
import sys
import matplotlib as mpl
before = mpl.rcParams.copy()
from vae_jax import figures
figures.samples([[[[0.5]]]]).savefig(sys.stdout.buffer, format="png")
assert "matplotlib.pyplot" not in sys.modules
assert mpl.rcParams.copy() == before
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


IMAGES = random_images(4, 2, 2, 1)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: figures.image_grid(IMAGES[0], 2), r"images must be \[N, H, W, C\]"),
        (lambda: figures.image_grid(IMAGES[:0], 2), "not of shape"),
        (lambda: figures.image_grid(random_images(4, 2, 2, 2), 2), "C 1 or 3"),
        (lambda: figures.image_grid(IMAGES + 1, 2), r"in \[0, 1\]"),
        (lambda: figures.image_grid(IMAGES - 1, 2), r"in \[0, 1\]"),
        (lambda: figures.image_grid(IMAGES * np.nan, 2), r"in \[0, 1\]"),
        (lambda: figures.image_grid(IMAGES, 0), "num_columns"),
        (lambda: figures.reconstructions(IMAGES, IMAGES, 0), "num_columns"),
        (lambda: figures.reconstructions(IMAGES, IMAGES[:3]), "one shape"),
        (lambda: figures.interpolation(IMAGES), r"\[rows, steps, H, W, C\]"),
        (lambda: figures.interpolation(IMAGES.reshape(2, 2, 2, 2, 1)), "at least 3 steps"),
        (lambda: figures.manifold(IMAGES.reshape(1, 4, 2, 2, 1), [0.5]), r"\[R, R, H, W, C\]"),
        (lambda: figures.manifold(IMAGES.reshape(2, 2, 2, 2, 1), [0.5]), r"quantiles \[R\]"),
        (lambda: figures.manifold(IMAGES.reshape(2, 2, 2, 2, 1), [0.5, 0.5]), "increase"),
        (lambda: figures.manifold(IMAGES.reshape(2, 2, 2, 2, 1), [0.0, 0.5]), "above 0"),
    ],
)
def test_bad_input_is_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()

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


def history(num_epochs, splits=("train", "validation")):
    """A training that starts 400 nats below its end."""
    epochs = np.arange(1, num_epochs + 1)
    curves = {"epoch": list(epochs)}
    for offset, split in enumerate(splits):
        curves[f"{split}_reconstruction"] = -80 - 400 * np.exp(-3 * (epochs - 1)) - 10 / epochs
        curves[f"{split}_kl"] = 25 - 15 / epochs + offset
        curves[f"{split}_elbo"] = curves[f"{split}_reconstruction"] - curves[f"{split}_kl"]
    return {name: list(values) for name, values in curves.items()}


def gradient_curves():
    """The arguments of a figure of gradients; the second estimator starts at the second K."""
    k = [1, 10, 100, 1000]

    def parts(scale):
        values = scale * np.array([2.0, 0.7, 0.2, 0.05])
        encoder = {"pathwise": (k, values), "vimco": (k[1:], 3.0 * values[1:])}
        return {"encoder": encoder, "decoder": {"all estimators": (k, 1.0 / values)}}

    return {
        "signal_to_noise": parts(1.0),
        "variance": parts(2.0),
        "rms_t": parts(3.0),
        "slopes": {("encoder", "pathwise"): -0.5, ("encoder", "vimco"): None},
    }


EXAMPLES = {
    "image_grid": lambda: figures.image_grid(random_images(5, 4, 3, 3), 3, "title"),
    "samples": lambda: figures.samples(random_images(12, 8, 8, 1)),
    "reconstructions": lambda: figures.reconstructions(*random_images(2, 12, 8, 8, 1)),
    "interpolation": lambda: figures.interpolation(random_images(2, 5, 8, 8, 1)),
    "manifold": lambda: figures.manifold(random_images(3, 3, 8, 8, 1), [0.1, 0.5, 0.9]),
    "training_curves": lambda: figures.training_curves(history(5)),
    "gradient_estimators": lambda: figures.gradient_estimators(**gradient_curves()),
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


@pytest.mark.parametrize("num_epochs", [1, 2, 5, 100])
@pytest.mark.parametrize("splits", [("train",), ("train", "validation")])
def test_training_curves_are_the_history(num_epochs, splits):
    curves = history(num_epochs, splits)
    figure = figures.training_curves(curves)
    for axes, term in zip(figure.axes, ("elbo", "reconstruction", "kl"), strict=True):
        assert "nats" in axes.get_ylabel()
        assert axes.get_xlabel() == "epoch"
        assert [line.get_label() for line in axes.lines] == list(splits)
        for line in axes.lines:
            values = curves[f"{line.get_label()}_{term}"]
            np.testing.assert_array_equal(line.get_xdata(), curves["epoch"])
            np.testing.assert_array_equal(line.get_ydata(), values)
            lower, upper = axes.get_ylim()
            assert lower < values[-1] < upper
            # A line of one point is drawn as a point.
            assert (line.get_marker() == "o") == (num_epochs == 1)


def test_the_start_of_a_training_does_not_flatten_its_end():
    curves = history(30)
    lower, upper = figures.training_curves(curves).axes[0].get_ylim()
    assert curves["train_elbo"][0] < -480
    assert upper - lower < 30


def test_a_late_jump_stays_in_sight():
    curves = history(30)
    curves["validation_elbo"][-1] = -1000.0
    lower, _ = figures.training_curves(curves).axes[0].get_ylim()
    assert lower < -1000


def test_a_diverged_training_can_be_drawn():
    curves = history(5)
    curves["train_elbo"][3:] = [-np.inf, np.nan]
    curves["train_kl"] = curves["validation_kl"] = [np.nan] * 5
    figure = figures.training_curves(curves)
    png(figure)
    lower, upper = figure.axes[0].get_ylim()
    assert lower < curves["validation_elbo"][-1] < upper


def labelled(axes):
    """label -> (x, y), of the curves that have one."""
    lines = {line.get_label(): line.get_data() for line in axes.lines}
    return {label: data for label, data in lines.items() if not label.startswith("_")}


def test_gradients_are_the_given_curves_on_log_axes():
    given = gradient_curves()
    figure = figures.gradient_estimators(**given)
    panels = np.reshape(figure.axes, (3, 2))
    for quantity, row in zip(("signal_to_noise", "variance", "rms_t"), panels, strict=True):
        for curves, axes in zip(given[quantity].values(), row, strict=True):
            drawn = labelled(axes)
            drawn.pop("unbiased", None)
            assert drawn.keys() == curves.keys()
            for name, curve in curves.items():
                np.testing.assert_array_equal(drawn[name], curve)
            assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [axes.get_title() for axes in panels[0]] == ["encoder", "decoder"]
    assert "nats" in panels[1, 0].get_ylabel()
    # Biases of encoder and decoder are on one scale, with the line of none.
    assert panels[2, 0].get_ylim() == panels[2, 1].get_ylim()
    np.testing.assert_array_equal(labelled(panels[2, 1])["unbiased"][1], 1.0)
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["pathwise", "vimco", "all estimators", "theory for large K", "unbiased"]


def test_a_slope_of_theory_is_a_line_of_that_slope_beside_its_curve():
    axes, decoder = figures.gradient_estimators(**gradient_curves()).axes[:2]
    curve, *_, theory = (line for line in axes.lines if line.get_color() == "#0072B2")
    k, values = theory.get_data()
    assert list(k) == [100, 1000]
    np.testing.assert_allclose(np.diff(np.log(values)) / np.diff(np.log(k)), -0.5)
    assert 0.3 < values[-1] / curve.get_ydata()[-1] < 1.0
    assert [text.get_text() for text in axes.texts] == ["$K^{-1/2}$"]
    assert not decoder.texts
    assert len(axes.lines) == 3


def test_numbers_that_are_not_known_are_left_out_of_curves():
    given = gradient_curves()
    curves = given["signal_to_noise"]["encoder"]
    k, values = curves["pathwise"]
    curves["pathwise"] = (k, [*values[:2], np.nan, values[3]])
    figure = figures.gradient_estimators(**given)
    x, y = labelled(figure.axes[0])["pathwise"]
    np.testing.assert_array_equal(x, [1, 10, 1000])
    np.testing.assert_array_equal(y, values[[0, 1, 3]])
    nothing = {"encoder": {"pathwise": (k, [np.nan] * 4)}, "decoder": {}}
    png(figures.gradient_estimators(nothing, nothing, nothing, {("encoder", "pathwise"): 0.5}))


def test_a_dozen_curves_look_different():
    curves = {f"curve {i}": ([1, 2], [1.0 + i, 2.0 + i]) for i in range(12)}
    parts = {"encoder": curves}
    figure = figures.gradient_estimators(parts, parts, parts, {})
    looks = {
        (line.get_color(), line.get_marker(), line.get_linestyle(), line.get_fillstyle())
        for line in figure.axes[0].lines
    }
    assert len(looks) == 12


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
        (lambda: figures.training_curves({}), "epoch"),
        (lambda: figures.training_curves({"epoch": [1]}), "train_elbo"),
        (lambda: figures.training_curves(history(3) | {"validation_kl": [1.0]}), "validation_kl"),
    ],
)
def test_bad_input_is_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()

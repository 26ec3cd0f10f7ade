"""Figures of curves show the numbers that they are given, and say what they cut off."""

import io

import numpy as np
import pytest

from vae_jax import figures


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


def cut_off(axes):
    """The text in a panel about epochs that are not in sight."""
    return axes.get_title(loc="right")


def test_epochs_are_named_that_are_cut_off():
    curves = history(30, ("train",))
    axes = figures.training_curves(curves).axes[0]
    assert curves["train_elbo"][1] < axes.get_ylim()[0] < curves["train_elbo"][2]
    assert cut_off(axes) == "cut off: epochs 1–2"  # noqa: RUF001


@pytest.mark.parametrize("num_epochs", [2, 3, 9])
def test_a_short_training_is_shown_from_its_first_epoch(num_epochs):
    curves = history(num_epochs)
    for axes, term in zip(
        figures.training_curves(curves).axes, ("elbo", "reconstruction", "kl"), strict=True
    ):
        lower, upper = axes.get_ylim()
        for split in ("train", "validation"):
            assert lower < min(curves[f"{split}_{term}"])
            assert upper > max(curves[f"{split}_{term}"])
        assert cut_off(axes) == ""


def test_nothing_is_cut_where_that_would_not_help():
    curves = history(30, ("train",))
    curves["train_kl"] = list(np.linspace(10.0, 20.0, 30))
    curves["train_kl"][0] = 4.0  # an outlier of the whole, which is no larger than the rest
    axes = figures.training_curves(curves).axes[2]
    assert axes.get_ylim()[0] < 4.0
    assert cut_off(axes) == ""


def test_only_the_start_is_cut_off():
    curves = history(30, ("train",))
    curves["train_elbo"][14] = -900.0
    axes = figures.training_curves(curves).axes[0]
    assert axes.get_ylim()[0] < -900.0


def test_every_other_metric_has_a_panel():
    """All columns of metrics.jsonl are drawn, but for those that repeat others."""
    curves = history(4)
    more = {
        "step": [1, 2, 3, 4],
        "seconds": [1.0] * 4,
        "images_per_second": [5.0, 6.0, 7.0, 8.0],
        "train_loss": [-value for value in curves["train_elbo"]],
        "train_gradient_norm": [4.0, 3.0, 2.0, 1.0],
        "train_total_correlation": [None, 2.0, 1.0, 0.5],
    }
    axes = figures.training_curves(curves | more).axes[3:]
    assert [each.get_ylabel() for each in axes] == [
        *("examples per second", "norm of the gradient", "total correlation")
    ]
    np.testing.assert_array_equal(axes[2].lines[0].get_ydata(), [np.nan, 2.0, 1.0, 0.5])
    other_loss = figures.training_curves(curves | {"train_loss": [4.0, 3.0, 2.0, 1.0]})
    assert other_loss.axes[3].get_ylabel() == "loss (nats)"
    np.testing.assert_array_equal(other_loss.axes[3].lines[0].get_ydata(), [4.0, 3.0, 2.0, 1.0])


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


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.training_curves(history(5)),
        lambda: figures.gradient_estimators(**gradient_curves()),
    ],
)
def test_figures_are_deterministic(draw):
    assert png(draw()) == png(draw())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "epoch"),
        ({"epoch": [1]}, "train_elbo"),
        (history(3) | {"validation_kl": [1.0]}, "validation_kl"),
    ],
)
def test_bad_input_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        figures.training_curves(given)

"""Figures of sweeps, read back from what was drawn."""

import numpy as np
import pytest

from vae_jax.figures import metric_against, swept_curves


def test_curves_are_means_and_bands_reach_from_lowest_to_highest():
    curves = {"one": [[-9.0, -4.0, -3.0], [-7.0, -6.0, -2.0]], "two": [[-8.0, -7.0, -7.0]]}
    (axes,) = swept_curves(curves, "ELBO (nats)").axes
    one, two = axes.lines
    np.testing.assert_allclose(one.get_ydata(), [-8.0, -5.0, -2.5])
    np.testing.assert_allclose(two.get_ydata(), [-8.0, -7.0, -7.0])
    np.testing.assert_array_equal(one.get_xdata(), [1, 2, 3])
    band = axes.collections[0].get_paths()[0].vertices
    for epoch, lowest, highest in ((1, -9.0, -7.0), (2, -6.0, -4.0), (3, -3.0, -2.0)):
        found = band[band[:, 0] == epoch, 1]
        assert (found.min(), found.max()) == (lowest, highest)
    (legend,) = axes.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["one", "two"]
    assert axes.get_ylabel() == "ELBO (nats)"
    # Three epochs are in view from the first.
    assert axes.get_ylim()[0] < -9.0
    assert axes.get_ylim()[1] > -2.0
    assert axes.get_title(loc="right") == ""


def test_the_start_of_a_long_sweep_does_not_flatten_the_rest():
    """Each curve has a start of its own, also where one setting is far from the others."""
    steep = -400.0 * np.exp(-3.0 * np.arange(30.0))
    curves = {f"{end}": [end + steep] for end in (-90.0, -91.0, -92.0, -120.0)}
    (axes,) = swept_curves(curves, "ELBO (nats)").axes
    low, high = axes.get_ylim()
    assert -150.0 < low < -120.0
    assert -90.0 < high < -80.0
    assert axes.get_title(loc="right").startswith("cut off: epochs 1")


def test_a_metric_has_a_point_for_each_seed_and_a_line_of_means():
    results = {"a": [(4.0, [90.0, 92.0]), (1.0, [88.0])], "b": [(1.0, [80.0])]}
    (axes,) = metric_against("beta", results, "NLL (nats)").axes
    points = [line for line in axes.lines if line.get_marker() == "o"]
    lines = [line for line in axes.lines if line.get_marker() != "o"]
    drawn = sorted(
        (float(x), float(y))
        for line in points
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    )
    assert drawn == [(1.0, 80.0), (1.0, 88.0), (4.0, 90.0), (4.0, 92.0)]
    np.testing.assert_allclose(lines[0].get_xdata(), [1.0, 4.0])
    np.testing.assert_allclose(lines[0].get_ydata(), [88.0, 91.0])
    assert axes.get_xscale() == "linear"
    assert axes.get_xlabel() == "beta"


def labels(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def test_ticks_are_at_the_values():
    rates = [1e-3, 2e-3, 4e-3, 8e-3]
    (axes,) = metric_against("rate", {"": [(rate, [1.0]) for rate in rates]}, "NLL (nats)").axes
    assert axes.get_xscale() == "log"
    np.testing.assert_array_equal(axes.get_xticks(), rates)
    assert labels(axes) == ["0.001", "0.002", "0.004", "0.008"]
    assert axes.get_xticks(minor=True).size == 0


def test_ticks_without_room_have_no_label_and_the_ends_do():
    values = [0.0, 0.01, 0.02, 2.0, 3.99, 4.0]
    (axes,) = metric_against("beta", {"": [(each, [1.0]) for each in values]}, "NLL (nats)").axes
    np.testing.assert_array_equal(axes.get_xticks(), values)
    assert labels(axes) == ["0", "", "", "2", "", "4"]


def test_a_value_without_a_metric_keeps_its_place():
    results = {"": [(1.0, [np.nan]), (2.0, [90.0]), (3.0, [91.0])]}
    (axes,) = metric_against("beta", results, "NLL (nats)").axes
    assert axes.get_xlim()[0] < 1.0
    assert labels(axes) == ["1", "2", "3"]


def test_no_label_of_a_legend_is_cut_off():
    results = {f"latent_dim={n}, objective=iwae, num_samples=50": [(1.0, [n])] for n in range(12)}
    for figure in (
        metric_against("beta", results, "NLL (nats)"),
        swept_curves({name: [[1.0, 2.0]] for name in results}, "ELBO (nats)"),
    ):
        figure.draw_without_rendering()
        page, (legend,) = figure.bbox, figure.legends
        box = legend.get_window_extent()
        assert box.x0 >= page.x0
        assert box.x1 <= page.x1
        assert box.y0 >= page.y0
        # And it covers no axes, which keep their size.
        (axes,) = figure.axes
        assert box.y1 <= axes.get_window_extent().y0
        assert axes.get_window_extent().height > 300


def test_values_far_apart_have_a_logarithmic_axis():
    far = metric_against("rate", {"": [(1e-4, [1.0]), (1e-2, [2.0])]}, "NLL (nats)")
    assert far.axes[0].get_xscale() == "log"
    with_zero = metric_against("rate", {"": [(0.0, [1.0]), (1e-2, [2.0])]}, "NLL (nats)")
    assert with_zero.axes[0].get_xscale() == "linear"


def test_nothing_to_draw_is_an_error():
    with pytest.raises(ValueError, match="at least one"):
        swept_curves({}, "ELBO (nats)")
    with pytest.raises(ValueError, match="at least one"):
        swept_curves({"a": [1.0, 2.0]}, "ELBO (nats)")
    with pytest.raises(ValueError, match="at least one"):
        metric_against("beta", {}, "NLL (nats)")

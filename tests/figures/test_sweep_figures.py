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
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["one", "two"]
    assert axes.get_ylabel() == "ELBO (nats)"
    # What came in the second half is in view.
    assert axes.get_ylim()[0] < -7.0
    assert axes.get_ylim()[1] > -2.0


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

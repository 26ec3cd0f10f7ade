"""The figure of times shows the ratios that it is given."""

import numpy as np

from vae_jax import figures


def drawn():
    bar = figures.TimeBar
    return figures.times_over_bound(
        {
            "small": {"products": bar([1.0, 1.0], "2 ms"), "ours": bar([1.2, 1.6], "3 ms")},
            "large": {"products": bar([1.0], "20 ms"), "theirs": bar([4.0], "80 ms")},
        }
    )


def test_bars_are_medians_with_their_times_beside_them():
    (axes,) = drawn().axes
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [1.0, 1.4, 1.0, 4.0])
    assert [text.get_text() for text in axes.texts] == ["2 ms", "3 ms", "20 ms", "80 ms"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["small", "large"]
    first, last = axes.patches[0].get_y(), axes.patches[-1].get_y()
    bottom, top = axes.get_ylim()
    assert top < first < last < bottom  # the first on top
    assert axes.get_xlabel() == "time, as a multiple of that of the products"


def test_lines_go_from_the_least_ratio_to_the_most():
    (axes,) = drawn().axes
    ranges = [line.get_segments()[0][:, 0] for line in axes.collections]
    np.testing.assert_allclose(ranges, [[1.0, 1.0], [1.2, 1.6], [1.0, 1.0], [4.0, 4.0]])


def test_a_name_has_one_colour():
    figure = drawn()
    small, ours, large, theirs = (bar.get_facecolor() for bar in figure.axes[0].patches)
    assert small == large
    assert len({small, ours, theirs}) == 3
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["products", "ours", "theirs"]


def test_points_are_medians_and_dashes_the_line_that_is_given():
    panel = figures.CostPanel(
        quantity="batch size B",
        at=[10, 40],
        times=[[1.0, 3.0, 2.0], [8.0]],
        time_unit="ms/step",
        time_line=(0.5, 0.2),
        memory=[5.0, 6.0],
        memory_line=(4.0, 0.05),
    )
    above, below, *_ = figures.costs([panel]).axes
    line, points = above.lines
    np.testing.assert_allclose(points.get_ydata(), [2.0, 8.0])
    np.testing.assert_allclose(line.get_xdata()[[0, -1]], [10, 40])
    np.testing.assert_allclose(line.get_ydata()[[0, -1]], [2.5, 8.5])
    whiskers = [segment[:, 1] for segment in above.collections[0].get_segments()]
    np.testing.assert_allclose(whiskers, [[1.0, 3.0], [8.0, 8.0]])
    np.testing.assert_allclose(below.lines[1].get_ydata(), [5.0, 6.0])
    assert (above.get_ylabel(), below.get_xlabel()) == ("ms/step", "batch size B")

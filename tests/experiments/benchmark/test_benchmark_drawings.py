"""The figure of times shows the ratios that it is given."""

import numpy as np

from experiments.benchmark import drawings


def drawn():
    bar, group = drawings.TimeBar, drawings.TimeGroup
    return drawings.times_over_bound(
        [
            group("small", {"products": bar([1.0, 1.0], "2 ms"), "ours": bar([1.2, 1.6], "3 ms")}),
            group("large", {"one device": bar([1.0], "20 ms"), "two": bar([4.0], "80 ms")}),
        ]
    )


def test_bars_are_medians_with_their_times_beside_them():
    (axes,) = drawn().axes
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [1.0, 1.4, 1.0, 4.0])
    assert [text.get_text() for text in axes.texts] == [
        *("small", "2 ms", "3 ms, 1.40 times", "large", "20 ms", "80 ms, 4.00 times")
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        *("products", "ours", "one device", "two")
    ]
    first, last = axes.patches[0].get_y(), axes.patches[-1].get_y()
    bottom, top = axes.get_ylim()
    assert top < first < last < bottom  # the first on top
    assert axes.get_xlabel() == "time, as a multiple of that of the grey bar above"


def test_lines_go_from_the_least_ratio_to_the_most():
    (axes,) = drawn().axes
    ranges = [line.get_segments()[0][:, 0] for line in axes.collections]
    np.testing.assert_allclose(ranges, [[1.2, 1.6], [4.0, 4.0]])


def test_a_colour_has_one_meaning():
    """Grey is what times are compared with, and blue is what is compared."""
    figure = drawn()
    products, ours, one, two = (bar.get_facecolor() for bar in figure.axes[0].patches)
    assert products == one
    assert ours == two != one
    reference, measured = figure.legends[0].get_patches()
    assert (reference.get_facecolor(), measured.get_facecolor()) == (one, two)


def test_nothing_is_outside_the_page():
    figure = drawn()
    figure.draw_without_rendering()
    (axes,) = figure.axes
    for artist in (*figure.legends, *axes.texts, *axes.get_yticklabels()):
        box = artist.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y0 >= 0
        assert box.y1 <= figure.bbox.y1


def test_points_are_medians_and_dashes_the_line_that_is_given():
    panel = drawings.CostPanel(
        quantity="batch size B",
        at=[10, 40],
        times=[[1.0, 3.0, 2.0], [8.0]],
        time_unit="ms/step",
        time_line=(0.5, 0.2),
        memory=[5.0, 6.0],
        memory_line=(4.0, 0.05),
    )
    above, below, *_ = drawings.costs([panel]).axes
    line, points = above.lines
    np.testing.assert_allclose(points.get_ydata(), [2.0, 8.0])
    np.testing.assert_allclose(line.get_xdata()[[0, -1]], [10, 40])
    np.testing.assert_allclose(line.get_ydata()[[0, -1]], [2.5, 8.5])
    whiskers = [segment[:, 1] for segment in above.collections[0].get_segments()]
    np.testing.assert_allclose(whiskers, [[1.0, 3.0], [8.0, 8.0]])
    np.testing.assert_allclose(below.lines[1].get_ydata(), [5.0, 6.0])
    assert (above.get_ylabel(), below.get_xlabel()) == ("ms/step", "batch size B")

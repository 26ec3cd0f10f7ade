"""Figures of tables show the columns, ranges and frequencies that they are given."""

import matplotlib.colors
import numpy as np
import pytest

from vae_jax import figures
from vae_jax.figures.style import BLUE, RED

RNG = np.random.default_rng(0)
DATA = RNG.normal([0.0, 5.0, -3.0], [1.0, 0.1, 20.0], (400, 3))
SAMPLES = RNG.normal([0.0, 5.5, -3.0], [1.0, 0.1, 20.0], (300, 3))


def heights(axes, colour):
    """Heights and edges of the histogram of a colour."""
    patch = next(p for p in axes.patches if matplotlib.colors.same_color(p.get_edgecolor(), colour))
    return patch.get_xy()


def test_marginals_are_the_frequencies_of_each_column():
    figure = figures.marginals(DATA, SAMPLES, ["a", "b", "c"])
    axes = figure.axes
    assert [of.get_title() for of in axes] == ["a", "b", "c"]
    for column, of in enumerate(axes):
        for values, colour in ((DATA, BLUE), (SAMPLES, RED)):
            outline = heights(of, colour)
            edges = np.unique(outline[:, 0])
            found = outline[1::2, 1][: len(edges) - 1]
            expected, _ = np.histogram(values[:, column], edges)
            np.testing.assert_allclose(np.sort(found), np.sort(expected / len(values)), atol=1e-9)
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"data", "samples"}


def test_of_many_columns_the_most_different_are_drawn():
    data = RNG.normal(size=(200, 30))
    samples = RNG.normal(size=(200, 30))
    samples[:, [3, 17]] += 4.0
    titles = [axes.get_title() for axes in figures.marginals(data, samples).axes]
    assert len(titles) == 12
    assert {"3", "17"} < set(titles)


def test_pairs_show_data_below_and_samples_above_the_diagonal():
    figure = figures.pairs(DATA, SAMPLES, ["a", "b", "c"])
    grid = np.array(figure.axes).reshape(3, 3)
    (below,), (above,) = grid[2, 0].lines, grid[0, 2].lines
    np.testing.assert_array_equal(below.get_xydata(), DATA[:, [0, 2]])
    np.testing.assert_array_equal(above.get_xydata(), SAMPLES[:, [2, 0]])
    assert [axes.get_xlabel() for axes in grid[2]] == ["a", "b", "c"]
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["a", "b", "c"]


def test_heat_maps_show_logs_of_counts_of_the_most_varying_dimensions():
    counts = RNG.poisson(1.0, (200, 150))
    counts[:, :30] = 0
    samples = RNG.poisson(2.0, (50, 150))
    figure = figures.heat_maps(counts, counts + 0.5, samples)
    maps = [axes.images[0].get_array() for axes in figure.axes[:3]]
    assert [shown.shape for shown in maps] == [(120, 120), (120, 120), (50, 120)]
    order = np.argsort(-np.log1p(counts).var(axis=0), kind="stable")[:120]
    np.testing.assert_allclose(maps[0], np.log1p(counts[:120, order]))
    np.testing.assert_allclose(maps[2], np.log1p(samples[:, order]))
    assert not set(order) & set(range(30))


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda: figures.marginals(DATA, SAMPLES[:, :2]), r"with one D, not \(400, 3\)"),
        (lambda: figures.marginals(DATA, SAMPLES, ["a"]), "1 names for 3 columns"),
        (lambda: figures.pairs(DATA[:, :1], SAMPLES[:, :1]), "at least 2 columns, not 1"),
        (lambda: figures.heat_maps(DATA, DATA[:9], SAMPLES), "must have one shape"),
    ],
)
def test_what_is_refused_is_named(draw, said):
    with pytest.raises(ValueError, match=said):
        draw()

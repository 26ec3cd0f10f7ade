"""The figure of latent codes shows each example where it is, in the colour of its label."""

import numpy as np
import pytest
from matplotlib import colors

from vae_jax import figures
from vae_jax.figures.latents import principal_components

RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(60, 2))


def points(axes):
    """[N, 2], of all points of a scatter."""
    return np.concatenate([np.asarray(each.get_offsets()) for each in axes.collections])


def colour_of(axes, code):
    (marks,) = axes.collections
    (index,) = np.flatnonzero(np.all(np.asarray(marks.get_offsets()) == code, axis=1))
    return tuple(marks.get_facecolors()[index][:3])


def legend_of(figure):
    """name -> colour."""
    (legend,) = figure.legends
    return {
        text.get_text(): colors.to_rgb(line.get_color())
        for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)
    }


@pytest.mark.parametrize(
    "labels", [np.arange(60) % 7, np.array(["b", "a", "c"])[np.arange(60) % 3]]
)
def test_each_class_has_its_colour(labels):
    figure = figures.latent_scatter(CODES, labels, label_name="kind")
    (axes,) = figure.axes
    names = legend_of(figure)
    assert list(names) == sorted(set(map(str, labels)))
    assert len(set(names.values())) == len(names)
    assert figure.legends[0].get_title().get_text() == "kind"
    for code, label in zip(CODES, labels, strict=True):
        np.testing.assert_allclose(colour_of(axes, code), names[str(label)])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("$z_1$", "$z_2$")


def test_twenty_classes_look_different_and_twenty_one_have_a_colour_bar():
    twenty = figures.latent_scatter(CODES, np.arange(60) % 20)
    assert len(set(legend_of(twenty).values())) == 20
    more = figures.latent_scatter(CODES, np.arange(60) % 21)
    assert not more.legends
    assert len(more.axes) == 2


def test_real_labels_have_a_colour_bar_and_unknown_ones_are_grey():
    labels = np.linspace(-3.0, 5.0, 60)
    labels[10] = np.nan
    figure = figures.latent_scatter(CODES, labels, label_name="weight (g)")
    axes, bar = figure.axes
    unknown, known = axes.collections
    np.testing.assert_array_equal(np.asarray(unknown.get_offsets()), CODES[[10]])
    assert colors.to_hex(unknown.get_facecolors()[0]) == colors.to_hex("0.8")
    by_point = dict(zip(map(tuple, known.get_offsets()), known.get_array(), strict=True))
    assert by_point == {tuple(CODES[i]): labels[i] for i in range(60) if i != 10}
    assert known.get_clim() == (-3.0, 5.0)
    assert bar.get_ylabel() == "weight (g)"


def test_without_labels_all_have_one_colour():
    figure = figures.latent_scatter(CODES)
    assert {tuple(point) for point in points(figure.axes[0])} == {tuple(code) for code in CODES}
    assert len(np.unique(figure.axes[0].collections[0].get_facecolors(), axis=0)) == 1
    assert not figure.legends


def test_principal_components_are_those_of_the_covariance():
    codes = RNG.normal(size=(500, 5)) @ RNG.normal(size=(5, 5)) + 3.0
    found, shares = principal_components(codes)
    values, vectors = np.linalg.eigh(np.cov(codes.T, bias=True))
    np.testing.assert_allclose(shares, values[[-1, -2]] / values.sum(), rtol=1e-9)
    for column, vector in zip(found.T, vectors.T[[-1, -2]], strict=True):
        expected = (codes - codes.mean(axis=0)) @ (
            vector * np.sign(vector[np.abs(vector).argmax()])
        )
        np.testing.assert_allclose(column, expected, atol=1e-9)


def test_more_latents_are_projected_and_the_axes_say_so():
    """Three latents, of which the second has 16 and the third 4 of 21 parts of the variance."""
    signs = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)], float)
    codes = signs * [1.0, 4.0, 2.0]
    (axes,) = figures.latent_scatter(codes).axes
    assert axes.get_xlabel() == "1st principal component of 3 (76% of the variance)"
    assert axes.get_ylabel() == "2nd principal component of 3 (19% of the variance)"
    drawn = sorted(map(tuple, np.round(points(axes), 9)))
    assert drawn == sorted(map(tuple, codes[:, [1, 2]]))


def test_one_latent_has_a_row_for_each_class():
    labels = np.array(["low", "high"])[np.arange(60) % 2]
    figure = figures.latent_scatter(CODES[:, :1], labels)
    (axes,) = figure.axes
    rows = dict(zip([t.get_text() for t in axes.get_yticklabels()], axes.get_yticks(), strict=True))
    label_at = dict(zip(CODES[:, 0], labels, strict=True))
    assert len(points(axes)) == 60
    for z, height in points(axes):
        assert abs(height - rows[label_at[z]]) < 0.5


def test_one_latent_beside_a_real_label_and_alone():
    labels = RNG.normal(size=60)
    (axes,) = figures.latent_scatter(CODES[:, :1], labels, label_name="weight (g)").axes
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), np.stack([CODES[:, 0], labels], 1))
    assert axes.get_ylabel() == "weight (g)"
    (axes,) = figures.latent_scatter(CODES[:, :1]).axes
    assert sum(bar.get_height() for bar in axes.patches) == 60


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 5), (2, 3)])
def test_few_examples_can_be_drawn(shape):
    figures.latent_scatter(np.ones(shape), np.arange(shape[0])).draw_without_rendering()
    figures.latent_scatter(np.ones(shape)).draw_without_rendering()


@pytest.mark.parametrize(
    ("codes", "labels", "message"),
    [
        (np.zeros(3), None, r"codes must be \[N, L\] with N, L >= 1, not of shape \(3,\)"),
        (np.zeros((0, 2)), None, r"codes must be \[N, L\]"),
        (np.full((2, 2), np.nan), None, "codes must be finite"),
        (CODES, [1, 2], r"labels must be of shape \(60,\), as codes are, not \(2,\)"),
        (CODES, [f"{i}" for i in range(60)], "at most 20 different names, not 60"),
        (CODES, [None] * 60, "labels must be numbers or names"),
    ],
)
def test_bad_input_is_refused(codes, labels, message):
    with pytest.raises(ValueError, match=message):
        figures.latent_scatter(codes, labels)

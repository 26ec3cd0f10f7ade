"""Figures of the mechanics of a VAE hold the arrays that they are given."""

import io

import numpy as np
import pytest
from matplotlib.patches import Ellipse

from experiments.mechanics import drawings
from experiments.mechanics.drawings import LatentSpace, Plane

RNG = np.random.default_rng(0)
IMAGE = RNG.uniform(size=(6, 5, 1))
Z1, Z2 = np.linspace(-1.0, 2.0, 7), np.linspace(3.0, 4.0, 9)
DENSITY = np.exp(-((Z1[:, None] - 0.5) ** 2) - 20 * (Z2[None] - 3.4) ** 2)
FITTED = {0: ([0.0, 3.5], [1.0, 0.5]), 2: ([0.5, 3.4], [0.7, 0.2])}


def png(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def bayes_theorem():
    wide = Plane(4 * Z1, 2 * Z2, RNG.uniform(size=(7, 9)))
    log_likelihood = Plane(4 * Z1, 2 * Z2, np.linspace(-1000.0, -50.0, 63).reshape(7, 9))
    return drawings.bayes_theorem(IMAGE, wide, log_likelihood, Plane(Z1, Z2, DENSITY))


def variational_fit():
    plane = Plane(Z1, Z2, DENSITY)
    encoded = ([0.4, 3.3], [0.6, 0.1])
    return drawings.variational_fit(
        plane, FITTED, encoded, [-9.0, -5.0, -4.0], {0: 6.0, 2: 1.0}, -3
    )


def evidence_decomposition():
    return drawings.evidence_decomposition(
        [0, 1, 5, 20], [-9, -7, -6, -5], [-12, -8, -6.5, -5.2], [3, 1, 0.5, 0.2], [1e-9, 0, 1e-7, 1]
    )


def switched_off_terms():
    spaces = {
        name: LatentSpace(
            scale * RNG.normal(size=(4, 2)),
            np.full((4, 2), scale),
            RNG.uniform(size=(3, 6, 5, 1)),
            RNG.uniform(size=(6, 6, 5, 1)),
        )
        for name, scale in (("both", 1.0), ("one", 5.0))
    }
    return drawings.switched_off_terms(RNG.uniform(size=(3, 6, 5, 1)), spaces)


def gradient_histograms():
    rows = {
        place: ({"pathwise": exact + RNG.normal(size=500), "score": RNG.normal(size=500)}, exact)
        for place, exact in (("here", -1.0), ("there", 2.0))
    }
    return drawings.gradient_histograms(rows, r"$\mu_1$")


@pytest.mark.parametrize(
    "draw",
    [
        bayes_theorem,
        variational_fit,
        evidence_decomposition,
        switched_off_terms,
        gradient_histograms,
    ],
)
def test_every_figure_can_be_saved(draw):
    assert len(png(draw())) > 10_000


def heat_of(axes):
    (mesh,) = (each for each in axes.collections if hasattr(each, "get_coordinates"))
    return mesh


def test_densities_are_drawn_with_z1_to_the_right_and_z2_upwards():
    figure = bayes_theorem()
    image, prior, likelihood, posterior = figure.axes[:4]
    np.testing.assert_array_equal(np.squeeze(image.images[0].get_array()), IMAGE[..., 0])
    mesh = heat_of(posterior)
    np.testing.assert_array_equal(np.asarray(mesh.get_array()).reshape(9, 7), DENSITY.T)
    corners = mesh.get_coordinates()
    assert np.all(np.diff(corners[0, :, 0]) > 0)  # z1 along a row
    assert np.all(np.diff(corners[:, 0, 1]) > 0)
    # The part of the plane that is enlarged is marked in the others.
    for axes in (prior, likelihood):
        (box,) = axes.patches
        assert (box.get_x(), box.get_y()) == (-1.0, 3.0)
        assert (box.get_width(), box.get_height()) == (3.0, 1.0)
    assert heat_of(likelihood).get_clim() == (-350.0, -50.0)


def ellipses_of(axes):
    return [patch for patch in axes.patches if isinstance(patch, Ellipse)]


def test_the_fit_shows_two_standard_deviations_and_sums_on_the_evidence():
    plane, curves = variational_fit().axes
    drawn = ellipses_of(plane)
    assert [ellipse.get_center() for ellipse in drawn] == [(0, 3.5), (0.5, 3.4), (0.4, 3.3)]
    assert [ellipse.width for ellipse in drawn] == [4.0, 2.8, 2.4]
    np.testing.assert_allclose([ellipse.height for ellipse in drawn], [2.0, 0.8, 0.4])
    lines = {line.get_label(): line.get_data() for line in curves.lines}
    np.testing.assert_array_equal(lines["ELBO"][1], [-9.0, -5.0, -4.0])
    np.testing.assert_array_equal(lines["ELBO + KL"], [[0, 2], [-3.0, -3.0]])
    np.testing.assert_array_equal(lines[r"$\log\,p(x)$"][1], -3.0)


def test_the_decomposition_is_the_given_numbers():
    curves, left = evidence_decomposition().axes
    lines = {line.get_label(): line.get_ydata() for line in curves.lines}
    np.testing.assert_array_equal(lines["ELBO"], [-12, -8, -6.5, -5.2])
    np.testing.assert_allclose(lines["ELBO + KL"], [-9, -7, -6, -5])
    np.testing.assert_array_equal(lines[r"$\log\,p(x)$ by quadrature"], [-9, -7, -6, -5])
    # A residual of zero is drawn at the bottom of a logarithmic axis.
    np.testing.assert_array_equal(left.lines[0].get_ydata(), [1e-9, 1e-16, 1e-7, 1])
    assert left.get_yscale() == "log"
    assert "nats" in curves.get_ylabel() + left.get_ylabel()


def test_each_training_is_a_column_with_the_prior_in_sight():
    figure = switched_off_terms()
    rows = np.reshape(figure.axes, (4, 2))
    assert [axes.get_title() for axes in rows[0]] == ["both", "one"]
    for axes, std in zip(rows[0], (1.0, 5.0), strict=True):
        *posteriors, prior = ellipses_of(axes)
        assert len(posteriors) == 4
        assert {(each.width, each.height) for each in posteriors} == {(4 * std, 4 * std)}
        assert (prior.get_center(), prior.width) == ((0, 0), 4)
        low, high = axes.get_xlim()
        for each in (*posteriors, prior):
            assert low < each.get_center()[0] - 0.5 * each.width
            assert high > each.get_center()[0] + 0.5 * each.width
    for row, num_rows in ((1, 1), (2, 1), (3, 3)):
        for axes in rows[row]:
            assert axes.images[0].get_array().shape[0] == num_rows * 6 + 2 * (num_rows - 1)


def test_histograms_mark_the_exact_gradient_and_the_mean():
    figure = gradient_histograms()
    panels = np.reshape(figure.axes, (2, 2))
    assert [row[0].get_ylabel() for row in panels] == ["here", "there"]
    for row, exact in zip(panels, (-1.0, 2.0), strict=True):
        for axes, name in zip(row, ("pathwise", "score"), strict=True):
            assert axes.get_title().startswith(name)
            truth, mean = axes.lines
            assert truth.get_xdata()[0] == exact
            assert abs(mean.get_xdata()[0] - (exact if name == "pathwise" else 0.0)) < 0.3
    assert panels[1, 0].get_xlabel() == r"gradient of the ELBO in $\mu_1$"

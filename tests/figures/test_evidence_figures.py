"""Figures of log p(x) and of the latent space show the numbers that they are given."""

import io

import numpy as np
import pytest

from vae_jax import figures


def texts(axes):
    return [text.get_text() for text in axes.texts]


def gaps():
    bars = {
        "test": figures.GapBar(-90.0, -88.5, -87.0, 0.2),
        "train": figures.GapBar(-85.0, -84.0, -83.5, 0.1),
    }
    return figures.inference_gaps(bars, uncertainty=0.25)


def bounds():
    lower, upper = np.array([-3.0, -2.0]), np.array([-2.5, -1.0])
    return figures.evidence_bounds(lower, upper, [-1.0, -1.0], [-1.5, -1.7], num_weights=5000)


def units():
    return figures.latent_units(
        [0.1, 2.0, 0.0], [True, True, False], [0.0, 0.5, 0.0], [1.0, 1.5, 1.0]
    )


def curve():
    return figures.rate_distortion([0.0, 1.0, 3.0], [9.0, 5.0, 4.0], (2.5, 5.0), log_evidence=-6.0)


def histograms():
    scores = {"ELBO": (np.arange(20.0), np.arange(20.0) - 30), "log p(x)": ([1.0], [0.0])}
    return figures.score_histograms(scores, ("digits", "clothes"))


def test_gaps_are_stacked_to_the_inference_gap():
    (axes,) = gaps().axes
    widths = [[patch.get_width() for patch in group] for group in axes.containers[:3]]
    np.testing.assert_allclose(np.ravel(widths), [1.5, 1.5, 0.25])
    lefts = [group[0].get_x() for group in axes.containers[:3]]
    np.testing.assert_allclose(lefts, [0.0, 1.5, 3.0])
    assert texts(axes) == ["1.50", "1.50", "0.25", "1.00", "0.50", "0.25"]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["test\nELBO -90.00, log p(x) -87.00", "train\nELBO -85.00, log p(x) -83.50"]


def test_numbers_of_small_pieces_stand_beside_the_bar():
    bars = {"test": figures.GapBar(-90.0, -89.99, -80.0, 0.1)}
    (axes,) = figures.inference_gaps(bars, uncertainty=0.02).axes
    beside = {text.get_text() for text in axes.texts if text.xy[0] == pytest.approx(10.02)}
    assert beside == {"0.01", "0.02"}
    assert {text.get_text() for text in axes.texts} - beside == {"9.99"}


def test_bounds_show_differences_and_their_means():
    left, right = bounds().axes
    assert left.get_title(loc="right") == "mean 0.75"
    assert right.get_title(loc="right") == "mean 0.60"
    assert sum(patch.get_height() for patch in left.patches) == 2
    assert right.get_xlabel() == "AIS - IWAE-5,000, test examples (nats)"


def test_units_are_sorted_by_kl_and_inactive_ones_grey():
    top, _ = units().axes
    heights = {round(bar.get_x() + 0.4): bar.get_height() for bar in top.patches}
    assert heights == {1: 2.0, 2: 0.1, 3: 0.0}
    colors = {round(bar.get_x() + 0.4): bar.get_facecolor() for bar in top.patches}
    assert colors[1] == colors[2] != colors[3]


def test_a_line_is_behind_the_units_that_carry_the_kl():
    figure = figures.latent_units([0.1, 2.0, 1.0], [True] * 3, [0.0] * 3, [1.0] * 3, num_carrying=2)
    assert [line.get_xdata() for line in figure.axes[0].lines] == [[2.5, 2.5]]
    (legend,) = figure.legends
    assert "98 % of the KL: the first 2" in [text.get_text() for text in legend.get_texts()]


def test_the_curve_the_encoder_and_the_evidence():
    (axes,) = curve().axes
    decoder, encoder, evidence = axes.lines
    np.testing.assert_array_equal(decoder.get_xydata(), [[0, 9], [1, 5], [3, 4]])
    np.testing.assert_array_equal(encoder.get_xydata(), [[2.5, 5.0]])
    np.testing.assert_allclose(evidence.get_xydata().sum(axis=1), 6.0)


def test_histograms_of_both_kinds_share_their_bins():
    left, _ = histograms().axes
    edges = {round(patch.get_x(), 6) for patch in left.patches}
    assert len(left.patches) == 80
    assert len(edges) == 40
    (legend,) = left.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["digits", "clothes"]


@pytest.mark.parametrize("draw", [gaps, bounds, units, curve, histograms])
def test_figures_can_be_drawn_and_are_deterministic(draw):
    def png():
        buffer = io.BytesIO()
        draw().savefig(buffer, format="png")
        return buffer.getvalue()

    assert png() == png()

"""Figures of what is known of log p(x), and of the latent space."""

from collections.abc import Mapping
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from vae_jax.figures.style import DPI, PAGE_WIDTH, STYLE

# Of Okabe and Ito's palette.
_BLUE, _ORANGE, _GREY = "#0072B2", "#E69F00", "0.6"


class GapBar(NamedTuple):
    """Means over the examples of a split, nats."""

    elbo: float  # of the encoder's q(z|x)
    best_elbo: float  # of the best q of its family
    log_evidence: float
    standard_error: float  # of the inference gap


@mpl.rc_context(STYLE)
def inference_gaps(bars: Mapping[str, GapBar], uncertainty: float) -> Figure:
    """Draws what separates the ELBO from log p(x), one stacked bar for each split.

    Args:
      bars: split -> its means.
      uncertainty: nats by which log p(x) may be higher than estimated.
    """
    figure = Figure((PAGE_WIDTH, 0.8 + 0.4 * len(bars)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    longest = max(bar.log_evidence - bar.elbo for bar in bars.values()) + uncertainty
    for row, bar in enumerate(bars.values()):
        pieces = [
            (bar.best_elbo - bar.elbo, _ORANGE, "amortisation gap"),
            (bar.log_evidence - bar.best_elbo, _BLUE, "approximation gap"),
            (uncertainty, _GREY, "log p(x) may be higher by"),
        ]
        left = 0.0
        for width, color, label in pieces:
            label = None if row else label
            axes.barh(row, width, left=left, color=color, height=0.6, label=label)
            if width > 0:
                fits = width > 0.05 * longest  # or it stands beside its piece
                axes.annotate(
                    f"{width:.2f}",
                    (left + (0.5 if fits else 1.0) * width, row),
                    xytext=(0 if fits else 2, 0),
                    textcoords="offset points",
                    ha="center" if fits else "left",
                    va="center",
                    color="white" if fits and color == _BLUE else "black",
                )
            left += width
        inference = bar.log_evidence - bar.elbo
        # Below the numbers.
        axes.errorbar(inference, row + 0.2, xerr=bar.standard_error, color="black", capsize=2)
    labels = [
        f"{split}\nELBO {bar.elbo:.2f}, log p(x) {bar.log_evidence:.2f}"
        for split, bar in bars.items()
    ]
    axes.set_yticks(range(len(bars)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("nats above the ELBO of the encoder, mean over images")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


@mpl.rc_context(STYLE)
def evidence_bounds(
    simulated_lower: ArrayLike,
    simulated_upper: ArrayLike,
    annealed: ArrayLike,
    importance: ArrayLike,
    num_weights: int,
) -> Figure:
    """Draws how far bounds on log p(x) are from each other, example by example.

    Args:
      simulated_lower: [N] by annealed importance sampling, of simulated examples.
      simulated_upper: [N] by its reverse.
      annealed: [M] lower bounds of test examples.
      importance: [M] importance-weighted ones.
      num_weights: samples of these.
    """
    figure = Figure((PAGE_WIDTH, 1.9), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2)
    gap = np.asarray(simulated_upper) - np.asarray(simulated_lower)
    difference = np.asarray(annealed) - np.asarray(importance)
    for axes, values, label in (
        (left, gap, "upper - lower bound, simulated images (nats)"),
        (right, difference, f"AIS - IWAE-{num_weights:,}, test images (nats)"),
    ):
        axes.hist(values, bins=25, color=_BLUE)
        axes.axvline(values.mean(), color="black", linewidth=0.8)
        axes.annotate(
            f"mean {values.mean():.2f}",
            (values.mean(), 0.95),
            xycoords=("data", "axes fraction"),
            xytext=(4, 0),
            textcoords="offset points",
            va="top",
        )
        axes.axvline(0.0, color="0.5", linewidth=0.6, linestyle=":")
        axes.set(xlabel=label, ylabel="images")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


@mpl.rc_context(STYLE)
def latent_units(
    kl: ArrayLike, active: ArrayLike, aggregate_mean: ArrayLike, aggregate_std: ArrayLike
) -> Figure:
    """Draws each latent dimension, those that carry most to the left.

    Args:
      kl: [L] mean KL to the prior, nats.
      active: [L] whether a dimension varies with x.
      aggregate_mean: [L] of the aggregate posterior; of the prior it is 0.
      aggregate_std: [L] of the prior it is 1.
    """
    kl, active = np.asarray(kl), np.asarray(active)
    order = np.argsort(-kl)
    figure = Figure((PAGE_WIDTH, 2.8), dpi=DPI, layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    rank = np.arange(len(kl))
    mean, std = np.asarray(aggregate_mean)[order], np.asarray(aggregate_std)[order]
    for state, color, label in ((True, _BLUE, "active"), (False, _GREY, "inactive")):
        chosen = active[order] == state
        if chosen.any():
            top.bar(rank[chosen], kl[order][chosen], color=color)
            bottom.errorbar(
                rank[chosen],
                mean[chosen],
                yerr=std[chosen],
                fmt="o",
                color=color,
                linewidth=0.8,
                label=f"aggregate posterior, {label}",
            )
    top.set_ylabel("mean KL (nats)")
    bottom.axhspan(-1.0, 1.0, color="0.93", label="prior, mean ± std", zorder=0)
    bottom.axhline(0.0, color="0.5", linewidth=0.6)
    bottom.set(xlabel="latent dimension, by KL", ylabel="z", ylim=_limits(mean, std))
    bottom.legend(ncols=3)
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


@mpl.rc_context(STYLE)
def rate_distortion(
    rate: ArrayLike, distortion: ArrayLike, vae: tuple[float, float], log_evidence: float
) -> Figure:
    """Draws the rate-distortion curve of a decoder, and where its encoder is.

    Args:
      rate: [T] nats, means over examples.
      distortion: [T] nats.
      vae: KL and minus reconstruction of the same examples.
      log_evidence: their mean log p(x): no point lies below rate + distortion = -log p(x).
    """
    rate, distortion = np.asarray(rate), np.asarray(distortion)
    figure = Figure((0.6 * PAGE_WIDTH, 2.6), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.plot(rate, distortion, color=_BLUE, label="decoder, by annealing (upper bound)")
    axes.plot(*vae, "s", color=_ORANGE, label="encoder and decoder (KL, -reconstruction)")
    line = np.array([0.0, max(rate.max(), vae[0]) * 1.05])
    axes.plot(line, -log_evidence - line, color="0.5", linestyle=":", label="-log p(x) in all")
    axes.set(xlabel="rate (nats)", ylabel="distortion (nats)", xlim=(0, line[1]))
    if min(distortion.min(), vae[1]) >= 0:  # those of densities may be negative
        axes.set_ylim(bottom=0)
    axes.legend()
    return figure


@mpl.rc_context(STYLE)
def score_histograms(
    scores: Mapping[str, tuple[ArrayLike, ArrayLike]], names: tuple[str, str]
) -> Figure:
    """Draws scores of images of the model's kind beside those of another.

    Args:
      scores: label of a score -> its values inside, [N], and outside, [M].
      names: of the two kinds.
    """
    figure = Figure((PAGE_WIDTH, 1.9), dpi=DPI, layout="constrained")
    for axes, (label, pair) in zip(
        np.ravel(figure.subplots(1, len(scores))), scores.items(), strict=True
    ):
        bins = np.histogram_bin_edges(np.concatenate([np.asarray(values) for values in pair]), 40)
        for values, name, color in zip(pair, names, (_BLUE, _ORANGE), strict=True):
            axes.hist(values, bins=bins, density=True, alpha=0.6, color=color, label=name)
        axes.set(xlabel=label, yticks=[])
        axes.spines["left"].set_visible(False)
    figure.axes[0].legend()
    return figure


def _limits(mean: np.ndarray, std: np.ndarray) -> tuple[float, float]:
    reach = 1.1 * max(1.0, float(np.max(np.abs(mean) + std)))
    return -reach, 1.35 * reach  # with room for the legend

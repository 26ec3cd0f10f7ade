"""Figures of log p(x) and its bounds, and of the latent space."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from vae_jax.figures.figure import DPI, Figure
from vae_jax.figures.style import BLUE, GREY, ORANGE, PAGE_WIDTH, STYLE, legend_below


class GapBar(NamedTuple):
    """ELBOs and log p(x) of a split, means over its examples, nats."""

    elbo: float  # ELBO of the encoder's q(z|x)
    best_elbo: float  # ELBO of the best q of the same family
    log_evidence: float
    standard_error: float  # standard error of the inference gap


@mpl.rc_context(STYLE)
def inference_gaps(bars: Mapping[str, GapBar], uncertainty: float) -> Figure:
    """Draws the gap between the ELBO and log p(x), one stacked bar for each split.

    Args:
      bars: split -> means of the split.
      uncertainty: nats by which log p(x) may be higher than estimated.
    """
    figure = Figure((PAGE_WIDTH, 0.5 + 0.4 * len(bars)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    handles: dict[str, Any] = {}
    longest = max(bar.log_evidence - bar.elbo for bar in bars.values()) + uncertainty
    for row, bar in enumerate(bars.values()):
        pieces = [
            (bar.best_elbo - bar.elbo, ORANGE, "amortisation gap"),
            (bar.log_evidence - bar.best_elbo, BLUE, "approximation gap"),
            (uncertainty, GREY, "log p(x) may be higher by"),
        ]
        left, small = 0.0, []
        for width, color, label in pieces:
            handles[label] = axes.barh(row, width, left=left, color=color, height=0.6)
            if width > 0.06 * longest:
                axes.annotate(
                    f"{width:.2f}",
                    (left + 0.5 * width, row),
                    ha="center",
                    va="center",
                    color="white" if color == BLUE else "black",
                )
            else:
                small.append((width, color))
            left += width
        _list_beside(axes, (max(left, 0.0), row), small)
        inference = bar.log_evidence - bar.elbo
        # Below the numbers.
        handles["inference gap ± standard error"] = axes.errorbar(
            inference, row + 0.2, xerr=bar.standard_error, color="black", capsize=2, lw=0.8
        )
    labels = [
        f"{split}\nELBO {bar.elbo:.2f}, log p(x) {bar.log_evidence:.2f}"
        for split, bar in bars.items()
    ]
    axes.set_yticks(range(len(bars)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("nats above the ELBO of the encoder, mean over examples")
    axes.set_xlim(right=1.25 * longest)
    legend_below(figure, handles)
    return figure


@mpl.rc_context(STYLE)
def evidence_bounds(
    simulated_lower: ArrayLike,
    simulated_upper: ArrayLike,
    annealed: ArrayLike,
    importance: ArrayLike,
    num_weights: int,
) -> Figure:
    """Draws the distances between bounds on log p(x), example by example.

    Args:
      simulated_lower: [N], lower bounds of simulated examples, by annealed importance sampling.
      simulated_upper: [N], their upper bounds, by annealing in reverse.
      annealed: [M], lower bounds of test examples, by annealed importance sampling.
      importance: [M], importance-weighted bounds of the same examples.
      num_weights: number of samples of the importance-weighted bounds.
    """
    figure = Figure((PAGE_WIDTH, 1.9), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2)
    gap = np.asarray(simulated_upper) - np.asarray(simulated_lower)
    difference = np.asarray(annealed) - np.asarray(importance)
    for axes, values, label in (
        (left, gap, "upper - lower bound, simulated examples (nats)"),
        (right, difference, f"AIS - IWAE-{num_weights:,}, test examples (nats)"),
    ):
        axes.hist(values, bins=25, color=BLUE)
        axes.axvline(values.mean(), color="black", linewidth=0.8)
        axes.set_title(f"mean {values.mean():.2f}", loc="right", size=6)
        axes.axvline(0.0, color="0.5", linewidth=0.6, linestyle=":")
        axes.set(xlabel=label, ylabel="examples")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


@mpl.rc_context(STYLE)
def latent_units(
    kl: ArrayLike | None,
    active: ArrayLike,
    aggregate_mean: ArrayLike,
    aggregate_std: ArrayLike,
    *,
    prior_mean: ArrayLike = 0.0,
    prior_std: ArrayLike = 1.0,
    num_carrying: int | None = None,
) -> Figure:
    """Draws each latent dimension, with those of the largest KL on the left.

    Args:
      kl: [L], mean KL to the prior, nats; None if it is not known, so that there is nothing to draw
        of it and nothing to sort by.
      active: [L], whether a dimension varies with x.
      aggregate_mean: [L], means of the aggregate posterior.
      aggregate_std: [L], standard deviations of the aggregate posterior.
      prior_mean: [L] or [], means of the prior, NaN if they are not known.
      prior_std: [L] or [], standard deviations of the prior, NaN likewise.
      num_carrying: number of dimensions that have 98 % of the KL; a line separates them.
    """
    active = np.asarray(active)
    height = np.zeros(len(active)) if kl is None else np.asarray(kl)
    order = np.argsort(-height, kind="stable")
    figure = Figure((PAGE_WIDTH, 2.8), dpi=DPI, layout="constrained")
    if kl is None:
        bottom = figure.subplots()
        both = [bottom]
    else:
        top, bottom = both = figure.subplots(2, 1, sharex=True)
        top.set_ylabel("mean KL (nats)")
    rank = np.arange(1, len(active) + 1)
    handles: dict[str, Any] = {}
    mean, std = np.asarray(aggregate_mean)[order], np.asarray(aggregate_std)[order]
    middle = np.broadcast_to(prior_mean, len(active))[order]
    reach = np.broadcast_to(prior_std, len(active))[order]
    for state, color, label in ((True, BLUE, "active"), (False, GREY, "inactive")):
        chosen = active[order] == state
        if chosen.any():
            if kl is not None:
                top.bar(rank[chosen], height[order][chosen], color=color)
            handles[f"aggregate posterior, mean ± std, {label}"] = bottom.errorbar(
                rank[chosen],
                mean[chosen],
                yerr=std[chosen],
                fmt="o",
                color=color,
                linewidth=0.8,
            )
    if np.isfinite(reach).all():
        handles["prior, mean ± std"] = bottom.bar(
            rank, 2.0 * reach, 1.0, middle - reach, color="0.9", zorder=0, linewidth=0
        )
        edges = np.append(rank - 0.5, rank[-1] + 0.5)
        bottom.stairs(middle, edges, baseline=None, color="0.5", linewidth=0.6)
    if num_carrying and num_carrying < len(active):
        for axes in both:
            line = axes.axvline(num_carrying + 0.5, color="0.3", linewidth=0.8, linestyle="--")
        handles[f"98 % of the KL: the first {num_carrying}"] = line
    most = 1.1 * max(
        float(np.nanmax(np.abs(np.append(middle + reach, middle - reach)), initial=1.0)),
        float(np.max(np.abs(mean) + std)),
    )
    label = "latent dimension" if kl is None else "latent dimension, by KL"
    bottom.set(xlabel=label, ylabel="latent z", ylim=(-most, most))
    legend_below(figure, handles)
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


@mpl.rc_context(STYLE)
def rate_distortion(
    rate: ArrayLike, distortion: ArrayLike, vae: tuple[float, float], log_evidence: float
) -> Figure:
    """Draws the rate-distortion curve of a decoder, and the point of its encoder.

    Args:
      rate: [T], mean rates over examples, nats.
      distortion: [T], mean distortions over examples, nats.
      vae: mean KL and minus the mean reconstruction of the same examples, nats.
      log_evidence: mean log p(x) of the same examples, nats. No point lies below the line
        rate + distortion = -log p(x).
    """
    rate, distortion = np.asarray(rate), np.asarray(distortion)
    figure = Figure((0.6 * PAGE_WIDTH, 2.4), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.plot(rate, distortion, color=BLUE, label="decoder, by annealing (upper bound)")
    axes.plot(*vae, "s", color=ORANGE, label="encoder and decoder (KL, -reconstruction)")
    line = np.array([0.0, max(rate.max(), vae[0]) * 1.05])
    axes.plot(
        line,
        -log_evidence - line,
        color="0.5",
        linestyle=":",
        label="rate + distortion = -log p(x)",
    )
    axes.set(xlabel="rate (nats)", ylabel="distortion (nats)", xlim=(0, line[1]))
    if min(distortion.min(), vae[1]) >= 0:  # distortions of densities may be negative
        axes.set_ylim(bottom=0)
    legend_below(figure, {str(line.get_label()): line for line in axes.lines})
    return figure


@mpl.rc_context(STYLE)
def score_histograms(
    scores: Mapping[str, tuple[ArrayLike, ArrayLike]], names: tuple[str, str]
) -> Figure:
    """Draws the scores of a data set beside those of another one.

    Args:
      scores: label of a score -> its values for the two data sets, [N] and [M].
      names: names of the two data sets.
    """
    figure = Figure((PAGE_WIDTH, 1.8), dpi=DPI, layout="constrained")
    handles: dict[str, Any] = {}
    for axes, (label, pair) in zip(
        np.ravel(figure.subplots(1, len(scores))), scores.items(), strict=True
    ):
        bins = np.histogram_bin_edges(np.concatenate([np.asarray(values) for values in pair]), 40)
        for values, name, color in zip(pair, names, (BLUE, ORANGE), strict=True):
            bars = axes.hist(values, bins=bins, density=True, alpha=0.6, color=color)[2]
            handles[name] = bars[0]
        axes.set(xlabel=label, yticks=[])
        axes.spines["left"].set_visible(False)
    legend_below(figure, handles)
    return figure


def _list_beside(axes: Axes, end: tuple[float, int], numbers: Sequence[tuple[float, str]]) -> None:
    """Writes numbers beside the end of a bar whose pieces are too small to hold them."""
    for index, (number, color) in enumerate(numbers):
        axes.annotate(
            f"{number:.2f}",
            end,
            xytext=(5 + 22 * index, 0),
            textcoords="offset points",
            va="center",
            color="0.4" if color == GREY else color,
        )

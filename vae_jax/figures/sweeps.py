"""Figures of sweeps: several settings, each trained with several seeds."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from vae_jax.figures.figure import DPI, Figure
from vae_jax.figures.limits import cut_off_start
from vae_jax.figures.style import DASHES, PAGE_WIDTH, PALETTE, STYLE, legend_below

_LOGARITHMIC = 5.0  # positive values that span more than this factor have a logarithmic axis
# As parts of the width of the axes: a letter of a tick label, and the room between two labels.
_LETTER, _SPACE = 0.009, 0.015


@mpl.rc_context(STYLE)
def swept_curves(curves: Mapping[str, ArrayLike], label: str) -> Figure:
    """Draws a quantity over the epochs: the mean over seeds, and a band from the lowest to the
    highest.

    The steep start of a long training may leave the frame, so that it does not flatten what tells
    settings apart; the figure then says which epochs are cut off.

    Args:
      curves: setting -> [seeds, epochs]; in the order of the legend.
      label: the name of the quantity, with its unit.

    Raises:
      ValueError: there is no curve, or one is not of two axes.
    """
    arrays = {name: np.asarray(values, dtype=float) for name, values in curves.items()}
    if not arrays or any(values.ndim != 2 or not values.size for values in arrays.values()):
        raise ValueError("curves must hold arrays [seeds, epochs], at least one.")
    figure = Figure((PAGE_WIDTH, 2.4), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for index, (name, values) in enumerate(arrays.items()):
        epochs = np.arange(1, values.shape[1] + 1)
        colour, dashes = _look(index)
        if len(values) > 1:
            axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.2, lw=0)
        marker = "o" if values.shape[1] == 1 else ""
        axes.plot(epochs, values.mean(0), dashes, color=colour, marker=marker, label=name)
    longest = max(values.shape[1] for values in arrays.values())
    padded = [_padded(values, longest) for values in arrays.values()]
    cut_off_start(axes, np.arange(1, longest + 1), np.concatenate(padded))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.ticklabel_format(axis="y", useOffset=False)
    if len(arrays) > 1:
        legend_below(figure, {str(line.get_label()): line for line in axes.lines})
    return figure


@mpl.rc_context(STYLE)
def metric_against(
    name: str, results: Mapping[str, Sequence[tuple[float, ArrayLike]]], label: str
) -> Figure:
    """Draws a metric against the swept value: a point for each seed, a line through the means.

    Args:
      name: the name of what is swept, along the horizontal axis, which has its ticks at the values
        and is logarithmic if they are positive and span more than a factor of 5.
      results: setting of everything else -> (value, metric of each seed [n]) pairs.
      label: the name of the metric, with its unit.

    Raises:
      ValueError: there is nothing to draw.
    """
    values = [value for pairs in results.values() for value, _ in pairs]
    if not values:
        raise ValueError("results must hold at least one value.")
    figure = Figure((PAGE_WIDTH, 2.4), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    _set_ticks(axes, sorted(set(values)))
    for index, (setting, pairs) in enumerate(results.items()):
        colour, dashes = _look(index)
        pairs = sorted(pairs, key=lambda pair: pair[0])
        for value, metric in pairs:
            seeds = np.atleast_1d(np.asarray(metric, dtype=float))
            axes.plot(np.full(len(seeds), value), seeds, "o", ms=3, mfc="none", color=colour)
        means = [float(np.mean(np.asarray(metric, float))) for _, metric in pairs]
        axes.plot([value for value, _ in pairs], means, dashes, color=colour, label=setting)
    axes.set_xlabel(name)
    axes.set_ylabel(label)
    if len(results) > 1:
        lines = (line for line in axes.lines if line.get_label() in results)
        legend_below(figure, {str(line.get_label()): line for line in lines})
    return figure


def _look(index: int) -> tuple[str, str]:
    """Colour and dashes of the curve of this number."""
    return PALETTE[index % len(PALETTE)], DASHES[index // len(PALETTE) % len(DASHES)]


def _padded(values: NDArray, length: int) -> NDArray:
    """[seeds, epochs] made [seeds, length], by the last values."""
    return np.pad(values, ((0, 0), (0, length - values.shape[1])), mode="edge")


def _set_ticks(axes: Axes, values: Sequence[float]) -> None:
    """Ticks at the values, ascending, labelled where there is room; the first and last always."""
    logarithmic = values[0] > 0 and values[-1] > _LOGARITHMIC * values[0]
    at = np.log(values) if logarithmic else np.asarray(values, dtype=float)
    span = np.ptp(at) or 1.0
    limits = np.array([at[0] - 0.04 * span, at[-1] + 0.04 * span])
    if logarithmic:
        axes.set_xscale("log")
        limits = np.exp(limits)
    axes.set_xlim(*limits)
    texts = [f"{value:g}" for value in values]
    places = (at - at[0]) / span
    halves = [0.5 * (_LETTER * len(text) + _SPACE) for text in texts]
    labelled: list[int] = []
    for index in (0, *range(len(values) - 1, 0, -1)):
        room = [abs(places[index] - places[k]) - halves[index] - halves[k] for k in labelled]
        if index in (0, len(values) - 1) or min(room) > 0:
            labelled.append(index)
    axes.set_xticks(values, [text if k in labelled else "" for k, text in enumerate(texts)])
    axes.xaxis.set_minor_locator(NullLocator())

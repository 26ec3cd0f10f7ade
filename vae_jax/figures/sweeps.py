"""Figures of sweeps: several settings, each trained with several seeds."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from vae_jax.figures.style import DPI, PAGE_WIDTH, STYLE

_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442"]
_DASHES = ["-", "--", "-.", ":"]


@mpl.rc_context(STYLE)
def swept_curves(curves: Mapping[str, ArrayLike], label: str) -> Figure:
    """Draws a quantity over the epochs: the mean over seeds, and a band from the lowest to the
    highest.

    The axis is that of the second half of the training, so that the steep start does not flatten
    what tells settings apart.

    Args:
      curves: Setting -> [seeds, epochs]; in the order of the legend.
      label: Of the quantity, with its unit.

    Raises:
      ValueError: there is no curve, or one is not of two axes.
    """
    arrays = {name: np.asarray(values, dtype=float) for name, values in curves.items()}
    if not arrays or any(values.ndim != 2 or not values.size for values in arrays.values()):
        raise ValueError("curves must hold arrays [seeds, epochs], at least one.")
    figure = Figure((PAGE_WIDTH, 2.6), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for index, (name, values) in enumerate(arrays.items()):
        epochs = np.arange(1, values.shape[1] + 1)
        colour = _COLOURS[index % len(_COLOURS)]
        dashes = _DASHES[index // len(_COLOURS) % len(_DASHES)]
        axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.2, lw=0)
        marker = "o" if values.shape[1] == 1 else ""
        axes.plot(epochs, values.mean(0), dashes, color=colour, marker=marker, label=name)
    late = np.concatenate([values[:, values.shape[1] // 2 :].ravel() for values in arrays.values()])
    late = late[np.isfinite(late)]
    if late.size and late.max() > late.min():
        margin = 0.08 * (late.max() - late.min())
        axes.set_ylim(late.min() - margin, late.max() + margin)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    columns = 1 + (len(arrays) > 6)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), ncols=columns)
    return figure


@mpl.rc_context(STYLE)
def metric_against(
    name: str, results: Mapping[str, Sequence[tuple[float, ArrayLike]]], label: str
) -> Figure:
    """Draws a metric against the swept value: a point for each seed, a line through the means.

    Args:
      name: Of what is swept, along the horizontal axis; logarithmic if its values are positive and
        span more than a factor of 8.
      results: Setting of everything else -> (value, metric of each seed [n]) pairs.
      label: Of the metric, with its unit.

    Raises:
      ValueError: there is nothing to draw.
    """
    values = [value for pairs in results.values() for value, _ in pairs]
    if not values:
        raise ValueError("results must hold at least one value.")
    figure = Figure((PAGE_WIDTH, 2.6), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    if min(values) > 0 and max(values) > 8 * min(values):
        axes.set_xscale("log")
    for index, (setting, pairs) in enumerate(results.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        dashes = _DASHES[index // len(_COLOURS) % len(_DASHES)]
        pairs = sorted(pairs, key=lambda pair: pair[0])
        for value, metric in pairs:
            seeds = np.atleast_1d(np.asarray(metric, dtype=float))
            axes.plot(np.full(len(seeds), value), seeds, "o", ms=3, mfc="none", color=colour)
        means = [float(np.mean(metric)) for _, metric in pairs]
        axes.plot([value for value, _ in pairs], means, dashes, color=colour, label=setting)
    axes.set_xlabel(name)
    axes.set_ylabel(label)
    if len(results) > 1:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), ncols=1 + (len(results) > 6))
    return figure

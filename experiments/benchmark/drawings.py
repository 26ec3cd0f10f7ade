"""Figures of times beside their lower bounds, and of the growth of costs."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullLocator

from vae_jax.figures.figure import DPI
from vae_jax.figures.style import BLACK, BLUE, ORANGE, PAGE_WIDTH, STYLE, legend_below

_REFERENCE, _MEASURED = "0.75", BLUE
_BAR, _HEADING = 0.14, 0.24  # inches


class TimeBar(NamedTuple):
    """One bar: a time."""

    ratios: Sequence[float]  # [rounds], divided by the reference in the same round
    text: str  # text beside the bar: the time itself


class TimeGroup(NamedTuple):
    """Bars that are compared with one reference."""

    case: str
    bars: dict[str, TimeBar]  # name -> its time; the first is the reference


@mpl.rc_context(STYLE)
def times_over_bound(groups: Sequence[TimeGroup]) -> Figure:
    """Draws times as multiples of a reference: medians as bars, ranges as lines.

    A grey bar is the reference of the bars below it, and all other bars are blue.

    Args:
      groups: rows of the figure, from top to bottom.
    """
    num_bars = sum(len(group.bars) for group in groups)
    height = 0.5 + _BAR * num_bars + _HEADING * len(groups)
    figure = Figure((PAGE_WIDTH, height), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    longest = max(max(bar.ratios) for group in groups for bar in group.bars.values())
    row, ticks, names = 0.0, [], []
    text = {"fontsize": 6, "bbox": {"color": "white", "pad": 0.5}}  # over the dotted line
    for group in groups:
        row += _HEADING / _BAR  # in units of a bar
        axes.annotate(
            group.case,
            (0.0, row - 0.95),
            xytext=(2, 0),
            textcoords="offset points",
            va="center",
            weight="bold",
            **text,
        )
        for index, (name, bar) in enumerate(group.bars.items()):
            median, most = float(np.median(bar.ratios)), max(bar.ratios)
            axes.barh(row, median, color=_MEASURED if index else _REFERENCE, height=0.8)
            if index:
                axes.hlines(row, min(bar.ratios), most, color=BLACK, linewidth=0.8)
            axes.annotate(
                f"{bar.text}, {median:.2f} times" if index else bar.text,
                (max(median, most), row),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                **text,
            )
            ticks.append(row)
            names.append(name)
            row += 1.0
    axes.axvline(1.0, color="0.4", linewidth=0.6, linestyle=":", zorder=0)
    axes.set_yticks(ticks, names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(row - 0.4, 0.0)  # the first on top
    axes.set_xlim(0.0, 1.4 * max(longest, 1.0))  # the texts fit
    axes.set_xlabel("time, as a multiple of that of the grey bar above")
    handles = {
        "reference": Patch(color=_REFERENCE),
        "median over rounds of the ratio": Patch(color=_MEASURED),
        "least to most": Line2D([], [], color=BLACK, linewidth=0.8),
    }
    legend_below(figure, handles)
    return figure


class CostPanel(NamedTuple):
    """The growth of time and memory with one quantity."""

    quantity: str
    at: Sequence[float]  # [points], values of the quantity
    times: Sequence[Sequence[float]]  # [points][rounds]
    time_unit: str
    time_line: tuple[float, float]  # fixed, slope
    memory: Sequence[float]  # [points], MiB
    memory_line: tuple[float, float]


@mpl.rc_context(STYLE)
def costs(panels: Sequence[CostPanel]) -> Figure:
    """Draws times (above) and memory (below) against each quantity, with a line through them.

    Points are medians, with a whisker from the smallest to the largest time. The axes are
    logarithmic, so a line with a fixed cost is a curve that begins level.

    Args:
      panels: columns of the figure.
    """
    figure = Figure((PAGE_WIDTH, 2.8), dpi=DPI, layout="constrained")
    rows = figure.subplots(2, len(panels), squeeze=False, sharex="col")
    for (above, below), panel in zip(rows.T, panels, strict=True):
        at = np.asarray(panel.at, dtype=float)
        between = np.geomspace(at.min(), at.max(), 100)
        medians = [float(np.median(values)) for values in panel.times]
        above.vlines(at, [min(t) for t in panel.times], [max(t) for t in panel.times], color="0.6")
        for axes, values, (fixed, slope) in (
            (above, medians, panel.time_line),
            (below, panel.memory, panel.memory_line),
        ):
            axes.plot(between, fixed + slope * between, "--", color=ORANGE, linewidth=0.8)
            axes.plot(at, values, "o", color=BLUE)
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xticks(at, [f"{value:g}" for value in at], rotation=45)
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_locator(LogLocator(subs=_subdivisions(values)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_locator(NullLocator())
        above.set_ylabel(panel.time_unit)
        below.set_xlabel(panel.quantity)
        below.set_ylabel("MiB")
    handles = {
        "measured: median, and from least to most": Line2D([], [], color=BLUE, marker="o", lw=0),
        "fixed cost + slope": Line2D([], [], color=ORANGE, linestyle="--", lw=0.8),
    }
    legend_below(figure, handles)
    return figure


def _subdivisions(values: Sequence[float]) -> tuple[float, ...]:
    """Ticks within a decade, as multiples of its start. A short axis has more of them."""
    return (1.0, 2.0, 5.0) if max(values) > 5 * min(values) else (1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 7.0)

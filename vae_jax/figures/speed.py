"""A figure of times beside what bounds them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from vae_jax.figures.style import DPI, PAGE_WIDTH, STYLE

# Of Okabe and Ito's palette, behind the grey of the bound.
_COLOURS = ("0.75", "#0072B2", "#E69F00", "#CC79A7", "#009E73")


class TimeBar(NamedTuple):
    """The time of something."""

    ratios: Sequence[float]  # [rounds], to the time of the bound in the same round
    text: str  # beside the bar: the time itself


@mpl.rc_context(STYLE)
def times_over_bound(cases: Mapping[str, Mapping[str, TimeBar]]) -> Figure:
    """Draws times as multiples of what bounds them: bars of medians, and lines from least to most.

    Args:
      cases: case -> name -> its time; the first of each case is the bound itself. A name has one
        colour in all cases.
    """
    names = list(dict.fromkeys(name for bars in cases.values() for name in bars))
    num_bars = sum(map(len, cases.values()))
    size = (PAGE_WIDTH, 0.7 + 0.16 * num_bars + 0.12 * len(cases))
    figure = Figure(size, dpi=DPI, layout="constrained")
    axes = figure.subplots()
    row, ticks, handles = 0.0, [], {}
    for bars in cases.values():
        ticks.append(row + (len(bars) - 1) / 2)
        for name, bar in bars.items():
            median, most = float(np.median(bar.ratios)), max(bar.ratios)
            colour = _COLOURS[names.index(name) % len(_COLOURS)]
            handles[name] = axes.barh(row, median, color=colour, height=0.85)
            axes.hlines(row, min(bar.ratios), most, color="black", linewidth=0.7)
            axes.annotate(
                bar.text,
                (max(median, most), row),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=6,
            )
            row += 1.0
        row += 0.7  # between cases
    axes.axvline(1.0, color="0.4", linewidth=0.6, linestyle=":")
    axes.set_yticks(ticks, cases)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(row - 0.9, -0.8)  # the first on top
    axes.set_xlim(0.0, 1.15 * axes.get_xlim()[1])  # the texts fit
    axes.set_xlabel(f"time, as a multiple of that of the {names[0]}")
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=len(handles))
    return figure


class CostPanel(NamedTuple):
    """How time and memory grow with a quantity."""

    quantity: str
    at: Sequence[float]  # [points], its values
    times: Sequence[Sequence[float]]  # [points][rounds]
    time_unit: str
    time_line: tuple[float, float]  # fixed, slope
    memory: Sequence[float]  # [points], MiB
    memory_line: tuple[float, float]


@mpl.rc_context(STYLE)
def costs(panels: Sequence[CostPanel]) -> Figure:
    """Draws times (above) and memory (below) against each quantity, with a line through them.

    Points are medians, with a whisker from the least to the most. Axes are logarithmic, on which a
    fixed cost shows as a level start of the curve that the line becomes.

    Args:
      panels: one column each.
    """
    figure = Figure((PAGE_WIDTH, 2.9), dpi=DPI, layout="constrained")
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
            axes.plot(between, fixed + slope * between, "--", color=_COLOURS[2], linewidth=0.8)
            axes.plot(at, values, "o", color=_COLOURS[1])
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xticks(at, [f"{value:g}" for value in at], rotation=45)
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_locator(NullLocator())
        above.set_ylabel(panel.time_unit)
        below.set_xlabel(panel.quantity)
        below.set_ylabel("MiB")
    return figure

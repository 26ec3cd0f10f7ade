"""Figures of tables: columns of data beside those of samples."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from vae_jax.figures.figure import Figure
from vae_jax.figures.style import BLUE, PAGE_WIDTH, RED, STYLE, legend_below

_MOST_MARGINALS, _MOST_IN_PAIRS, _MOST_CELLS = 12, 5, 120
_MOST_BINS, _LONGEST_NAME = 30, 16


@mpl.rc_context(STYLE)
def marginals(data: ArrayLike, samples: ArrayLike, names: Sequence[str] | None = None) -> Figure:
    """Draws histograms of the columns of data, each with that of samples over it.

    Args:
      data: [N, D], nan where a value is missing.
      samples: [M, D], from the model. Samples beyond the range of the data by more than half of it
        are not drawn.
      names: names of the D columns; None for their numbers.

    If there are more than twelve columns, those are drawn whose quartiles differ most between data
    and samples, in units of the data's standard deviation.
    """
    table, drawn, called = _checked(data, samples, names)
    chosen = _most_different(table, drawn)[:_MOST_MARGINALS]
    num_columns = min(4, len(chosen))
    num_rows = -(-len(chosen) // num_columns)
    figure = Figure(figsize=(PAGE_WIDTH, 1.2 * num_rows), layout="constrained")
    grid = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    for axes, column in zip(grid, sorted(chosen), strict=False):
        bins = _bins(table[:, column])
        for values, colour, label in ((table, BLUE, "data"), (drawn, RED, "samples")):
            _histogram(axes, values[:, column], bins, colour, label)
        axes.set_title(called[column], pad=2)
        axes.set_yticks([])
    for axes in grid[len(chosen) :]:
        axes.remove()
    _legend(figure, grid[0])
    return figure


@mpl.rc_context(STYLE)
def pairs(data: ArrayLike, samples: ArrayLike, names: Sequence[str] | None = None) -> Figure:
    """Draws a scatter plot for each pair of columns: data below the diagonal, samples above.

    Args:
      data: [N, D], with D of at least 2.
      samples: [M, D], from the model.
      names: names of the D columns; None for their numbers.

    If there are more than five columns, those that correlate most in the data are drawn.

    Raises:
      ValueError: there is one column.
    """
    table, drawn, called = _checked(data, samples, names)
    if table.shape[1] < 2:
        raise ValueError("A figure of pairs needs at least 2 columns, not 1.")
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = np.where(np.isnan(table), np.nanmean(table, axis=0), table)
        correlation = np.nan_to_num(np.abs(np.corrcoef(whole.T)))
    order = np.argsort(-(correlation.sum(axis=0)), kind="stable")[:_MOST_IN_PAIRS]
    chosen = sorted(int(column) for column in order)
    number = len(chosen)
    side = PAGE_WIDTH / max(number, 3)
    figure = Figure(figsize=(side * number, side * number), layout="constrained")
    grid = figure.subplots(number, number, squeeze=False)
    for row, y in enumerate(chosen):
        for column, x in enumerate(chosen):
            axes = grid[row, column]
            if row == column:
                for values, colour, label in ((table, BLUE, "data"), (drawn, RED, "samples")):
                    _histogram(axes, values[:, x], _bins(table[:, x]), colour, label)
                axes.set_yticks([])
            else:
                values, colour = (table, BLUE) if row > column else (drawn, RED)
                axes.plot(values[:, x], values[:, y], ".", color=colour, ms=2, alpha=0.6)
                axes.set_ylim(*_range(table[:, y]))
            axes.set_xlim(*_range(table[:, x]))
            axes.tick_params(labelsize=5)
            if row == number - 1:
                axes.set_xlabel(called[x])
            if column == 0:
                axes.set_ylabel(called[y])
    _legend(figure, grid[0, 0])
    return figure


@mpl.rc_context(STYLE)
def heat_maps(data: ArrayLike, means: ArrayLike, samples: ArrayLike) -> Figure:
    """Draws counts as colours, log(1 + count), of data, their reconstructions and samples.

    Args:
      data: [N, D] counts. At most 120 rows, and the 120 columns of the largest variance of
        log(1 + count), are drawn.
      means: [N, D], the decoder means of the same examples.
      samples: [M, D] counts from the model.
    """
    counts, drawn, _ = _checked(np.nan_to_num(data), samples, None)
    expected = np.asarray(means, np.float64)
    if expected.shape != counts.shape:
        raise ValueError(
            f"data and means must have one shape, not {counts.shape} and {expected.shape}."
        )
    order = np.argsort(-np.log1p(counts).var(axis=0), kind="stable")[:_MOST_CELLS]
    figure = Figure(figsize=(PAGE_WIDTH, 2.4), layout="constrained")
    three = figure.subplots(1, 3)
    most = float(np.log1p(counts[:, order]).max()) or 1.0
    titles = ("data", "means of p(x|z), z ~ q(z|x)", "samples")
    image: Any = None
    for axes, values, title in zip(three, (counts, expected, drawn), titles, strict=True):
        shown = np.log1p(np.maximum(values[:_MOST_CELLS, order], 0.0))
        image = axes.imshow(shown, vmin=0, vmax=most, aspect="auto", interpolation="nearest")
        axes.set_title(title)
        axes.set_xlabel("dimension")
        axes.set_yticks([])
    three[0].set_ylabel("example")
    figure.colorbar(image, ax=three, label="log(1 + count)", shrink=0.9)
    return figure


def _checked(
    data: ArrayLike, samples: ArrayLike, names: Sequence[str] | None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    table, other = np.asarray(data, np.float64), np.asarray(samples, np.float64)
    if table.ndim != 2 or other.ndim != 2 or table.shape[1] != other.shape[1]:
        raise ValueError(
            f"data and samples must be [N, D] and [M, D] with one D, not {table.shape} and "
            f"{other.shape}."
        )
    if names is not None and len(names) != table.shape[1]:
        raise ValueError(f"There are {len(names)} names for {table.shape[1]} columns.")
    called = [
        name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
        for name in names or map(str, range(table.shape[1]))
    ]
    return table, other, called


def _most_different(data: np.ndarray, samples: np.ndarray) -> list[int]:
    quartiles = [np.nanquantile(values, (0.25, 0.5, 0.75), axis=0) for values in (data, samples)]
    std = np.maximum(np.nanstd(data, axis=0), 1e-12)
    difference = np.abs(quartiles[0] - quartiles[1]).sum(axis=0) / std
    return [int(column) for column in np.argsort(-difference, kind="stable")]


def _range(values: np.ndarray) -> tuple[float, float]:
    low, high = np.nanmin(values), np.nanmax(values)
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def _bins(values: np.ndarray) -> np.ndarray:
    """Edges over the range of the data and half of it on both sides, whole numbers for counts."""
    values = values[np.isfinite(values)]
    low, high = values.min(), values.max()
    number = int(np.clip(2 * np.sqrt(len(values)), 6, _MOST_BINS))
    if (values == np.round(values)).all() and high - low <= number:
        return np.arange(low - 1.5, high + 2.0)
    half = 0.5 * (high - low) or 0.5
    return np.linspace(low - half, high + half, 2 * number + 1)


def _histogram(axes: Axes, values: np.ndarray, bins: np.ndarray, colour: str, label: str) -> None:
    inside = values[(values >= bins[0]) & (values <= bins[-1])]
    weights = np.full(len(inside), 1.0 / max(1, np.isfinite(values).sum()))
    axes.hist(inside, list(bins), weights=weights, histtype="step", color=colour, label=label)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    legend_below(figure, dict(zip(labels, handles, strict=True)))

"""Figures of curves."""

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from vae_jax.figures.figure import DPI, Figure
from vae_jax.figures.limits import cut_off_start
from vae_jax.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PAGE_WIDTH,
    PINK,
    RED,
    STYLE,
    legend_below,
)

_COLUMNS = 3  # of panels

_THEORY: dict[str, Any] = {"linewidth": 0.6, "marker": ""}
_UNBIASED: dict[str, Any] = {"linewidth": 0.6, "linestyle": ":", "color": "0.5"}

_TERMS = {
    "elbo": "ELBO (nats)",
    "reconstruction": "reconstruction (nats)",
    "kl": "KL divergence (nats)",
}

_SPLITS: dict[str, dict[str, Any]] = {
    "train": {"color": BLUE, "linestyle": "-"},
    "validation": {"color": RED, "linestyle": "--"},
}
_OTHERS = {
    "train_loss": "loss (nats)",
    "train_gradient_norm": "norm of the gradient",
    "train_parameter_norm": "norm of the parameters",
    "images_per_second": "examples per second",
}
_OF_LAYERS = re.compile(r"train_kl_(\d+)")  # each has a curve in one panel
_NOT_DRAWN = ("epoch", "step", "seconds")  # repeats what other curves show

# For curves that may lie upon each other.
_CURVES: list[dict[str, Any]] = [
    {"color": BLUE, "marker": "o"},
    {"color": RED, "marker": "s", "linestyle": "--"},
    {"color": GREEN, "marker": "^", "linestyle": "-."},
    {"color": PINK, "marker": "D", "linestyle": (0, (1, 1))},
    {"color": ORANGE, "marker": "v", "linestyle": (0, (3, 2, 1, 2))},
    {"color": BLACK, "marker": "x", "linestyle": (0, (5, 3))},
]


@mpl.rc_context(STYLE)
def training_curves(history: Mapping[str, Sequence[float | None]]) -> Figure:
    """Draws the ELBO and its two terms over the epochs, and below them all other metrics.

    The steep start of a long training may be outside the frame, since it would flatten the rest.
    The figure then says which epochs are cut off.

    Args:
      history: name -> one value for each epoch, such as the columns of metrics.jsonl. `epoch` and,
        in nats, `train_elbo`, `train_reconstruction` and `train_kl` are required; their
        `validation_` counterparts are optional. Every other column has its own panel, except
        `step`, `seconds`, and a `train_loss` that is minus the ELBO. None is a missing value.
    """
    epochs = np.asarray(history.get("epoch", ()))
    if epochs.ndim != 1 or epochs.size == 0:
        raise ValueError("history['epoch'] must hold the number of at least one epoch.")
    columns = {name: _column(history, name, epochs) for name in _names(history)}
    panels = {label: _splits_of(term, columns) for term, label in _TERMS.items()}
    drawn = {name for panel in panels.values() for name in panel.values()}
    for name, values in columns.items():
        if _OF_LAYERS.fullmatch(name):
            panels.setdefault("KL of each layer (nats)", {})[name] = name
        elif name not in drawn and not _is_minus_elbo(name, values, columns):
            label = _OTHERS.get(name, name.removeprefix("train_").replace("_", " "))
            panels[label] = {name.partition("_")[0]: name}
    num_rows = -(-len(panels) // _COLUMNS)
    figure = Figure((PAGE_WIDTH, 1.75 * num_rows), dpi=DPI, layout="constrained")
    grid = figure.add_gridspec(num_rows, _COLUMNS)
    for index, (label, panel) in enumerate(panels.items()):
        axes = figure.add_subplot(grid[divmod(index, _COLUMNS)])
        for number, (split, name) in enumerate(panel.items(), start=1):
            # A line through one point is invisible.
            marker = "o" if epochs.size == 1 else ""
            style = _SPLITS.get(split, _SPLITS["train"])
            if layer := _OF_LAYERS.fullmatch(name):
                # From z_1 in a dark colour to the top in a light one.
                style = {**style, "color": mpl.colormaps["viridis"](0.9 * number / len(panel))}
                axes.annotate(f"$z_{{{layer[1]}}}$", (epochs[-1], columns[name][-1]), fontsize=6)
            axes.plot(epochs, columns[name], marker=marker, label=split, **style)
        cut_off_start(axes, epochs, np.stack([columns[name] for name in panel.values()]))
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
    figure.align_ylabels()
    legend_below(figure, {str(line.get_label()): line for line in figure.axes[0].lines})
    return figure


Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]  # name -> [n] K, [n] values


@mpl.rc_context(STYLE)
def gradient_estimators(
    signal_to_noise: Mapping[str, Curves],
    variance: Mapping[str, Curves],
    rms_t: Mapping[str, Curves],
    slopes: Mapping[tuple[str, str], float | None],
) -> Figure:
    """Draws the quality of gradient estimators against the number of samples K, log-log.

    Args:
      signal_to_noise: part of the model -> `Curves`, one for each estimator. Values that are not
        finite are left out.
      variance: part -> `Curves` of the variance of the gradient of a bound in nats.
      rms_t: part -> `Curves` of the bias in standard errors, which is 1 for unbiased estimators.
      slopes: (part, estimator) -> exponent of K in the signal-to-noise ratio by theory, or None. It
        is drawn as a line below the upper half of the curve.
    """
    names = list(dict.fromkeys(name for curves in signal_to_noise.values() for name in curves))
    figure = Figure((PAGE_WIDTH, 5.6), dpi=DPI, layout="constrained")
    rows = {
        "signal-to-noise ratio": signal_to_noise,
        "variance (nats$^2$)": variance,
        "bias (standard errors, rms)": rms_t,
    }
    panels = figure.subplots(len(rows), len(signal_to_noise), squeeze=False, sharex=True)
    for (label, parts), row in zip(rows.items(), panels, strict=True):
        row[0].set_ylabel(label)
        for (part, curves), axes in zip(parts.items(), row, strict=True):
            axes.set(xscale="log", yscale="log")
            for name, curve in curves.items():
                k, values = np.asarray(curve, dtype=float)
                k, values = k[np.isfinite(values)], values[np.isfinite(values)]
                style = _curve_style(names.index(name))
                axes.plot(k, values, label=name, **style)
                slope = slopes.get((part, name))
                if parts is signal_to_noise and slope is not None:
                    _draw_slope(axes, k, values, slope, style["color"])
    for part, top, bottom in zip(signal_to_noise, panels[0], panels[-1], strict=True):
        top.set_title(part)
        bottom.set_xlabel("samples K")
        bottom.axhline(1.0, zorder=0, label="unbiased", **_UNBIASED)
    # Both parts have one scale, so that flat curves look flat.
    limits = [limit for axes in panels[-1] for limit in axes.get_ylim()]
    for axes in panels[-1]:
        axes.set_ylim(min(0.1, *limits), max(10.0, *limits))
    figure.align_ylabels()
    handles: dict[str, Any] = {}  # each label once
    for axes in panels[0]:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if any(slope is not None for slope in slopes.values()):
        handles["theory for large K"] = Line2D([], [], color="0.3", **_THEORY)
    handles["unbiased"] = Line2D([], [], **_UNBIASED)
    legend_below(figure, handles)
    return figure


def _names(history: Mapping[str, Any]) -> list[str]:
    """The required columns, and then all others that are drawn."""
    needed = [f"train_{term}" for term in _TERMS]
    return [*needed, *(name for name in history if name not in (*needed, *_NOT_DRAWN))]


def _column(history: Mapping[str, Sequence], name: str, epochs: NDArray) -> NDArray:
    values = np.asarray(history.get(name, ()), dtype=float)  # None becomes nan
    if values.shape != epochs.shape:
        raise ValueError(
            f"history['{name}'] must hold one value for each of {epochs.size} epochs, "
            f"not be of shape {values.shape}."
        )
    return values


def _splits_of(term: str, columns: Mapping[str, NDArray]) -> dict[str, str]:
    """split -> the column of this term."""
    return {split: f"{split}_{term}" for split in _SPLITS if f"{split}_{term}" in columns}


def _is_minus_elbo(name: str, values: NDArray, columns: Mapping[str, NDArray]) -> bool:
    return name == "train_loss" and np.array_equal(values, -columns["train_elbo"], equal_nan=True)


def _curve_style(index: int) -> dict[str, Any]:
    """The style of a curve by its index: empty markers first, then filled ones."""
    fill = "full" if index // len(_CURVES) % 2 else "none"
    return {**_CURVES[index % len(_CURVES)], "fillstyle": fill}


def _draw_slope(axes: Axes, k: NDArray, values: NDArray, slope: float, color: str) -> None:
    """Draws a line of this slope below the upper half of a curve."""
    k, values = k[k.size // 2 :], values[k.size // 2 :]
    if k.size < 2:
        return
    line = 0.6 * values[-1] * (k / k[-1]) ** slope
    axes.plot(k, line, color=color, **_THEORY)
    axes.annotate(
        f"$K^{{{Fraction(slope).limit_denominator(100)}}}$",
        (k[-1], line[-1]),
        xytext=(4, 2),
        textcoords="offset points",
        va="top",
        color=color,
        annotation_clip=False,
    )

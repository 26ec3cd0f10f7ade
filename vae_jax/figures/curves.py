"""Figures of curves."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from vae_jax.figures.style import DPI, PAGE_WIDTH, STYLE

_THEORY = {"linewidth": 0.6, "marker": ""}
_UNBIASED = {"linewidth": 0.6, "linestyle": ":", "color": "0.5"}

_TERMS = {
    "elbo": "ELBO (nats)",
    "reconstruction": "reconstruction (nats)",
    "kl": "KL divergence (nats)",
}

# Two colours of Okabe and Ito's palette, which every kind of colour vision tells apart; in print
# without colour the dashes do.
_SPLITS = {
    "train": {"color": "#0072B2", "linestyle": "-"},
    "validation": {"color": "#D55E00", "linestyle": "--"},
}

# More of that palette, for curves that may lie upon each other.
_CURVES = [
    {"color": "#0072B2", "marker": "o"},
    {"color": "#D55E00", "marker": "s", "linestyle": "--"},
    {"color": "#009E73", "marker": "^", "linestyle": "-."},
    {"color": "#CC79A7", "marker": "D", "linestyle": (0, (1, 1))},
    {"color": "#E69F00", "marker": "v", "linestyle": (0, (3, 2, 1, 2))},
    {"color": "#000000", "marker": "x", "linestyle": (0, (5, 3))},
]


@mpl.rc_context(STYLE)
def training_curves(history: Mapping[str, Sequence[float]]) -> Figure:
    """Draws the ELBO and its two terms over the epochs.

    The limits are those of the bulk of the values and of the last epoch, so that the steep start
    of a training, which may leave the frame, does not flatten the rest.

    Args:
      history: Sequences of one value an epoch: `epoch` and, in nats, `train_elbo`,
        `train_reconstruction` and `train_kl`. Any of them may have its `validation_` counterpart.
    """
    epochs = np.asarray(history.get("epoch", ()))
    if epochs.ndim != 1 or epochs.size == 0:
        raise ValueError("history['epoch'] must hold the number of at least one epoch.")
    figure = Figure((PAGE_WIDTH, 1.9), dpi=DPI, layout="constrained")
    for axes, (term, label) in zip(figure.subplots(1, len(_TERMS)), _TERMS.items(), strict=True):
        for split, style in _SPLITS.items():
            key = f"{split}_{term}"
            if key not in history and split != "train":
                continue
            values = np.asarray(history.get(key, ()), dtype=float)
            if values.shape != epochs.shape:
                raise ValueError(
                    f"history['{key}'] must hold one value for each of {epochs.size} epochs, "
                    f"not be of shape {values.shape}."
                )
            # A line through one point is invisible.
            marker = "o" if epochs.size == 1 else ""
            axes.plot(epochs, values, marker=marker, label=split, **style)
        _limit(axes)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
    figure.axes[0].legend()
    return figure


Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]  # name -> [n] K, [n] values


@mpl.rc_context(STYLE)
def gradient_estimators(
    signal_to_noise: Mapping[str, Curves],
    variance: Mapping[str, Curves],
    rms_t: Mapping[str, Curves],
    slopes: Mapping[tuple[str, str], float | None],
) -> Figure:
    """Draws how good gradient estimators are against the number of samples K, log-log.

    Args:
      signal_to_noise: part of the model -> `Curves`, one for each estimator. Values that are not
        finite are left out.
      variance: likewise, of the gradient of a bound in nats.
      rms_t: likewise, the biases in their standard errors; 1 for unbiased estimators.
      slopes: (part, estimator) -> the exponent of K in its signal-to-noise ratio by theory, which
        is drawn as a line below the upper half of its curve; or None.
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
    # Of one scale, on which what is flat looks flat.
    limits = [limit for axes in panels[-1] for limit in axes.get_ylim()]
    for axes in panels[-1]:
        axes.set_ylim(min(0.1, *limits), max(10.0, *limits))
    figure.align_ylabels()
    handles = {}  # each once
    for axes in panels[0]:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if any(slope is not None for slope in slopes.values()):
        handles["theory for large K"] = Line2D([], [], color="0.3", **_THEORY)
    handles["unbiased"] = Line2D([], [], **_UNBIASED)
    num_columns = -(-len(handles) // -(-len(handles) // 6))  # rows of equal length
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=num_columns)
    return figure


def _curve_style(index: int) -> dict[str, Any]:
    """Of the curve of this number: empty markers for the first few, filled ones for more."""
    fill = "full" if index // len(_CURVES) % 2 else "none"
    return {**_CURVES[index % len(_CURVES)], "fillstyle": fill}


def _draw_slope(axes: Axes, k: NDArray, values: NDArray, slope: float, color: str) -> None:
    """A line of this slope below the upper half of a curve, to which it points at its end."""
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


def _limit(axes: Axes) -> None:
    """Fits the y-axis to the last points of its lines and to all but the outliers of the rest."""
    curves = np.stack([line.get_ydata() for line in axes.lines])
    finite = curves[np.isfinite(curves)]
    if finite.size == 0:
        return
    lower, upper = np.quantile(finite, (0.25, 0.75))
    # Tukey's fences, the whiskers of a box plot.
    reach = 1.5 * (upper - lower)
    bulk = finite[(finite >= lower - reach) & (finite <= upper + reach)]
    last = curves[:, -1]
    shown = np.concatenate([bulk, last[np.isfinite(last)]])
    margin = 0.05 * np.ptp(shown) or 1.0
    axes.set_ylim(shown.min() - margin, shown.max() + margin)

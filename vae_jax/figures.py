"""Figures for a paper: arrays in, matplotlib figures out.

Every function returns a `matplotlib.figure.Figure`, which the caller saves. None of them uses
pyplot: drawing needs no display, and no figure stays open behind the caller's back.
"""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

# The resolution that savefig uses unless told otherwise. Figures of images are laid out in whole
# pixels of it, so that all pixels of an image have one size in a PNG.
_DPI = 200

# In inches.
_PAGE_WIDTH = 6.5
_MAX_TILE_WIDTH = 0.45
_MARGIN = 0.05
_TEXT_LINE = 0.15

# In image pixels.
_GAP = 2

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
    {"color": "#56B4E9", "marker": "x", "linestyle": (0, (5, 3))},
]

_STYLE = {
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "legend.fontsize": 6,
    "legend.frameon": False,
    "lines.linewidth": 1.0,
    "lines.markersize": 3,
    "axes.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.5,
    "xtick.major.size": 2,
    "ytick.major.width": 0.5,
    "ytick.major.size": 2,
    "xtick.minor.size": 1,
    "ytick.minor.size": 1,
}


def mosaic(images: ArrayLike, num_columns: int, gap: int = _GAP) -> NDArray[np.float64]:
    """Lays images out as the tiles of one, row by row from the top left, on white.

    Args:
      images: [N, H, W, C] in [0, 1], with C 1 (grey) or 3 (RGB).
      num_columns: Tiles in a row; fewer images than that make one shorter row.
      gap: Pixels between neighbouring tiles.

    Returns:
      [rows * (H + gap) - gap, columns * (W + gap) - gap, C]. Image k has its top left pixel at
      (k // columns * (H + gap), k % columns * (W + gap)); what no image covers is 1.
    """
    images = _checked("images", images, "[N, H, W, C]")
    count, height, width, channels = images.shape
    columns = _columns(num_columns, count)
    rows = -(-count // columns)
    canvas = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, channels))
    for k, image in enumerate(images):
        top, left = k // columns * (height + gap), k % columns * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas


@mpl.rc_context(_STYLE)
def image_grid(images: ArrayLike, num_columns: int, title: str | None = None) -> Figure:
    """Draws images row by row.

    Args:
      images: [N, H, W, C] in [0, 1], with C 1 (grey) or 3 (RGB).
      num_columns: Images in a row.
      title: A line above the images.
    """
    canvas = mosaic(images, num_columns)
    figure, axes = _draw(canvas, np.shape(images)[2], top=_TEXT_LINE if title else 0)
    if title:
        axes.set_title(title, pad=3)
    return figure


def samples(means: ArrayLike, num_columns: int = 10) -> Figure:
    """Draws the decoder means [N, H, W, C] in [0, 1] of latents drawn from the prior."""
    return image_grid(means, num_columns, title="prior samples")


@mpl.rc_context(_STYLE)
def reconstructions(originals: ArrayLike, means: ArrayLike, num_columns: int = 10) -> Figure:
    """Draws rows of data images, each with the row of their reconstructions below it.

    Args:
      originals: [N, H, W, C] in [0, 1], with C 1 (grey) or 3 (RGB).
      means: [N, H, W, C] in [0, 1], the decoder means of the same images.
      num_columns: Data images in a row.
    """
    originals = _checked("originals", originals, "[N, H, W, C]")
    means = _checked("means", means, "[N, H, W, C]")
    if originals.shape != means.shape:
        raise ValueError(
            f"originals and means must have one shape, not {originals.shape} and {means.shape}."
        )
    count, height, width, _ = originals.shape
    columns = _columns(num_columns, count)
    blanks = np.ones((-count % columns, *originals.shape[1:]))
    rows = [
        np.concatenate([images, blanks]).reshape(-1, columns, *images.shape[1:])
        for images in (originals, means)
    ]
    pairs = [mosaic(np.concatenate(pair), columns) for pair in zip(*rows, strict=True)]
    # A pair stands closer together than two pairs do.
    pair_gap = 3 * _GAP
    figure, axes = _draw(mosaic(pairs, 1, pair_gap), width, left=0.75)
    pair_tops = np.arange(len(pairs)) * (2 * height + _GAP + pair_gap)
    centres = pair_tops[:, None] + (height - 1) / 2 + np.array([0, height + _GAP])
    axes.set_yticks(centres.ravel(), ["data", "reconstruction"] * len(pairs))
    axes.tick_params(labelsize=7)
    return figure


@mpl.rc_context(_STYLE)
def interpolation(images: ArrayLike) -> Figure:
    """Draws paths between pairs of data images, one a row.

    Args:
      images: [rows, steps, H, W, C] in [0, 1], with C 1 (grey) or 3 (RGB): decoder means at
        `steps` equally spaced points, at least 3, from the latent of one data image to that of
        another. So the first and the last are reconstructions, and are marked as such.
    """
    images = _checked("images", images, "[rows, steps, H, W, C]")
    steps, _, width, _ = images.shape[1:]
    if steps < 3:
        raise ValueError(f"An interpolation takes at least 3 steps, not {steps}.")
    canvas = mosaic(images.reshape(-1, *images.shape[2:]), steps)
    figure, axes = _draw(canvas, width, left=0.2, right=0.2, bottom=_TEXT_LINE, top=2 * _TEXT_LINE)
    centres = (width - 1) / 2 + np.arange(steps) * (width + _GAP)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xticks(centres, [f"{weight:.2g}" for weight in np.linspace(0, 1, steps)])
    axes.set_xlabel("weight of the right image's latent")
    for end in (0, -1):
        axes.annotate(
            "reconstruction",
            (centres[end], canvas.shape[0]),
            xytext=(0, -2),
            textcoords="offset points",
            ha="center",
            va="top",
            annotation_clip=False,
        )
    return figure


@mpl.rc_context(_STYLE)
def manifold(grid_images: ArrayLike, quantiles: ArrayLike) -> Figure:
    """Draws the images that a two-dimensional latent space decodes to.

    Args:
      grid_images: [R, R, H, W, C] in [0, 1], with C 1 (grey) or 3 (RGB): at [i, j] the decoder mean
        of the latent whose z1 is the prior's quantile i and whose z2 is its quantile j.
      quantiles: [R] increasing in (0, 1), the prior probability below each coordinate.
    """
    images = _checked("grid_images", grid_images, "[R, R, H, W, C]")
    quantiles = np.asarray(quantiles, dtype=float)
    size, columns, height, width, _ = images.shape
    if columns != size or quantiles.shape != (size,):
        raise ValueError(
            "grid_images must be [R, R, H, W, C] and quantiles [R], "
            f"not of shapes {images.shape} and {quantiles.shape}."
        )
    if not (quantiles[0] > 0 and quantiles[-1] < 1 and np.all(np.diff(quantiles) > 0)):
        raise ValueError("quantiles must increase, from above 0 to below 1.")
    # In the drawing z1 grows to the right and z2 upwards, while a mosaic is filled downwards.
    tiles = images.swapaxes(0, 1)[::-1].reshape(-1, *images.shape[2:])
    figure, axes = _draw(mosaic(tiles, size, gap=0), width, left=0.45, bottom=0.35)
    shown = np.arange(0, size, -(-size // 6))  # at most 6, evenly spaced
    labels = [f"{quantile:.3g}" for quantile in quantiles[shown]]
    axes.set_xticks((width - 1) / 2 + shown * width, labels)
    axes.set_yticks((height - 1) / 2 + (size - 1 - shown) * height, labels)
    axes.tick_params(length=2)
    axes.set_xlabel("$z_1$ (prior quantile)")
    axes.set_ylabel("$z_2$ (prior quantile)")
    return figure


@mpl.rc_context(_STYLE)
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
    figure = Figure((_PAGE_WIDTH, 1.9), dpi=_DPI, layout="constrained")
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


@mpl.rc_context(_STYLE)
def gradient_estimators(
    signal_to_noise: Mapping[str, Curves],
    variance: Mapping[str, Curves],
    slopes: Mapping[str, Mapping[str, float]],
) -> Figure:
    """Draws how good gradient estimators are against the number of samples K, log-log.

    Args:
      signal_to_noise: part of the model -> `Curves`, one for each estimator. Values that are not
        finite are left out.
      variance: likewise.
      slopes: part -> estimator -> the exponent of K in its signal-to-noise ratio by theory, which
        is drawn as a dotted line through the middle of its curve.
    """
    figure = Figure((_PAGE_WIDTH, 4.6), dpi=_DPI, layout="constrained")
    rows = {"signal-to-noise ratio": signal_to_noise, "variance": variance}
    panels = figure.subplots(len(rows), len(signal_to_noise), squeeze=False, sharex=True)
    for (label, parts), row in zip(rows.items(), panels, strict=True):
        row[0].set_ylabel(label)
        for (part, curves), axes in zip(parts.items(), row, strict=True):
            axes.set(xscale="log", yscale="log")
            for i, (name, curve) in enumerate(curves.items()):
                k, values = np.asarray(curve, dtype=float)
                k, values = k[np.isfinite(values)], values[np.isfinite(values)]
                style = {"markerfacecolor": "none", **_CURVES[i % len(_CURVES)]}
                axes.plot(k, values, label=name, **style)
                slope = slopes.get(part, {}).get(name) if parts is signal_to_noise else None
                if slope is not None and k.size > 1:
                    line = values[k.size // 2] * (k / k[k.size // 2]) ** slope
                    axes.plot(k, line, color="0.3", linestyle=":", linewidth=0.6, label="theory")
    for part, top, bottom in zip(signal_to_noise, *panels, strict=True):
        top.set_title(part)
        bottom.set_xlabel("samples K")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    by_label = dict(zip(labels, handles, strict=True))  # theory once
    figure.legend(by_label.values(), by_label, loc="outside lower center", ncols=len(by_label))
    return figure


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


def _checked(name: str, images: ArrayLike, shape: str) -> NDArray[np.float64]:
    images = np.asarray(images, dtype=float)
    if images.ndim != shape.count(",") + 1 or images.size == 0 or images.shape[-1] not in (1, 3):
        raise ValueError(f"{name} must be {shape} with C 1 or 3, not of shape {images.shape}.")
    # Written so that NaN fails too.
    if not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"{name} must be in [0, 1].")
    return images


def _columns(num_columns: int, count: int) -> int:
    if num_columns < 1:
        raise ValueError(f"num_columns must be at least 1, not {num_columns}.")
    return min(num_columns, count)


def _draw(
    canvas: NDArray[np.float64],
    tile_width: int,
    *,
    left: float = 0,
    right: float = 0,
    bottom: float = 0,
    top: float = 0,
) -> tuple[Figure, Axes]:
    """Makes a figure of the size that `canvas` takes, with room in inches for labels around it."""
    height, width = canvas.shape[:2]
    left, right, bottom, top = (round((_MARGIN + x) * _DPI) for x in (left, right, bottom, top))
    scale = int(
        min(_MAX_TILE_WIDTH * _DPI / tile_width, (_PAGE_WIDTH * _DPI - left - right) / width)
    )
    scale = max(scale, 1)
    height, width = height * scale, width * scale
    total_height, total_width = height + bottom + top, width + left + right
    figure = Figure((total_width / _DPI, total_height / _DPI), dpi=_DPI)
    axes = figure.add_axes(
        (left / total_width, bottom / total_height, width / total_width, height / total_height)
    )
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=1, interpolation="none")
    axes.set(xticks=[], yticks=[])
    axes.tick_params(length=0, pad=2)
    axes.spines[:].set_visible(False)
    return figure, axes

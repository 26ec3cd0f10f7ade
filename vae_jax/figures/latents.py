"""A figure of latent codes, coloured by the labels of their examples."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from vae_jax.figures.figure import DPI, Figure
from vae_jax.figures.style import BLUE, PAGE_WIDTH, PALETTE, STYLE

_MOST_CLASSES = 20  # largest number of colours that can be told apart
_ORDINALS = ("1st", "2nd")


class _Classes(NamedTuple):
    """Labels that are classes."""

    names: list[str]  # [C]
    indices: NDArray  # [N], of the class of each example
    colours: NDArray  # [C, 4]


@mpl.rc_context(STYLE)
def latent_scatter(
    codes: ArrayLike, labels: ArrayLike | Sequence[str] | None = None, *, label_name: str = "label"
) -> Figure:
    """Draws latent codes as points, coloured by the labels of their examples.

    Two latents are the axes. More latents are projected on their two leading principal components,
    and the axes give the shares of the variance. A single latent is drawn against the labels, with
    a row for each class or the label as second axis, or as a histogram if there are no labels.

    Args:
      codes: [N, L], latent codes such as posterior means.
      labels: [N], labels of the examples. Names, booleans and integers with at most 20 values are
        classes with a colour each and a legend. Other integers and real numbers have a colour bar;
        values that are not finite are grey. None for one colour for all points.
      label_name: name of the labels, for the legend or the colour bar.

    Raises:
      ValueError: the codes are not finite numbers [N, L], or the labels are not [N].
    """
    codes = np.asarray(codes, dtype=float)
    if codes.ndim != 2 or codes.size == 0:
        raise ValueError(f"codes must be [N, L] with N, L >= 1, not of shape {codes.shape}.")
    if not np.all(np.isfinite(codes)):
        raise ValueError("codes must be finite, and some are not.")
    values, classes = _understood(labels, len(codes))
    figure = Figure((0.6 * PAGE_WIDTH, 3.0), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    if codes.shape[1] > 1:
        x, y = _plane(axes, codes)
        _scatter(axes, x, y, values, classes, label_name)
        axes.set_aspect("equal", "datalim")
        if classes is not None:
            _legend(figure, classes, label_name)
    else:
        _draw_line(axes, codes[:, 0], values, classes, label_name)
    return figure


def _understood(labels: Any, count: int) -> tuple[NDArray | None, _Classes | None]:
    """Returns the labels as real numbers or as classes; (None, None) if there are none."""
    if labels is None:
        return None, None
    labels = np.asarray(labels)
    if labels.shape != (count,):
        raise ValueError(f"labels must be of shape ({count},), as codes are, not {labels.shape}.")
    if labels.dtype.kind == "f":
        return labels.astype(float), None
    if labels.dtype.kind not in "biuU":
        raise ValueError(f"labels must be numbers or names, not of type {labels.dtype}.")
    found, index = np.unique(labels, return_inverse=True)
    if len(found) > _MOST_CLASSES:
        if labels.dtype.kind == "U":
            raise ValueError(
                f"labels must be at most {_MOST_CLASSES} different names, not {len(found)}."
            )
        return labels.astype(float), None
    return None, _Classes([str(name) for name in found], index, _colours(len(found)))


def _colours(count: int) -> NDArray:
    if count <= len(PALETTE):
        return np.array([mpl.colors.to_rgba(colour) for colour in PALETTE[:count]])
    return mpl.colormaps["tab10" if count <= 10 else "tab20"](np.arange(count))


def _plane(axes: Axes, codes: NDArray) -> tuple[NDArray, NDArray]:
    """The coordinates of each code, named on the axes."""
    if codes.shape[1] == 2:
        axes.set(xlabel="$z_1$", ylabel="$z_2$")
        return codes[:, 0], codes[:, 1]
    points, shares = principal_components(codes)
    names = [
        f"{ordinal} principal component of {codes.shape[1]} ({share:.0%} of the variance)"
        for ordinal, share in zip(_ORDINALS, shares, strict=True)
    ]
    axes.set(xlabel=names[0], ylabel=names[1])
    return points[:, 0], points[:, 1]


def principal_components(codes: NDArray) -> tuple[NDArray, NDArray]:
    """Codes [N, L] on their two leading principal components, [N, 2], and the shares of variance.

    The largest entry of each direction is positive, so that signs do not depend on the machine.
    """
    centred = codes - codes.mean(axis=0)
    _, scales, directions = np.linalg.svd(centred, full_matrices=False)
    scales = np.append(scales, 0.0)[:2]  # one example has one direction
    directions = np.vstack([directions, np.zeros(codes.shape[1])])[:2]
    largest = np.argmax(np.abs(directions), axis=1)
    signs = np.where(directions[[0, 1], largest] < 0, -1.0, 1.0)
    total = np.sum(np.square(centred)) or 1.0
    return centred @ (signs[:, None] * directions).T, np.square(scales) / total


def _scatter(
    axes: Axes,
    x: NDArray,
    y: NDArray,
    values: NDArray | None,
    classes: _Classes | None,
    label_name: str,
) -> None:
    # In a random order no class lies upon all others.
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], y[order]
    size = float(np.clip(4000 / len(x), 1.0, 9.0))  # points^2
    style: dict[str, Any] = {"s": size, "linewidths": 0, "rasterized": len(x) > 2000}
    if classes is not None:
        axes.scatter(x, y, c=classes.colours[classes.indices[order]], alpha=0.8, **style)
    elif values is not None:
        values = values[order]
        known = np.isfinite(values)
        axes.scatter(x[~known], y[~known], color="0.8", **style)
        mesh = axes.scatter(x[known], y[known], c=values[known], cmap="viridis", **style)
        bar = axes.figure.colorbar(mesh, ax=axes, label=label_name, aspect=30)
        bar.outline.set_linewidth(0.5)
    else:
        axes.scatter(x, y, color=BLUE, alpha=0.6, **style)


def _legend(figure: Figure, classes: _Classes, label_name: str) -> None:
    handles = [Line2D([], [], linestyle="", marker="o", color=colour) for colour in classes.colours]
    figure.legend(handles, classes.names, loc="outside right center", title=label_name)


def _draw_line(
    axes: Axes, z: NDArray, values: NDArray | None, classes: _Classes | None, label_name: str
) -> None:
    """One latent along the horizontal axis."""
    axes.set_xlabel("$z$")
    if classes is not None:
        num_classes = len(classes.names)
        cast(Figure, axes.figure).set_figheight(0.7 + 0.25 * max(num_classes, 4))
        heights = np.random.default_rng(1).uniform(-0.35, 0.35, len(z))
        _scatter(axes, z, classes.indices + heights, None, classes, label_name)
        axes.set_yticks(range(num_classes), classes.names)
        axes.set(ylabel=label_name, ylim=(num_classes - 0.4, -0.6))
    elif values is not None:
        known = np.isfinite(values)
        axes.plot(z[known], values[known], "o", color=BLUE, markersize=2, alpha=0.6, mew=0)
        axes.set_ylabel(label_name)
    else:
        axes.hist(z, bins="auto" if len(z) > 1 else 1, color=BLUE)
        axes.set_ylabel("examples")

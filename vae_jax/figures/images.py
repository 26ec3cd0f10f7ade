"""Figures of images."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from vae_jax.figures.figure import DPI, Figure
from vae_jax.figures.style import PAGE_WIDTH, STYLE

# In inches.
_MAX_TILE_WIDTH = 0.45
_MARGIN = 0.05
_TEXT_LINE = 0.15

# In image pixels.
_GAP = 2


def mosaic(images: ArrayLike, num_columns: int, gap: int = _GAP) -> NDArray[np.float64]:
    """Arranges images as tiles of one image, row by row from the top left, on white.

    Args:
      images: [N, H, W, C] in [0, 1], with C 1 (grey) or 3 (RGB).
      num_columns: number of tiles in a row. Fewer images make one shorter row.
      gap: number of pixels between neighbouring tiles.

    Returns:
      [rows * (H + gap) - gap, columns * (W + gap) - gap, C]. The top left pixel of image k is at
      (k // columns * (H + gap), k % columns * (W + gap)). Pixels between the images are 1.
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


@mpl.rc_context(STYLE)
def image_grid(images: ArrayLike, num_columns: int, title: str | None = None) -> Figure:
    """Draws images row by row.

    Args:
      images: [N, H, W, C] in [0, 1], with C 1 (grey) or 3 (RGB).
      num_columns: number of images in a row.
      title: line above the images.
    """
    canvas = mosaic(images, num_columns)
    figure, axes = _draw(canvas, np.shape(images)[2], top=_TEXT_LINE if title else 0)
    if title:
        axes.set_title(title, pad=3)
    return figure


def samples(means: ArrayLike, num_columns: int = 10) -> Figure:
    """Draws the decoder means [N, H, W, C] in [0, 1] of latents drawn from the prior."""
    return image_grid(means, num_columns, title="prior samples")


@mpl.rc_context(STYLE)
def side_by_side(means: Mapping[str, ArrayLike], num_columns: int = 8) -> Figure:
    """Draws grids of images beside each other, each under its title.

    Args:
      means: title -> images [N, H, W, C] in [0, 1], of one shape.
      num_columns: number of images in a row of each grid.
    """
    grids = [mosaic(images, num_columns) for images in means.values()]
    tile = np.shape(next(iter(means.values())))[2]
    gap = np.ones((len(grids[0]), 2 * tile, grids[0].shape[-1]))
    parts = [part for grid in grids for part in (grid, gap)][:-1]
    canvas = np.concatenate(parts, axis=1)
    figure, axes = _draw(canvas, tile, top=_TEXT_LINE)
    width, begin = grids[0].shape[1], 0
    for title in means:
        axes.text(begin, -4, title, ha="left", va="bottom", fontsize=mpl.rcParams["font.size"])
        begin += width + 2 * tile
    return figure


@mpl.rc_context(STYLE)
def reconstructions(originals: ArrayLike, means: ArrayLike, num_columns: int = 10) -> Figure:
    """Draws rows of data images, each with the row of their reconstructions below it.

    Args:
      originals: [N, H, W, C] in [0, 1], with C 1 (grey) or 3 (RGB).
      means: [N, H, W, C] in [0, 1], the decoder means of the same images.
      num_columns: number of data images in a row.
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
    # The images of a pair are closer together than two pairs.
    pair_gap = 3 * _GAP
    figure, axes = _draw(mosaic(pairs, 1, pair_gap), width, left=0.75)
    pair_tops = np.arange(len(pairs)) * (2 * height + _GAP + pair_gap)
    centres = pair_tops[:, None] + (height - 1) / 2 + np.array([0, height + _GAP])
    axes.set_yticks(centres.ravel(), ["data", "reconstruction"] * len(pairs))
    axes.tick_params(labelsize=7)
    return figure


@mpl.rc_context(STYLE)
def labelled_rows(rows: Mapping[str, ArrayLike]) -> Figure:
    """Draws rows of images, each with its label on the left.

    Args:
      rows: label -> images [N, H, W, C] in [0, 1], with C 1 (grey) or 3 (RGB), all of one shape.
    """
    images = _checked("rows", np.stack([np.asarray(of) for of in rows.values()]), "[R, N, H, W, C]")
    _, number, height, width, _ = images.shape
    canvas = mosaic(images.reshape(-1, *images.shape[2:]), number)
    figure, axes = _draw(canvas, width, left=0.95)
    axes.set_yticks((height - 1) / 2 + np.arange(len(rows)) * (height + _GAP), list(rows))
    axes.tick_params(labelsize=7)
    return figure


@mpl.rc_context(STYLE)
def interpolation(images: ArrayLike) -> Figure:
    """Draws paths between pairs of data images, one a row.

    Args:
      images: [rows, steps, H, W, C] in [0, 1], with C 1 (grey) or 3 (RGB): decoder means at
        `steps` equally spaced points, at least 3, from the latent code of one data image to that of
        another. The first and the last are marked as reconstructions.
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


@mpl.rc_context(STYLE)
def manifold(grid_images: ArrayLike, quantiles: ArrayLike) -> Figure:
    """Draws the decoded images of a two-dimensional latent space.

    Args:
      grid_images: [R, R, H, W, C] in [0, 1], with C 1 (grey) or 3 (RGB): at [i, j] the decoder mean
        of the latent code whose z1 is quantile i of the prior and whose z2 is quantile j.
      quantiles: [R], prior probability below each coordinate, increasing, in (0, 1).
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
    # In the drawing z1 grows to the right and z2 upwards; a mosaic is filled downwards.
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
    """Makes a figure as large as `canvas`, with room in inches for labels around it."""
    height, width = canvas.shape[:2]
    left, right, bottom, top = (round((_MARGIN + x) * DPI) for x in (left, right, bottom, top))
    scale = int(min(_MAX_TILE_WIDTH * DPI / tile_width, (PAGE_WIDTH * DPI - left - right) / width))
    scale = max(scale, 1)
    height, width = height * scale, width * scale
    total_height, total_width = height + bottom + top, width + left + right
    figure = Figure((total_width / DPI, total_height / DPI), dpi=DPI)
    axes = figure.add_axes(
        (left / total_width, bottom / total_height, width / total_width, height / total_height)
    )
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=1, interpolation="none")
    axes.set(xticks=[], yticks=[])
    axes.tick_params(length=0, pad=2)
    axes.spines[:].set_visible(False)
    return figure, axes

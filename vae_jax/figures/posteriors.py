"""A figure of posteriors over two latents, beside the exact one."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from vae_jax.figures.figure import DPI, Figure
from vae_jax.figures.style import BLUE, PAGE_WIDTH, STYLE

_SHARES = (0.5, 0.9)  # of the mass inside the contours


@mpl.rc_context(STYLE)
def posterior_contours(
    images: ArrayLike,
    boxes: ArrayLike,
    exact: ArrayLike,
    families: Mapping[str, ArrayLike],
    gaps: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """Draws p(z|x) of some images, and over it the contours of q(z|x) of each family.

    A row is an image, a column a family. The contours hold 50 % and 90 % of the mass of q(z|x).

    Args:
      images: [I, H, W, C] in [0, 1], with C 1 (grey) or 3 (RGB).
      boxes: [I, 4], the smallest and the largest z_1, and those of z_2, of each grid.
      exact: [I, P, P], log p(z|x) on a grid of P values of z_1 and P of z_2, up to a constant.
      families: name -> [I, P, P], log q(z|x) on the same grid, up to a constant.
      gaps: name -> [I], KL(q(z|x) || p(z|x)), nats, written above each panel; None for none.

    Raises:
      ValueError: the shapes do not fit to each other.
    """
    images, boxes, exact = (np.asarray(array, float) for array in (images, boxes, exact))
    grids = {name: np.asarray(grid, float) for name, grid in families.items()}
    if exact.ndim != 3 or boxes.shape != (len(images), 4) or len(exact) != len(images):
        raise ValueError(
            f"boxes {boxes.shape} and exact {exact.shape} must be [I, 4] and [I, P, P] for "
            f"{len(images)} images."
        )
    for name, grid in grids.items():
        if grid.shape != exact.shape:
            raise ValueError(f"{name} has the shape {grid.shape}, and exact has {exact.shape}.")
    columns = len(grids) + 1
    size = PAGE_WIDTH / columns
    figure = Figure((PAGE_WIDTH, size * len(images) + 0.3), dpi=DPI, layout="constrained")
    panels = figure.subplots(len(images), columns, squeeze=False)
    for row, (image, box, log_exact) in enumerate(zip(images, boxes, exact, strict=True)):
        first, *others = panels[row]
        first.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="none")
        first.set_axis_off()
        for axes, (name, grid) in zip(others, grids.items(), strict=True):
            _panel(axes, box, log_exact, grid[row])
            above = [name] if row == 0 else []
            above += [] if gaps is None else [f"{gaps[name][row]:.2f} nats"]
            axes.set_title("\n".join(above), pad=2)
    return figure


def _panel(axes: Axes, box: NDArray, log_exact: NDArray, log_q: NDArray) -> None:
    """One panel: the exact density as grey, contours over it. The grids have z_1 along rows."""
    density = np.exp(log_exact - log_exact.max())
    extent = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
    axes.imshow(density.T, cmap="Greys", origin="lower", extent=extent, aspect="auto")
    mass = np.exp(log_q - log_q.max())
    levels = sorted(_level(mass, share) for share in _SHARES)
    if levels[0] < levels[1]:
        left, right, low, high = box
        across, up = np.linspace(left, right, len(mass)), np.linspace(low, high, mass.shape[1])
        axes.contour(across, up, mass.T, levels=levels, colors=BLUE, linewidths=0.7)
    axes.set(xticks=[], yticks=[])


def _level(mass: NDArray, share: float) -> float:
    """The density above which this share of the mass lies."""
    ordered = np.sort(mass, axis=None)[::-1]
    inside = np.searchsorted(np.cumsum(ordered), share * ordered.sum())
    return float(ordered[min(inside, ordered.size - 1)])

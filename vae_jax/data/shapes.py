"""White shapes on black, with known factors: a small relative of dSprites, drawn here.

Every combination of the factors is one image, as in dSprites (Matthey et al. 2017), and no two
combinations give the same image. The orientations therefore cover a quarter turn, after which a
square repeats itself. (An ellipse repeats itself after half a turn, a heart after a whole one.)
"""

import numpy as np

from vae_jax.data.splits import Split, Undivided

# The number of values of each factor. Value 0 is: square (then ellipse, heart), the smallest,
# upright, furthest to the left, furthest down.
FACTORS = {"shape": 3, "scale": 4, "orientation": 8, "x": 12, "y": 12}

_SIDE = 32
_RADIUS = (
    9.85  # pixels, radius of a circle around the largest shape, which never touches the border
)


def _square(x, y):
    return np.maximum(np.abs(x), np.abs(y)) < 0.68


def _ellipse(x, y):
    return x**2 + (y / 0.55) ** 2 < 1.0


def _heart(x, y):
    x, y = 1.26 * x, 1.26 * y + 0.25
    return (x**2 + y**2 - 1.0) ** 3 < x**2 * y**3


# Each shape lies within the unit circle; y points upwards. No edge is so close to the centre of a
# pixel that rounding could change an image: sizes that differ by 0.001 % give the same images.
_SHAPES = (_square, _ellipse, _heart)


def all_images() -> tuple[np.ndarray, np.ndarray]:
    """Every image once, and its factors.

    Returns:
      images: [N, 32, 32, 1] uint8, 0 or 255; N = 13,824.
      factors: [N, 5] integers, the factors in the order of `FACTORS`, the last changing fastest.
    """
    sizes = tuple(FACTORS.values())
    images = np.empty((*sizes, _SIDE, _SIDE, 1), np.uint8)
    for shape, scale, orientation in np.ndindex(sizes[:3]):
        size = float(np.linspace(0.55, 1.0, sizes[1])[scale])
        angle = 0.5 * np.pi * orientation / sizes[2]
        images[shape, scale, orientation, ..., 0] = _at_all_positions(_SHAPES[shape], size, angle)
    factors = np.indices(sizes).reshape(len(sizes), -1).T
    return images.reshape(-1, _SIDE, _SIDE, 1), factors


def read() -> Undivided:
    """The images of `all_images`, labelled by their factors."""
    return Undivided(Split(*all_images()), label_names=tuple(FACTORS))


def _at_all_positions(shape, size: float, angle: float) -> np.ndarray:
    """The shape turned anticlockwise by `angle`, one pixel from each position to the next.

    Returns [x, y, 32, 32] uint8.
    """
    num_x, num_y = FACTORS["x"], FACTORS["y"]
    # Drawn once in the middle of a larger canvas. Every position is a window on it.
    rows, columns = np.indices((_SIDE + num_y - 1, _SIDE + num_x - 1))
    x = (columns - columns.max() / 2) / (size * _RADIUS)
    y = (rows.max() / 2 - rows) / (size * _RADIUS)
    cos, sin = np.cos(angle), np.sin(angle)
    canvas = np.where(shape(cos * x + sin * y, cos * y - sin * x), np.uint8(255), np.uint8(0))
    windows = np.lib.stride_tricks.sliding_window_view(canvas, (_SIDE, _SIDE))  # [top, left, ...]
    return windows[:, ::-1].swapaxes(0, 1)

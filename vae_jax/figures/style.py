"""What all figures share: sizes, type, colours, and a legend that covers nothing."""

from collections.abc import Mapping
from typing import Any

from matplotlib.legend import Legend

from vae_jax.figures.figure import Figure

PAGE_WIDTH = 6.5  # inches

STYLE: dict[Any, Any] = {
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

# Okabe and Ito's palette, which every kind of colour vision tells apart, without its yellow, which
# a line on white paper does not show.
BLUE, RED, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK = "#E69F00", "#56B4E9", "#000000"
GREY = "0.6"
PALETTE = (BLUE, RED, GREEN, PINK, ORANGE, SKY, BLACK)

DASHES = ("-", "--", "-.", ":")

# In inches, of legends in their font size; measured, and rounded up.
_LETTER, _HANDLE, _LINE, _PADDING = 0.05, 0.42, 0.125, 0.1


def legend_below(figure: Figure, handles: Mapping[str, Any], **options: Any) -> Legend:
    """Draws a legend below all axes of a figure, which grows by the height of the legend.

    It has as many columns as the longest label leaves room for, so that no label is cut off.

    Args:
      figure: the figure, with a constrained layout.
      handles: label -> what is drawn beside it.
      options: further arguments of `Figure.legend`.
    """
    room = figure.get_figwidth() - _PADDING
    widest = _HANDLE + _LETTER * max(map(len, handles))
    most = max(1, int(room / widest))
    num_rows = -(-len(handles) // most)
    num_columns = -(-len(handles) // num_rows)  # rows of about equal length
    figure.set_figheight(figure.get_figheight() + _PADDING + _LINE * num_rows)
    return figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=num_columns,
        **options,
    )

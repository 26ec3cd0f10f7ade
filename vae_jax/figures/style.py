"""What all figures share: sizes and type."""

# The resolution that savefig uses unless told otherwise. Figures of images are laid out in whole
# pixels of it, so that all pixels of an image have one size in a PNG.
DPI = 200

PAGE_WIDTH = 6.5  # inches

STYLE = {
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

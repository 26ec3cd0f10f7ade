"""The figure that every function here returns."""

from io import BytesIO

from matplotlib import figure

# The resolution that `save` uses. Figures of images are laid out in whole pixels of it, so that all
# pixels of an image have one size in a PNG.
DPI = 200
_DPI_IN_A_NOTEBOOK = 100  # half as many: sharp on dense screens, too


class Figure(figure.Figure):
    """A matplotlib figure that a notebook shows even if nobody imports pyplot."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """The PNG and the width in pixels at which it is shown, as IPython asks for them."""
        file = BytesIO()
        self.savefig(file, format="png", dpi=DPI)
        return file.getvalue(), {"width": round(self.get_figwidth() * _DPI_IN_A_NOTEBOOK)}

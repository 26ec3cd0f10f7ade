"""Figures as files: of the kind that is asked for, the same at any time, and whole."""

import time
from io import BytesIO

import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.figure import Figure
from PIL import Image

from vae_jax import figures
from vae_jax.errors import BadInputError


def figure():
    """Text, a clipped line and an image: what has fonts, names and pixels of its own."""
    return figures.latent_scatter(np.arange(3000.0 * 2).reshape(3000, 2), np.arange(3000) % 3)


@pytest.mark.parametrize(
    ("ending", "start"),
    [(".png", b"\x89PNG"), (".PNG", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")],
)
def test_the_ending_says_the_kind(tmp_path, ending, start):
    path = figures.save(figure(), str(tmp_path / f"a.b{ending}"))
    assert path == tmp_path / f"a.b{ending}"
    assert path.read_bytes().startswith(start)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_the_same_figure_is_the_same_file_at_another_time(tmp_path):
    def files(name):
        return [
            figures.save(figure(), tmp_path / f"{name}{ending}").read_bytes()
            for ending in figures.ENDINGS
        ]

    first = files("first")
    time.sleep(1.1)  # dates of files have a resolution of a second
    assert files("second") == first


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.png.gz"])
def test_another_ending_is_refused_by_name(tmp_path, name):
    with pytest.raises(
        BadInputError, match=r"is written as one of \.png, \.pdf, \.svg\.$"
    ) as found:
        figures.save(figure(), tmp_path / name)
    assert name in str(found.value)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = figures.save(figure(), tmp_path / "a.png")
    before = path.read_bytes()

    def half(self, target, **options):
        del self, options
        target.write_bytes(before[:100])
        raise OSError("no room")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="no room"):
        figures.save(figure(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_notebook_shows_a_figure_in_the_size_that_it_has_on_paper():
    drawn = figure()
    shown, details = DisplayFormatter().format(drawn)
    with Image.open(BytesIO(shown["image/png"])) as image:
        width, height = image.size
    assert width == round(200 * drawn.get_figwidth())
    assert height == round(200 * drawn.get_figheight())
    assert details["image/png"] == {"width": round(100 * drawn.get_figwidth())}

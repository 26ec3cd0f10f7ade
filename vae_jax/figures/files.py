"""Figures as files."""

import os
from pathlib import Path
from typing import Any

import matplotlib as mpl

from vae_jax.errors import BadInputError
from vae_jax.figures.figure import Figure

# Without the metadata that differ between days and versions of matplotlib.
_METADATA = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}
# Text stays text in a PDF, in fonts that journals accept. Names in an SVG follow from the figure.
_STYLE: dict[Any, Any] = {"pdf.fonttype": 42, "svg.hashsalt": "vae_jax"}

#: The endings of the files that `save` writes.
ENDINGS = tuple(f".{kind}" for kind in _METADATA)


def save(figure: Figure, path: str | Path) -> Path:
    """Writes a figure as a file; the ending of the path says of which kind.

    The same figure always gives the same bytes. The file is written under another name and then
    renamed, so that a killed process leaves the old file or the new one.

    Args:
      figure: the figure.
      path: path of the file, which ends in .png, .pdf or .svg. Its folder must exist.

    Returns:
      The path.

    Raises:
      BadInputError: the path has another ending.
      OSError: the file cannot be written.
    """
    path = Path(os.path.expanduser(path))
    kind = path.suffix.lower().removeprefix(".")
    if kind not in _METADATA:
        raise BadInputError(
            f"path={str(path)!r} has the ending {path.suffix!r}, and a figure is written as one of "
            f"{', '.join(ENDINGS)}."
        )
    partial = path.with_name(path.name + ".partial")
    try:
        with mpl.rc_context(_STYLE):
            figure.savefig(partial, format=kind, metadata=_METADATA[kind])
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path

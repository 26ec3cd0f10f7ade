"""Files that a command writes for the user."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vae_jax.data import Column, as_text
from vae_jax.errors import BadInputError
from vae_jax.runs.files import output_folder, replace_bytes


def output_file(out: str, kinds: tuple[str, ...]) -> tuple[Path, str]:
    """The path of --out and its kind. Makes its folder, before the work begins.

    kinds: allowed endings; "/" stands for a folder.

    Raises:
      BadInputError: the ending is not one of `kinds`, or the folder cannot be written.
    """
    path = Path(os.path.expanduser(out))
    kind = "/" if out.endswith("/") or path.is_dir() else path.suffix.lower()
    if kind not in kinds:
        words = ["FOLDER/" if each == "/" else f"FILE{each}" for each in kinds]
        raise BadInputError(f"out={out} must be {' or '.join(words)}.")
    output_folder(path if kind == "/" else path.parent, named="out")
    return path, kind


def as_csv(table: np.ndarray, columns: Sequence[Column] | Sequence[str] | None) -> str:
    """A table [N, D] as the text of a .csv file, categories by their names, under a header.

    columns: columns with their types, or their names; None for x_0, x_1, ...
    """
    known = columns or [f"x_{index}" for index in range(table.shape[1])]
    typed = [of if isinstance(of, Column) else Column(str(of), "real") for of in known]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in typed])
    for row in table.tolist():
        writer.writerow([as_text(*each) for each in zip(typed, row, strict=True)])
    return text.getvalue()


def save_pngs(folder: Path, x: np.ndarray) -> None:
    """Writes each image [H, W, C] of [N, H, W, C] in [0, 1] as a PNG file, pixel by pixel."""
    from PIL import Image

    digits = len(str(len(x) - 1))
    for index, image in enumerate(np.round(255 * x).astype(np.uint8)):
        content = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(content, "PNG")
        replace_bytes(folder / f"{index:0{digits}d}.png", content.getvalue())

"""Counts of single cells from .h5ad files, the format of AnnData."""

from pathlib import Path
from typing import Any

import numpy as np

from vae_jax.data.paths import named
from vae_jax.data.splits import Undivided
from vae_jax.data.values import Given, Named, undivided
from vae_jax.errors import DataError

_LAYERS = ("counts", "raw_counts", "spliced")  # where raw counts are kept beside a normalised X


def read(path: Path, label_column: str | None = None) -> Undivided:
    """The raw counts [N, D] of N cells and D genes.

    They are looked for in X, in the layers "counts", "raw_counts" and "spliced", and in raw.X, and
    the first array of whole numbers is taken.

    Args:
      path: the file.
      label_column: name of the column of `obs` that holds the labels; None for no labels.

    Raises:
      DataError: the package anndata is missing, the file cannot be read, or there are no counts;
        the message says where they were looked for.
    """
    try:
        import anndata
    except ImportError as error:
        raise DataError(
            "reading .h5ad files needs the package anndata: pip install 'vae_jax[anndata]'"
        ) from error
    try:
        cells = anndata.read_h5ad(path)
    except Exception as error:  # of any kind, from h5py and anndata
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{named(path)} is no .h5ad file that can be read ({reason})") from error
    where = f"{named(path)}: "
    places: dict[str, Any] = {"X": cells.X}
    places |= {f"layers[{name!r}]": cells.layers[name] for name in _LAYERS if name in cells.layers}
    if cells.raw is not None:
        places["raw.X"] = cells.raw.X
    counts = next((name for name, of in places.items() if of is not None and _are_counts(of)), None)
    if counts is None:
        raise DataError(
            f"{where}there are no raw counts in {', '.join(places)}: their values are negative or "
            "fractions, as after normalisation"
        )
    names = cells.raw.var_names if counts == "raw.X" else cells.var_names
    found = places[counts]
    table = np.asarray(found.toarray() if hasattr(found, "toarray") else found)
    labels, class_names = None, None
    if label_column is not None:
        if label_column not in cells.obs:
            raise DataError(
                f"{where}there is no column {label_column!r} in obs for the labels, only "
                f"{', '.join(map(repr, cells.obs.columns))}"
            )
        texts = cells.obs[label_column].astype(str).to_numpy()
        classes, numbers = np.unique(texts, return_inverse=True)
        labels, class_names = Named(label_column, numbers), tuple(map(str, classes))
    given = Given(Named(counts, table), labels)
    columns = tuple(map(str, names))
    found_counts = undivided(given, where=where, kind="count", columns=columns)
    return found_counts._replace(label_names=class_names)


def _are_counts(matrix: Any) -> bool:
    """Whether all values of a dense or sparse matrix are whole numbers from 0 on."""
    values = np.asarray(matrix.data if hasattr(matrix, "toarray") else matrix)
    return values.dtype.kind in "fiu" and bool(((values >= 0) & (values == np.floor(values))).all())

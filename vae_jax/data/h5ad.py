"""Counts of single cells from .h5ad files, the format of AnnData."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_jax.data.paths import named
from vae_jax.data.splits import Undivided
from vae_jax.data.values import Given, Named, undivided
from vae_jax.errors import DataError

_LAYERS = ("counts", "raw_counts", "spliced")  # where raw counts are kept beside a normalised X


class Covariate(NamedTuple):
    """A column of `obs` that is a part of the condition.

    Attributes:
      name: its name.
      categories: its values in their order, one-hot in the condition; none of numbers.
      shift: number that is subtracted from numbers.
      scale: number by which they are divided then.
    """

    name: str
    categories: tuple[str, ...] = ()
    shift: float = 0.0
    scale: float = 1.0

    @property
    def size(self) -> int:
        """How many numbers of the condition it takes."""
        return max(1, len(self.categories))


def read(
    path: Path,
    label_column: str | None = None,
    covariates: str | Sequence[Covariate] | None = None,
) -> Undivided:
    """The raw counts [N, D] of N cells and D genes.

    They are looked for in X, in the layers "counts", "raw_counts" and "spliced", and in raw.X, and
    the first array of whole numbers is taken.

    Args:
      path: the file.
      label_column: name of the column of `obs` that holds the labels; None for no labels.
      covariates: columns of `obs`, with commas, or those of a run, that are the condition: texts
        and categories one-hot, numbers standardised; None for no condition.

    Raises:
      DataError: the package anndata is missing, the file cannot be read, there are no counts (the
        message says where they were looked for), there is no such column, or a cell has a category
        that the run does not know.
    """
    cells = opened(path)
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
        texts = _column(cells, label_column, where, "the labels").astype(str).to_numpy()
        classes, numbers = np.unique(texts, return_inverse=True)
        labels, class_names = Named(label_column, numbers), tuple(map(str, classes))
    condition, known = None, None
    if covariates is not None:
        known, values = _condition(cells, covariates, where)
        condition = Named("the covariates", values)
    given = Given(Named(counts, table), labels, condition)
    columns = tuple(map(str, names))
    found_counts = undivided(given, where=where, kind="count", columns=columns)
    return found_counts._replace(label_names=class_names, covariates=known)


def opened(path: Path) -> Any:
    """The AnnData of a file.

    Raises:
      DataError: the package anndata is missing, or the file cannot be read.
    """
    try:
        import anndata
    except ImportError as error:
        raise DataError(
            "reading .h5ad files needs the package anndata: pip install 'vae_jax[anndata]'"
        ) from error
    try:
        return anndata.read_h5ad(path)
    except Exception as error:  # of any kind, from h5py and anndata
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{named(path)} is no .h5ad file that can be read ({reason})") from error


def _column(cells: Any, name: str, where: str, what: str) -> Any:
    if name not in cells.obs:
        raise DataError(
            f"{where}there is no column {name!r} in obs for {what}, only "
            f"{', '.join(map(repr, cells.obs.columns))}"
        )
    return cells.obs[name]


def _condition(
    cells: Any, covariates: str | Sequence[Covariate], where: str
) -> tuple[tuple[Covariate, ...], np.ndarray]:
    """The covariates, and their values [N, C]."""
    if isinstance(covariates, str):
        names = [name.strip() for name in covariates.split(",") if name.strip()]
        columns = [_column(cells, name, where, "the covariates") for name in names]
        known = tuple(_covariate(*pair, where) for pair in zip(names, columns, strict=True))
    else:
        known = tuple(covariates)
    if not known:
        raise DataError(f"{where}covariates must name at least one column of obs")
    parts = []
    for one in known:
        column = _column(cells, one.name, where, "the covariates")
        if not one.categories:
            values = column.to_numpy(np.float64)
            parts.append(((values - one.shift) / one.scale)[:, None])
            continue
        texts = column.astype(str).to_numpy()
        unknown = sorted(set(texts) - set(one.categories))
        if unknown:
            raise DataError(
                f"{where}column {one.name!r} has {unknown[0]!r}, which is none of "
                f"{', '.join(map(repr, one.categories[:8]))}, the categories in training"
            )
        parts.append(texts[:, None] == np.array(one.categories))
    return known, np.concatenate(parts, axis=1).astype(np.float32)


def _covariate(name: str, column: Any, where: str) -> Covariate:
    if column.isna().any():
        raise DataError(f"{where}column {name!r} of obs has missing values")
    if column.dtype.kind in "fiu":
        values = column.to_numpy(np.float64)
        if not values.std() > 0:
            raise DataError(f"{where}column {name!r} of obs is {values[0]:g} in all cells")
        return Covariate(name, (), float(f"{values.mean():.6g}"), float(f"{values.std():.6g}"))
    return Covariate(name, tuple(sorted(set(column.astype(str)))))


def _are_counts(matrix: Any) -> bool:
    """Whether all values of a dense or sparse matrix are whole numbers from 0 on."""
    values = np.asarray(matrix.data if hasattr(matrix, "toarray") else matrix)
    return values.dtype.kind in "fiu" and bool(((values >= 0) & (values == np.floor(values))).all())

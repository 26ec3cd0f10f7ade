"""What a model must know of its data, measured on the training examples."""

from typing import NamedTuple

import numpy as np

from vae_jax import data
from vae_jax.config import Config
from vae_jax.errors import BadInputError
from vae_jax.models.likelihoods import LIKELIHOODS

_MEASURED = 10_000  # training examples, at most, whose scale is measured
_LEAST_BATCH = 10  # cells, from which on a batch has moments of its own


class Facts(NamedTuple):
    """What a model must know of its data."""

    event_shape: tuple[int, ...]
    condition_shape: tuple[int, ...] | None = None
    initial_std: float = 0.3
    shift: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None
    missing: bool = False
    columns: tuple[tuple, ...] | None = None
    num_classes: int | None = None
    size_moments: tuple[tuple[float, float], ...] | None = None


def facts_of(
    dataset: data.Dataset,
    config: Config,
    condition_shape: tuple[int, ...] | None,
    missing: bool,
) -> Facts:
    """The facts of a data set, measured on its training examples.

    Raises:
      BadInputError: a column has one value, or with `latent_size` an example has no counts.
    """
    x = dataset.train.x
    shift, scale, std = None, None, Facts._field_defaults["initial_std"]
    if dataset.kind in ("real", "mixed"):
        flat = np.ma.masked_invalid(data.with_holes(x[:], dataset.train.mask).astype(np.float64))
        flat = flat.reshape(len(x), -1)
    if dataset.kind == "real":
        scale = np.asarray(flat.std(axis=0))
        _require_varying(dataset, scale)
        shift = np.zeros_like(scale)
        if config.likelihood != "log_normal":
            shift = np.asarray(flat.mean(axis=0))
        std = 1.0
        if config.likelihood == "log_normal" and (flat > 0).all():
            std = float(np.log(flat).std(axis=0).mean())
    elif LIKELIHOODS[config.likelihood].starts_at_scale:
        mask = dataset.train.mask
        some = data.with_holes(x[:_MEASURED], None if mask is None else mask[:_MEASURED])
        some = np.asarray(some, np.float64) / (255 if some.dtype == np.uint8 else 1)
        std = float(np.sqrt(np.nanmean(np.square(some - np.nanmean(some, axis=0)))))
    rounded = [
        None if values is None else tuple(map(_rounded, values)) for values in (shift, scale)
    ]
    num_classes = None
    if config.condition == "partial_labels" and condition_shape is not None:
        (num_classes,) = condition_shape
    return Facts(
        tuple(x.shape[1:]),
        condition_shape,
        _rounded(max(std, 1e-3)),
        rounded[0],
        rounded[1],
        missing=missing,
        columns=None if dataset.schema is None else _column_types(dataset, dataset.schema, flat),
        size_moments=_size_moments(dataset) if config.latent_size else None,
        num_classes=num_classes,
    )


def _column_types(
    dataset: data.Dataset, schema: tuple[data.Column, ...], table: np.ma.MaskedArray
) -> tuple[tuple, ...]:
    """The `heads.ColumnType` of each column, in units of the training values [N, D].

    A zero may be rare, so that those of validation and test examples count, too.
    """
    splits = (dataset.train, dataset.validation, dataset.test)
    zeros = [data.with_holes(of.x[:], of.mask).reshape(len(of), -1) == 0 for of in splits]
    are_zero: np.ndarray = np.any(np.concatenate(zeros), axis=0)
    found: list[tuple] = []
    for index, column in enumerate(schema):
        values, has_zeros = table[:, index].compressed(), False
        if column.is_coded:
            size = 1 if column.kind == "binary" else len(column.categories)
            found.append((column.kind, size, 0.0, 1.0, has_zeros))
            continue
        if column.kind == "positive":
            has_zeros = bool(are_zero[index])
            values = np.log(values[values > 0])
        elif column.kind == "count":
            values = np.log1p(values)
        if not (len(values) and np.ptp(values) > 0):  # whose std may be above 0 by rounding
            which = "one value above 0" if has_zeros and len(values) else "one value"
            raise BadInputError(
                f"Column {column.name!r} has {which} in all training examples: leave it out."
            )
        found.append((column.kind, 1, _rounded(values.mean()), _rounded(values.std()), has_zeros))
    return tuple(found)


def _size_moments(dataset: data.Dataset) -> tuple[tuple[float, float], ...]:
    """The mean and the standard deviation of log total counts of each batch of cells, or of all.

    Batches are the categories of the first covariate; one with fewer than 10 cells has those of
    all.
    """
    x = np.asarray(dataset.train.x[:], np.float64).reshape(len(dataset.train), -1)
    if not (x.sum(axis=1) > 0).all():
        raise BadInputError(
            "latent_size=true needs a total count above 0, which example "
            f"{int(x.sum(axis=1).argmin())} does not have: leave empty examples out."
        )
    logs = np.log(x.sum(axis=1))
    everything = (_rounded(logs.mean()), _rounded(max(logs.std(), 1e-3)))
    first = dataset.covariates[0] if dataset.covariates else None
    if first is None or not first.categories:
        return (everything,)
    batches = np.asarray(dataset.train.condition)[:, : first.size].argmax(axis=1)
    found = []
    for batch in range(first.size):
        own = logs[batches == batch]
        moments = (
            (_rounded(own.mean()), _rounded(max(own.std(), 1e-3)))
            if len(own) >= _LEAST_BATCH
            else None
        )
        found.append(moments or everything)
    return tuple(found)


def _require_varying(dataset: data.Dataset, scale: np.ndarray) -> None:
    """Raises a BadInputError for a column whose observed training values are all the same."""
    if not (scale > 0).all():
        place = int(np.argmin(scale > 0))
        name = repr(dataset.columns[place]) if dataset.columns else str(place)
        raise BadInputError(
            f"Column {name} of {dataset.name} has one value in all training examples: leave it out."
        )


def _rounded(value: float) -> float:
    """A number to six digits, which sums in another order do not change."""
    return float(f"{value:.6g}")

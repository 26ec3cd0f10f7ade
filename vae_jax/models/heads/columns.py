"""The head of tables whose columns are of several types."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.distributions import (
    Affine,
    Bernoulli,
    Codes,
    Columns,
    NegativeBinomial,
    Normal,
    Ordinal,
    Positive,
)
from vae_jax.models.heads.base import LOG_STD_BOUND, Head, soft_bound
from vae_jax.models.heads.counts import LOG_MEAN_BOUND

#: Types of the columns of a table.
COLUMN_TYPES = ("real", "positive", "count", "categorical", "ordinal", "binary")
# Smallest log standard deviation of a column, in units of that of the data. A value that is in many
# rows would otherwise have any density.
_LEAST_LOG_STD = -3.5
_LARGEST_LOG = 40.0  # from which on the log of a positive mean is bounded
_WITH_ZEROS = "positive, with zeros"  # the group of such columns


class ColumnType(NamedTuple):
    """The type of a column, and its units.

    Attributes:
      kind: one of COLUMN_TYPES.
      size: number of categories of "categorical" and "ordinal", and 1 for the others.
      shift: mean of the training values of "real", of the logs of those above 0 of "positive", and
        of the logs of one more of "count"; 0 for the others.
      scale: standard deviation of the same; 1 for the others.
      has_zeros: whether some of "positive" are 0, which then has a probability.
    """

    kind: str
    size: int = 1
    shift: float = 0.0
    scale: float = 1.0
    has_zeros: bool = False


def columns(types: Sequence[ColumnType | tuple]) -> Head:
    """Rows with columns of several types, each with a likelihood of its own (Nazabal et al. 2020).

    Real numbers are normal and positive ones log-normal, both with means and standard deviations
    from the network in units of the training data, so that no column rules by its units. Where some
    of them are 0, that has a probability from the network (`distributions.Positive`). Counts are
    negative binomial. Categories have logits; ordered ones a location and thresholds that are
    parameters; binary values a logit.

    Args:
      types: the type of each column.

    Raises:
      ValueError: there are no columns, a type is unknown, a scale is not positive, there are
        fewer than two categories, or another type than "positive" has zeros.
    """
    known = tuple(ColumnType(*of) for of in types)
    for of in known:
        is_coded = of.kind in ("categorical", "ordinal")
        is_wrong = (is_coded and of.size < 2) or (of.has_zeros and of.kind != "positive")
        if of.kind not in COLUMN_TYPES or not of.scale > 0 or is_wrong:
            raise ValueError(f"{of} is no column: its type is one of {', '.join(COLUMN_TYPES)}.")
    if not known:
        raise ValueError("There must be at least one column.")
    places = {
        name: tuple(index for index, of in enumerate(known) if _group_of(of) == name)
        for name in (*COLUMN_TYPES, _WITH_ZEROS)
    }
    places = {name: at for name, at in places.items() if at}
    sizes = {name: tuple(known[index].size for index in at) for name, at in places.items()}
    outputs_of = {"real": 2, "positive": 2, "count": 2, "ordinal": 1, "binary": 1, _WITH_ZEROS: 3}
    numbers = {
        name: len(at) * (max(sizes[name]) if name == "categorical" else outputs_of[name])
        for name, at in places.items()
    }

    def units(name: str, dtype: Any) -> tuple[jax.Array, jax.Array]:
        of = [known[index] for index in places[name]]
        return jnp.array([one.shift for one in of], dtype), jnp.array(
            [one.scale for one in of], dtype
        )

    def init(key, event):
        del key
        params: dict[str, Any] = {}
        if "ordinal" in places:  # evenly spaced quantiles of a logistic variable
            levels = np.stack([_logits(size, max(sizes["ordinal"])) for size in sizes["ordinal"]])
            gaps = np.diff(levels, axis=1)
            params["first_threshold"] = jnp.asarray(levels[:, 0], event.dtype)
            params["log_gaps"] = jnp.asarray(np.log(gaps), event.dtype)
        return params, jnp.zeros(sum(numbers.values()), event.dtype)

    def apply(params, outputs, event_shape):
        if tuple(event_shape) != (len(known),):
            raise ValueError(
                f"There are {len(known)} columns, and event_shape={tuple(event_shape)}."
            )
        parts = jnp.split(outputs, np.cumsum(list(numbers.values()))[:-1])
        groups: list[Any] = []
        for (name, at), part in zip(places.items(), parts, strict=True):
            shift, scale = units(name, outputs.dtype)
            first, second = part[: len(at)], part[len(at) :]
            if name == "real":
                groups.append(Affine(Normal(first, _bounded_log_std(second)), shift, scale))
            elif name in ("positive", _WITH_ZEROS):
                log_std = _bounded_log_std(second[: len(at)]) + jnp.log(scale)
                log_mean = soft_bound(shift + scale * first, _LARGEST_LOG)
                zero_logits = second[len(at) :] if name == _WITH_ZEROS else None
                groups.append(Positive(log_mean, log_std, zero_logits))
            elif name == "count":
                log_mean = soft_bound(shift + scale * first, LOG_MEAN_BOUND)
                groups.append(NegativeBinomial(log_mean, soft_bound(second, LOG_MEAN_BOUND)))
            elif name == "categorical":
                groups.append(Codes(part.reshape(len(at), -1), sizes[name]))
            elif name == "ordinal":
                gaps = jnp.exp(params["log_gaps"])
                later = params["first_threshold"][:, None] + jnp.cumsum(gaps, axis=1)
                thresholds = jnp.concatenate([params["first_threshold"][:, None], later], axis=1)
                groups.append(Ordinal(part, thresholds, sizes[name]))
            else:
                groups.append(Bernoulli(part))
        return Columns(tuple(groups), tuple(places.values()))

    return Head(lambda event_shape: (sum(numbers.values()),), init, apply)


class Features(NamedTuple):
    """What an encoder takes of the columns of a table.

    Attributes:
      of: function of a row [D] -> features [F]: numbers in units of the training data, and whether
        they are above 0 where some are not; one-hot categories; and of ordered categories whether
        each level is reached.
      owners: [F] int, the column of each feature.
    """

    of: Any
    owners: np.ndarray


def features(types: Sequence[ColumnType | tuple]) -> Features:
    """The features of rows with columns of these types."""
    known = tuple(ColumnType(*of) for of in types)

    def of_column(of: ColumnType, x: jax.Array) -> jax.Array:
        if of.kind == "categorical":
            return (x == jnp.arange(of.size)).astype(x.dtype)
        if of.kind == "ordinal":
            return (x >= jnp.arange(1, of.size)).astype(x.dtype)
        if of.has_zeros:
            is_positive = x > 0
            log = (jnp.log(jnp.where(is_positive, x, 1.0)) - of.shift) / of.scale
            return jnp.stack([jnp.where(is_positive, log, 0.0), is_positive.astype(x.dtype)])
        if of.kind == "positive":
            x = jnp.log(x)
        elif of.kind == "count":
            x = jnp.log1p(x)
        return ((x - of.shift) / of.scale)[None]

    def of_row(x: jax.Array) -> jax.Array:
        return jnp.concatenate([of_column(of, x[index]) for index, of in enumerate(known)])

    widths = {
        "categorical": lambda size: size,
        "ordinal": lambda size: size - 1,
        _WITH_ZEROS: lambda size: 2,
    }
    owners = [
        index
        for index, of in enumerate(known)
        for _ in range(widths.get(_group_of(of), lambda size: 1)(of.size))
    ]
    return Features(of_row, np.array(owners))


def _group_of(of: ColumnType) -> str:
    """The name of the columns that share a distribution with a column."""
    return _WITH_ZEROS if of.has_zeros else of.kind


def _bounded_log_std(outputs: jax.Array) -> jax.Array:
    """Log standard deviations, smoothly above _LEAST_LOG_STD."""
    bounded = soft_bound(outputs, LOG_STD_BOUND)
    return _LEAST_LOG_STD + jax.nn.softplus(bounded - _LEAST_LOG_STD)


def _logits(size: int, most: int) -> np.ndarray:
    """Thresholds that give `size` categories one probability, and further ones, [most - 1]."""
    probabilities = np.arange(1, size) / size
    inner = np.log(probabilities) - np.log1p(-probabilities)
    return np.concatenate([inner, inner[-1] + np.arange(1, most - size + 1)])

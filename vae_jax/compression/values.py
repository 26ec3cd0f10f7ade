"""Discrete distributions as tables: those of x given z, of discrete latents, and of codes."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.compression.tables import Bits, Masses, Uniform
from vae_jax.distributions import (
    AutoregressiveBernoulli,
    AutoregressiveCategorical,
    Bernoulli,
    Binomial,
    Categorical,
    CategoricalLevels,
    DiscretisedLogistic,
    DiscretisedNormal,
    Indices,
    LogisticMixture,
    NegativeBinomial,
    Poisson,
    Raster,
    UniformIndices,
    UnnormalisedBernoulli,
    ZeroInflatedNegativeBinomial,
)

Choose = Callable[..., np.ndarray]  # (table, columns) -> symbols; see symbols.py

LEVELS = (CategoricalLevels, DiscretisedLogistic, DiscretisedNormal)
COUNTS = (Binomial, NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial)
_WITH_TABLES = (Bernoulli, Categorical, Indices, UniformIndices, LogisticMixture, *LEVELS, *COUNTS)
_MASKED = (AutoregressiveBernoulli, AutoregressiveCategorical)


class Variable(NamedTuple):
    """A discrete variable of a model, as functions of a pytree z of a batch.

    Attributes:
      example: its distribution, as shapes, for one z.
      whole: z -> the distributions, stacked; for those without an order.
      start: z -> caches of a `Raster`, stacked.
      place: (caches, t, values before) -> (caches, distributions of the place t, stacked).
      given: (z, values) -> the distributions of masked networks given all values, stacked.
      num_counts: number of values of a count that have a probability of their own.
    """

    example: Any
    whole: Callable[[Any], Any]
    start: Callable[[Any], Any]
    place: Callable[[Any, Any, Any], tuple[Any, Any]]
    given: Callable[[Any, Any], Any]
    num_counts: int = 0


def variable(of: Callable[[Any, Any], Any], params: Any, z: Any, num_counts: int = 0) -> Variable:
    """The variable of a model's function (params, z) -> distribution.

    z: one z, of which only the shapes matter. num_counts: see `Variable`.
    """
    example = jax.eval_shape(of, params, z)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), z)

    def place(params, cache, t, before):
        # What the network takes from z is in its cache.
        return of(params, zeros).of_place(cache, t, before)

    def compiled(function, *axes):
        return functools.partial(jitted(function, *axes), params)

    return Variable(
        example,
        whole=compiled(of, 0),
        start=compiled(lambda params, z: of(params, z).start(), 0),
        place=compiled(place, 0, None, 0),
        given=compiled(lambda params, z, value: of(params, z).given(value), 0, 0),
        num_counts=num_counts,
    )


def is_coded(example: Any) -> bool:
    """Whether a distribution is one of discrete values that can be coded here."""
    if isinstance(example, Raster):
        return is_coded(jax.eval_shape(example.family, jnp.zeros((1, 1, example.num_outputs))))
    known = isinstance(example, (*_WITH_TABLES, *_MASKED))
    return known and not isinstance(example, UnnormalisedBernoulli)


def symbol_shape(example: Any) -> tuple[int, ...]:
    """The shape of the symbols of one event: one-hot vectors are one symbol each."""
    if isinstance(example, Raster):
        is_one_hot = isinstance(_family_of(example), Categorical)
    else:
        is_one_hot = isinstance(example, Categorical | AutoregressiveCategorical)
    shape = tuple(example.event_shape)
    return shape[:-1] if is_one_hot else shape


def to_symbols(example: Any, value: np.ndarray) -> np.ndarray:
    """Values [B, *event] as symbols."""
    family = _family_of(example) if isinstance(example, Raster) else example
    if isinstance(family, Categorical | AutoregressiveCategorical):
        return np.asarray(value).argmax(axis=-1).astype(np.int64)
    if isinstance(family, (LogisticMixture, *LEVELS)):
        return np.rint(np.asarray(value, np.float64) * (levels_of(family) - 1)).astype(np.int64)
    return np.rint(np.asarray(value)).astype(np.int64)


def to_values(example: Any, symbols: np.ndarray) -> np.ndarray:
    """Symbols as values [B, *event], of the dtype that the model takes."""
    family = _family_of(example) if isinstance(example, Raster) else example
    if isinstance(family, Categorical | AutoregressiveCategorical):
        number = (
            family.num_categories
            if isinstance(family, AutoregressiveCategorical)
            else family.logits.shape[-1]
        )
        return np.eye(number, dtype=np.float32)[symbols]
    if isinstance(family, (LogisticMixture, *LEVELS)):
        return symbols.astype(np.float32) / np.float32(levels_of(family) - 1)
    if isinstance(family, Indices | UniformIndices):
        return symbols.astype(np.int32)
    return symbols.astype(np.float32)


def levels_of(family: Any) -> int:
    """The number of levels of a distribution over levels."""
    return family.logits.shape[-1] if isinstance(family, CategoricalLevels) else family.levels


def visit(of: Variable, z: Any, choose: Choose) -> None:
    """Visits the distributions of a variable given a batch z; see symbols.py."""
    number = len(jax.tree.leaves(z)[0])
    if isinstance(of.example, Raster):
        _visit_raster(of, z, choose, number)
    elif isinstance(of.example, _MASKED):
        _visit_masked(of, z, choose, number)
    else:
        _visit_whole(of.whole(z), of.num_counts, choose, number)


def _visit_whole(
    batch: Any, num_counts: int, choose: Choose, number: int, first: int = 0
) -> np.ndarray:
    """Visits stacked distributions without an order of their places, whose symbols are the columns
    from `first` on. Returns the symbols, [B, n]."""
    if isinstance(batch, UniformIndices):
        columns = int(np.prod(batch.shape))
        table: Any = Uniform(number * columns, batch.num_codes)
        return choose(table, slice(first, first + columns))
    if isinstance(batch, LogisticMixture):
        return _visit_channels(batch, choose, number, first)
    if isinstance(batch, Bernoulli):
        table = Bits(_sigmoid(batch.logits).ravel())
        columns = table.probabilities.size // number
    else:
        if isinstance(batch, Categorical | Indices):
            masses = softmax(batch.logits)
        else:
            are_levels = num_counts == 0
            size = levels_of(batch) if are_levels else num_counts
            masses = np.asarray(_masses(batch, size, are_levels)).reshape(-1, size)
        table, columns = Masses(masses), len(masses) // number
    return choose(table, slice(first, first + columns))


def _visit_channels(batch: LogisticMixture, choose: Choose, number: int, first: int) -> np.ndarray:
    """Visits one channel of all pixels after another."""
    pixels, num_channels = batch.location.shape[1:-2], batch.location.shape[-2]
    columns = int(np.prod(pixels)) * num_channels
    values = np.zeros((number, *pixels, num_channels), np.float32)
    symbols = np.zeros((number, columns), np.int64)
    for channel in range(num_channels):
        masses = np.asarray(_channel_masses(batch, jnp.asarray(values), channel))
        at = slice(first + channel, first + columns, num_channels)
        found = choose(Masses(masses.reshape(-1, batch.levels)), at)
        symbols[:, channel::num_channels] = found
        levels = np.float32(batch.levels - 1)
        values[..., channel] = found.reshape(values.shape[:-1]).astype(np.float32) / levels
    return symbols


def _visit_raster(of: Variable, z: Any, choose: Choose, number: int) -> None:
    """Visits the places of a grid one after the other."""
    raster, family = of.example, _family_of(of.example)
    cache, before = of.start(z), jnp.zeros((number, *raster.each), raster.dtype)
    each = int(np.prod(symbol_shape(raster))) // raster.num_places
    for t in range(raster.num_places):
        cache, distributions = of.place(cache, jnp.int32(t), before)
        found = _visit_whole(distributions, of.num_counts, choose, number, t * each)
        values = to_values(family, found.reshape(number, *symbol_shape(family)[2:]))
        before = jnp.asarray(values.reshape(number, *raster.each), raster.dtype)


def _visit_masked(of: Variable, z: Any, choose: Choose, number: int) -> None:
    """Visits the variables of a masked network, which is applied for each of them."""
    values = np.zeros((number, *of.example.event_shape), np.float32)
    for place in range(of.example.event_shape[0]):
        given = of.given(z, jnp.asarray(values))
        one = jax.tree.map(lambda leaf, place=place: leaf[:, place], given)
        symbols = _visit_whole(one, 0, choose, number, place)
        values[:, place] = to_values(of.example, symbols[:, 0])


def _family_of(raster: Any) -> Any:
    """The distribution of one place of a `Raster`, as shapes."""
    return jax.eval_shape(raster.family, jnp.zeros((1, 1, raster.num_outputs)))


@functools.partial(jax.jit, static_argnums=(1, 2))
def _masses(batch: Any, number: int, are_levels: bool) -> jax.Array:
    """The probabilities of the levels, or of counts, [B, *event, number]."""
    values = jnp.arange(number) / ((number - 1) if are_levels else 1)

    def of_one(one):
        each = lambda value: one.log_prob_per_dim(jnp.full(one.event_shape, value))  # noqa: E731
        return jnp.moveaxis(jax.lax.map(each, values), 0, -1)

    masses = jnp.exp(jax.vmap(of_one)(batch))
    if are_levels:
        return masses
    # The last symbol of counts stands for all from there on.
    rest = jnp.maximum(1.0 - jnp.sum(masses[..., :-1], axis=-1, keepdims=True), 0.0)
    return jnp.concatenate([masses[..., :-1], rest], axis=-1)


@functools.partial(jax.jit, static_argnums=2)
def _channel_masses(batch: Any, before: jax.Array, channel: int) -> jax.Array:
    """The probabilities of the levels of a channel given those before it, [B, *pixels, levels]."""
    of_one = lambda one, before: one.log_mass_of_channel(channel, before)  # noqa: E731
    return jnp.exp(jax.vmap(of_one)(batch, before))


def _sigmoid(logits: Any) -> np.ndarray:
    # Both of a logit and of its negative without cancellation.
    logits = np.asarray(logits, np.float64)
    return np.exp(-np.logaddexp(0.0, -logits))


def softmax(logits: Any) -> np.ndarray:
    """Probabilities of rows [n, K] from logits [..., K]."""
    logits = np.asarray(logits, np.float64).reshape(-1, np.shape(logits)[-1])
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def jitted(function: Callable[..., Any], *axes: int | None) -> Callable[..., Any]:
    """A function of the parameters and of one example, compiled for a batch, in full precision.

    axes: those of the arguments behind the parameters.
    """
    compiled = jax.jit(jax.vmap(function, (None, *axes)))

    def with_precision(*arguments):
        with jax.default_matmul_precision("highest"):
            return compiled(*arguments)

    return with_precision

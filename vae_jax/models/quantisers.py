"""Quantisers: how the outputs of an encoder are rounded to codes of finite number."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.distributions import Coded, CodePrior
from vae_jax.models.heads import Head
from vae_jax.models.heads.base import along_last, blocks
from vae_jax.networks import Params, Shape

MOST_CODES = 2**31 - 1  # the largest number of an index


class Quantiser(NamedTuple):
    """Codes at the places of a grid.

    Attributes:
      num_codes: K, number of values of an index.
      num_indices: Q, indices at each place.
      dim: D, numbers of the vector at each place.
      init: key -> params.
      quantise: (params, outputs [*grid, D]) -> q(z|x).
      vectors: (params, index [*grid, Q]) -> [*grid, D].
    """

    num_codes: int
    num_indices: int
    dim: int
    init: Callable[[jax.Array], Params]
    quantise: Callable[[Params, jax.Array], Coded]
    vectors: Callable[[Params, jax.Array], jax.Array]

    def posterior(self) -> Head:
        """The head of q(z|x), over the vectors [*grid, D]."""

        def init(key, event):
            return self.init(key), jnp.zeros_like(event)

        return Head(blocks(1), init, lambda params, outputs, shape: self.quantise(params, outputs))

    def prior(self, params: Params, of_index: Any) -> CodePrior:
        """p(z) of a distribution over indices."""
        return CodePrior(of_index, jax.tree_util.Partial(self.vectors, params))

    def vector_shape(self, grid: Shape) -> Shape:
        """The shape of the vectors of a code."""
        return (*grid, self.dim)


def vector_quantiser(
    num_codes: int = 512, dim: int = 64, *, residual: int = 1, groups: int = 1
) -> Quantiser:
    """The nearest entries of codebooks: VQ-VAE (van den Oord et al. 2017, eq. 2).

    With several groups each part of the vector has a codebook of its own. With several residual
    codebooks each rounds what those before it have left (Zeghidour et al. 2021, algorithm 1). The
    indices of a place are those of the first group, then of the next.

    Args:
      num_codes: K, entries of each codebook.
      dim: D.
      residual: R, codebooks after one another.
      groups: G, parts of the vector, which must divide D.

    Raises:
      ValueError: a number is out of its range, or `groups` does not divide `dim`.
    """
    _require_codes(num_codes)
    if min(dim, residual, groups) < 1 or dim % groups:
        raise ValueError(
            "A vector quantiser has positive dim, residual and groups, which divide dim, not "
            f"dim={dim}, residual={residual} and groups={groups}."
        )
    size = dim // groups

    def init(key):
        # Within the vectors of an untrained encoder, which are short.
        shape = (groups, residual, num_codes, size)
        return {"codebook": jax.random.uniform(key, shape, minval=-1.0) / math.sqrt(num_codes)}

    def quantise(params, outputs):
        codebook = params["codebook"]
        rest = outputs.reshape(-1, groups, size)
        inputs, chosen, entries = [], [], []
        for stage in range(residual):
            index = jax.vmap(_nearest, (1, 0), 1)(rest, codebook[:, stage])
            entry = jax.vmap(lambda book, at: book[at], (0, 1), 1)(codebook[:, stage], index)
            inputs.append(rest)
            chosen.append(index)
            entries.append(entry)
            rest = rest - jax.lax.stop_gradient(entry)
        stacked = [jnp.stack(parts, axis=2) for parts in (inputs, chosen, entries)]
        grid = outputs.shape[:-1]
        of_inputs, index, of_entries = (part.reshape(*grid, *part.shape[1:]) for part in stacked)
        return Coded(
            outputs=outputs,
            vector=jnp.sum(of_entries, axis=-2).reshape(outputs.shape),
            index=index.reshape(*grid, -1),
            inputs=of_inputs,
            entries=of_entries,
            num_codes=num_codes,
            groups=groups,
        )

    def vectors(params, index):
        grid = index.shape[:-1]
        index = index.reshape(-1, groups, residual)
        of_book = lambda book, at: book[at]  # noqa: E731
        of_stages = jax.vmap(jax.vmap(of_book, (0, 1), 1), (0, 1), 1)
        found = of_stages(params["codebook"], index)
        return jnp.sum(found, axis=2).reshape(*grid, dim)

    return Quantiser(num_codes, residual * groups, dim, init, quantise, vectors)


def finite_scalar_quantiser(levels: Sequence[int] = (8, 6, 5)) -> Quantiser:
    """FSQ: each number of a vector is bounded and rounded to one of a few levels (Mentzer et al.
    2024, section 3.1). There is no codebook; the vectors lie in [-1, 1].

    Args:
      levels: number of levels of each number, whose product is K.

    Raises:
      ValueError: there are none, one is below 2, or their product is no index.
    """
    levels = tuple(int(level) for level in levels)
    if not levels or min(levels) < 2:
        raise ValueError(f"The levels must be at least 2 each, not {levels}.")
    num_codes = math.prod(levels)
    _require_codes(num_codes)
    each = np.array(levels)
    basis = np.cumprod([1, *levels[:-1]]).astype(np.int32)
    half = ((each - 1) * (1 + 1e-3) / 2).astype(np.float32)
    offset = np.where(each % 2 == 0, 0.5, 0.0).astype(np.float32)
    shift = np.arctanh(offset / half).astype(np.float32)
    width, middle = (each // 2).astype(np.float32), (each // 2).astype(np.int32)

    def quantise(params, outputs):
        del params
        of = _behind(outputs.ndim - 1)
        bounded = jnp.tanh(outputs + of(shift)) * of(half) - of(offset)
        rounded = jnp.round(bounded)
        digits = rounded.astype(jnp.int32) + of(middle)
        return Coded(
            outputs=bounded / of(width),
            vector=rounded / of(width),
            index=jnp.sum(digits * of(basis), axis=-1, keepdims=True),
            inputs=None,
            entries=None,
            num_codes=num_codes,
        )

    def vectors(params, index):
        del params
        of = _behind(index.ndim - 1)
        digits = index // of(basis) % of(each.astype(np.int32))
        return (digits - of(middle)) / of(width)

    return Quantiser(num_codes, 1, len(levels), lambda key: {}, quantise, vectors)


def binary_quantiser(num_bits: int = 9) -> Quantiser:
    """LFQ: the signs of the numbers of a vector, without a codebook (Yu et al. 2024, eq. 2 and 3).

    Args:
      num_bits: D; K is 2^D.

    Raises:
      ValueError: it is not positive, or 2^D is no index.
    """
    if num_bits < 1:
        raise ValueError(f"num_bits must be positive, not {num_bits}.")
    _require_codes(2**num_bits)
    basis = 2 ** np.arange(num_bits, dtype=np.int32)

    def quantise(params, outputs):
        del params
        is_one = outputs > 0
        return Coded(
            outputs=outputs,
            vector=jnp.where(is_one, 1.0, -1.0).astype(outputs.dtype),
            index=jnp.sum(
                is_one * _behind(outputs.ndim - 1)(basis), -1, keepdims=True, dtype=jnp.int32
            ),
            inputs=None,
            entries=None,
            num_codes=2**num_bits,
            are_bits=True,
        )

    def vectors(params, index):
        del params
        return 2.0 * (index // _behind(index.ndim - 1)(basis) % 2) - 1.0

    return Quantiser(2**num_bits, 1, num_bits, lambda key: {}, quantise, vectors)


def _nearest(values: jax.Array, codebook: jax.Array) -> jax.Array:
    """The index of the entry of [K, d] that is nearest to each of values [N, d], [N] int32."""
    # |v - e|^2 without |v|^2, which is the same for all entries.
    distance = jnp.sum(jnp.square(codebook), axis=-1)[None] - 2.0 * values @ codebook.T
    return jnp.argmin(distance, axis=-1).astype(jnp.int32)


def _behind(num_axes: int) -> Callable[[np.ndarray], jax.Array]:
    """A function that puts the numbers of the last axis [D] behind a number of axes."""
    return lambda values: along_last(jnp.asarray(values), num_axes)


def _require_codes(num_codes: int) -> None:
    if not 2 <= num_codes <= MOST_CODES:
        raise ValueError(
            f"There are {num_codes:,} codes, and there must be at least 2 and at most "
            f"{MOST_CODES:,}, the largest index."
        )

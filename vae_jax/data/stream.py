"""Blocks of batches that are read while earlier ones are used."""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from vae_jax.data.muted import muted

_BLOCKS_AHEAD = 2  # blocks that are read at the same time, each in its own thread


def stream(data: Any, rows: np.ndarray, steps_at_once: int) -> Iterator[Any]:
    """The examples of each step, in blocks of steps, in order.

    Reading begins at once, and the next two blocks are read while one is used. There are never more
    than three blocks in memory besides the one that the caller holds. An error in reading is raised
    when its block is requested, and ends the iterator. If the iterator is closed or deleted, its
    threads end as soon as they have read their blocks.

    Args:
      data: [N, *event], examples in memory or `Rows`, or a pytree of them, such as a `Batch`.
      rows: [num_steps, *shape] integers, indices of the examples of each step.
      steps_at_once: n, number of steps in a block.

    Yields:
      [n, *shape, *event], or a pytree of such arrays; the last block may be shorter.

    Raises:
      ValueError: steps_at_once is not positive.
    """
    # Its import takes longer than reading a small data set, and few runs need it.
    with muted("absl"):  # a warning that the JAX of Python 3.11 cannot profile processes of grain
        import grain

    if steps_at_once < 1:
        raise ValueError(f"steps_at_once={steps_at_once} must be positive.")
    rows = np.asarray(rows)

    def read(start):
        return jax.tree.map(lambda leaf: leaf[rows[start : start + steps_at_once]], data)

    blocks = grain.MapDataset.range(0, len(rows), steps_at_once).map(read)
    # Threads may finish in any order; grain returns what they read in the order of the blocks.
    options = grain.ReadOptions(num_threads=_BLOCKS_AHEAD, prefetch_buffer_size=_BLOCKS_AHEAD)
    iterator = iter(blocks.to_iter_dataset(options))
    iterator.start_prefetch()
    generator = _closing(iterator)
    next(generator)
    return generator


def _closing(iterator) -> Iterator[Any]:
    with contextlib.closing(iterator):
        yield np.empty(0)  # a generator that has not begun would not be closed
        yield from iterator

"""Blocks of batches that are read while earlier ones are used."""

import contextlib
from collections.abc import Iterator

import numpy as np

from vae_jax.data.muted import muted
from vae_jax.data.rows import Rows

_BLOCKS_AHEAD = 2  # read at the same time, each in a thread of its own


def stream(images: np.ndarray | Rows, rows: np.ndarray, steps_at_once: int) -> Iterator[np.ndarray]:
    """The examples of each step, in blocks of steps, in order.

    The first blocks are read from now on, and the next two while one is used. So never more than
    three are in memory beside the one that the caller holds when asking for the next. Whatever
    goes wrong in reading is raised where the block is asked for, and ends the iterator. Closing
    or forgetting the iterator ends its threads as soon as what they are reading is read.

    Args:
      images: [N, *event].
      rows: [num_steps, *shape] integers, the examples of each step.
      steps_at_once: steps in a block, n.

    Yields:
      [n, *shape, *event]; the last block may be shorter.

    Raises:
      ValueError: steps_at_once is not positive.
    """
    # It takes longer to import than a small data set to read, and few runs need it.
    with muted("absl"):  # which says that the JAX of Python 3.11 cannot profile processes of grain
        import grain

    if steps_at_once < 1:
        raise ValueError(f"steps_at_once={steps_at_once} must be positive.")
    rows = np.asarray(rows)
    blocks = grain.MapDataset.range(0, len(rows), steps_at_once).map(
        lambda start: images[rows[start : start + steps_at_once]]
    )
    # Threads may finish in any order; grain returns what they read in the order of the blocks.
    options = grain.ReadOptions(num_threads=_BLOCKS_AHEAD, prefetch_buffer_size=_BLOCKS_AHEAD)
    iterator = iter(blocks.to_iter_dataset(options))
    iterator.start_prefetch()
    generator = _closing(iterator)
    next(generator)
    return generator


def _closing(iterator) -> Iterator[np.ndarray]:
    with contextlib.closing(iterator):
        yield np.empty(0)  # a generator that has not begun would close nothing at its end
        yield from iterator

"""Images that are read when they are indexed, for data sets larger than memory."""

import math

import numpy as np

from vae_jax.errors import DataError

_BYTES_AT_ONCE = (
    1 << 20
)  # number of rows that are gathered before they are put in order, while they are in a cache


class Rows:
    """The rows of one or several arrays as if they were one, read when they are indexed.

    An index is a slice, an integer, or an integer array of any shape, order and repetition. The
    result is a new array [*index.shape, *event], equal to `np.concatenate(shards)[index]`. No other
    rows are read. An index out of range raises an IndexError.

    Images of floats are checked whenever they are read. A DataError names the file and the image
    that is not in [0, 1].
    """

    def __init__(self, *shards: np.ndarray, selection: np.ndarray | None = None):
        """Makes rows of arrays without reading them.

        Args:
          shards: one or more arrays [N_i, *event], usually memory-mapped.
          selection: [N] integers, selected rows of the concatenation; None for all.

        Raises:
          DataError: the shards have different events or dtypes.
        """
        kinds = {(shard.shape[1:], shard.dtype) for shard in shards}
        if len(kinds) != 1:
            raise DataError(f"the shards of a data set must be of one shape and dtype, not {kinds}")
        ((self._event, self.dtype),) = kinds
        self._shards = shards
        self._starts = np.cumsum([0, *(len(shard) for shard in shards)])
        self._selection = np.arange(self._starts[-1]) if selection is None else selection

    @property
    def shape(self) -> tuple[int, ...]:
        """[N, *event]."""
        return (len(self), *self._event)

    def __len__(self) -> int:
        return len(self._selection)

    def select(self, index: slice | np.ndarray) -> "Rows":
        """The rows of `self[index]`, for a slice or an array [n], as `Rows` that are not read."""
        return Rows(*self._shards, selection=self._selection[index])

    def __getitem__(self, index: int | slice | np.ndarray) -> np.ndarray:
        numbers = np.asarray(self._selection[index])
        images = np.empty((numbers.size, *self._event), self.dtype)
        # Ascending, so that neighbours in a file are read together.
        order = np.argsort(numbers, axis=None)
        ascending = numbers.ravel()[order]
        ends = np.searchsorted(ascending, self._starts)
        at_once = max(1, _BYTES_AT_ONCE // (self.dtype.itemsize * max(1, math.prod(self._event))))
        for shard, first, begin, end in zip(
            self._shards, self._starts[:-1], ends[:-1], ends[1:], strict=True
        ):
            for start in range(begin, end, at_once):
                part = slice(start, min(start + at_once, end))
                images[order[part]] = _read(shard, ascending[part] - first)
        return images.reshape(*numbers.shape, *self._event)


def _read(shard: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    images = shard[numbers]
    if images.dtype.kind == "f" and not _in_unit(images):
        worst = next(i for i, image in enumerate(images) if not _in_unit(image))
        raise DataError(
            f"{getattr(shard, 'filename', None) or 'the data'}: image {numbers[worst]} has values "
            f"in {images[worst].min()}..{images[worst].max()}, but floats must lie in [0, 1]"
        )
    return images


def _in_unit(values: np.ndarray) -> bool:
    return values.min() >= 0 and values.max() <= 1  # neither holds for NaN

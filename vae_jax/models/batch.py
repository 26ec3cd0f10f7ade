"""Examples that belong together, each perhaps with a condition."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """N examples, each perhaps with a condition c of p(x|c): labels, covariates, size factors.

    Functions of a batch take `Batch(x, c)` wherever they take an array x [N, *event], which stands
    for `Batch(x)`. `len(batch)` is N, and `batch[index]` has these rows of all arrays.

    Attributes:
      x: the examples, an array [N, *event] or a pytree of arrays [N, ...].
      c: their conditions, a pytree of arrays [N, ...]; None where there are none.
    """

    x: Any
    c: Any = None

    def __len__(self) -> int:
        return len(jax.tree.leaves(self.x)[0])

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        raise TypeError("A Batch is no array: its examples are batch.x.")

    def __iter__(self) -> Iterator["Batch"]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: Any) -> "Batch":
        return jax.tree.map(lambda leaf: leaf[index], self)


def as_batch(examples: Any) -> Batch:
    """The batch itself, or the batch of an array of examples without conditions."""
    return examples if isinstance(examples, Batch) else Batch(examples)

"""Examples with their labels, and which of them are for training, validation and test."""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from vae_jax.data.rows import Rows
from vae_jax.data.schema import Column
from vae_jax.errors import DataError

#: What the numbers of a data set are. Pixels are "binary" if all are black or white, "8-bit" if
#: they are whole numbers in 0..255, and "intensities" if they are fractions in [0, 1]. Tables whose
#: columns are of several types are "mixed".
Kind = Literal["binary", "8-bit", "intensities", "real", "count", "mixed"]
#: Kinds of data that are no pixels.
NUMBERS = ("real", "count", "mixed")


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Examples with what belongs to them.

    `len(split)` is N. `split[index]`, for a slice or an array of integers, is the Split of these
    examples, which are read if they are `Rows`.

    Attributes:
      x: [N, *event], an array or `Rows`: pixels are uint8 in 0..255 or float32 in [0, 1], mostly
        [N, H, W, C]; real numbers are float32 and counts int32, mostly [N, D].
      labels: [N] integers, or [N, F] for F factors; None where there are none.
      condition: what p(x|c) is given, [N, *shape] float32, or a pytree of such arrays; None where
        there is none.
      mask: [N, *event] bool, False where a value of x is missing; None where none is.
      hidden: [N, *event] bool, True where a value is missing on purpose and x holds what it is;
        None where none is.
    """

    x: np.ndarray | Rows
    labels: np.ndarray | None = None
    condition: Any = None
    mask: np.ndarray | None = None
    hidden: np.ndarray | None = None

    def __post_init__(self):
        for name in ("labels", "condition", "mask", "hidden"):
            for leaf in jax.tree.leaves(getattr(self, name)):
                if len(leaf) != len(self.x):
                    raise ValueError(
                        f"{name} has {len(leaf)} rows but must have {len(self.x)}, one for each "
                        "example of x."
                    )

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: slice | np.ndarray) -> "Split":
        """Raises TypeError for a single integer: `split.x[i]` is one image."""
        if not isinstance(index, slice) and np.ndim(index) == 0:
            raise TypeError(
                f"a Split is indexed by a slice or an array, not by {index!r}: split.x[i] and "
                "split.labels[i] are those of one example."
            )
        return self.of(self.x[index], index)

    def of(self, x: np.ndarray | Rows, index: slice | np.ndarray) -> "Split":
        """The Split of some examples, whose x is given. index: their rows."""
        others = self.labels, self.condition, self.mask, self.hidden
        return Split(x, *jax.tree.map(lambda leaf: leaf[index], others))


class Undivided(NamedTuple):
    """The content of a source of data, before validation images are taken from `train`."""

    train: Split
    test: Split | None = None
    label_names: tuple[str, ...] | None = None  # as in `Dataset`
    kind: Kind | None = None  # None for pixels, whose kind is found by looking at them
    columns: tuple[str, ...] | None = None  # as in `Dataset`
    validation: Split | None = None  # if the source has validation images of its own
    schema: tuple[Column, ...] | None = None  # as in `Dataset`
    covariates: tuple[Any, ...] | None = None  # as in `Dataset`


def split_indices(
    num_examples: int, *, num_validation: int, num_test: int = 0, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Disjoint indices (train, validation, test) that cover range(num_examples), shuffled.

    They depend on the arguments only and are the same on every machine and NumPy version. Raises
    DataError if the seed is negative, or if validation or train would have no example.
    """
    if seed < 0:
        raise DataError(f"split_seed is {seed} but must be 0 or more")
    most = num_examples - num_test - 1
    if most < 1:
        raise DataError(f"{num_examples} examples are too few to split into train and held-out")
    if not 1 <= num_validation <= most:
        raise DataError(
            f"num_validation is {num_validation} but must lie in 1..{most}, "
            f"as {num_examples - num_test} training examples are to be divided"
        )
    # NumPy guarantees the raw stream of a bit generator for ever, but not Generator.permutation.
    order = np.argsort(np.random.PCG64(seed).random_raw(num_examples), kind="stable")
    num_held_out = num_test + num_validation
    return order[num_held_out:], order[num_test:num_held_out], order[:num_test]

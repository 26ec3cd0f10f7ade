"""The condition of a VAE with one layer of latents: inputs of its networks, and a size factor."""

from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vae_jax.errors import BadInputError
from vae_jax.models.checks import require_shape_of_one
from vae_jax.networks import Shape

CONDITION_IN = ("encoder", "prior", "decoder")  # the parts of a model that may take a condition


class Sized(NamedTuple):
    """A condition with a size factor, by which the means of counts are multiplied."""

    size: Any  # [], positive, such as the total count of a cell
    inputs: Any = None  # [*condition_shape], inputs of the networks; None where there are none


class Condition(NamedTuple):
    """What a model takes as its condition c, and how it reads it.

    Attributes:
      shape: shape of the inputs that the networks take beside x or z; None where there are none.
      has_size: whether there is a size factor, so that c is a `Sized`.
      parts: parts of the model that take the inputs, some of `CONDITION_IN`.
      is_optional: whether inputs that are not numbers (nan) stand for no condition. The networks
        then get zeros in their place, and one more input at the end, 1 where there is a condition.
    """

    shape: Shape | None
    has_size: bool
    parts: tuple[str, ...] = CONDITION_IN
    is_optional: bool = False

    def shapes(self, part: str) -> tuple[Shape, ...]:
        """The shape of the inputs that a part takes, if it takes any."""
        if self.shape is None or part not in self.parts:
            return ()
        return ((*self.shape[:-1], self.shape[-1] + 1) if self.is_optional else self.shape,)

    def inputs(self, part: str, c: Any) -> tuple[jax.Array, ...]:
        """The inputs of a part, of which there is one or none.

        Raises:
          BadInputError: c is of another kind or shape, or missing.
        """
        inputs, _ = self._read(c)
        if part not in self.parts:
            return ()
        return tuple(map(_with_presence, inputs)) if self.is_optional else inputs

    def size(self, c: Any) -> jax.Array | None:
        """The size factor, if there is one.

        Raises:
          BadInputError: the same as for `inputs`.
        """
        return self._read(c)[1]

    def _read(self, c: Any) -> tuple[tuple[jax.Array, ...], jax.Array | None]:
        wanted = "no condition"
        if self.shape is not None:
            wanted = f"a condition of the shape {self.shape}"
        if self.has_size:
            of = " alone" if self.shape is None else f" and inputs of the shape {self.shape}"
            wanted = f"a condition Sized(size, inputs) with a size factor{of}"
        inputs, size = (c.inputs, c.size) if isinstance(c, Sized) else (c, None)
        if (inputs is None) != (self.shape is None) or (size is None) == self.has_size:
            found = "none is given"
            if c is not None:
                found = f"a {type(c).__name__} is given"
            raise BadInputError(
                f"This model has {wanted}, and {found}: Batch(x, c) is a batch with conditions, "
                "and given(model, c) the model of one condition."
            )
        if inputs is not None and self.shape is not None:
            require_shape_of_one("c", "condition", inputs, self.shape)
        if size is not None:
            require_shape_of_one("c.size", "size factor", size, ())
        return () if inputs is None else (inputs,), size


def condition_of(
    shape: tuple[int, ...] | None,
    has_size: bool,
    parts: Collection[str],
    is_optional: bool = False,
) -> Condition:
    """The condition of a model.

    Raises:
      ValueError: a part is not one of `CONDITION_IN`.
    """
    if not set(parts) <= set(CONDITION_IN):
        raise ValueError(f"condition_in={parts} must be some of {', '.join(CONDITION_IN)}.")
    return Condition(None if shape is None else tuple(shape), has_size, tuple(parts), is_optional)


def no_condition(c: Any) -> Any:
    """The condition in place of c that stands for none: its inputs are nan; a size factor stays."""
    if isinstance(c, Sized):
        return c._replace(inputs=no_condition(c.inputs))
    return jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), c)


def dropped(key: jax.Array, c: Any, probability: float) -> Any:
    """Conditions of N examples, some of which are replaced by none.

    Args:
      key: typed PRNG key.
      c: conditions, leaves [N, ...].
      probability: probability with which one is replaced.
    """
    number = len(jax.tree.leaves(c)[0])
    is_dropped = jax.random.bernoulli(key, probability, (number,))

    def choose(leaf, without):
        return jnp.where(is_dropped.reshape(-1, *[1] * (leaf.ndim - 1)), without, leaf)

    return jax.tree.map(choose, c, no_condition(c))


def _with_presence(c: jax.Array) -> jax.Array:
    """Inputs with one more at the end of the last axis, 1; all zeros where they are not numbers."""
    is_there = jnp.all(jnp.isfinite(c))
    more = jnp.ones((*c.shape[:-1], 1), c.dtype)
    return jnp.where(is_there, jnp.concatenate([c, more], axis=-1), 0.0)

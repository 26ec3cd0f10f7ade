"""The condition of a VAE with one layer of latents: inputs of its networks, and a size factor."""

from typing import Any, NamedTuple

import jax

from vae_jax.errors import BadInputError
from vae_jax.models.checks import require_shape_of_one
from vae_jax.networks import Shape


class Sized(NamedTuple):
    """A condition with a size factor, by which the means of counts are multiplied."""

    size: Any  # [], positive, such as the total count of a cell
    inputs: Any = None  # [*condition_shape], inputs of the networks; None where there are none


class Condition(NamedTuple):
    """What a model takes as its condition c, and how it reads it.

    Attributes:
      shape: shape of the inputs that the networks take beside x or z; None where there are none.
      has_size: whether there is a size factor, so that c is a `Sized`.
    """

    shape: Shape | None
    has_size: bool

    def read(self, c: Any) -> tuple[tuple[jax.Array, ...], jax.Array | None]:
        """The inputs of the networks, of which there is one or none, and the size factor.

        Raises:
          BadInputError: c is of another kind or shape, or missing.
        """
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

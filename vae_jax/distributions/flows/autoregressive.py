"""Autoregressive flows."""

import dataclasses
import functools
import itertools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.distributions.flows.conditioner import Conditioner

MOST_LOG_SCALE = 2.0  # of one bijection


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Autoregressive:
    """y_l = m_l + s_l v_l, whose m_l and s_l are functions of v_1 .. v_(l-1) and of the context.

    It is a step of an inverse autoregressive flow (Kingma et al. 2016, eq. 10). One pass of a
    masked network (Germain et al. 2015) gives all m and s, and log s is bounded by a tanh. The
    inverse takes L passes. `Inverse` of it is a step of a masked autoregressive flow (Papamakarios
    et al. 2017).

    Attributes:
      conditioner: network [L] -> [2 L] with the masks of `masks_of`.
      context: [N], or None.
    """

    has_inverse: ClassVar[bool] = True

    conditioner: Conditioner
    context: jax.Array | None

    def forward(self, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The image, [L], and sum_l log s_l, [] nats."""
        shift, log_scale = self._numbers(value)
        return shift + jnp.exp(log_scale) * value, jnp.sum(log_scale)

    def inverse(self, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The preimage, [L], and the log-determinant of `forward` there, [].

        The l-th of L passes has the first l numbers right.
        """

        def refine(found, _):
            shift, log_scale = self._numbers(found)
            return (value - shift) * jnp.exp(-log_scale), None

        found, _ = jax.lax.scan(refine, jnp.zeros_like(value), length=value.size)
        return found, jnp.sum(self._numbers(found)[1])

    def _numbers(self, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        masks = masks_of(value.size, self.conditioner.hidden)
        outputs = self.conditioner(value, self.context, masks).reshape(-1, 2)
        return outputs[:, 0], MOST_LOG_SCALE * jnp.tanh(outputs[:, 1] / MOST_LOG_SCALE)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Reversal:
    """The numbers of a vector in the other order."""

    has_inverse: ClassVar[bool] = True

    def forward(self, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The image, [L], and 0."""
        return value[::-1], jnp.zeros((), value.dtype)

    inverse = forward


@functools.cache
def masks_of(
    length: int, hidden: tuple[int, ...], num_inputs: int = 1, num_outputs: int = 2
) -> tuple[np.ndarray, ...]:
    """The masks of a network whose outputs of a variable depend on the variables before it alone.

    Each unit has a degree: inputs and outputs that of their variable, 1 .. L, and hidden units in
    turn 1 .. L - 1. A hidden unit sees units of at most its degree, an output those of a lower one
    (Germain et al. 2015, eq. 12 and 13).

    Args:
      length: L, number of variables.
      hidden: widths of the hidden layers.
      num_inputs: inputs of each variable, one behind the other.
      num_outputs: outputs of each variable, likewise.

    Returns:
      A mask [inputs, outputs] for each layer.
    """
    degrees = [np.repeat(np.arange(1, length + 1), num_inputs)]
    degrees += [np.arange(width) % max(length - 1, 1) + 1 for width in hidden]
    masks = [(before[:, None] <= after[None]) for before, after in itertools.pairwise(degrees)]
    of_output = degrees[-1][:, None] < np.repeat(np.arange(1, length + 1), num_outputs)[None]
    return tuple(mask.astype(np.float32) for mask in [*masks, of_output])

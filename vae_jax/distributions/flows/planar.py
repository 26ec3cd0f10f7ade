"""Planar flows."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from vae_jax.distributions.flows.base import solve_increasing


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Planar:
    """y = v + u tanh(w . v + b) (Rezende & Mohamed 2015, eq. 10).

    The component of u along w is moved so that w . u > -1, which makes the map invertible (their
    appendix A.1).

    Attributes:
      u: [L], before it is moved.
      w: [L].
      b: [].
    """

    has_inverse: ClassVar[bool] = False

    u: jax.Array
    w: jax.Array
    b: jax.Array

    def forward(self, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The image, [L], and log(1 + w . u (1 - tanh^2)), [] nats."""
        u, along = self._invertible()
        height = jnp.tanh(jnp.dot(self.w, value) + self.b)
        return value + u * height, jnp.log1p(along * (1.0 - jnp.square(height)))

    def inverse(self, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The preimage, [L], and the log-determinant of `forward` there, without gradients.

        a = w . y' + b solves a + w . u tanh(a) = w . y + b, an increasing function of a number.
        """
        u, along = self._invertible()
        a = solve_increasing(
            lambda a: along * jnp.tanh(a), jnp.dot(self.w, value) + self.b, jnp.abs(along)
        )
        height = jnp.tanh(a)
        log_det = jnp.log1p(along * (1.0 - jnp.square(height)))
        return jax.lax.stop_gradient((value - u * height, log_det))

    def _invertible(self) -> tuple[jax.Array, jax.Array]:
        """The moved u, [L], and w . u, [], which is softplus(w . u before) - 1 > -1."""
        before = jnp.dot(self.w, self.u)
        along = jax.nn.softplus(before + _SHIFT) - 1.0
        squared = jnp.dot(self.w, self.w)
        squared = jnp.where(squared > 0.0, squared, 1.0)  # w = 0 moves nothing
        return self.u + (along - before) * self.w / squared, along


# softplus(_SHIFT) = 1, so that u stays where w . u = 0: the map is the identity for u = 0.
_SHIFT = 0.541324854612918

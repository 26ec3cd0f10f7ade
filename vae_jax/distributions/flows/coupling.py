"""Coupling flows: one half of the numbers says how the other half is moved."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from vae_jax.distributions.flows.autoregressive import MOST_LOG_SCALE
from vae_jax.distributions.flows.conditioner import Conditioner
from vae_jax.distributions.flows.spline import spline, spline_inverse


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class AffineCoupling:
    """y_2 = m + s v_2, y_1 = v_1, with m and s functions of v_1 (Dinh et al. 2017, eq. 7 and 8).

    v_1 is the first half of the numbers, the smaller one of an odd number. log s is bounded by a
    tanh.

    Attributes:
      conditioner: network [L // 2] -> [2 (L - L // 2)].
      context: [N], or None.
    """

    has_inverse: ClassVar[bool] = True

    conditioner: Conditioner
    context: jax.Array | None

    def forward(self, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The image, [L], and sum log s, [] nats."""
        kept, moved = _halves(value)
        shift, log_scale = self._numbers(kept)
        return jnp.concatenate([kept, shift + jnp.exp(log_scale) * moved]), jnp.sum(log_scale)

    def inverse(self, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The preimage, [L], and the log-determinant of `forward` there, []."""
        kept, moved = _halves(value)
        shift, log_scale = self._numbers(kept)
        moved = (moved - shift) * jnp.exp(-log_scale)
        return jnp.concatenate([kept, moved]), jnp.sum(log_scale)

    def _numbers(self, kept: jax.Array) -> tuple[jax.Array, jax.Array]:
        shift, log_scale = jnp.split(self.conditioner(kept, self.context), 2)
        return shift, MOST_LOG_SCALE * jnp.tanh(log_scale / MOST_LOG_SCALE)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SplineCoupling:
    """y_2 = spline(v_2), y_1 = v_1; the splines depend on v_1 (Durkan et al. 2019, section 3.1).

    Attributes:
      conditioner: network [L // 2] -> [(L - L // 2) (3 K - 1)], for K bins.
      context: [N], or None.
    """

    has_inverse: ClassVar[bool] = True

    conditioner: Conditioner
    context: jax.Array | None

    def forward(self, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The image, [L], and the sum of the logs of the slopes, [] nats."""
        kept, moved = _halves(value)
        image, log_slope = jax.vmap(spline)(moved, self._numbers(kept, moved.size))
        return jnp.concatenate([kept, image]), jnp.sum(log_slope)

    def inverse(self, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The preimage, [L], and the log-determinant of `forward` there, []."""
        kept, moved = _halves(value)
        found, log_slope = jax.vmap(spline_inverse)(moved, self._numbers(kept, moved.size))
        return jnp.concatenate([kept, found]), jnp.sum(log_slope)

    def _numbers(self, kept: jax.Array, num_moved: int) -> jax.Array:
        return self.conditioner(kept, self.context).reshape(num_moved, -1)


def _halves(value: jax.Array) -> tuple[jax.Array, jax.Array]:
    return value[: value.size // 2], value[value.size // 2 :]

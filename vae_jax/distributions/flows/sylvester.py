"""Sylvester flows."""

import dataclasses
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp

from vae_jax.distributions.flows.base import solve_increasing


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sylvester:
    """y = v + Q R tanh(S Q' v + b) (van den Berg et al. 2018, eq. 13), with triangular R and S.

    Its log-determinant is that of M numbers: sum_m log(1 + r_mm s_mm tanh'(a_m)), a = S Q' v + b
    (eq. 11). |r_mm|, |s_mm| < 1, by a tanh, make the map invertible.

    Attributes:
      basis: [L, M], Q, with orthonormal columns.
      outer: [M, M], R: what is above the diagonal, and the diagonal before its tanh.
      inner: [M, M], S, likewise.
      bias: [M], b.
    """

    has_inverse: ClassVar[bool] = False

    basis: jax.Array
    outer: jax.Array
    inner: jax.Array
    bias: jax.Array

    def forward(self, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The image, [L], and the log-determinant, [] nats."""
        outer, inner = _triangular(self.outer), _triangular(self.inner)
        height = jnp.tanh(inner @ (self.basis.T @ value) + self.bias)
        slopes = jnp.diagonal(outer) * jnp.diagonal(inner) * (1.0 - jnp.square(height))
        return value + self.basis @ (outer @ height), jnp.sum(jnp.log1p(slopes))

    def inverse(self, value: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The preimage, [L], and the log-determinant of `forward` there, without gradients.

        Q' v is found from its last number to its first one. Each solves an increasing equation.
        """
        outer, inner = _triangular(self.outer), _triangular(self.inner)
        r, s = jnp.diagonal(outer), jnp.diagonal(inner)
        wanted = self.basis.T @ value

        def find(i, found):
            codes, heights = found  # [M]; the numbers behind i are known, the others zero
            m = len(r) - 1 - i
            offset = inner[m] @ codes + self.bias[m]
            code = solve_increasing(
                lambda v: r[m] * jnp.tanh(s[m] * v + offset),
                wanted[m] - outer[m] @ heights,
                jnp.abs(r[m]),
            )
            height = jnp.tanh(s[m] * code + offset)
            return codes.at[m].set(code), heights.at[m].set(height)

        _, heights = jax.lax.fori_loop(0, len(r), find, (jnp.zeros_like(r), jnp.zeros_like(r)))
        log_det = jnp.sum(jnp.log1p(r * s * (1.0 - jnp.square(heights))))
        return jax.lax.stop_gradient((value - self.basis @ (outer @ heights), log_det))


def _triangular(matrix: jax.Array) -> jax.Array:
    """The upper triangle of a matrix [M, M], its diagonal through a tanh."""
    return jnp.triu(matrix, 1) + jnp.diag(jnp.tanh(jnp.diagonal(matrix)))


def orthogonal(matrix: jax.Array) -> jax.Array:
    """Orthonormal columns, [L, M], that span those of a matrix [L, M] of full rank."""
    return cast(Any, jnp.linalg.qr(matrix))[0]


def householder(vectors: jax.Array) -> jax.Array:
    """The product of the reflections at the planes orthogonal to vectors [H, L], [L, L]."""
    basis = jnp.eye(vectors.shape[1], dtype=vectors.dtype)
    for vector in vectors:
        unit = vector / jnp.sqrt(jnp.sum(jnp.square(vector)) + jnp.finfo(vector.dtype).tiny)
        basis = basis - 2.0 * jnp.outer(basis @ unit, unit)
    return basis

"""Heads of distributions over vectors whose dimensions depend on each other: posteriors."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from vae_jax.distributions import (
    Distribution,
    FullNormal,
    LowRankNormal,
    VonMisesFisher,
    normal_mixture,
)
from vae_jax.distributions.flows import Flow
from vae_jax.errors import BadInputError
from vae_jax.models.flows import FlowFamily
from vae_jax.models.heads.base import LOG_STD_BOUND, Head, soft_bound
from vae_jax.networks import Shape


def full_normal() -> Head:
    """A normal distribution with any covariance: mean and Cholesky factor are outputs (Kingma &
    Welling 2019, section 2.5.1).

    Outputs [L (L + 2)]: L means, L log diagonals, softly bounded like those of `diagonal_normal`,
    and a matrix of which what is below the diagonal counts.
    """

    def apply(params, outputs, event_shape):
        del params
        dim = _length(event_shape)
        mean, log_diagonal, lower = jnp.split(outputs, [dim, 2 * dim])
        log_diagonal = soft_bound(log_diagonal, LOG_STD_BOUND)
        return FullNormal(mean, log_diagonal, lower.reshape(dim, dim))

    return _head(lambda dim: dim * (dim + 2), apply)


def low_rank_normal(rank: int = 4) -> Head:
    """A normal distribution whose covariance is a diagonal plus a matrix of low rank (Ong et al.
    2018, eq. 4).

    Outputs [L (2 + R)]: L means, L log standard deviations, softly bounded, and the factor [L, R].

    Args:
      rank: R.

    Raises:
      ValueError: `rank` is not positive.
    """
    if rank < 1:
        raise ValueError(f"rank must be positive, not {rank}.")

    def apply(params, outputs, event_shape):
        del params
        dim = _length(event_shape)
        mean, log_std, factor = jnp.split(outputs, [dim, 2 * dim])
        return LowRankNormal(mean, soft_bound(log_std, LOG_STD_BOUND), factor.reshape(dim, rank))

    return _head(lambda dim: dim * (2 + rank), apply)


def mixture_of_normals(num_components: int = 5) -> Head:
    """A mixture of diagonal normal distributions: weights, means and log stds are outputs.

    Its samples have implicit gradients (Figurnov et al. 2018).

    Outputs [C (1 + 2 L)]: C logits, C L means and C L log standard deviations, softly bounded.

    Args:
      num_components: C.

    Raises:
      ValueError: `num_components` is not positive.
    """
    if num_components < 1:
        raise ValueError(f"num_components must be positive, not {num_components}.")

    def apply(params, outputs, event_shape):
        del params
        dim = _length(event_shape)
        logits, both = jnp.split(outputs, [num_components])
        mean, log_std = both.reshape(2, num_components, dim)
        return normal_mixture(logits, mean, soft_bound(log_std, LOG_STD_BOUND))

    return _head(lambda dim: num_components * (1 + 2 * dim), apply)


def von_mises_fisher() -> Head:
    """A von Mises-Fisher distribution on the unit sphere (Davidson et al. 2018).

    Outputs [L + 1]: a vector, which plus the first axis has the direction of the mean, so that
    outputs of zero have a direction and a gradient, and a number r. The concentration is
    L softplus(r), which starts at L.
    """

    def output_shape(event_shape):
        return (_length(event_shape) + 1,)

    def init(key, event):
        del key
        bias = jnp.zeros(output_shape(event.shape), event.dtype)
        return {}, bias.at[-1].set(math.log(math.e - 1.0))

    def apply(params, outputs, event_shape):
        del params
        dim = _length(event_shape)
        vector = outputs[:dim].at[0].add(1.0)
        square = jnp.sum(jnp.square(vector))
        # The one vector without a direction has that of the first axis, too.
        vector = jnp.where(square > 0.0, vector, jnp.zeros_like(vector).at[0].set(1.0))
        direction = vector * jax.lax.rsqrt(jnp.where(square > 0.0, square, 1.0))
        return VonMisesFisher(direction, dim * jax.nn.softplus(outputs[dim]))

    return Head(output_shape=output_shape, init=init, apply=apply)


def flow(family: FlowFamily) -> Head:
    """A diagonal normal distribution whose standardised values go through a flow first.

    z = mean + std f_T(... f_1(eps)), eps ~ N(0, I). Outputs [2 L + n]: L means, L log standard
    deviations, softly bounded, and the n values of the family.

    Args:
      family: family of flows, such as `flows.inverse_autoregressive()`.

    Raises:
      BadInputError: (when called) there are fewer latents than the family is for.
    """

    def output_shape(event_shape):
        dim = _length(event_shape)
        if dim < family.least_dim:
            raise BadInputError(
                f"This flow needs at least {family.least_dim} latents, and there is {dim}."
            )
        return (2 * dim + family.num_outputs(dim),)

    def init(key, event):
        return family.init(key, event.size), jnp.zeros(output_shape(event.shape), event.dtype)

    def apply(params, outputs, event_shape):
        dim = _length(event_shape)
        mean, log_std, rest = jnp.split(outputs, [dim, 2 * dim])
        bijections = family.apply(params, rest, dim)
        return Flow(mean, soft_bound(log_std, LOG_STD_BOUND), bijections)

    return Head(output_shape=output_shape, init=init, apply=apply)


def _head(num_outputs: Callable[[int], int], apply: Callable[..., Distribution]) -> Head:
    """A head without parameters, whose outputs start around zero."""

    def init(key: jax.Array, event: jax.Array):
        del key
        return {}, jnp.zeros(num_outputs(_length(event.shape)), event.dtype)

    return Head(
        output_shape=lambda event_shape: (num_outputs(_length(event_shape)),),
        init=init,
        apply=apply,
    )


def _length(event_shape: Shape) -> int:
    (dim,) = event_shape
    return dim

"""The evidence by quadrature: exact truth for any model with one or two latent variables."""

import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from vae_jax.distributions import VonMisesFisher
from vae_jax.evidence.chunks import decodings_at_once
from vae_jax.models import Model, Params

_MARGIN = 30.0  # nats below the maximum; what lies lower is neglected


class Quadrature(NamedTuple):
    """log p(x) of one example, and the grid on which p(z|x) was summed."""

    log_evidence: jax.Array  # [], nats
    error: jax.Array  # [], nats, difference from the sum over every second point of each axis
    z: jax.Array  # [P, L], the points of the grid
    log_posterior: jax.Array  # [P], log p(z|x) there


def integrate(
    model: Model,
    params: Params,
    x: Any,
    *,
    points_per_axis: int | None = None,
    half_width: float = 10.0,
    num_zooms: int = 4,
    points_at_once: int | None = None,
) -> Quadrature:
    """The log of the integral of p(x|z) p(z) over z, for ONE example, by the trapezoidal rule.

    The grid begins as the box of `half_width` around the origin. It then shrinks several times to
    the region whose density is within 30 nats of the maximum. For a smooth density that is zero at
    the borders, the error of the rule falls faster than any power of the spacing. The field `error`
    of the result shows whether it did. Two latents on a sphere are a circle, whose one axis is the
    angle.

    Args:
      model: the VAE, with one or two continuous latent variables; `models.given(model, c)` for a
        conditional one.
      params: parameters of the model.
      x: [*event], the example, or a pytree of arrays.
      points_per_axis: P ** (1 / L), odd; None for 4001 with one latent variable or a circle and 301
        with two.
      half_width: half the width of the first box, in the units of z.
      num_zooms: number of times that the box shrinks.
      points_at_once: number of points that are decoded together; None for 2048 or, if memory
        allows fewer, for `chunks.decodings_at_once`.

    Raises:
      ValueError: the model has more than two latent variables, or `points_per_axis` is even.
      TypeError: the latents are discrete; use `enumeration`.
    """
    prior = model.prior(params)
    flat, unravel = ravel_pytree(prior.sample(jax.random.key(0)))  # for its structure
    num_latents = flat.size
    posterior = jax.eval_shape(model.posterior, params, x)
    if not posterior.is_reparameterised:
        raise TypeError("Quadrature is for continuous latents: use enumeration for discrete ones.")
    if num_latents > 2:
        raise ValueError(
            f"Quadrature is for one or two latent variables, not {num_latents}: use importance "
            "sampling or annealed importance sampling."
        )
    on_circle = isinstance(posterior, VonMisesFisher)
    num_axes = 1 if on_circle else num_latents
    if points_per_axis is None:
        points_per_axis = {1: 4001, 2: 301}[num_axes]
    if points_per_axis < 5 or points_per_axis % 2 == 0:
        raise ValueError(f"points_per_axis must be odd and at least 5, not {points_per_axis}.")
    if points_at_once is None:
        points_at_once = min(2048, decodings_at_once(model, params))
    axis = np.linspace(-1.0, 1.0, points_per_axis)
    if on_circle:  # which has no borders: the last point is the first
        axis = axis[:-1]
    unit = jnp.asarray(np.array(list(itertools.product(axis, repeat=num_axes))))  # [P, axes]

    def at(place):
        return jnp.stack([jnp.cos(place[0]), jnp.sin(place[0])]) if on_circle else place

    def log_joint(z):
        z = unravel(z)
        return model.likelihood(params, z).log_prob(x) + prior.log_prob(z)

    def on_grid(centre, half):
        places = centre[None] + half[None] * unit
        values = jax.lax.map(lambda one: log_joint(at(one)), places, batch_size=points_at_once)
        return places, values

    def zoom(_, box):
        places, values = on_grid(*box)
        inside = (values > jnp.max(values) - _MARGIN)[:, None]
        spacing = 2.0 * box[1] / (points_per_axis - 1)
        low = jnp.min(jnp.where(inside, places, jnp.inf), axis=0) - spacing
        high = jnp.max(jnp.where(inside, places, -jnp.inf), axis=0) + spacing
        return 0.5 * (low + high), jnp.minimum(0.5 * (high - low), largest)

    largest = math.pi if on_circle else math.inf
    with jax.default_matmul_precision("highest"):
        first = (jnp.zeros(num_axes), jnp.full(num_axes, min(half_width, largest)))
        if on_circle:  # whose box is cut where it matters least
            places, values = on_grid(*first)
            first = (places[jnp.argmax(values)], first[1])
        box = jax.lax.fori_loop(0, num_zooms, zoom, first)
        places, values = on_grid(*box)
    shape = (len(axis),) * num_axes
    every_second = values.reshape(shape)[(slice(None, None, 2),) * num_axes]
    log_volume = jnp.sum(jnp.log(2.0 * box[1] / (points_per_axis - 1)))  # of a cell
    log_evidence = jax.nn.logsumexp(values) + log_volume
    coarse = jax.nn.logsumexp(every_second) + log_volume + num_axes * jnp.log(2.0)
    z = jax.vmap(at)(places)
    return Quadrature(log_evidence, jnp.abs(log_evidence - coarse), z, values - log_evidence)

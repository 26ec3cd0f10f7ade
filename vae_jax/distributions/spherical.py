"""The von Mises-Fisher distribution on the unit sphere."""

import dataclasses
import functools
import math
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.distributions.base import require_event

_NUM_NODES = 96  # of the integral behind a gradient


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class VonMisesFisher:
    """Unit vectors z in R^L, with the density exp(k mu . z) / Z(k) in the measure of the surface.

    It is the posterior of the hyperspherical VAE (Davidson et al. 2018); k = 0 is its prior, the
    uniform distribution. Z(k) and its derivatives are integrals over the cosine mu . z, by the
    trapezoidal rule, whose error is that of rounding (`_Cosine`).

    Attributes:
      mean_direction: [L], mu, a unit vector, L >= 2.
      concentration: [], k, at least 0.
    """

    is_reparameterised: ClassVar[bool] = True
    kl_families: ClassVar[tuple[type, ...]]  # its own, below

    mean_direction: jax.Array
    concentration: jax.Array

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event, (L,)."""
        return jnp.shape(self.mean_direction)

    @property
    def centre(self) -> jax.Array:
        """mu, [L]: the point of the sphere in the middle. The mean lies inside of the ball."""
        return self.mean_direction

    @property
    def mean(self) -> jax.Array:
        """E[mu . z] mu, [L]."""
        return (1.0 - self._cosine.moment(1)) * self.mean_direction

    @property
    def std(self) -> jax.Array:
        """The standard deviations, [L]."""
        distance, square = self._cosine.moment(1), self._cosine.moment(2)
        along, across = square - jnp.square(distance), 2.0 * distance - square
        share = jnp.square(self.mean_direction)
        return jnp.sqrt(share * along + (1.0 - share) * across / (share.size - 1))

    def sample(self, key: jax.Array) -> jax.Array:
        """One reparameterised event, [L].

        The distance 1 - mu . z is drawn by rejection (Wood 1994) and has implicit gradients
        (Figurnov et al. 2018); the direction around mu is noise in the tangent plane.
        """
        distance_key, noise_key = jax.random.split(key)
        distance = _with_gradient(
            self.concentration, _distance(distance_key, self.concentration, self._dim), self._dim
        )
        noise = jax.random.normal(noise_key, self.event_shape, self.mean_direction.dtype)
        around = _unit(tangent(self.mean_direction, noise))
        around = _unit(tangent(self.mean_direction, around))  # what rounding left of noise along mu
        sine = jnp.sqrt(distance * (2.0 - distance))
        return (1.0 - distance) * self.mean_direction + sine * around

    def log_prob(self, value: jax.Array) -> jax.Array:
        """k mu . z - log Z(k), [] nats. value: a unit vector.

        Raises:
          ValueError: the value does not have the shape of the event.
        """
        require_event(self, value)
        distance = 0.5 * jnp.sum(jnp.square(value - self.mean_direction))
        return -self.concentration * distance - self._cosine.log_integral

    def sample_and_log_prob(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One reparameterised event, [L], and its log-density, [] nats."""
        value = self.sample(key)
        return value, self.log_prob(value)

    def kl_divergence(self, other: "VonMisesFisher") -> jax.Array:
        """KL(self || other) in closed form, [] nats.

        Against the uniform distribution it is Davidson et al. 2018, eq. 5.
        """
        distance = self._cosine.moment(1)
        between = 0.5 * jnp.sum(jnp.square(self.mean_direction - other.mean_direction))
        of_other = distance + (1.0 - distance) * between  # the mean of 1 - mu' . z
        negative_entropy = -self.concentration * distance - self._cosine.log_integral
        return negative_entropy + other.concentration * of_other + other._cosine.log_integral

    @property
    def _dim(self) -> int:
        return self.mean_direction.size

    @property
    def _cosine(self) -> "_Cosine":
        return _cosine_of(self.concentration, self._dim)


VonMisesFisher.kl_families = (VonMisesFisher,)


def uniform_on_sphere(dim: int) -> VonMisesFisher:
    """The uniform distribution over unit vectors [L]. dim: L, at least 2.

    Raises:
      ValueError: `dim` is smaller.
    """
    if dim < 2:
        raise ValueError(f"A sphere needs at least 2 dimensions, and there is {dim}.")
    return VonMisesFisher(jnp.zeros(dim).at[0].set(1.0), jnp.zeros(()))


def is_on_sphere(distribution: Any) -> bool:
    """Whether the events of a distribution, or of the components of a mixture, are unit vectors."""
    return isinstance(getattr(distribution, "components", distribution), VonMisesFisher)


def tangent(point: jax.Array, vector: jax.Array) -> jax.Array:
    """The part of a vector [L] that is orthogonal to a unit vector [L]."""
    return vector - jnp.sum(vector * point) * point


def _unit(vector: jax.Array) -> jax.Array:
    return vector * jax.lax.rsqrt(jnp.sum(jnp.square(vector)))


class _Cosine(NamedTuple):
    """Integrals over the cosine t = mu . z = 1 - d on nodes s of t = tanh(s).

    The cosine has the density (1 - t^2)^((L - 3) / 2) exp(k t), up to a constant. In s it decays
    exponentially on both sides of one mode, so that the trapezoidal rule is exact to rounding.
    """

    log_terms: jax.Array  # [N], log of the terms of Z(k) exp(-k)
    distances: jax.Array  # [N], d at the nodes

    @property
    def log_integral(self) -> jax.Array:
        """log Z(k) - k, []."""
        return jax.nn.logsumexp(self.log_terms)

    def moment(self, power: int) -> jax.Array:
        """E[d^power], []."""
        return jnp.sum(jax.nn.softmax(self.log_terms) * self.distances**power)


def _cosine_of(concentration: jax.Array, dim: int) -> _Cosine:
    rate, digits = dim - 1.0, -math.log(jnp.finfo(concentration.dtype).eps)
    # A wave of which half as many nodes see nothing has a share of e^-digits in the density.
    spacing = min(0.5 * math.pi**2 / digits, 0.6 * math.pi / math.sqrt(digits * rate))
    num = math.ceil(_width(dim, concentration.dtype) / spacing)
    nodes = _mode(concentration, dim) + spacing * np.arange(-num, num + 1)
    # The surface of the sphere in R^(L - 1), times the spacing.
    log_constant = math.log(2.0 * spacing) + 0.5 * rate * math.log(math.pi)
    log_constant -= math.lgamma(0.5 * rate)
    return _Cosine(_log_density(nodes, concentration, dim) + log_constant, _distance_at(nodes))


def _width(dim: int, dtype: jax.typing.DTypeLike) -> float:
    """How far from the mode in s the density is lost in rounding: its flank and its tail."""
    rate, digits = dim - 1.0, -math.log(jnp.finfo(dtype).eps)
    return math.sqrt(2.0 * digits / rate) + digits / rate


def _mode(concentration: jax.Array, dim: int) -> jax.Array:
    """The s at which the density of s is largest, [], without a gradient."""
    k, half = jax.lax.stop_gradient(concentration), 0.5 * (dim - 1.0)
    root = jnp.sqrt(half**2 + jnp.square(k))
    return 0.5 * (jnp.log(half + root + k) - jnp.log(half + half**2 / (root + k)))


def _log_density(s: jax.Array, concentration: jax.Array, dim: int) -> jax.Array:
    """The log of the density of s, times exp(-k), up to a constant that does not depend on k."""
    log_square = 2.0 * (math.log(2.0) - jnp.abs(s) - jnp.log1p(jnp.exp(-2.0 * jnp.abs(s))))
    return 0.5 * (dim - 1.0) * log_square - concentration * _distance_at(s)


def _distance_at(s: jax.Array) -> jax.Array:
    """d = 1 - tanh(s)."""
    return 2.0 * jax.nn.sigmoid(-2.0 * s)


def _distance(key: jax.Array, concentration: jax.Array, dim: int) -> jax.Array:
    """A sample of d = 1 - mu . z, [], without a gradient, by rejection (Wood 1994, VM*)."""
    k, rate = jax.lax.stop_gradient(concentration), dim - 1.0
    tiny = jnp.finfo(k.dtype).tiny
    b = rate / (2.0 * k + jnp.sqrt(4.0 * jnp.square(k) + rate**2))
    centre = 2.0 * b / (1.0 + b)

    def propose(state):
        key = state[0]
        key, vector_key, accept_key = jax.random.split(key, 3)
        # The cosine of a uniform direction is 2 e - 1 with e ~ Beta((L - 1) / 2, (L - 1) / 2).
        vector = jax.random.normal(vector_key, (dim,), k.dtype)
        rest, first = jnp.sum(jnp.square(vector[1:])), vector[0]
        norm = jnp.sqrt(rest + jnp.square(first))
        twice = jnp.where(first < 0, rest / (norm * (norm - first)), 1.0 + first / norm)
        distance = b * twice / (1.0 - 0.5 * (1.0 - b) * twice)
        ratio = (centre + (1.0 - centre) * distance) / (centre * (2.0 - centre))
        log_accept = k * (centre - distance) + rate * jnp.log(ratio)
        uniform = jax.random.uniform(accept_key, (), k.dtype, minval=tiny)
        return key, distance, jnp.log(uniform) <= log_accept

    start = (key, jnp.zeros_like(k), jnp.zeros((), bool))
    distance = jax.lax.while_loop(lambda state: ~state[2], propose, start)[1]
    return jnp.clip(distance, tiny, 2.0 * (1.0 - jnp.finfo(k.dtype).eps))


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _with_gradient(concentration: jax.Array, distance: jax.Array, dim: int) -> jax.Array:
    """A sample d of concentration k, whose derivative is -(dF/dk) / p(d), of d as a function of k
    at a given value of its distribution function F (Figurnov et al. 2018, eq. 5)."""
    del concentration, dim
    return distance


@_with_gradient.defjvp
def _with_gradient_jvp(dim, primals, tangents):
    k, d = primals
    s, mode, mean = 0.5 * jnp.log((2.0 - d) / d), _mode(k, dim), _cosine_of(k, dim).moment(1)
    # dF/dk is the integral of (E[d] - d) p up to s, which is minus that from s on: the shorter one.
    nodes, weights = np.polynomial.legendre.leggauss(_NUM_NODES)
    unit, width = 0.5 * (nodes + 1.0), _width(dim, k.dtype)
    steps, weights = width * unit**2, weights * width * unit
    sign = jnp.where(s < mode, -1.0, 1.0)
    at = s + sign * steps.astype(k.dtype)
    ratio = jnp.exp(_log_density(at, k, dim) - _log_density(s, k, dim))
    ds = sign * jnp.sum(weights.astype(k.dtype) * ratio * (mean - _distance_at(at)))
    return d, -d * (2.0 - d) * ds * tangents[0]

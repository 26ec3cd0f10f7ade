"""The terms of log p(x) = KL(q(z|x) || p(z|x)) + ELBO, each by a rule of its own.

    log p(x)            trapezoidal rule on a grid over the posterior (`quadrature.integrate`)
    KL(q || p(z|x))     midpoint rule on a grid around q; p(z|x) is normalised by midpoints of its
                        own, and not by log p(x)
    ELBO                trapezoidal rule on another grid around q for the reconstruction, closed
                        form for the KL

No number is computed from the others, so the equation is a finding and not a definition. The rules
are meant for double precision, where they agree to ten digits and more.
"""

import itertools
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.distributions import Normal, kl_divergence
from vae_jax.evidence import quadrature
from vae_jax.models import ElboTerms, Model, Params

_TRAPEZOIDS, _MIDPOINTS = 97, 110  # points per axis of the two grids around p(z|x)
FINE, COARSE = 112, 21  # points per axis of a grid around q, for numbers and for gradients
_REACH = 8.0  # half width of that grid in standard deviations of q, which leave out 1e-15 of q
_POINTS_AT_ONCE = 2048


class Posterior(NamedTuple):
    """p(z|x) of one example: its normaliser by two rules, its mean and its spread."""

    log_evidence: jax.Array  # [], log p(x) by the trapezoidal rule, nats
    error: jax.Array  # [], nats, difference from the sum over every second point
    log_normaliser: jax.Array  # [], log p(x) by the midpoint rule, nats
    mean: jax.Array  # [L], E[z|x]
    std: jax.Array  # [L], standard deviation of each latent under p(z|x)


class Decomposition(NamedTuple):
    """log p(x) of one example and its terms, for one q, in nats."""

    log_evidence: jax.Array  # []
    gap: jax.Array  # [], KL(q(z|x) || p(z|x))
    reconstruction: jax.Array  # [], E_q[log p(x|z)]
    kl: jax.Array  # [], KL(q(z|x) || p(z)) in closed form
    summed_kl: jax.Array  # [], the same by the midpoint rule

    @property
    def elbo(self) -> jax.Array:
        return self.reconstruction - self.kl

    @property
    def residual(self) -> jax.Array:
        """log p(x) - (KL + ELBO), which is zero if the equation holds."""
        return self.log_evidence - (self.gap + self.elbo)


def double(tree: Any) -> Any:
    """The arrays of a pytree in double precision, under `jax.enable_x64(True)`."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), tree)


def exact_posterior(model: Model, params: Params, x: jax.Array) -> Posterior:
    """Sums p(x|z) p(z) of one example over z by two rules. x: [*event]."""
    grid = quadrature.integrate(model, params, x, points_per_axis=_TRAPEZOIDS, num_zooms=3)
    low, high = grid.z[0], grid.z[-1]
    unit, volumes = _midpoints(_MIDPOINTS, low.size)
    z = 0.5 * (low + high)[None] + 0.5 * (high - low)[None] * unit
    values = log_joint(model, params, x, z) + jnp.log(volumes * jnp.prod(0.5 * (high - low)))
    log_normaliser = jax.nn.logsumexp(values)
    density = jnp.exp(values - log_normaliser)  # [P], sums to one
    mean = density @ z
    std = jnp.sqrt(density @ jnp.square(z - mean[None]))
    return Posterior(grid.log_evidence, grid.error, log_normaliser, mean, std)


def decompose(
    model: Model,
    params: Params,
    x: jax.Array,
    q: Normal,
    posterior: Posterior,
    points: int = FINE,
) -> Decomposition:
    """Computes all terms for one example and one q, which need not be the encoder's.

    Args:
      model: the VAE.
      params: its parameters.
      x: [*event].
      q: a distribution of one or two latent variables.
      posterior: p(z|x).
      points: number of midpoints per axis; the trapezoidal rule has fewer points.
    """
    prior = model.prior(params)
    terms = exact_terms(model, params, x, q, 3 * points // 4)
    z, mass = midpoints(q, points)
    log_q = jax.vmap(q.log_prob)(z)
    log_posterior = log_joint(model, params, x, z) - posterior.log_normaliser
    return Decomposition(
        log_evidence=posterior.log_evidence,
        gap=mass @ (log_q - log_posterior),
        reconstruction=terms.reconstruction,
        kl=terms.kl,
        summed_kl=mass @ (log_q - jax.vmap(prior.log_prob)(z)),
    )


def exact_terms(
    model: Model, params: Params, x: jax.Array, q: Normal, points: int = FINE
) -> ElboTerms:
    """The two terms of the ELBO of one example without sampling, differentiable in q.

    The trapezoidal rule converges on smooth functions times a normal density faster than any power
    of the spacing.

    Args:
      model: the VAE.
      params: its parameters.
      x: [*event].
      q: a distribution of one or two latent variables.
      points: number of points per axis.
    """
    nodes = np.linspace(-_REACH, _REACH, points)
    density = np.exp(-0.5 * nodes**2) / np.sqrt(2.0 * np.pi)
    z, mass = _product(nodes, density * (nodes[1] - nodes[0]), q.mean.size)
    z = q.mean[None] + jnp.exp(q.log_std)[None] * z
    reconstruction = mass @ log_likelihood(model, params, x, z)
    return ElboTerms(reconstruction, kl_divergence(q, model.prior(params)))


def midpoints(q: Normal, points: int = FINE) -> tuple[jax.Array, jax.Array]:
    """The midpoint rule around q: points z [P, L] and the mass of q in each cell, [P]."""
    unit, volumes = _midpoints(points, q.mean.size)
    half = _REACH * jnp.exp(q.log_std)
    z = q.mean[None] + half[None] * unit
    return z, jnp.exp(jax.vmap(q.log_prob)(z)) * volumes * jnp.prod(half)


def log_likelihood(model: Model, params: Params, x: jax.Array, z: jax.Array) -> jax.Array:
    """log p(x|z) of one example at z [P, L]. Returns [P] nats."""

    def at(z):
        return model.likelihood(params, z).log_prob(x)

    return jax.lax.map(at, z, batch_size=_POINTS_AT_ONCE)


def log_joint(model: Model, params: Params, x: jax.Array, z: jax.Array) -> jax.Array:
    """log p(x|z) + log p(z) of one example at z [P, L]. Returns [P] nats."""
    return log_likelihood(model, params, x, z) + jax.vmap(model.prior(params).log_prob)(z)


@partial(jax.jit, static_argnums=0)
@jax.default_matmul_precision("highest")
def measure(model: Model, params: Params, x: jax.Array) -> tuple[Posterior, Decomposition]:
    """Computes p(z|x) of one example, and the decomposition for the encoder's q. x: [*event]."""
    posterior = exact_posterior(model, params, x)
    return posterior, decompose(model, params, x, model.posterior(params, x), posterior)


def _midpoints(points: int, num_dims: int) -> tuple[jax.Array, jax.Array]:
    """The midpoint rule on [-1, 1]^L. Returns nodes [P, L] and volumes [P]."""
    nodes = (2 * np.arange(points) + 1) / points - 1
    return _product(nodes, np.full(points, 2 / points), num_dims)


def _product(nodes: np.ndarray, weights: np.ndarray, num_dims: int) -> tuple[jax.Array, jax.Array]:
    """The rule of one dimension in each of L. Returns nodes [P, L] and weights [P]."""
    points = np.array(list(itertools.product(nodes, repeat=num_dims)))
    products = np.array([np.prod(pair) for pair in itertools.product(weights, repeat=num_dims)])
    return jnp.asarray(points), jnp.asarray(products)

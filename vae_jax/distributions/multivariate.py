"""Normal distributions whose dimensions depend on each other."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from vae_jax.distributions.base import require_event, sum_event
from vae_jax.distributions.normal import HALF_LOG_TWO_PI, Normal


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FullNormal:
    """N(mean, S S') over [L], with any covariance, from its Cholesky factor S.

    Attributes:
      mean: [L].
      log_diagonal: [L], the logarithms of the diagonal of S.
      lower: [L, L], S below its diagonal; what else it holds does not count.
    """

    is_reparameterised: ClassVar[bool] = True
    kl_families: ClassVar[tuple[type, ...]] = (Normal,)

    mean: jax.Array
    log_diagonal: jax.Array
    lower: jax.Array

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event, (L,)."""
        return jnp.shape(self.mean)

    @property
    def factor(self) -> jax.Array:
        """S, [L, L]."""
        return jnp.tril(self.lower, -1) + jnp.diag(jnp.exp(self.log_diagonal))

    @property
    def std(self) -> jax.Array:
        """The standard deviations, [L]."""
        return jnp.sqrt(jnp.sum(jnp.square(self.factor), axis=1))

    @property
    def covariance(self) -> jax.Array:
        """S S', [L, L]."""
        return self.factor @ self.factor.T

    def sample(self, key: jax.Array) -> jax.Array:
        """mean + S eps, [L]."""
        return self.sample_and_log_prob(key)[0]

    def log_prob(self, value: jax.Array) -> jax.Array:
        """-|S^-1 (value - mean)|^2 / 2 - sum log S_ll - L log(2 pi) / 2, [] nats.

        Raises:
          ValueError: the value does not have the shape of the event.
        """
        require_event(self, value)
        noise = solve_triangular(self.factor, value - self.mean, lower=True)
        return self._log_prob_of_noise(noise)

    def sample_and_log_prob(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One reparameterised event, [L], and its log-density, [] nats, from the noise."""
        noise = jax.random.normal(key, jnp.shape(self.mean), jnp.result_type(self.mean))
        return self.mean + self.factor @ noise, self._log_prob_of_noise(noise)

    def _log_prob_of_noise(self, noise: jax.Array) -> jax.Array:
        return -sum_event(0.5 * jnp.square(noise) + self.log_diagonal + HALF_LOG_TWO_PI)

    def kl_divergence(self, other: Normal) -> jax.Array:
        """KL(self || other) in closed form, [] nats, for a diagonal normal `other`."""
        variance = jnp.sum(jnp.square(self.factor), axis=1)
        return _kl(self.mean, variance, 2.0 * sum_event(self.log_diagonal), other)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LowRankNormal:
    """N(mean, diag(exp(log_std))^2 + V V') over [L], a diagonal and a factor V of a few columns.

    Attributes:
      mean: [L].
      log_diagonal: [L], log standard deviations of the diagonal part.
      factor: [L, R], V.
    """

    is_reparameterised: ClassVar[bool] = True
    kl_families: ClassVar[tuple[type, ...]] = (Normal,)

    mean: jax.Array
    log_diagonal: jax.Array
    factor: jax.Array

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event, (L,)."""
        return jnp.shape(self.mean)

    @property
    def std(self) -> jax.Array:
        """The standard deviations, [L]."""
        own = jnp.exp(2.0 * self.log_diagonal)
        return jnp.sqrt(own + jnp.sum(jnp.square(self.factor), axis=1))

    @property
    def covariance(self) -> jax.Array:
        """diag(exp(log_diagonal))^2 + V V', [L, L]."""
        return jnp.diag(jnp.exp(2.0 * self.log_diagonal)) + self.factor @ self.factor.T

    def sample(self, key: jax.Array) -> jax.Array:
        """mean + std eps_1 + V eps_2, [L]."""
        length, rank = self.factor.shape
        noise = jax.random.normal(key, (length + rank,), jnp.result_type(self.mean))
        own, shared = jnp.split(noise, [length])
        return self.mean + jnp.exp(self.log_diagonal) * own + self.factor @ shared

    def log_prob(self, value: jax.Array) -> jax.Array:
        """The log-density by the matrix inversion lemma, with matrices of R rows alone, [] nats.

        Raises:
          ValueError: the value does not have the shape of the event.
        """
        require_event(self, value)
        standardised = (value - self.mean) * jnp.exp(-self.log_diagonal)
        scaled, cholesky = self._capacitance()
        explained = solve_triangular(cholesky, scaled.T @ standardised, lower=True)
        square = sum_event(jnp.square(standardised)) - jnp.sum(jnp.square(explained))
        constant = value.size * HALF_LOG_TWO_PI
        return -0.5 * (square + self._log_determinant(cholesky)) - constant

    def sample_and_log_prob(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One reparameterised event, [L], and its log-density, [] nats."""
        value = self.sample(key)
        return value, self.log_prob(value)

    def kl_divergence(self, other: Normal) -> jax.Array:
        """KL(self || other) in closed form, [] nats, for a diagonal normal `other`."""
        variance = jnp.exp(2.0 * self.log_diagonal) + jnp.sum(jnp.square(self.factor), axis=1)
        _, cholesky = self._capacitance()
        return _kl(self.mean, variance, self._log_determinant(cholesky), other)

    def _capacitance(self) -> tuple[jax.Array, jax.Array]:
        """W = V in units of the std, [L, R], and the Cholesky factor of I + W' W, [R, R]."""
        scaled = self.factor * jnp.exp(-self.log_diagonal)[:, None]
        return scaled, jnp.linalg.cholesky(jnp.eye(scaled.shape[1]) + scaled.T @ scaled)

    def _log_determinant(self, cholesky: jax.Array) -> jax.Array:
        """The log-determinant of the covariance, []."""
        of_rank = jnp.sum(jnp.log(jnp.diagonal(cholesky)))
        return 2.0 * (sum_event(self.log_diagonal) + of_rank)


def _kl(mean: jax.Array, variance: jax.Array, log_determinant: jax.Array, other: Normal):
    """KL(N(mean, C) || other), []. variance: [L], the diagonal of C; log_determinant: [], of C."""
    if jnp.shape(mean) != other.event_shape:
        raise ValueError(
            f"There is no KL divergence from events of the shape {jnp.shape(mean)} to events of "
            f"the shape {other.event_shape}."
        )
    ratio = (variance + jnp.square(mean - other.mean)) * jnp.exp(-2.0 * other.log_std)
    return 0.5 * (sum_event(ratio - 1.0 + 2.0 * other.log_std) - log_determinant)

"""Mass functions of counts.

Log-probabilities of large counts are small differences of large numbers if they are computed from
their formulas with gamma functions. Here they are computed from deviances and the error of
Stirling's formula (Loader 2000), and keep the precision of their type.
"""

import dataclasses
import math
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from vae_jax.distributions.base import Independent

_COUNTS = "counts: whole numbers from 0 on"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Poisson(Independent):
    """Poisson counts with rates exp(log_rate). log_rate: [*event]."""

    is_reparameterised: ClassVar[bool] = False
    support: ClassVar[str] = _COUNTS

    log_rate: jax.Array

    @property
    def mean(self) -> jax.Array:
        """The rates, [*event]."""
        return jnp.exp(self.log_rate)

    def sample(self, key: jax.Array) -> jax.Array:
        """One event of counts, [*event], in the dtype of the parameters."""
        return jax.random.poisson(key, self.mean).astype(self.log_rate.dtype)

    def scaled(self, size: jax.Array) -> "Poisson":
        """The same family with means `size` times as large. size: [] or [*event], positive."""
        return dataclasses.replace(self, log_rate=self.log_rate + jnp.log(size))

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether all values of one event are counts, [] bool."""
        return _are_counts(value)

    def log_prob_per_dim(self, value: jax.Array) -> jax.Array:
        """value log(rate) - rate - log(value!), [*event] nats."""
        rate = self.mean
        count = jnp.where(value > 0, value, 1.0)
        deviance = _deviance(count, rate, count - rate, jnp.log(count) - self.log_rate)
        log_mass = -deviance - 0.5 * jnp.log(2.0 * math.pi * count) - _stirling_error(count)
        return jnp.where(value > 0, log_mass, -rate)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Binomial(Independent):
    """Counts of `total` trials with probabilities sigmoid(logits). logits: [*event]."""

    is_reparameterised: ClassVar[bool] = False
    support: ClassVar[str] = "whole numbers from 0 to the number of trials"

    logits: jax.Array
    total: int = dataclasses.field(metadata={"static": True})

    @property
    def mean(self) -> jax.Array:
        """The mean counts, [*event]."""
        return self.total * jax.nn.sigmoid(self.logits)

    def sample(self, key: jax.Array) -> jax.Array:
        """One event of counts, [*event], in the dtype of the parameters."""
        uniform = jax.random.uniform(key, (self.total, *self.logits.shape), self.logits.dtype)
        return jnp.sum(uniform < jax.nn.sigmoid(self.logits)[None], axis=0, dtype=self.logits.dtype)

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether all values of one event are counts up to `total`, [] bool."""
        return _are_counts(value) & jnp.all(value <= self.total)

    def log_prob_per_dim(self, value: jax.Array) -> jax.Array:
        """log(total choose value) + value logits - total softplus(logits), [*event] nats."""
        log_p, log_q = jax.nn.log_sigmoid(self.logits), jax.nn.log_sigmoid(-self.logits)
        # The probability of the rarer outcome keeps its precision, so that the mean of it does.
        trials = float(self.total)
        inside = (value > 0) & (value < trials)
        k = jnp.where(inside, value, 0.5 * trials)
        rest = trials - k
        mean, mean_rest = trials * jnp.exp(log_p), trials * jnp.exp(log_q)
        difference = jnp.where(self.logits < 0, k - mean, mean_rest - rest)
        log_total = math.log(trials)
        deviances = _deviance(k, mean, difference, jnp.log(k) - log_total - log_p)
        deviances += _deviance(rest, mean_rest, -difference, jnp.log(rest) - log_total - log_q)
        errors = _stirling_error(jnp.full_like(k, trials))
        errors -= _stirling_error(k) + _stirling_error(rest)
        log_mass = errors - deviances + 0.5 * jnp.log(trials / (2.0 * math.pi * k * rest))
        at_ends = jnp.where(value > 0, trials * log_p, trials * log_q)
        return jnp.where(inside, log_mass, at_ends)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NegativeBinomial(Independent):
    """Overdispersed counts: a Poisson whose rate is Gamma (the parameters of scVI, Lopez 2018).

    The variance is mean + mean^2 / dispersion. For a large dispersion it is the Poisson.

    Attributes:
      log_mean: [*event], log of the mean.
      log_dispersion: [*event], log of the inverse dispersion theta, the shape of the Gamma.
    """

    is_reparameterised: ClassVar[bool] = False
    support: ClassVar[str] = _COUNTS

    log_mean: jax.Array
    log_dispersion: jax.Array

    @property
    def mean(self) -> jax.Array:
        """The mean counts, [*event]."""
        return jnp.exp(self.log_mean)

    def sample(self, key: jax.Array) -> jax.Array:
        """One event of counts, [*event], in the dtype of the parameters."""
        rate_key, count_key = jax.random.split(key)
        log_gamma = jax.random.loggamma(rate_key, jnp.exp(self.log_dispersion))
        rate = jnp.exp(log_gamma + self.log_mean - self.log_dispersion)
        return jax.random.poisson(count_key, rate).astype(self.log_mean.dtype)

    def scaled(self, size: jax.Array) -> "NegativeBinomial":
        """The same family with means `size` times as large. size: [] or [*event], positive."""
        return dataclasses.replace(self, log_mean=self.log_mean + jnp.log(size))

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether all values of one event are counts, [] bool."""
        return _are_counts(value)

    def log_prob_per_dim(self, value: jax.Array) -> jax.Array:
        """The log-probabilities of counts, [*event] nats."""
        return _negative_binomial(value, self.log_mean, self.log_dispersion)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ZeroInflatedNegativeBinomial(Independent):
    """Negative binomial counts that are zero with an additional probability (scVI, Lopez 2018).

    Attributes:
      log_mean: [*event], log of the mean of the negative binomial.
      log_dispersion: [*event], log of its inverse dispersion.
      zero_logits: [*event], logits of the additional zeros.
    """

    is_reparameterised: ClassVar[bool] = False
    support: ClassVar[str] = _COUNTS

    log_mean: jax.Array
    log_dispersion: jax.Array
    zero_logits: jax.Array

    @property
    def mean(self) -> jax.Array:
        """The mean counts, with the additional zeros, [*event]."""
        return jax.nn.sigmoid(-self.zero_logits) * jnp.exp(self.log_mean)

    def sample(self, key: jax.Array) -> jax.Array:
        """One event of counts, [*event], in the dtype of the parameters."""
        zero_key, count_key = jax.random.split(key)
        is_zero = jax.random.bernoulli(zero_key, jax.nn.sigmoid(self.zero_logits))
        return jnp.where(is_zero, 0.0, self._counts.sample(count_key))

    def scaled(self, size: jax.Array) -> "ZeroInflatedNegativeBinomial":
        """The same family with means `size` times as large. size: [] or [*event], positive."""
        return dataclasses.replace(self, log_mean=self.log_mean + jnp.log(size))

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether all values of one event are counts, [] bool."""
        return _are_counts(value)

    def log_prob_per_dim(self, value: jax.Array) -> jax.Array:
        """The log-probabilities of counts, [*event] nats."""
        # softplus(logits) is above + rest, and softplus(-logits) is rest - below.
        above = jnp.where(self.zero_logits > 0, self.zero_logits, 0.0)
        below = jnp.where(self.zero_logits > 0, 0.0, self.zero_logits)
        rest = jnp.log1p(jnp.exp(below - above))
        log_mass = self._counts.log_prob_per_dim(value) - above - rest
        log_zero = below - rest
        return jnp.where(value > 0, log_mass, jnp.logaddexp(log_mass, log_zero))

    @property
    def _counts(self) -> NegativeBinomial:
        return NegativeBinomial(self.log_mean, self.log_dispersion)


@jax.custom_jvp
def _negative_binomial(
    value: jax.Array, log_mean: jax.Array, log_dispersion: jax.Array
) -> jax.Array:
    """The log-probabilities of negative binomial counts, elementwise."""
    return _log_mass_and_deviance(value, log_mean, log_dispersion)[0]


@partial(_negative_binomial.defjvp, symbolic_zeros=True)
def _negative_binomial_jvp(primals, tangents):
    """Derivatives in closed form, which cost less than those of the formula and round less."""
    value, log_mean, log_dispersion = primals
    of_value, of_mean, of_dispersion = tangents
    if not isinstance(of_value, SymbolicZero):
        raise TypeError("The log-probability of a count has no derivative by the count.")
    log_mass, deviance = _log_mass_and_deviance(*primals)
    mean, dispersion = jnp.exp(log_mean), jnp.exp(log_dispersion)
    tangent = jnp.zeros_like(log_mass)
    if not isinstance(of_mean, SymbolicZero):
        tangent += dispersion * (value - mean) / (dispersion + mean) * of_mean
    if not isinstance(of_dispersion, SymbolicZero):
        errors = _digamma_error(dispersion + value) - _digamma_error(dispersion)
        tangent += (dispersion * errors - deviance) * of_dispersion
    return log_mass, tangent


def _log_mass_and_deviance(
    value: jax.Array, log_mean: jax.Array, log_dispersion: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The log-probabilities of negative binomial counts, and the deviances of their dispersions.

    A probability is theta / (theta + count) times the binomial probability of theta in theta +
    count trials, each of probability theta / (theta + mean). The means of the two outcomes are
    theta and `mean` times (theta + count) / (theta + mean).
    """
    mean, dispersion = jnp.exp(log_mean), jnp.exp(log_dispersion)
    trials = dispersion + value
    both = dispersion + mean
    relative = (value - mean) / both
    # Far below the mean, 1 + relative and its logarithm would lose their digits.
    is_far = relative < -0.5
    near = jnp.where(is_far, 0.0, relative)
    ratio = jnp.where(is_far, trials / both, 1.0 + near)
    log_ratio = jnp.where(is_far, jnp.log(ratio), jnp.log1p(near))
    difference = dispersion * relative
    of_dispersion = _deviance(dispersion, dispersion * ratio, -difference, -log_ratio)
    count = jnp.where(value > 0, value, 1.0)
    log_count = jnp.log(count)
    of_count = _deviance(count, mean * ratio, difference, log_count - log_mean - log_ratio)
    errors = _stirling_error(trials) - _stirling_error(dispersion) - _stirling_error(count)
    log_mass = errors - of_dispersion - of_count - 0.5 * (math.log(2.0 * math.pi) + log_count)
    log_mass += 0.5 * (log_dispersion - jnp.log(trials))
    return jnp.where(value > 0, log_mass, dispersion * log_ratio), of_dispersion


def _deviance(
    value: jax.Array, mean: jax.Array, difference: jax.Array, log_ratio: jax.Array
) -> jax.Array:
    """value log(value / mean) - (value - mean) for positive numbers, elementwise (Loader 2000).

    difference: value - mean; log_ratio: log(value / mean). The caller knows them better than their
    rounded terms do.
    """
    is_near = jnp.abs(difference) < 0.1 * (value + mean)
    v = jnp.where(is_near, difference, 0.0) / (value + mean)
    square = jnp.square(v)
    series = jnp.zeros_like(v)
    for order in (15, 13, 11, 9, 7, 5, 3):
        series = square * (1.0 / order + series)
    near = difference * v + 2.0 * value * v * series
    return jnp.where(is_near, near, value * log_ratio - difference)


def _stirling_error(x: jax.Array) -> jax.Array:
    """log Gamma(x + 1) - (x log x - x + log(2 pi x) / 2) for x > 0, elementwise (Loader 2000)."""
    is_large, inverse, small, pairs = _shifted(x)
    square = jnp.square(inverse)
    of_shifted = 1 / 1260 - square * (1 / 1680 - square / 1188)
    of_shifted = inverse * (1 / 12 - square * (1 / 360 - square * of_shifted))
    # Gamma(x + 8) is Gamma(x) times the product of the pairs.
    product = math.prod(pair * square for pair in pairs)
    difference = (small - 0.5) * jnp.log1p(8.0 / small) - 8.0 - jnp.log(product)
    return of_shifted + jnp.where(is_large, 0.0, difference)


def _digamma_error(x: jax.Array) -> jax.Array:
    """digamma(x) - log(x) for x > 0, elementwise (Abramowitz & Stegun 1964, 6.3.5 and 6.3.18)."""
    is_large, inverse, small, pairs = _shifted(x)
    square = jnp.square(inverse)
    of_shifted = 1 / 252 - square * (1 / 240 - square / 132)
    of_shifted = square * (1 / 12 - square * (1 / 120 - square * of_shifted))
    reciprocals = (2.0 * small + 7.0) * sum(1.0 / pair for pair in pairs)
    difference = jnp.log1p(8.0 / small) - reciprocals
    return -0.5 * inverse - of_shifted + jnp.where(is_large, 0.0, difference)


def _shifted(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, tuple[jax.Array, ...]]:
    """What the asymptotic series of gamma functions need of x > 0, elementwise.

    Returns whether x is above 8, where a series is accurate; the inverse of x there, and of x + 8
    elsewhere; and for the way back from x + 8 the x that are not above 8 (1 in place of others),
    with the products (x + k) (x + 7 - k) for k = 0 to 3.
    """
    is_large = x > 8.0
    small = jnp.where(is_large, 1.0, x)
    first = small * (small + 7.0)
    return (
        is_large,
        1.0 / jnp.where(is_large, x, x + 8.0),
        small,
        (first, first + 6.0, first + 10.0, first + 12.0),
    )


def _are_counts(value: jax.Array) -> jax.Array:
    return jnp.all((value >= 0) & (value == jnp.round(value)) & jnp.isfinite(value))

"""Events some values of which are missing."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vae_jax.distributions.base import sum_event


class Observed(NamedTuple):
    """An event, or a batch of events, some values of which may be missing.

    Attributes:
      value: [*event]. Where a value is missing, any number of the support stands in its place, and
        nothing depends on it.
      mask: [*event], True or 1 where the value is observed.
    """

    value: jax.Array
    mask: jax.Array


def observed(x: Any, fill: Any = 0.0) -> Observed:
    """The event of an array in which missing values are nan.

    Args:
      x: [*event] or [N, *event] floats.
      fill: number of the support that stands in place of missing values, broadcast to x.
    """
    is_there = ~jnp.isnan(x)
    return Observed(jnp.where(is_there, x, fill), is_there.astype(jnp.asarray(x).dtype))


def value_of(x: Any) -> Any:
    """The values of an event that may be `Observed`, with what stands in place of missing ones."""
    return x.value if isinstance(x, Observed) else x


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PartlyObserved:
    """The distribution of the observed values of an event: the others are integrated out.

    The dimensions of the base are independent, so that this leaves their terms out. An event is an
    `Observed`. The mask itself has no probability: the values are missing at random (Rubin 1976;
    Mattei & Frellsen 2019, section 2.2).

    Attributes:
      base: distribution of whole events, with independent dimensions.
    """

    base: Any

    @property
    def is_reparameterised(self) -> bool:
        """Whether samples are differentiable in the parameters."""
        return self.base.is_reparameterised

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of the values."""
        return self.base.event_shape

    @property
    def support(self) -> str:
        """The support in words."""
        return self.base.support

    @property
    def mean(self) -> jax.Array:
        """The mean of the whole event, [*event]."""
        return self.base.mean

    def scaled(self, size: jax.Array) -> "PartlyObserved":
        """The same counts with means `size` times as large. size: [] or [*event], positive."""
        return PartlyObserved(self.base.scaled(size))

    def sample(self, key: jax.Array) -> Observed:
        """One whole event, of which nothing is missing."""
        value = self.base.sample(key)
        return Observed(value, jnp.ones_like(value))

    def in_support(self, value: Observed) -> jax.Array:
        """Whether the values, and what stands for missing ones, lie in the support, [] bool."""
        return self.base.in_support(value.value)

    def log_prob_per_dim(self, value: Observed) -> jax.Array:
        """The log-density of each observed value, and 0 for missing ones, [*event] nats."""
        return jnp.where(value.mask > 0, self.base.log_prob_per_dim(value.value), 0.0)

    def log_prob(self, value: Observed) -> jax.Array:
        """The log-density of the observed values, [] nats.

        Raises:
          ValueError: the values or their mask do not have the shape of the event.
        """
        for part in value:
            if jnp.shape(part) != self.event_shape:
                raise ValueError(
                    f"An Observed of the shapes {jnp.shape(value.value)} and "
                    f"{jnp.shape(value.mask)} is no event of the shape {self.event_shape}."
                )
        return sum_event(self.log_prob_per_dim(value))

    def sample_and_log_prob(self, key: jax.Array) -> tuple[Observed, jax.Array]:
        """One whole event, and its log-density, [] nats."""
        value = self.sample(key)
        return value, self.log_prob(value)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NotAtRandom:
    """Observed values and the mask itself, p(x_observed|z) p(mask|x): not missing at random.

    The missing values are latent variables (`models.not_at_random`), and the probability of the
    mask depends on them (Ipsen et al. 2021, eq. 3).

    Attributes:
      base: distribution of whole events given z, with independent dimensions.
      drawn: [*event], the missing values that were drawn, among others that do not matter.
      missing: function (whole event [*event]) -> logits [*event] of being observed; a pytree
        (`jax.tree_util.Partial`), which may hold parameters.
    """

    base: Any
    drawn: jax.Array
    missing: Any

    @property
    def is_reparameterised(self) -> bool:
        """Whether samples are differentiable in the parameters: masks are discrete."""
        return False

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of the values."""
        return self.base.event_shape

    @property
    def support(self) -> str:
        """The support in words."""
        return self.base.support

    @property
    def mean(self) -> jax.Array:
        """The values that were drawn, [*event]."""
        return self.drawn

    def sample(self, key: jax.Array) -> Observed:
        """One event with its mask, from z alone: x ~ p(x|z), mask ~ p(mask|x)."""
        value_key, mask_key = jax.random.split(key)
        value = self.base.sample(value_key)
        is_there = jax.random.bernoulli(mask_key, jax.nn.sigmoid(self.missing(value)))
        return Observed(value, is_there.astype(value.dtype))

    def in_support(self, value: Observed) -> jax.Array:
        """Whether the values, and what stands for missing ones, lie in the support, [] bool."""
        return self.base.in_support(value.value)

    def log_prob(self, value: Observed) -> jax.Array:
        """log p(x_observed|z) + log p(mask|x_observed, drawn x_missing), [] nats.

        Raises:
          ValueError: the values or their mask do not have the shape of the event.
        """
        whole = jnp.where(value.mask > 0, value.value, self.drawn)
        logits = self.missing(whole)
        log_mask = -jax.nn.softplus(jnp.where(value.mask > 0, -logits, logits))
        return PartlyObserved(self.base).log_prob(value) + sum_event(log_mask)

    def sample_and_log_prob(self, key: jax.Array) -> tuple[Observed, jax.Array]:
        """One event with its mask, and its log-density, [] nats."""
        value = self.sample(key)
        return value, self.log_prob(value)


def expected_of(likelihood: Any) -> Any:
    """What is averaged over samples of z for a point estimate of x: the mean, a pytree of arrays.

    A distribution of categories has its probabilities (`Columns.expected`).
    """
    if isinstance(likelihood, PartlyObserved):
        return expected_of(likelihood.base)
    return likelihood.expected if hasattr(likelihood, "expected") else likelihood.mean


def estimate_of(likelihood: Any, expected: Any) -> jax.Array:
    """The point estimate of x, [*event], of averages of `expected_of`."""
    if isinstance(likelihood, PartlyObserved):
        return estimate_of(likelihood.base, expected)
    return likelihood.estimate(expected) if hasattr(likelihood, "estimate") else expected


def whole_sample(likelihood: Any, key: jax.Array) -> jax.Array:
    """A sample of the whole event, [*event], of a likelihood of `Observed` ones."""
    if isinstance(likelihood, NotAtRandom):
        return likelihood.drawn
    return likelihood.base.sample(key)

"""Hierarchies: several variables, each of which depends on those drawn before it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from vae_jax.distributions.base import (
    Distribution,
    has_closed_form_kl,
    kl_divergence,
    point_of,
)
from vae_jax.distributions.normal import Normal

Variables = tuple[Any, ...]  # (z_1, ..., z_L), each a pytree


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Chain:
    """The product of the distributions of z_1, ..., z_L, each given those drawn before it.

    An event is the tuple (z_1, ..., z_L). A generative model draws z_L first, p(z_L) p(z_{L-1}|z_L)
    ... p(z_1|z_2..), with the order (L - 1, ..., 0). An encoder may draw in either order.

    Attributes:
      first: distribution of the variable that is drawn first.
      carry: what the functions in `then` know beside the variables, a pytree.
      then: a function for each further variable, (carry, z) -> (carry, distribution), where z is
        the variable drawn just before. Each is a pytree (`jax.tree_util.Partial`), which may hold
        parameters.
      order: place in the event of each variable, in the order in which they are drawn.
      is_reparameterised: whether samples of all variables are differentiable in the parameters.
    """

    first: Any
    carry: Any
    then: tuple[Any, ...]
    order: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    is_reparameterised: bool = dataclasses.field(default=True, metadata={"static": True})

    @property
    def num_layers(self) -> int:
        """L, the number of variables."""
        return len(self.order)

    @property
    def event_shape(self) -> tuple[Any, ...]:
        """The shape of each variable."""
        z = jax.eval_shape(self.sample, jax.random.key(0))
        return tuple(jnp.shape(one) for one in z)

    def walk(self, choose: Callable[[int, Any], Any]) -> Any:
        """Goes from variable to variable in the order in which they are drawn.

        Args:
          choose: function (place in the event, distribution) -> value of the variable.

        Returns:
          The last carry. The last variable has had no influence on it.
        """
        carry, distribution = self.carry, self.first
        for step, place in enumerate(self.order):
            z = choose(place, distribution)
            if step < len(self.then):
                carry, distribution = self.then[step](carry, z)
        return carry

    def sample(self, key: jax.Array) -> Variables:
        """One event."""
        return self.complete(key, (None,) * self.num_layers)

    def complete(
        self, key: jax.Array, given: Variables, temperature: float | jax.Array = 1.0
    ) -> Variables:
        """One event, some of whose variables are given and the others drawn.

        Args:
          key: typed PRNG key.
          given: a value for each variable, or None for one that is drawn.
          temperature: factor of the standard deviations of the variables that are drawn.

        Raises:
          TypeError: a variable that is drawn at another temperature than 1 is not normal.
        """
        keys, z = keys_of_layers(key, self.num_layers), list(given)

        def choose(place, distribution):
            if z[place] is None:
                z[place] = _tempered(distribution, temperature).sample(keys[place])
            return z[place]

        self.walk(choose)
        return tuple(z)

    def relaxed_sample(self, key: jax.Array, temperature: float | jax.Array) -> Variables:
        """One event whose discrete variables are relaxed (`Bernoulli.relaxed_sample`)."""
        return self._sample_by("relaxed_sample", key, temperature)

    def surrogate_sample(self, key: jax.Array, kind: str) -> Variables:
        """One event with other gradients of discrete variables (`Bernoulli.surrogate_sample`)."""
        return self._sample_by("surrogate_sample", key, kind)

    def _sample_by(self, name: str, key: jax.Array, option: Any) -> Variables:
        """One event, drawn by the method of a name where a variable has it."""
        keys, z = keys_of_layers(key, self.num_layers), [None] * self.num_layers

        def choose(place, distribution):
            if hasattr(distribution, name):
                z[place] = getattr(distribution, name)(keys[place], option)
            else:
                z[place] = distribution.sample(keys[place])
            return z[place]

        self.walk(choose)
        return tuple(z)

    def at_centre(self) -> "Layers":
        """The distribution of each variable given the points (`base.point_of`) of those before."""
        found: list[Any] = [None] * self.num_layers

        def choose(place, distribution):
            found[place] = distribution
            return point_of(distribution)

        self.walk(choose)
        return Layers(tuple(found), self.is_reparameterised)

    def layers(self, value: Variables) -> tuple[Any, ...]:
        """The distribution of each variable given those before it in an event, by place."""
        self._require_event(value)
        found: list[Any] = [None] * self.num_layers

        def choose(place, distribution):
            found[place] = distribution
            return value[place]

        self.walk(choose)
        return tuple(found)

    def log_prob_by_layer(self, value: Variables) -> jax.Array:
        """The log-density of each variable given those before it, [L] nats."""
        layers = self.layers(value)
        return jnp.stack([layer.log_prob(z) for layer, z in zip(layers, value, strict=True)])

    def log_prob(self, value: Variables) -> jax.Array:
        """The log-density of one event, [] nats.

        Raises:
          ValueError: the value is no tuple of L variables.
        """
        return jnp.sum(self.log_prob_by_layer(value))

    def sample_and_log_prob(self, key: jax.Array) -> tuple[Variables, jax.Array]:
        """One event and its log-density, [] nats."""
        z, log_prob, _ = self.sample_with_layers(key)
        return z, log_prob

    def sample_with_layers(self, key: jax.Array) -> tuple[Variables, jax.Array, tuple[Any, ...]]:
        """One event, its log-density, [] nats, and `layers` of the event."""
        keys = keys_of_layers(key, self.num_layers)
        z: list[Any] = [None] * self.num_layers
        layers, log_probs = list(z), []

        def choose(place, distribution):
            layers[place] = distribution
            z[place], log_prob = distribution.sample_and_log_prob(keys[place])
            log_probs.append(log_prob)
            return z[place]

        self.walk(choose)
        return tuple(z), jnp.sum(jnp.stack(log_probs)), tuple(layers)

    def _require_event(self, value: Any) -> None:
        if not isinstance(value, tuple) or len(value) != self.num_layers:
            what = f"a tuple of {len(value)}" if isinstance(value, tuple) else "no tuple"
            raise ValueError(
                f"An event of this Chain is a tuple of {self.num_layers} variables, and this value "
                f"is {what}."
            )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Layers:
    """Independent variables z_1, ..., z_L with a distribution each. An event is a tuple.

    Attributes:
      of_each: their distributions.
      is_reparameterised: whether samples of all are differentiable in the parameters.
    """

    of_each: tuple[Any, ...]
    is_reparameterised: bool = dataclasses.field(default=True, metadata={"static": True})

    @property
    def event_shape(self) -> tuple[Any, ...]:
        """The shape of each variable."""
        return tuple(one.event_shape for one in self.of_each)

    @property
    def mean(self) -> Variables:
        """The point (`base.point_of`) of each variable."""
        return tuple(point_of(one) for one in self.of_each)

    def sample(self, key: jax.Array) -> Variables:
        """One event."""
        return self.sample_and_log_prob(key)[0]

    def log_prob(self, value: Variables) -> jax.Array:
        """The sum of the log-densities of the variables, [] nats."""
        pairs = zip(self.of_each, value, strict=True)
        return jnp.sum(jnp.stack([one.log_prob(z) for one, z in pairs]))

    def sample_and_log_prob(self, key: jax.Array) -> tuple[Variables, jax.Array]:
        """One event and its log-density, [] nats."""
        keys = jax.random.split(key, len(self.of_each))
        drawn = [one.sample_and_log_prob(k) for one, k in zip(self.of_each, keys, strict=True)]
        z, log_probs = zip(*drawn, strict=True)
        return z, jnp.sum(jnp.stack(log_probs))


def keys_of_layers(key: jax.Array, num_layers: int) -> jax.Array:
    """A key for each variable of a `Chain`: for one alone the key itself, as without a Chain."""
    return key[None] if num_layers == 1 else jax.random.split(key, num_layers)


def kl_by_layer(
    q: Chain, p: Chain, z: Variables, layers: tuple[Any, ...] | None = None
) -> jax.Array:
    """The KL term of each variable at a sample z of q, [L] nats, by place in the event.

    The mean of the sum over z ~ q is KL(q || p). If both draw the variables in the same order, a
    term is the KL divergence of the two distributions of the variable given those before it, in
    closed form where that is known. Otherwise it is log q - log p of the variable at z, which has
    the same mean and more variance.

    Args:
      q: distribution of z.
      p: distribution of the same variables.
      z: one event.
      layers: `q.layers(z)` if they are known; None otherwise.

    Raises:
      ValueError: the chains have different numbers of variables.
    """
    if q.num_layers != p.num_layers:
        raise ValueError(
            f"There is no KL divergence from a Chain of {q.num_layers} variables to one of "
            f"{p.num_layers}."
        )

    def term(of_q: Distribution, of_p: Distribution, value: Any) -> jax.Array:
        if q.order == p.order and has_closed_form_kl(of_q, of_p):
            return kl_divergence(of_q, of_p)
        return of_q.log_prob(value) - of_p.log_prob(value)

    of_q = q.layers(z) if layers is None else layers
    return jnp.stack([term(*each) for each in zip(of_q, p.layers(z), z, strict=True)])


def _tempered(distribution: Any, temperature: float | jax.Array) -> Any:
    """A normal distribution with its standard deviations multiplied by a temperature."""
    if isinstance(temperature, float | int) and temperature == 1.0:
        return distribution
    if not isinstance(distribution, Normal):
        raise TypeError(
            f"A {type(distribution).__name__} has no temperature: only normal variables have one."
        )
    return Normal(distribution.mean, distribution.log_std + jnp.log(temperature))

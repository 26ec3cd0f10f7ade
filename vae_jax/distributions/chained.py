"""Two variables, the second of which depends on the first."""

import dataclasses
from typing import Any

import jax

_Event = dict[str, Any]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Chained:
    """p(a, b) = p(a) p(b|a), over events {names[0]: a, names[1]: b}.

    Attributes:
      first: p(a).
      then: a -> p(b|a), a pytree that is a function (`jax.tree_util.Partial`).
      names: the names of a and b in an event.
      is_reparameterised: whether samples of both are differentiable in the parameters.
    """

    first: Any
    then: Any
    names: tuple[str, str] = dataclasses.field(metadata={"static": True})
    is_reparameterised: bool = dataclasses.field(default=True, metadata={"static": True})

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of a."""
        return self.first.event_shape

    def sample(self, key: jax.Array) -> _Event:
        """One event: a, then b."""
        return self.sample_and_log_prob(key)[0]

    def log_prob(self, value: _Event) -> jax.Array:
        """log p(a) + log p(b|a), [] nats."""
        a, b = (value[name] for name in self.names)
        return self.first.log_prob(a) + self.then(a).log_prob(b)

    def sample_and_log_prob(self, key: jax.Array) -> tuple[_Event, jax.Array]:
        """One event and its log-density, [] nats."""
        first_key, then_key = jax.random.split(key)
        a, of_a = self.first.sample_and_log_prob(first_key)
        b, of_b = self.then(a).sample_and_log_prob(then_key)
        return dict(zip(self.names, (a, b), strict=True)), of_a + of_b

"""Autoregressive distributions of discrete variables, by one masked network."""

import dataclasses
from typing import TYPE_CHECKING, ClassVar, cast

import jax
import jax.numpy as jnp

from vae_jax.distributions.base import Distribution, require_event
from vae_jax.distributions.bernoulli import Bernoulli
from vae_jax.distributions.categorical import Categorical
from vae_jax.distributions.flows.autoregressive import masks_of
from vae_jax.distributions.flows.conditioner import Conditioner


class _OneAfterTheOther:
    """What follows from `given`: the distribution of each variable given those before it."""

    if TYPE_CHECKING:

        @property
        def event_shape(self) -> tuple[int, ...]: ...

        def given(self, value: jax.Array) -> Bernoulli | Categorical: ...

    def sample(self, key: jax.Array) -> jax.Array:
        """One event, variable after variable, by L passes of the network."""

        def draw(found, inputs):
            index, key = inputs
            one = jax.tree.map(lambda logits: logits[index], self.given(found))
            return found.at[index].set(one.sample(key)), None

        length = self.event_shape[0]
        steps = (jnp.arange(length), jax.random.split(key, length))
        return jax.lax.scan(draw, jnp.zeros(self.event_shape), steps)[0]

    def log_prob(self, value: jax.Array) -> jax.Array:
        """The log-probability of one event by one pass of the network, [] nats.

        Raises:
          ValueError: the value does not have the shape of the event.
        """
        require_event(cast(Distribution, self), value)
        return self.given(value).log_prob(value)

    def sample_and_log_prob(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One event and its log-probability, [] nats."""
        value = self.sample(key)
        return value, self.log_prob(value)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class AutoregressiveBernoulli(_OneAfterTheOther):
    """Bits z [L] with P(z_l = 1 | z_1 .. z_(l-1)) from a masked network (Germain et al. 2015).

    Attributes:
      conditioner: network [L] -> [L], the logits.
      context: [N], which the network takes, too; or None.
    """

    is_reparameterised: ClassVar[bool] = False

    conditioner: Conditioner
    context: jax.Array | None

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event, (L,)."""
        return (self.conditioner.kernels[0].shape[0],)

    def given(self, value: jax.Array) -> Bernoulli:
        """The distribution of each bit given those before it in an event, [L]."""
        masks = masks_of(value.size, self.conditioner.hidden, num_outputs=1)
        return Bernoulli(self.conditioner(value, self.context, masks))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class AutoregressiveCategorical(_OneAfterTheOther):
    """One-hot vectors z [L, C] whose l-th has a distribution given those before it.

    Attributes:
      conditioner: network [L C] -> [L C], the logits.
      context: [N], which the network takes, too; or None.
      num_categories: C.
    """

    is_reparameterised: ClassVar[bool] = False

    conditioner: Conditioner
    context: jax.Array | None
    num_categories: int = dataclasses.field(metadata={"static": True})

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event, (L, C)."""
        num_inputs = self.conditioner.kernels[0].shape[0]
        return (num_inputs // self.num_categories, self.num_categories)

    def given(self, value: jax.Array) -> Categorical:
        """The distribution of each vector given those before it in an event, [L, C]."""
        length, size = value.shape
        masks = masks_of(length, self.conditioner.hidden, size, size)
        logits = self.conditioner(jnp.ravel(value), self.context, masks)
        return Categorical(logits.reshape(length, size))

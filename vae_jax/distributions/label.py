"""A label that is known for some examples."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from vae_jax.distributions.base import require_event
from vae_jax.distributions.categorical import Categorical


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Label:
    """One categorical variable, one-hot [C]: the label itself where it is known.

    It is the posterior of a label (Kingma et al. 2014, semi-supervised): a point at the label, with
    log-probability 0, or the categorical distribution of a classifier.

    Attributes:
      logits: [C], of the classifier.
      label: [C], one-hot; nan where it is not known.
    """

    is_reparameterised: ClassVar[bool] = False
    kl_families: ClassVar[tuple[type, ...]] = (Categorical,)

    logits: jax.Array
    label: jax.Array

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event."""
        return jnp.shape(self.logits)

    @property
    def is_known(self) -> jax.Array:
        """Whether the label is known, [] bool."""
        return jnp.all(jnp.isfinite(self.label))

    @property
    def mean(self) -> jax.Array:
        """The probabilities of the classes, [C]."""
        return self._known_or(jax.nn.softmax(self.logits))

    @property
    def log_prob_of_label(self) -> jax.Array:
        """The log-probability that the classifier gives the label, [] nats; 0 of an unknown one."""
        log_prob = jnp.sum(self._known_or(jnp.zeros_like(self.logits)) * self._log_softmax)
        return jnp.where(self.is_known, log_prob, 0.0)

    def sample(self, key: jax.Array) -> jax.Array:
        """The label, or a sample of the classifier's, one-hot [C]."""
        return self._known_or(Categorical(self.logits).sample(key))

    def relaxed_sample(self, key: jax.Array, temperature: jax.Array | float) -> jax.Array:
        """The label, or a relaxed sample (`Categorical.relaxed_sample`), [C]."""
        return self._known_or(Categorical(self.logits).relaxed_sample(key, temperature))

    def log_prob(self, value: jax.Array) -> jax.Array:
        """The log-probability of a class, [] nats: 0 for a known label, of which it is.

        Raises:
          ValueError: the value does not have the shape of the event.
        """
        require_event(self, value)
        return jnp.where(self.is_known, 0.0, jnp.sum(value * self._log_softmax))

    def sample_and_log_prob(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One event, [C], and its log-probability, [] nats."""
        value = self.sample(key)
        return value, self.log_prob(value)

    def kl_divergence(self, other: Categorical) -> jax.Array:
        """KL(self || other) in closed form, [] nats: -log p(label) of a known one."""
        log_p = jax.nn.log_softmax(other.logits)
        entropy = jnp.sum(jax.nn.softmax(self.logits) * self._log_softmax)
        return jnp.where(self.is_known, 0.0, entropy) - jnp.sum(self.mean * log_p)

    @property
    def _log_softmax(self) -> jax.Array:
        return jax.nn.log_softmax(self.logits)

    def _known_or(self, other: jax.Array) -> jax.Array:
        return jnp.where(self.is_known, jnp.nan_to_num(self.label), other)


def unknown(num_classes: int) -> Any:
    """What stands for a label that is not known, [C] nan."""
    return jnp.full((num_classes,), jnp.nan)

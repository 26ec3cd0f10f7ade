"""Independent Bernoulli variables, from logits."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from vae_jax.distributions.base import (
    require_event,
    require_same_family,
    require_straight_through,
    sum_event,
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Bernoulli:
    """Independent Bernoulli variables over one event, P(x_d = 1) = sigmoid(logits_d).

    Attributes:
      logits: [*event]. Log-probabilities are computed from the logits, never from log(sigmoid).
    """

    is_reparameterised: ClassVar[bool] = False
    support: ClassVar[str] = (
        "zeros and ones, as data.dynamic makes (heads.bernoulli_unnormalised takes grey values)"
    )

    logits: jax.Array

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event."""
        return jnp.shape(self.logits)

    @property
    def mean(self) -> jax.Array:
        """The probabilities of one, [*event]."""
        return jax.nn.sigmoid(self.logits)

    def sample(self, key: jax.Array) -> jax.Array:
        """One event of zeros and ones, [*event], in the dtype of the logits."""
        return jax.random.bernoulli(key, self.mean).astype(self.logits.dtype)

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether all values of one event are 0 or 1, [] bool."""
        return jnp.all((value == 0) | (value == 1))

    def log_prob(self, value: jax.Array) -> jax.Array:
        """Sum over dimensions of value * logits - softplus(logits), [] nats.

        This is a log-probability for values in {0, 1} only. For values in between it is the
        negative cross-entropy, which is the logarithm of no normalised density.

        Raises:
          ValueError: the value does not have the shape of the event.
        """
        require_event(self, value)
        positive, rest = _summed_softplus(self.logits)
        return sum_event(value * self.logits - positive) - rest

    def log_prob_per_dim(self, value: jax.Array) -> jax.Array:
        """value * logits - softplus(logits), [*event] nats."""
        return value * self.logits - _softplus(self.logits)

    def sample_and_log_prob(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One event, [*event], and its log-probability, [] nats."""
        value = self.sample(key)
        return value, self.log_prob(value)

    def relaxed_sample(self, key: jax.Array, temperature: jax.Array | float) -> jax.Array:
        """Values in (0, 1), differentiable in the logits, [*event].

        sigmoid((logits + l) / temperature) with l logistic noise, the binary Concrete distribution
        (Maddison et al. 2017, eq. 16). Rounded it has the distribution of `sample`.
        """
        noise = jax.random.logistic(key, self.logits.shape, self.logits.dtype)
        return jax.nn.sigmoid((self.logits + noise) / temperature)

    def surrogate_sample(self, key: jax.Array, kind: str) -> jax.Array:
        """`sample(key)` with the gradient of the probabilities (Bengio et al. 2013, section 4).

        Raises:
          TypeError: the kind is another one than "straight_through".
        """
        require_straight_through(self, kind)
        mean = self.mean
        return self.sample(key) + (mean - jax.lax.stop_gradient(mean))

    def kl_per_dim(self, other: "Bernoulli") -> jax.Array:
        """KL(self || other) of every variable in closed form, [*event] nats.

        Raises:
          TypeError: `other` is not a `Bernoulli`; use a sampled bound then.
          ValueError: its events have another shape.
        """
        require_same_family(self, other)
        difference = self.mean * (self.logits - other.logits)
        return difference - _softplus(self.logits) + _softplus(other.logits)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class UnnormalisedBernoulli(Bernoulli):
    """The formula of Bernoulli variables for values in [0, 1]: a cross-entropy, no likelihood.

    Many VAEs of grey pixels are trained with it. Its "probabilities" of values in [0, 1] do not
    integrate to one, so that no bound made of them is a bound on log p(x). The name says so. Its
    samples are zeros and ones.
    """

    support: ClassVar[str] = "values in [0, 1]"

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether all values of one event lie in [0, 1], [] bool."""
        return jnp.all((value >= 0) & (value <= 1))


@jax.custom_jvp
def _summed_softplus(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The two parts of softplus: max(logits, 0), [*event], and the sum of log(1 + exp(-|logits|)).

    The sum of logarithms is the logarithm of a product, so that 16 pixels need only one logarithm,
    of 1 + p = (1 + u_1) ... (1 + u_16) <= 2^16. The program keeps p rather than 1 + p, because
    1 + p would lose a small u. Logarithms are the largest cost of the density of an image: with
    this sum, importance sampling takes 1.3 to 1.4 times as long as its matrix products alone; with
    a logarithm for each pixel, 1.5 to 1.65 times. The first part carries the whole derivative of
    softplus, which is the sigmoid; the second part has none.
    """
    product = jnp.exp(-jnp.abs(jnp.ravel(logits)))
    for _ in range(4):
        if product.size % 2:
            break
        one, other = jnp.split(product, 2)
        product = one + other + one * other
    return jnp.maximum(logits, 0.0), sum_event(jnp.log1p(product))


@_summed_softplus.defjvp
def _summed_softplus_jvp(primals, tangents):
    (logits,), (tangent,) = primals, tangents
    positive, rest = _summed_softplus(logits)
    return (positive, rest), (jax.nn.sigmoid(logits) * tangent, jnp.zeros_like(rest))


@jax.custom_jvp
def _softplus(logits: jax.Array) -> jax.Array:
    """log(1 + exp(logits)), elementwise.

    Its derivative is written out as the sigmoid. The derivative of `jax.nn.softplus` is an
    exponential of the difference of two large arrays, which takes 4 % of a training step of a
    small VAE.
    """
    return jax.nn.softplus(logits)


@_softplus.defjvp
def _softplus_jvp(primals, tangents):
    (logits,), (tangent,) = primals, tangents
    return _softplus(logits), jax.nn.sigmoid(logits) * tangent

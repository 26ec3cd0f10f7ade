"""Deterministic codes: posteriors of one point, and distributions over the indices of codes."""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from vae_jax.distributions.base import require_event, sum_event

#: Surrogate gradients of samples that have none; see `Coded.surrogate_sample`.
SURROGATES = ("straight_through", "rotation")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Code:
    """A code: which entries of a codebook were chosen, and what a decoder takes of them.

    Attributes:
      index: [*grid, Q] int32, the entries that were chosen at each place of a grid.
      vector: [*grid, D], the vectors of which they are the indices.
    """

    index: jax.Array
    vector: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Coded:
    """q(z|x) of a deterministic encoder: all of its mass is at one code, so that log q(z|x) = 0.

    log p(x|z) + log p(z) at this code is a bound on log p(x) like any other ELBO.

    Attributes:
      outputs: [*grid, D], what the encoder says before it is rounded to a code.
      vector: [*grid, D], the vectors of the code.
      index: [*grid, Q] int32.
      inputs: [*grid, G, R, d], what each of R codebooks of G groups rounds; None for codes without
        a codebook.
      entries: [*grid, G, R, d], the entries that they choose, differentiable; None likewise.
      num_codes: K, number of values of an index.
      groups: G.
      are_bits: whether the vectors are the signs of the outputs.
    """

    is_reparameterised: ClassVar[bool] = False

    outputs: jax.Array
    vector: jax.Array
    index: jax.Array
    inputs: jax.Array | None
    entries: jax.Array | None
    num_codes: int = dataclasses.field(metadata={"static": True})
    groups: int = dataclasses.field(default=1, metadata={"static": True})
    are_bits: bool = dataclasses.field(default=False, metadata={"static": True})

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of the vectors of one code."""
        return jnp.shape(self.vector)

    @property
    def kl_families(self) -> tuple[type, ...]:
        """The families to which the KL divergence is known: those over codes."""
        return (CodePrior,)

    @property
    def mean(self) -> jax.Array:
        """The vectors of the code, [*grid, D]."""
        return jax.lax.stop_gradient(self.vector)

    def sample(self, key: jax.Array) -> Code:
        """The code. Its gradient is zero."""
        del key
        return Code(self.index, self.mean)

    def surrogate_sample(self, key: jax.Array, kind: str) -> Code:
        """The code with another gradient than zero with respect to the encoder's outputs e.

        "straight_through" takes the vectors q for e (van den Oord et al. 2017, section 3.2).
        "rotation" takes them for a |q| / |e| R e with the rotation R from e to q and both factors
        constant, so that the gradient keeps its angle to the vector (Fifty et al. 2024, eq. 4). The
        vectors of a group are rotated together.

        Raises:
          TypeError: the kind is "rotation", and there is no codebook: such codes are corners of a
            cube, from which rotations lead away.
        """
        del key
        q = self.mean
        if kind == "straight_through":
            return Code(self.index, _to_value(q, self.outputs))
        if self.inputs is None:
            raise TypeError(
                "The rotation gradient is for codes of a codebook, which these are not: use "
                "straight_through."
            )
        parts = (*q.shape[:-1], self.groups, -1)
        rotated = _rotated(self.outputs.reshape(parts), q.reshape(parts))
        return Code(self.index, rotated.reshape(q.shape))

    def log_prob(self, value: Code) -> jax.Array:
        """0 at the code, and minus infinity elsewhere, [] nats."""
        is_it = jnp.all(value.index == self.index)
        return jnp.where(is_it, 0.0, -jnp.inf).astype(self.vector.dtype)

    def sample_and_log_prob(self, key: jax.Array) -> tuple[Code, jax.Array]:
        """The code, and 0."""
        return self.sample(key), jnp.zeros((), self.vector.dtype)

    def kl_divergence(self, other: Any) -> jax.Array:
        """KL(q || p) = -log p(code) of a `CodePrior` p, [] nats."""
        return -other.log_prob(self.sample(jax.random.key(0)))


def _to_value(value: jax.Array, other: jax.Array) -> jax.Array:
    """`value`, to the bit, with the gradient of `other`."""
    return jax.lax.stop_gradient(value) + (other - jax.lax.stop_gradient(other))


def _rotated(outputs: jax.Array, vector: jax.Array) -> jax.Array:
    """`vector` [..., d] with the gradient of a constant scaled rotation of `outputs` [..., d]."""

    def length(values):
        tiny = jnp.finfo(values.dtype).tiny
        return jnp.sqrt(jnp.sum(jnp.square(values), axis=-1, keepdims=True) + tiny)

    def dot(one, other):
        return jnp.sum(one * other, axis=-1, keepdims=True)

    at, to = jax.lax.stop_gradient(outputs), jax.lax.stop_gradient(vector)
    scale, at, to = length(to) / length(at), at / length(at), to / length(to)
    middle = (at + to) / length(at + to)
    rotated = outputs - 2.0 * dot(outputs, middle) * middle + 2.0 * dot(outputs, at) * to
    return _to_value(vector, scale * rotated)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CodePrior:
    """p(z) over codes: a distribution of their indices.

    Attributes:
      of_index: distribution over indices [*grid, Q].
      vectors: function of indices -> vectors [*grid, D] (`jax.tree_util.Partial`).
    """

    is_reparameterised: ClassVar[bool] = False

    of_index: Any
    vectors: Any

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of the vectors of one code."""
        index = jax.ShapeDtypeStruct(self.of_index.event_shape, jnp.int32)
        return jax.eval_shape(self.vectors, index).shape

    def sample(self, key: jax.Array) -> Code:
        """One code."""
        index = self.of_index.sample(key)
        return Code(index, self.vectors(index))

    def log_prob(self, value: Code) -> jax.Array:
        """The log-probability of the indices of a code, [] nats."""
        return self.of_index.log_prob(value.index)

    def sample_and_log_prob(self, key: jax.Array) -> tuple[Code, jax.Array]:
        """One code and its log-probability, [] nats."""
        index, log_prob = self.of_index.sample_and_log_prob(key)
        return Code(index, self.vectors(index)), log_prob


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class UniformIndices:
    """Independent whole numbers 0 .. K - 1 of equal probability.

    Attributes:
      shape: shape of one event.
      num_codes: K.
    """

    is_reparameterised: ClassVar[bool] = False

    shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    num_codes: int = dataclasses.field(metadata={"static": True})

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event."""
        return self.shape

    def sample(self, key: jax.Array) -> jax.Array:
        """One event, [*shape] int32."""
        return jax.random.randint(key, self.shape, 0, self.num_codes, jnp.int32)

    def log_prob(self, value: jax.Array) -> jax.Array:
        """-log K for each number, [] nats; minus infinity if one is none of them.

        Raises:
          ValueError: the value does not have the shape of the event.
        """
        require_event(self, value)
        inside = jnp.all((value >= 0) & (value < self.num_codes))
        return jnp.where(inside, -math.prod(self.shape) * math.log(self.num_codes), -jnp.inf)

    def sample_and_log_prob(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One event and its log-probability, [] nats."""
        value = self.sample(key)
        return value, self.log_prob(value)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Indices:
    """Independent categorical variables as whole numbers. logits: [*shape, K]."""

    is_reparameterised: ClassVar[bool] = False

    logits: jax.Array

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one event."""
        return jnp.shape(self.logits)[:-1]

    def sample(self, key: jax.Array) -> jax.Array:
        """One event, [*shape] int32."""
        return jax.random.categorical(key, self.logits).astype(jnp.int32)

    def log_prob(self, value: jax.Array) -> jax.Array:
        """The sum of the log-probabilities of the numbers of one event, [] nats.

        Raises:
          ValueError: the value does not have the shape of the event.
        """
        require_event(self, value)
        chosen = jnp.take_along_axis(self.logits, value[..., None], axis=-1)[..., 0]
        return sum_event(chosen - jax.nn.logsumexp(self.logits, axis=-1))

    def sample_and_log_prob(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One event and its log-probability, [] nats."""
        value = self.sample(key)
        return value, self.log_prob(value)


def usage(index: jax.Array, num_codes: int) -> jax.Array:
    """How often each entry of each codebook was chosen, [..., Q] int -> [Q, K] floats."""
    rows = index.reshape(-1, index.shape[-1])
    count = lambda column: jnp.zeros(num_codes).at[column].add(1.0)  # noqa: E731
    return jax.vmap(count, in_axes=1)(rows)


def perplexity(counts: jax.Array) -> jax.Array:
    """exp of the entropy of frequencies [..., K]: the number of codes in even use, [...]."""
    share = counts / jnp.maximum(jnp.sum(counts, axis=-1, keepdims=True), 1.0)
    return jnp.exp(jnp.sum(jax.scipy.special.entr(share), axis=-1))

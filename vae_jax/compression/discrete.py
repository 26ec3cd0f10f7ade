"""Discrete latents, and codes of a deterministic encoder, as symbols."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.compression import values
from vae_jax.compression.coded import OneAfterAnother, fetched, unknown
from vae_jax.compression.stack import Stack
from vae_jax.compression.symbols import Known, Unknown
from vae_jax.distributions import Code, CodePrior
from vae_jax.models import Model, Params

_NOTHING = np.zeros((1, 1), np.float32)  # stands for the z of a distribution that depends on none


class Discrete(OneAfterAnother):
    """Discrete latents with a q(z|x), under any discrete prior."""

    def __init__(self, model: Model, params: Params, x: Any):
        self._q = values.variable(model.posterior, params, x)
        self._p = values.variable(lambda params, z: model.prior(params), params, _NOTHING[0])
        self._size = int(np.prod(values.symbol_shape(self._q.example)))
        self.num_start_bits = 2 * self._size

    def pop_posterior(self, stack: Stack, x: jax.Array) -> np.ndarray:
        """z ~ q(z|x) as symbols, [B, S]."""
        answers = Unknown(stack, len(x), self._size)
        values.visit(self._q, x, answers)
        return answers.symbols

    def push_posterior(self, stack: Stack, x: jax.Array, state: np.ndarray) -> None:
        """The inverse of `pop_posterior`."""
        answers = Known(state)
        values.visit(self._q, x, answers)
        answers.push(stack)

    def push_prior(self, stack: Stack, state: np.ndarray) -> None:
        """Pushes z by p(z)."""
        answers = Known(state)
        values.visit(self._p, np.tile(_NOTHING, (len(state), 1)), answers)
        answers.push(stack)

    def pop_prior(self, stack: Stack, number: int) -> np.ndarray:
        """The inverse of `push_prior`."""
        answers = Unknown(stack, number, self._size)
        values.visit(self._p, np.tile(_NOTHING, (number, 1)), answers)
        return answers.symbols

    def value(self, state: np.ndarray) -> jax.Array:
        """z as the decoder takes it, [B, *latent]."""
        shape = values.symbol_shape(self._q.example)
        return jnp.asarray(values.to_values(self._q.example, state.reshape(len(state), *shape)))


class Codes(Discrete):
    """Codes of a deterministic encoder: nothing is popped for them."""

    def __init__(self, model: Model, params: Params, p: CodePrior):
        if not values.is_coded(p.of_index):
            raise unknown(p.of_index)

        def of_index(params, z):
            del z
            return _code(model.prior(params)).of_index

        self._p = values.variable(of_index, params, _NOTHING[0])
        self._index = fetched(lambda params, x: _code(model.posterior(params, x)).index, params)
        self._vectors = fetched(lambda params, at: _code(model.prior(params)).vectors(at), params)
        self._shape = tuple(p.of_index.event_shape)
        self._size = int(np.prod(self._shape))
        self.num_start_bits = 0

    def pop_posterior(self, stack: Stack, x: jax.Array) -> np.ndarray:
        """The code as indices, [B, S]. Nothing is popped."""
        del stack
        return np.asarray(self._index(x), np.int64).reshape(len(x), -1)

    def push_posterior(self, stack: Stack, x: jax.Array, state: np.ndarray) -> None:
        """Nothing is pushed."""

    def value(self, state: np.ndarray) -> Any:
        """z as the decoder takes it, [B, *latent]."""
        index = jnp.asarray(state.reshape(len(state), *self._shape), jnp.int32)
        return Code(index, jnp.asarray(self._vectors(index)))


def _code(distribution: Any) -> Any:
    """A `Coded` or a `CodePrior`, whose attributes the interface of distributions does not have."""
    return distribution

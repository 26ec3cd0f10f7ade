"""Autoregressive distributions over a grid, in the order of reading, with cached sampling."""

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from vae_jax.distributions.base import require_event


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Raster:
    """Variables at the places of a grid, each of which depends on those before it.

    p(x) = prod_t p(x_t | x_1 .. x_(t-1)), row by row from left to right, as of PixelRNN (van den
    Oord et al. 2016). One pass of a causal network gives the parameters of all factors of a known
    x; a sample takes a step of the network for each place, which keeps what it knows of the places
    before.

    The functions are pytrees (`jax.tree_util.Partial`), which hold the parameters.

    Attributes:
      outputs_of: values [H, W, *each] -> outputs [H, W, N], of which those of a place depend on
        values before it alone.
      start: () -> cache.
      step: (cache, t, value of the place t - 1) -> (cache, outputs [N] of the place t); the value
        is ignored for t = 0.
      family: outputs [h, w, N] -> distribution of independent places, over values [h, w, *each].
      event_shape: shape of one event, with the values of [H, W, *each].
      grid: (H, W).
      num_outputs: N.
      dtype: name of the type of the values.
    """

    is_reparameterised: ClassVar[bool] = False

    outputs_of: Any
    start: Any
    step: Any
    family: Any
    event_shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    grid: tuple[int, int] = dataclasses.field(metadata={"static": True})
    num_outputs: int = dataclasses.field(metadata={"static": True})
    dtype: str = dataclasses.field(default="float32", metadata={"static": True})

    @property
    def support(self) -> str:
        """The support of the family, in words."""
        return self._any().support

    def in_support(self, value: jax.Array) -> jax.Array:
        """Whether one event lies in the support, [] bool."""
        family = self._any()
        if not hasattr(family, "in_support"):
            return jnp.ones((), bool)
        return family.in_support(self._on_grid(value))

    @property
    def centre(self) -> jax.Array:
        """A sample that a fixed key draws: the mean of such variables is not known."""
        return self.sample(jax.random.key(0))

    def log_prob(self, value: jax.Array) -> jax.Array:
        """The log-probability of one event by one pass of the network, [] nats.

        Raises:
          ValueError: the value does not have the shape of the event.
        """
        require_event(self, value)
        values = self._on_grid(value)
        return self.family(self.outputs_of(values)).log_prob(values)

    def sample(self, key: jax.Array) -> jax.Array:
        """One event, place after place."""

        def draw(t, carry):
            cache, values, before = carry
            cache, one = self.of_place(cache, t, before)
            value = one.sample(jax.random.fold_in(key, t))
            row, column = t // width, t % width
            at = (row, column, *(0 for _ in self.each))
            values = jax.lax.dynamic_update_slice(values, value, at)
            return cache, values, value[0, 0]

        height, width = self.grid
        empty = jnp.zeros((height, width, *self.each), self.dtype)
        carry = (self.start(), empty, empty[0, 0])
        _, values, _ = jax.lax.fori_loop(0, height * width, draw, carry)
        return values.reshape(self.event_shape)

    def sample_and_log_prob(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One event and its log-probability, [] nats."""
        value = self.sample(key)
        return value, self.log_prob(value)

    def of_place(self, cache: Any, t: Any, before: jax.Array) -> tuple[Any, Any]:
        """The next cache, and the distribution over [1, 1, *each] of the place t.

        before: [*each], the value of the place before it.
        """
        cache, outputs = self.step(cache, t, before)
        return cache, self.family(outputs[None, None])

    @property
    def each(self) -> tuple[int, ...]:
        """The shape of the value of one place."""
        family = jax.eval_shape(self.family, jnp.zeros((1, 1, self.num_outputs)))
        return tuple(family.event_shape[2:])

    @property
    def num_places(self) -> int:
        """H W."""
        return math.prod(self.grid)

    def _on_grid(self, value: jax.Array) -> jax.Array:
        return value.reshape(*self.grid, *self.each)

    def _any(self) -> Any:
        return self.family(jnp.zeros((*self.grid, self.num_outputs)))

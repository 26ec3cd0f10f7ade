"""The interface of latents that are coded, and what its kinds share."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import jax

from vae_jax.compression import values
from vae_jax.compression.stack import Stack
from vae_jax.errors import BadInputError
from vae_jax.models import Params

PushX = Callable[[Any], None]  # z [B, *latent] -> pushes x by p(x|z)
PopX = Callable[[Any], jax.Array]  # z [B, *latent] -> pops x by p(x|z)


class Latents(Protocol):
    """The latents of a model, for a batch of B examples.

    Attributes:
      num_start_bits: bits that coding one example takes from the stack before it puts any on it.
    """

    num_start_bits: int

    def encode(self, stack: Stack, x: jax.Array, push_x: PushX) -> None:
        """Puts x [B, *event] on the stack: z is popped by q(z|x), x and then z are pushed by p."""

    def decode(self, stack: Stack, number: int, pop_x: PopX) -> None:
        """The inverse of `encode`, for a number of examples."""


class OneAfterAnother:
    """Pops all latents by q(z|x), pushes x, and then all latents by p(z)."""

    if TYPE_CHECKING:

        def pop_posterior(self, stack: Stack, x: jax.Array) -> Any: ...

        def push_posterior(self, stack: Stack, x: jax.Array, state: Any) -> None: ...

        def push_prior(self, stack: Stack, state: Any) -> None: ...

        def pop_prior(self, stack: Stack, number: int) -> Any: ...

        def value(self, state: Any) -> Any: ...

    def encode(self, stack: Stack, x: jax.Array, push_x: PushX) -> None:
        """See `Latents`."""
        state = self.pop_posterior(stack, x)
        push_x(self.value(state))
        self.push_prior(stack, state)

    def decode(self, stack: Stack, number: int, pop_x: PopX) -> None:
        """See `Latents`."""
        state = self.pop_prior(stack, number)
        x = pop_x(self.value(state))
        self.push_posterior(stack, x, state)


def fetched(
    function: Callable[..., Any], params: Params, num_arguments: int = 1
) -> Callable[..., Any]:
    """A function of the parameters and of one example as one of a batch, whose values are NumPy's.

    num_arguments: number of arguments behind the parameters.
    """
    compiled = values.jitted(function, *(0,) * num_arguments)
    return lambda *arguments: jax.device_get(compiled(params, *arguments))


def unknown(distribution: Any) -> BadInputError:
    """The error for a distribution of latents that cannot be coded."""
    return BadInputError(
        f"A {type(distribution).__name__} of latents has no distribution function of one latent "
        "after the other, by which they could be coded: compress with posterior=diagonal, full, "
        "low_rank or mixture and prior=normal, mixture, vamp or exemplar, with discrete latents or "
        "with codes."
    )

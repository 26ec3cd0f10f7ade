"""The layers of a hierarchy as bins of grids."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.compression.coded import OneAfterAnother, PopX, PushX, fetched, unknown
from vae_jax.compression.continuous import visit_continuous
from vae_jax.compression.stack import Stack
from vae_jax.compression.symbols import Known, Unknown
from vae_jax.compression.tables import Grid
from vae_jax.compression.values import Choose
from vae_jax.distributions import Chain, Normal
from vae_jax.errors import BadInputError
from vae_jax.models import Model, Params


class Layers(OneAfterAnother):
    """The layers of a hierarchy.

    If q(z|x) draws them from the top down, as p(z) does, the grid of each layer is that of p(z_l)
    given the layers above (HiLLoC, Townsend et al. 2020). If it goes from the bottom up, the grids
    are those of the moments of the layers under p(z).
    """

    def __init__(self, model: Model, params: Params, x: Any, q: Chain, p: Any, bits: int):
        if not isinstance(p, Chain):
            raise unknown(p)
        self._bits, self._orders = bits, (q.order, p.order)
        self._event_shape = tuple(x.shape)
        self.is_top_down = q.order == p.order
        z_shapes = jax.eval_shape(lambda p: model.prior(p).sample(jax.random.key(0)), params)
        self._shapes = [tuple(one.shape) for one in z_shapes]
        self._sizes = [int(np.prod(shape)) for shape in self._shapes]
        self._layers: dict[Any, Callable[..., Any]] = {}
        for name in ("q", "p"):
            order = self._orders[name == "p"]
            for step, place in enumerate(order):
                layer = self._layer(model, name, order, step)
                self._layers[name, place] = fetched(layer, params, 2)
        z = tuple(np.zeros((1, *shape), np.float32) for shape in self._shapes)
        one = jax.tree.map(lambda leaf: np.zeros((1, *leaf.shape), leaf.dtype), x)
        for name, place in self._layers:
            if not isinstance(self._given(name, place, one, z), Normal):
                raise BadInputError(
                    "Layers of a hierarchy are coded if they are diagonal normal ones, and these "
                    "have another posterior or prior: compress with posterior=diagonal and "
                    "prior=normal."
                )
        self.num_start_bits = bits * sum(self._sizes)
        self._moments = None if self.is_top_down else _moments_of_layers(model, params)

    @staticmethod
    def _layer(model: Model, name: str, order: tuple[int, ...], step: int) -> Callable[..., Any]:
        """(params, x, z) -> the distribution of the layer that a chain draws in a step, given those
        before in z."""

        def layer(params, x, z):
            chain: Any = model.prior(params) if name == "p" else model.posterior(params, x)
            carry, distribution = chain.carry, chain.first
            for index in range(step):
                carry, distribution = chain.then[index](carry, z[order[index]])
            return distribution

        return layer

    def _given(self, name: str, place: int, x: Any, z: Any) -> Any:
        return self._layers[name, place](x, z)

    def _grid(self, place: int, p: Any, number: int) -> Grid:
        """The grid of a layer, given its p(z_l | above) if that has been visited."""
        if self._moments is None:
            mean, std = (np.asarray(of, np.float64).ravel() for of in (p.mean, p.std))
        else:
            mean, std = (np.tile(of, number) for of in self._moments[place])
        return Grid(self._bits, mean, std)

    def _visit(self, name: str, x: Any, choosers: list[Choose], number: int) -> Any:
        """Visits all layers in the order of q or p. Returns their bins and values, by place."""
        bins: list[Any] = [None] * len(self._shapes)
        z = [np.zeros((number, *shape), np.float32) for shape in self._shapes]
        for place in self._orders[name == "p"]:
            p = None
            if self.is_top_down or name == "p":
                p = self._given("p", place, x, tuple(z))
            grid = self._grid(place, p, number)
            if name == "p" and self.is_top_down:
                found = choosers[place](grid.prior(), slice(None))
            else:
                of = p if name == "p" else self._given("q", place, x, tuple(z))
                found = visit_continuous(_flat(of, number), grid, choosers[place], number)
            bins[place] = found
            centres = grid.centres(np.asarray(found).ravel())
            z[place] = centres.reshape(z[place].shape).astype(np.float32)
        return bins, tuple(z)

    def _pop(self, stack: Stack, name: str, x: Any, number: int) -> tuple[Any, Any]:
        answers = [Unknown(stack, number, size) for size in self._sizes]
        return self._visit(name, x, list(answers), number)

    def _push(self, stack: Stack, name: str, x: Any, state: tuple[Any, Any]) -> None:
        bins, _ = state
        answers = [Known(of) for of in bins]
        self._visit(name, x, list(answers), len(bins[0]))
        for place in reversed(self._orders[name == "p"]):
            answers[place].push(stack)

    def pop_posterior(self, stack: Stack, x: jax.Array) -> Any:
        """z ~ q(z|x) as the bins and the values of the layers."""
        return self._pop(stack, "q", x, len(x))

    def push_posterior(self, stack: Stack, x: jax.Array, state: Any) -> None:
        """The inverse of `pop_posterior`."""
        self._push(stack, "q", x, state)

    def push_prior(self, stack: Stack, state: Any) -> None:
        """Pushes z by p(z)."""
        self._push(stack, "p", np.zeros((len(state[0][0]), 1), np.float32), state)

    def pop_prior(self, stack: Stack, number: int) -> Any:
        """The inverse of `push_prior`."""
        return self._pop(stack, "p", np.zeros((number, 1), np.float32), number)

    def value(self, state: Any) -> Any:
        """z as the decoder takes it, [B, *latent]."""
        return jax.tree.map(jnp.asarray, state[1])


class SwappedLayers(Layers):
    """Layers each of which depends on its neighbours alone, with q(z|x) from the bottom up.

    Bit-Swap (Kingma et al. 2019, algorithm 1): as soon as a layer is popped, what is below it is
    pushed, so that the start takes the bits of two layers and not those of all.
    """

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        # A layer is popped before the one below it is pushed.
        pairs = itertools.pairwise(self._sizes)
        self.num_start_bits = self._bits * max(below + above for below, above in pairs)

    def _one(self, name: str, place: int, x: Any, z: list[Any], choose: Choose) -> np.ndarray:
        """Visits one layer and sets its value in z. Returns its bins."""
        number = len(z[place])
        normal = _flat(self._given(name, place, x, tuple(z)), number)
        grid = self._grid(place, None, number)
        bins = np.asarray(visit_continuous(normal, grid, choose, number))
        z[place] = grid.centres(bins.ravel()).reshape(z[place].shape).astype(np.float32)
        return bins

    def _pop_one(self, stack: Stack, name: str, place: int, x: Any, z: list[Any]) -> np.ndarray:
        answers = Unknown(stack, len(z[place]), self._sizes[place])
        return self._one(name, place, x, z, answers)

    def _push_one(
        self, stack: Stack, name: str, place: int, x: Any, z: list[Any], bins: np.ndarray
    ) -> None:
        answers = Known(bins)
        self._one(name, place, x, z, answers)
        answers.push(stack)

    def _empty(self, number: int) -> list[Any]:
        return [np.zeros((number, *shape), np.float32) for shape in self._shapes]

    def encode(self, stack: Stack, x: jax.Array, push_x: PushX) -> None:
        """See `Latents`."""
        z, none = self._empty(len(x)), np.zeros((len(x), 1), np.float32)
        top = len(z) - 1
        bins = self._pop_one(stack, "q", 0, x, z)
        push_x(jax.tree.map(jnp.asarray, tuple(z)))
        for place in range(top):
            above = self._pop_one(stack, "q", place + 1, x, z)
            self._push_one(stack, "p", place, none, z, bins)
            bins = above
        self._push_one(stack, "p", top, none, z, bins)

    def decode(self, stack: Stack, number: int, pop_x: PopX) -> None:
        """See `Latents`."""
        z, none = self._empty(number), np.zeros((number, 1), np.float32)
        top = len(z) - 1
        some = np.zeros((number, *self._event_shape), np.float32)
        bins = self._pop_one(stack, "p", top, none, z)
        for place in range(top - 1, -1, -1):
            below = self._pop_one(stack, "p", place, none, z)
            self._push_one(stack, "q", place + 1, some, z, bins)
            bins = below
        x = pop_x(jax.tree.map(jnp.asarray, tuple(z)))
        self._push_one(stack, "q", 0, x, z, bins)


def _flat(normal: Any, number: int) -> Normal:
    mean, log_std = (jnp.reshape(of, (number, -1)) for of in (normal.mean, normal.log_std))
    return Normal(mean, log_std)


def _moments_of_layers(model: Model, params: Params) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and standard deviation of each latent of each layer under p(z), by samples."""
    keys = jax.random.split(jax.random.key(0), 4096)
    z = fetched(lambda params, key: model.prior(params).sample(key), params)(keys)
    found = []
    for one in z:
        flat = np.asarray(one, np.float64).reshape(len(one), -1)
        found.append((flat.mean(axis=0), np.maximum(flat.std(axis=0), 1e-6)))
    return found

"""Latents as symbols: how they are popped by q(z|x), and pushed and popped by p(z)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.compression import values
from vae_jax.compression.stack import Stack
from vae_jax.compression.symbols import Known, Unknown
from vae_jax.compression.tables import Grid, Masses, OnGrid, one_normal
from vae_jax.compression.values import Choose
from vae_jax.distributions import (
    Chain,
    Code,
    Coded,
    CodePrior,
    FullNormal,
    LowRankNormal,
    Mixture,
    Normal,
)
from vae_jax.distributions.mixture import NormalMixture
from vae_jax.errors import BadInputError
from vae_jax.models import Model, Params

_NOTHING = np.zeros((1, 1), np.float32)  # stands for the z of a distribution that depends on none


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


class _OneAfterAnother:
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


def latents_of(
    model: Model, params: Params, x: Any, bits: int, *, is_markov: bool = False
) -> Latents:
    """The latents of a model.

    Args:
      model: a model of p(x), without conditions.
      params: its parameters.
      x: one example, as a shape.
      bits: bits of the grid of each continuous latent.
      is_markov: whether each layer of a hierarchy depends on its neighbours alone, as do p(x|z_1)
        and q(z_1|x).

    Raises:
      BadInputError: they cannot be coded.
    """
    q = jax.eval_shape(model.posterior, params, x)
    p = jax.eval_shape(model.prior, params)
    if isinstance(q, Chain):
        layers = _Swapped if is_markov and q.order != p.order else _Layers
        return layers(model, params, x, q, p, bits)
    if isinstance(q, Coded):
        return _Codes(model, params, p)
    if not q.is_reparameterised:
        if not (values.is_coded(q) and values.is_coded(p)):
            raise _unknown(p)
        return _Discrete(model, params, x)
    if not isinstance(q, Normal | FullNormal | LowRankNormal | NormalMixture):
        raise _unknown(q)
    if isinstance(p, Normal):
        return _Continuous(model, params, bits)
    if isinstance(p, Mixture) and isinstance(p.components, Normal):
        return _UnderMixture(model, params, bits)
    raise _unknown(p)


def _unknown(distribution: Any) -> BadInputError:
    return BadInputError(
        f"A {type(distribution).__name__} of latents has no distribution function of one latent "
        "after the other, by which they could be coded: compress with posterior=diagonal, full, "
        "low_rank or mixture and prior=normal, mixture, vamp or exemplar, with discrete latents or "
        "with codes."
    )


def _fetched(
    function: Callable[..., Any], params: Params, num_arguments: int = 1
) -> Callable[..., Any]:
    """A function of the parameters and of one example as one of a batch, whose values are NumPy's.

    num_arguments: number of arguments behind the parameters.
    """
    compiled = values.jitted(function, *(0,) * num_arguments)
    return lambda *arguments: jax.device_get(compiled(params, *arguments))


def _code(distribution: Any) -> Any:
    """A `Coded` or a `CodePrior`, whose attributes the interface of distributions does not have."""
    return distribution


def visit_continuous(q: Any, grid: Grid, choose: Choose, number: int, first: int = 0) -> np.ndarray:
    """Visits stacked normal distributions on a grid of B L variables. Returns the bins, [B, L].

    Dependent variables are visited one after the other, each given those before it.
    """
    size = len(grid.mean) // number
    if isinstance(q, Normal):
        flat = (np.asarray(of, np.float64).ravel() for of in (q.mean, q.std))
        return choose(one_normal(grid, *flat), slice(first, first + size))
    bins = np.zeros((number, size), np.int64)
    of_latent = lambda values, at: values.reshape(number, size)[:, at]  # noqa: E731
    if isinstance(q, NormalMixture):
        mean, std = (
            np.asarray(of, np.float64).reshape(number, -1, size)
            for of in (q.components.mean, np.exp(q.components.log_std))
        )
        weights = values.softmax(q.logits)
    else:
        tril = _scale_tril(q)
        offsets = np.zeros((number, size))
    for at in range(size):
        one = Grid(grid.bits, of_latent(grid.mean, at), of_latent(grid.std, at))
        columns = slice(first + at, first + at + 1)
        if isinstance(q, NormalMixture):
            table = OnGrid(one, mean[:, :, at], std[:, :, at], weights)
            bins[:, at] = choose(table, columns)[:, 0]
            likely = weights * np.maximum(table.component_masses(bins[:, at]), 1e-300)
            weights = likely / likely.sum(axis=1, keepdims=True)
        else:
            centre = np.asarray(q.mean, np.float64)[:, at] + offsets[:, at]
            spread = tril[:, at, at]
            bins[:, at] = choose(one_normal(one, centre, spread), columns)[:, 0]
            noise = (one.centres(bins[:, at]) - centre) / spread
            offsets = offsets + tril[:, :, at] * noise[:, None]
    return bins


def _scale_tril(q: Any) -> np.ndarray:
    """The Cholesky factors of stacked covariances, [B, L, L]."""
    covariance = np.asarray(jax.vmap(lambda one: one.covariance)(q), np.float64)
    return np.linalg.cholesky(covariance)


class _Continuous(_OneAfterAnother):
    """Normal latents, of one family or another, under a diagonal normal prior."""

    def __init__(self, model: Model, params: Params, bits: int):
        self._posterior = _fetched(model.posterior, params)
        prior: Any = jax.device_get(jax.jit(model.prior)(params))
        self._shape = tuple(prior.event_shape)
        self._bits = bits
        self._mean, self._std = (np.asarray(of, np.float64).ravel() for of in self._moments(prior))
        self.num_start_bits = bits * self._mean.size

    def _moments(self, prior: Any) -> tuple[Any, Any]:
        return prior.mean, np.exp(prior.log_std)

    def _grid(self, number: int) -> Grid:
        return Grid(self._bits, np.tile(self._mean, number), np.tile(self._std, number))

    def _visit(self, x: jax.Array, choose: Choose) -> None:
        visit_continuous(self._posterior(x), self._grid(len(x)), choose, len(x))

    def pop_posterior(self, stack: Stack, x: jax.Array) -> np.ndarray:
        """z ~ q(z|x) as bins, [B, L]."""
        answers = Unknown(stack, len(x), self._mean.size)
        self._visit(x, answers)
        return answers.symbols

    def push_posterior(self, stack: Stack, x: jax.Array, state: np.ndarray) -> None:
        """The inverse of `pop_posterior`."""
        answers = Known(state)
        self._visit(x, answers)
        answers.push(stack)

    def push_prior(self, stack: Stack, state: np.ndarray) -> None:
        """Pushes z by p(z)."""
        self._grid(len(state)).prior().push(stack, state.ravel())

    def pop_prior(self, stack: Stack, number: int) -> np.ndarray:
        """The inverse of `push_prior`."""
        found = self._grid(number).prior().pop(stack)
        return np.asarray(found, np.int64).reshape(number, -1)

    def value(self, state: np.ndarray) -> jax.Array:
        """z as the decoder takes it, [B, *latent]."""
        centres = self._grid(len(state)).centres(state.ravel())
        return jnp.asarray(centres.reshape(len(state), *self._shape), jnp.float32)


class _UnderMixture(_Continuous):
    """The same under a mixture of diagonal normal priors.

    The component is one more latent: with it popped from p(component|z), and z and it pushed, the
    bits are those of the mixture's density. The grid is that of a normal with the same moments.
    """

    def __init__(self, model: Model, params: Params, bits: int):
        super().__init__(model, params, bits)
        prior: Any = jax.device_get(jax.jit(model.prior)(params))
        self._weights = values.softmax(prior.logits)[0]
        count = len(self._weights)
        self._means, self._stds = (
            np.asarray(of, np.float64).reshape(count, -1)
            for of in (prior.components.mean, np.exp(prior.components.log_std))
        )
        self.num_start_bits += int(np.ceil(np.log2(max(count, 2))))

    def _moments(self, prior: Any) -> tuple[Any, Any]:
        weights = values.softmax(prior.logits)[0]
        means, stds = (
            np.asarray(of, np.float64).reshape(len(weights), -1)
            for of in (prior.components.mean, np.exp(prior.components.log_std))
        )
        mean = weights @ means
        return mean, np.sqrt(weights @ (np.square(means - mean) + np.square(stds)))

    def _of_component(self, component: np.ndarray) -> OnGrid:
        grid = self._grid(len(component))
        return one_normal(grid, self._means[component].ravel(), self._stds[component].ravel())

    def _of_choice(self, state: np.ndarray) -> Masses:
        """p(component|z), [B, C]."""
        number, (count, size) = len(state), self._means.shape

        def stretched(of):
            of_each = np.broadcast_to(of.T[None], (number, size, count))
            return of_each.reshape(-1, count)

        ones = np.ones((number * size, count))
        of_all = (stretched(self._means), stretched(self._stds))
        table = OnGrid(self._grid(number), of_all[0], of_all[1], ones)
        masses = np.maximum(table.component_masses(state.ravel()), 1e-300)
        log_masses = np.log(masses).reshape(number, size, count).sum(axis=1)
        with np.errstate(divide="ignore"):
            return Masses(values.softmax(log_masses + np.log(self._weights)[None]))

    def push_prior(self, stack: Stack, state: np.ndarray) -> None:
        """Pushes z by p(z)."""
        component = self._of_choice(state).pop(stack)
        self._of_component(component).push(stack, state.ravel())
        Masses(np.tile(self._weights, (len(state), 1))).push(stack, component)

    def pop_prior(self, stack: Stack, number: int) -> np.ndarray:
        """The inverse of `push_prior`."""
        component = Masses(np.tile(self._weights, (number, 1))).pop(stack)
        state = np.asarray(self._of_component(component).pop(stack), np.int64).reshape(number, -1)
        self._of_choice(state).push(stack, component)
        return state


class _Discrete(_OneAfterAnother):
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


class _Codes(_Discrete):
    """Codes of a deterministic encoder: nothing is popped for them."""

    def __init__(self, model: Model, params: Params, p: CodePrior):
        if not values.is_coded(p.of_index):
            raise _unknown(p.of_index)

        def of_index(params, z):
            del z
            return _code(model.prior(params)).of_index

        self._p = values.variable(of_index, params, _NOTHING[0])
        self._index = _fetched(lambda params, x: _code(model.posterior(params, x)).index, params)
        self._vectors = _fetched(lambda params, at: _code(model.prior(params)).vectors(at), params)
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


class _Layers(_OneAfterAnother):
    """The layers of a hierarchy.

    If q(z|x) draws them from the top down, as p(z) does, the grid of each layer is that of p(z_l)
    given the layers above (HiLLoC, Townsend et al. 2020). If it goes from the bottom up, the grids
    are those of the moments of the layers under p(z).
    """

    def __init__(self, model: Model, params: Params, x: Any, q: Chain, p: Any, bits: int):
        if not isinstance(p, Chain):
            raise _unknown(p)
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
                self._layers[name, place] = _fetched(layer, params, 2)
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

    def _visit(self, name: str, x: Any, choosers: list[Choose], number: int) -> list[np.ndarray]:
        """Visits all layers in the order of q or p. Returns their bins, by place."""
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
        self._z = tuple(z)
        return bins

    def _pop(self, stack: Stack, name: str, x: Any, number: int) -> tuple[Any, Any]:
        answers = [Unknown(stack, number, size) for size in self._sizes]
        bins = self._visit(name, x, list(answers), number)
        return bins, self._z

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


class _Swapped(_Layers):
    """Layers each of which depends on its neighbours alone, with q(z|x) from the bottom up.

    Bit-Swap (Kingma et al. 2019, algorithm 1): as soon as a layer is popped, what is below it is
    pushed, so that the start takes the bits of one layer and not those of all.
    """

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.num_start_bits = self._bits * max(self._sizes)

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
    z = _fetched(lambda params, key: model.prior(params).sample(key), params)(keys)
    found = []
    for one in z:
        flat = np.asarray(one, np.float64).reshape(len(one), -1)
        found.append((flat.mean(axis=0), np.maximum(flat.std(axis=0), 1e-6)))
    return found

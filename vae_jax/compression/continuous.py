"""Continuous latents as bins of a grid, under normal priors and mixtures of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.compression import values
from vae_jax.compression.coded import OneAfterAnother, fetched
from vae_jax.compression.stack import Stack
from vae_jax.compression.symbols import Known, Unknown
from vae_jax.compression.tables import Grid, Masses, OnGrid, one_normal
from vae_jax.compression.values import Choose
from vae_jax.distributions import Normal
from vae_jax.distributions.mixture import NormalMixture
from vae_jax.models import Model, Params


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


class Continuous(OneAfterAnother):
    """Normal latents, of one family or another, under a diagonal normal prior."""

    def __init__(self, model: Model, params: Params, bits: int):
        self._posterior = fetched(model.posterior, params)
        prior: Any = jax.device_get(jax.jit(model.prior)(params))
        self._shape = tuple(prior.event_shape)
        self._bits = bits
        self._mean, self._std = (np.asarray(of, np.float64).ravel() for of in self._moments(prior))
        self.num_start_bits = bits * self._mean.size

    def _moments(self, prior: Any) -> tuple[Any, Any]:
        """Means and standard deviations under p(z), of which the grid is made."""
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


class UnderMixture(Continuous):
    """The same under a mixture of diagonal normal priors.

    The component is one more latent: with it popped from p(component|z), and z and it pushed, the
    bits are those of the mixture's density. The grid is that of a normal with the same moments.
    """

    def __init__(self, model: Model, params: Params, bits: int):
        super().__init__(model, params, bits)
        self.num_start_bits += int(np.ceil(np.log2(max(len(self._weights), 2))))

    def _moments(self, prior: Any) -> tuple[Any, Any]:
        """Those of the mixture, whose components are kept."""
        self._weights = weights = values.softmax(prior.logits)[0]
        self._means, self._stds = (
            np.asarray(of, np.float64).reshape(len(weights), -1)
            for of in (prior.components.mean, np.exp(prior.components.log_std))
        )
        mean = weights @ self._means
        variance = np.square(self._means - mean) + np.square(self._stds)
        return mean, np.sqrt(weights @ variance)

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

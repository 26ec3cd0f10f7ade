"""Causal networks over a grid: the outputs of a place depend on the values before it alone."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from vae_jax.networks.base import Params


class Causal(NamedTuple):
    """A causal network of values over a grid [H, W], row by row from left to right.

    Attributes:
      init: key -> params.
      apply: (params, values, context) -> [H, W, N]. values: [H, W, F], or [H, W] whole numbers;
        context: [*context_shape], or None.
      start: (params, context) -> cache, before the first place.
      step: (params, cache, t, value) -> (cache, outputs [N] of the place t). value: that of the
        place t - 1, [F] or [], which is ignored for t = 0.
    """

    init: Callable[[jax.Array], Params]
    apply: Callable[[Params, jax.Array, Any], jax.Array]
    start: Callable[[Params, Any], Any]
    step: Callable[[Params, Any, Any, jax.Array], tuple[Any, jax.Array]]


class Values(NamedTuple):
    """What a causal network is over.

    Attributes:
      grid: (H, W).
      size: F, numbers at each place; or K, if they are whole numbers below K.
      are_whole: whether they are whole numbers.
      num_outputs: N.
      context: shape of the context: [*] for all places, or [H, W, *] for each; None for none.
    """

    grid: tuple[int, int]
    size: int
    are_whole: bool
    num_outputs: int
    context: tuple[int, ...] | None = None


CausalArchitecture = Callable[[Values], Causal]


def pixelcnn(width: int = 64, num_layers: int = 4, kernel_size: int = 5) -> CausalArchitecture:
    """The gated PixelCNN (van den Oord et al. 2016, section 2).

    A vertical stack sees all rows above, a horizontal one the places to the left and the vertical
    stack, so that no place before is out of sight. Each layer is gated, y = tanh(a) sigmoid(b). A
    bias of each place is added at the start, since places differ.

    Args:
      width: channels of each stack.
      num_layers: number of layers.
      kernel_size: width of the kernels, odd; a layer sees (kernel_size - 1) / 2 places further.

    Raises:
      ValueError: a number is not positive, or the kernel size is not odd or below 3.
    """
    if min(width, num_layers) < 1 or kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(
            "A PixelCNN has positive width and num_layers and an odd kernel_size of at least 3, "
            f"not {width}, {num_layers} and {kernel_size}."
        )
    return lambda values: _of_module(_PixelCNN(values, width, num_layers, kernel_size // 2))


def transformer(width: int = 64, num_layers: int = 4, num_heads: int = 4) -> CausalArchitecture:
    """A causal transformer with normalisation before each part (Radford et al. 2019, section 2.3).

    Each place attends to itself and to all before it; its input is the value of the place before.
    Positions are learned.

    Args:
      width: channels.
      num_layers: number of layers.
      num_heads: number of heads, which must divide the width.

    Raises:
      ValueError: a number is not positive, or the heads do not divide the width.
    """
    if min(width, num_layers, num_heads) < 1 or width % num_heads:
        raise ValueError(
            "A transformer has positive width, num_layers and num_heads, which divide the width, "
            f"not {width}, {num_layers} and {num_heads}."
        )
    return lambda values: _of_module(_Transformer(values, width, num_layers, num_heads))


def _of_module(module: Any) -> Causal:
    of = module.of
    dtype = jnp.int32 if of.are_whole else jnp.float32
    shape = of.grid if of.are_whole else (*of.grid, of.size)

    def init(key):
        context = None if of.context is None else jnp.zeros(of.context)
        return module.init(key, jnp.zeros(shape, dtype), context)["params"]

    def bound(params, name, *arguments):
        return module.apply({"params": params}, *arguments, method=name)

    return Causal(
        init=init,
        apply=lambda params, values, context: bound(params, "__call__", values, context),
        start=lambda params, context: bound(params, "start", context),
        step=lambda params, cache, t, value: bound(params, "step", cache, t, value),
    )


def _embedding(of: Values, width: int) -> Any:
    return nn.Embed(of.size, width) if of.are_whole else nn.Dense(width)


def _output(of: Values) -> nn.Dense:
    """The last layer, which starts at zero."""
    return nn.Dense(of.num_outputs, kernel_init=nn.initializers.zeros)


def _gate(values: jax.Array) -> jax.Array:
    first, second = jnp.split(values, 2, axis=-1)
    return jnp.tanh(first) * jax.nn.sigmoid(second)


class _PixelCNN(nn.Module):
    """`pixelcnn`. A kernel of the vertical stack is r + 1 rows high and 2 r + 1 columns wide, and
    one of the horizontal stack r + 1 columns wide, r in the first layer, which may not see the
    place itself. Both are matrices of patches."""

    of: Values
    width: int
    num_layers: int
    reach: int  # r

    def setup(self):
        def layers(make):
            return [make() for _ in range(self.num_layers)]

        self.embedding = _embedding(self.of, self.width)
        place = nn.initializers.normal(0.01)
        self.place = self.param("place", place, (*self.of.grid, 2 * self.width))
        self.vertical = layers(lambda: nn.Dense(2 * self.width))
        self.across = layers(lambda: nn.Dense(2 * self.width))
        self.horizontal = layers(lambda: nn.Dense(2 * self.width))
        self.mixing = layers(lambda: nn.Dense(self.width))
        if self.of.context is not None:
            self.of_context = nn.Dense(2 * self.width * self.num_layers)
        self.last_hidden, self.last = nn.Dense(self.width), _output(self.of)

    def _context(self, context):
        """What each layer adds before its gate, [layers, H, W, 2 F]."""
        shape = (*self.of.grid, self.num_layers, 2 * self.width)
        if context is None:
            added = jnp.zeros((self.num_layers, *self.of.grid, 2 * self.width))
        else:
            is_map = context.ndim == 3
            flat = self.of_context(context if is_map else jnp.ravel(context)[None, None])
            flat = flat.reshape(*flat.shape[:2], *shape[2:])
            added = jnp.moveaxis(jnp.broadcast_to(flat, shape), 2, 0)
        return added.at[0].add(self.place)

    def _outputs(self, h):
        return self.last(jax.nn.relu(self.last_hidden(jax.nn.relu(h))))

    def __call__(self, values, context):
        (height, width), reach = self.of.grid, self.reach
        added = self._context(context)
        v = h = self.embedding(values)
        for layer in range(self.num_layers):
            padded = jnp.pad(v, ((reach, 0), (reach, reach), (0, 0)))
            rows, columns = range(reach + 1), range(2 * reach + 1)
            around = [padded[i : i + height, j : j + width] for i in rows for j in columns]
            v_before = self.vertical[layer](jnp.concatenate(around, axis=-1))
            v = _gate(v_before)
            above = jnp.pad(self.across[layer](v_before), ((1, 0), (0, 0), (0, 0)))[:-1]
            padded = jnp.pad(h, ((0, 0), (reach, 0), (0, 0)))
            places = range(reach + (layer > 0))
            to_the_left = jnp.concatenate([padded[:, j : j + width] for j in places], axis=-1)
            gated = _gate(self.horizontal[layer](to_the_left) + above + added[layer])
            h = self.mixing[layer](gated) + (h if layer > 0 else 0.0)
        return self._outputs(h)

    def start(self, context):
        (height, width), reach = self.of.grid, self.reach
        layers = self.num_layers
        return {
            "added": self._context(context),
            # What the layers of the vertical stack take, with a border of zeros.
            "v": jnp.zeros((layers, height + reach, width + 2 * reach, self.width)),
            "above": jnp.zeros((layers, width, 2 * self.width)),
            # What those of the horizontal stack take of this row.
            "h": jnp.zeros((layers, reach + width, self.width)),
        }

    def step(self, cache, t, value):
        width, reach = self.of.grid[1], self.reach
        row, column = t // width, t % width
        before = jnp.where(t > 0, self.embedding(value), 0.0)
        last_row, last_column = (t - 1) // width, (t - 1) % width
        # The place -1 is in the border, where the zeros stay.
        at = (jnp.maximum(last_row + reach, 0), jnp.maximum(last_column + reach, 0))
        v = jax.lax.dynamic_update_slice(cache["v"], before[None, None, None], (0, *at, 0))
        cache = {**cache, "v": v}
        cache = jax.lax.cond(column == 0, self._next_row, lambda cache, row: cache, cache, row)
        h = cache["h"]
        place = (0, column - 1 + reach, 0)
        first = jnp.where(column > 0, before, 0.0)[None, None]
        h = jax.lax.dynamic_update_slice(h, first, place)
        found = None
        for layer in range(self.num_layers):
            size = reach + (layer > 0)
            window = jax.lax.dynamic_slice(h, (layer, column, 0), (1, size, self.width))
            above = jax.lax.dynamic_index_in_dim(cache["above"][layer], column, 0, False)
            added = jax.lax.dynamic_slice(
                cache["added"], (layer, row, column, 0), (1, 1, 1, 2 * self.width)
            )
            gated = _gate(self.horizontal[layer](window.ravel()) + above + added.ravel())
            mixed = self.mixing[layer](gated)
            found = mixed if found is None else mixed + found
            if layer + 1 < self.num_layers:
                here = (layer + 1, column + reach, 0)
                h = jax.lax.dynamic_update_slice(h, found[None, None], here)
        return {**cache, "h": h}, self._outputs(found)

    def _next_row(self, cache, row):
        """The vertical stack of the row before a new one, which is complete now."""
        width, reach = self.of.grid[1], self.reach
        v, aboves = cache["v"], []
        is_there = jnp.where(row > 0, 1.0, 0.0)
        for layer in range(self.num_layers):
            window = jax.lax.dynamic_slice(
                v,
                (layer, jnp.maximum(row - 1, 0), 0, 0),
                (1, reach + 1, width + 2 * reach, self.width),
            )[0]
            rows, columns = range(reach + 1), range(2 * reach + 1)
            patches = [window[i, j : j + width] for i in rows for j in columns]
            before = self.vertical[layer](jnp.concatenate(patches, axis=-1))
            aboves.append(is_there * self.across[layer](before))
            if layer + 1 < self.num_layers:
                at = (layer + 1, jnp.maximum(row - 1, 0) + reach, reach, 0)
                old = jax.lax.dynamic_slice(v, at, (1, 1, width, self.width))
                new = jnp.where(row > 0, _gate(before)[None, None], old)
                v = jax.lax.dynamic_update_slice(v, new, at)
        h = jnp.zeros_like(cache["h"])
        return {**cache, "v": v, "above": jnp.stack(aboves), "h": h}


class _Transformer(nn.Module):
    """`transformer`."""

    of: Values
    width: int
    num_layers: int
    num_heads: int

    def setup(self):
        def layers(make):
            return [make() for _ in range(self.num_layers)]

        self.embedding = _embedding(self.of, self.width)
        place = nn.initializers.normal(0.02)
        self.place = self.param("place", place, (math.prod(self.of.grid), self.width))
        if self.of.context is not None:
            self.of_context = nn.Dense(self.width)
        self.norms = layers(nn.LayerNorm)
        self.norms_of_mlp = layers(nn.LayerNorm)
        self.queries_keys_values = layers(lambda: nn.Dense(3 * self.width))
        self.mixing = layers(lambda: nn.Dense(self.width))
        self.wide = layers(lambda: nn.Dense(4 * self.width))
        self.narrow = layers(lambda: nn.Dense(self.width))
        self.last_norm, self.last = nn.LayerNorm(), _output(self.of)

    def _context(self, context):
        """What is added at each place, [T, F]."""
        length = math.prod(self.of.grid)
        if context is None:
            return self.place
        if context.ndim == 3:
            return self.place + self.of_context(context.reshape(length, -1))
        return self.place + self.of_context(jnp.ravel(context))[None]

    def _heads(self, layer, x):
        """Queries, keys and values of x [..., F], each [..., heads, F / heads]."""
        split = jnp.split(self.queries_keys_values[layer](self.norms[layer](x)), 3, axis=-1)
        return (part.reshape(*part.shape[:-1], self.num_heads, -1) for part in split)

    def _behind(self, layer, x, attended):
        x = x + self.mixing[layer](attended.reshape(x.shape))
        hidden = jax.nn.gelu(self.wide[layer](self.norms_of_mlp[layer](x)))
        return x + self.narrow[layer](hidden)

    def __call__(self, values, context):
        length = math.prod(self.of.grid)
        values = values.reshape(length, *values.shape[2:])
        x = jnp.pad(self.embedding(values), ((1, 0), (0, 0)))[:-1] + self._context(context)
        is_seen = jnp.tril(jnp.ones((length, length), bool))
        for layer in range(self.num_layers):
            queries, keys, known = self._heads(layer, x)
            scores = jnp.einsum("qhd,khd->hqk", queries, keys) / math.sqrt(keys.shape[-1])
            weights = jax.nn.softmax(jnp.where(is_seen[None], scores, -jnp.inf))
            x = self._behind(layer, x, jnp.einsum("hqk,khd->qhd", weights, known))
        return self.last(self.last_norm(x)).reshape(*self.of.grid, -1)

    def start(self, context):
        length = math.prod(self.of.grid)
        shape = (self.num_layers, length, self.num_heads, self.width // self.num_heads)
        zeros = jnp.zeros(shape)
        return {"added": self._context(context), "keys": zeros, "values": zeros}

    def step(self, cache, t, value):
        before = jnp.where(t > 0, self.embedding(value), 0.0)
        x = before + jax.lax.dynamic_index_in_dim(cache["added"], t, 0, False)
        is_seen = jnp.arange(cache["added"].shape[0]) <= t
        found = dict(cache)
        for layer in range(self.num_layers):
            query, key, value = self._heads(layer, x)
            at = (layer, t, 0, 0)
            for name, one in (("keys", key), ("values", value)):
                found[name] = jax.lax.dynamic_update_slice(found[name], one[None, None], at)
            keys, known = found["keys"][layer], found["values"][layer]
            scores = jnp.einsum("hd,khd->hk", query, keys) / math.sqrt(keys.shape[-1])
            weights = jax.nn.softmax(jnp.where(is_seen[None], scores, -jnp.inf))
            x = self._behind(layer, x, jnp.einsum("hk,khd->hd", weights, known))
        return found, self.last(self.last_norm(x))

"""Families of normalising flows, for posteriors and priors."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vae_jax.distributions import flows
from vae_jax.networks import Params

SYLVESTER_BASES = ("orthogonal", "householder", "triangular")


class FlowFamily(NamedTuple):
    """A family of flows over vectors [L].

    Attributes:
      num_outputs: L -> number of values that the encoder gives a flow.
      init: (key, L) -> params, which all examples share.
      apply: (params, outputs [num_outputs], L) -> bijections, those of the noise first.
      least_dim: the smallest L.
      has_inverse: whether its distributions have a log-density at any value.
    """

    num_outputs: Callable[[int], int]
    init: Callable[[jax.Array, int], Params]
    apply: Callable[[Params, jax.Array, int], tuple[flows.Bijection, ...]]
    least_dim: int = 1
    has_inverse: bool = True


def planar(num_flows: int = 4, *, amortised: bool = True) -> FlowFamily:
    """Planar flows (Rezende & Mohamed 2015).

    Args:
      num_flows: number of bijections.
      amortised: whether u, w and b come from the encoder, or are parameters of the model.

    Raises:
      ValueError: `num_flows` is not positive.
    """

    def bijection(numbers, index, dim):
        del index
        u, w, b = jnp.split(numbers, [dim, 2 * dim])
        return flows.Planar(u, w + 1.0 / math.sqrt(dim), b[0])  # numbers of zero: the identity

    return _of_numbers(lambda dim: 2 * dim + 1, bijection, num_flows, amortised)


def sylvester(
    num_flows: int = 4, basis: str = "orthogonal", num_columns: int = 16, *, amortised: bool = True
) -> FlowFamily:
    """Sylvester flows (van den Berg et al. 2018).

    Args:
      num_flows: number of bijections.
      basis: "orthogonal", M orthonormal columns; "householder", a product of M reflections;
        "triangular", the identity and the reversed order in turn.
      num_columns: M; for "orthogonal" at most the number of latents is used.
      amortised: whether all matrices come from the encoder, or are parameters of the model.

    Raises:
      ValueError: `basis` is unknown, or a number is not positive.
    """
    if basis not in SYLVESTER_BASES:
        raise ValueError(f"basis={basis!r} must be one of {', '.join(SYLVESTER_BASES)}.")
    _require_positive(num_columns=num_columns)

    def sizes(dim):
        """The sizes of what makes the basis, and of the matrices R and S."""
        width = min(num_columns, dim) if basis == "orthogonal" else dim
        vectors = {"orthogonal": width, "householder": num_columns, "triangular": 0}[basis]
        return vectors, width

    def num_numbers(dim):
        vectors, width = sizes(dim)
        return vectors * dim + 2 * width**2 + width

    def bijection(numbers, index, dim):
        vectors, width = sizes(dim)
        ends = [vectors * dim, vectors * dim + width**2, vectors * dim + 2 * width**2]
        of_basis, outer, inner, bias = jnp.split(numbers, ends)
        # Numbers of zero must give a basis, too: an encoder may give them for a black image.
        if basis == "orthogonal":
            columns = flows.orthogonal(of_basis.reshape(dim, width) + jnp.eye(dim, width))
        elif basis == "householder":
            start = jnp.eye(dim)[jnp.arange(vectors) % dim]
            columns = flows.householder(of_basis.reshape(vectors, dim) + start)
        else:
            columns = jnp.eye(dim)[:: 1 if index % 2 == 0 else -1]
        outer, inner = outer.reshape(width, width), inner.reshape(width, width)
        return flows.Sylvester(columns, outer, inner, bias)

    return _of_numbers(num_numbers, bijection, num_flows, amortised)


def inverse_autoregressive(
    num_flows: int = 2, hidden: tuple[int, ...] = (128,), context_size: int = 64
) -> FlowFamily:
    """Inverse autoregressive flows (Kingma et al. 2016). Each turns the order of the latents.

    Args:
      num_flows: number of bijections.
      hidden: widths of their networks.
      context_size: number of values from the encoder that the networks take, too; 0 for none.

    Raises:
      ValueError: a number is not positive, or `context_size` is negative.
    """

    def init(key, dim):
        masks = flows.masks_of(dim, hidden)
        return flows.init_conditioner(key, (dim, *hidden, 2 * dim), context_size, masks)

    return _of_conditioners(flows.Autoregressive, init, num_flows, context_size)


def affine_coupling(
    num_flows: int = 4, hidden: tuple[int, ...] = (128,), context_size: int = 64
) -> FlowFamily:
    """Affine coupling flows (Dinh et al. 2017).

    Args:
      num_flows: number of bijections, which move the halves of the latents in turn.
      hidden: widths of their networks.
      context_size: number of values from the encoder that the networks take, too; 0 for none.

    Raises:
      ValueError: a number is not positive, or `context_size` is negative.
    """

    def init(key, dim):
        kept = dim // 2
        return flows.init_conditioner(key, (kept, *hidden, 2 * (dim - kept)), context_size)

    family = _of_conditioners(flows.AffineCoupling, init, num_flows, context_size)
    return family._replace(least_dim=2)


def spline_coupling(
    num_flows: int = 4,
    hidden: tuple[int, ...] = (128,),
    context_size: int = 64,
    num_bins: int = 8,
) -> FlowFamily:
    """Rational-quadratic spline coupling flows (Durkan et al. 2019).

    Args:
      num_flows: number of bijections, which move the halves of the latents in turn.
      hidden: widths of their networks.
      context_size: number of values from the encoder that the networks take, too; 0 for none.
      num_bins: K, number of pieces of each spline.

    Raises:
      ValueError: a number is not positive, or `context_size` is negative.
    """
    _require_positive(num_bins=num_bins)

    def init(key, dim):
        kept = dim // 2
        widths = (kept, *hidden, (dim - kept) * (3 * num_bins - 1))
        return flows.init_conditioner(key, widths, context_size)

    family = _of_conditioners(flows.SplineCoupling, init, num_flows, context_size)
    return family._replace(least_dim=2)


def _of_numbers(
    num_numbers: Callable[[int], int],
    bijection: Callable[[jax.Array, int, int], Any],
    num_flows: int,
    amortised: bool,
) -> FlowFamily:
    """A family whose bijections are made of numbers, from the encoder or shared.

    Args:
      num_numbers: L -> number of numbers of a bijection.
      bijection: (numbers, index of the bijection, L) -> bijection.
      num_flows: number of bijections.
      amortised: whether the numbers come from the encoder.
    """
    _require_positive(num_flows=num_flows)

    def init(key, dim):
        if amortised:
            return {}
        size = num_numbers(dim)
        return {"numbers": jax.random.normal(key, (num_flows, size)) / math.sqrt(size)}

    def apply(params, outputs, dim):
        numbers = outputs.reshape(num_flows, -1) if amortised else params["numbers"]
        return tuple(bijection(numbers[index], index, dim) for index in range(num_flows))

    return FlowFamily(
        num_outputs=lambda dim: num_flows * num_numbers(dim) if amortised else 0,
        init=init,
        apply=apply,
        has_inverse=False,
    )


def _of_conditioners(
    bijection: Callable[[Any, Any], Any],
    init_one: Callable[[jax.Array, int], flows.Conditioner],
    num_flows: int,
    context_size: int,
) -> FlowFamily:
    """A family whose bijections have networks, which may take a context from the encoder."""
    _require_positive(num_flows=num_flows)
    if context_size < 0:
        raise ValueError(f"context_size must not be negative, it is {context_size}.")

    def init(key, dim):
        keys = jax.random.split(key, num_flows)
        return {f"conditioner_{i}": init_one(key, dim) for i, key in enumerate(keys)}

    def apply(params, outputs, dim):
        del dim
        context = outputs if context_size > 0 else None
        found = []
        for i in range(num_flows):
            found += [bijection(params[f"conditioner_{i}"], context), flows.Reversal()]
        return tuple(found)

    return FlowFamily(num_outputs=lambda dim: context_size, init=init, apply=apply)


def _require_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be positive, not {number}.")

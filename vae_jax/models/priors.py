"""Priors p(z), which may have parameters and may call the encoder."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from vae_jax.distributions import Distribution
from vae_jax.networks import Params

Encode = Callable[[jax.Array], Distribution]  # x [*event] -> q(z|x), with the model's parameters


class Prior(NamedTuple):
    """A family of priors.

    Attributes:
      init: (key, x) -> params. x: [*event], an example; see `Model.init`.
      apply: (params, encode, c) -> p(z|c), where c is None without a condition. A prior may call
        `encode`, the encoder of the same model with the same c, as a VampPrior does (Tomczak &
        Welling 2018).
    """

    init: Callable[[jax.Array, jax.Array], Params]
    apply: Callable[[Params, Encode, Any], Distribution]


def fixed(distribution: Callable[[], Any]) -> Prior:
    """A prior without parameters. distribution: function that makes it."""
    return Prior(init=lambda key, x: {}, apply=lambda params, encode, c: distribution())

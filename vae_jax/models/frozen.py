"""Models of which some parameters are trained, and others stay as they are."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from vae_jax.models.base import Model, Params


def trained_alone(model: Model, names: tuple[str, ...]) -> Model:
    """The same model, whose gradients with respect to all parameters but `params[name]` are zero.

    names: the names in `params` of what is trained, such as ("prior",).
    """

    def stopped(params: Params) -> Params:
        return {
            name: part if name in names else jax.lax.stop_gradient(part)
            for name, part in params.items()
        }

    def with_first(function: Callable[..., Any], params: Params, *arguments: Any) -> Any:
        return function(stopped(params), *arguments)

    def with_second(function: Callable[..., Any], key: jax.Array, params: Params, *others: Any):
        return function(key, stopped(params), *others)

    of_name = {
        name: function and functools.partial(with_first, function)
        for name, function in model._asdict().items()
        if name not in ("init", "posterior_with_dropout")
    }
    dropout = model.posterior_with_dropout
    return model._replace(
        **of_name, posterior_with_dropout=dropout and functools.partial(with_second, dropout)
    )


def kept(before: Params, after: Params, names: tuple[str, ...]) -> Params:
    """`after` with what is not trained as it was before, to the bit."""
    return {name: after[name] if name in names else before[name] for name in before}

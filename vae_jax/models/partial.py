"""Examples some values of which are missing: what an encoder takes, and models of the mask."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from vae_jax.distributions import Chain, NotAtRandom, Observed, PartlyObserved, value_of
from vae_jax.models.base import Model
from vae_jax.models.checks import require_shape_of_one
from vae_jax.models.heads import Head
from vae_jax.networks import Architecture, Shape, mlp

#: How the probability of a value to be observed depends on the values (Ipsen et al. 2021).
MISSINGNESS = ("self_masking", "linear", "network")


def partly_observed(head: Head) -> Head:
    """The head of examples that are `Observed`: log p(x|z) sums over what is observed.

    head: head of whole examples, whose dimensions are independent.
    """

    def apply(params, outputs, event_shape):
        base = head.apply(params, outputs, event_shape)
        by_value = getattr(base, "log_prob_per_dim", jnp.sum)
        shape = jax.eval_shape(by_value, jnp.zeros(event_shape, outputs.dtype)).shape
        if shape != tuple(event_shape):
            raise ValueError(
                f"A {type(base).__name__} has no log-probability of single values, some of which "
                "could be missing."
            )
        return PartlyObserved(base)

    return head._replace(apply=apply)


def as_observed(x: Any) -> Observed:
    """An example that may be `Observed`; a whole one is, with nothing missing."""
    return x if isinstance(x, Observed) else Observed(x, jnp.ones_like(x))


def masked_inputs(
    inputs: Callable[[jax.Array], jax.Array] | None = None, owners: np.ndarray | None = None
) -> Callable[[Any], jax.Array]:
    """What an encoder takes of an `Observed`: its values, zero where missing, and the mask.

    Both are on the last axis, [*, 2 C] for [*, C].

    Args:
      inputs: function of the values, [*event] -> [*event] or [F]; None for the values themselves.
      owners: [F] ints, the value of an event [D] that each feature depends on; None where `inputs`
        goes value by value.
    """

    def of(x):
        value, mask = as_observed(x)
        values = value if inputs is None else inputs(value)
        is_there = (mask if owners is None else mask[owners]) > 0
        return jnp.concatenate([jnp.where(is_there, values, 0.0), mask.astype(value.dtype)], -1)

    return of


class Reader(NamedTuple):
    """What an encoder takes of an example.

    Attributes:
      shape: its shape.
      read: function of one example, whose shape it checks.
    """

    shape: Shape
    read: Callable[[Any], jax.Array]


def reader_of(
    event_shape: Shape, encoder_inputs: Callable[[Any], jax.Array] | None, missing: bool
) -> Reader:
    """The reader of a model.

    Args:
      event_shape: shape of the values of one example.
      encoder_inputs: function of an example whose values the encoder takes; None for the example
        itself, or `masked_inputs` of one that may have missing values.
      missing: whether examples are `Observed`.
    """
    inputs = encoder_inputs or (masked_inputs() if missing else None)

    def read(x):
        require_shape_of_one("x", "example", value_of(x), event_shape)
        return x if inputs is None else inputs(x)

    shape = event_shape
    if inputs is not None:
        shape = jax.eval_shape(inputs, jax.ShapeDtypeStruct(event_shape, jnp.float32)).shape
    return Reader(shape, read)


def not_at_random(
    model: Model, event_shape: Shape, missingness: str | Architecture = "self_masking"
) -> Model:
    """not-MIWAE: values are missing with probabilities that depend on the values themselves.

    The latents are (z, x): with q(z|x_observed) p(x|z) for q, and p(z) p(x|z) for p, the missing
    values are drawn from the decoder, and log_w gains log p(mask|x) (Ipsen et al. 2021, eq. 7).

    Args:
      model: model of `Observed` examples whose likelihood can be reparameterised, such as a normal
        one.
      event_shape: shape of the values of one example.
      missingness: how the logit of being observed depends on the values: "self_masking", on its own
        value by a slope and an offset; "linear", on all values of the example; "network", on all by
        a hidden layer of 50; or an architecture.

    Returns:
      A `Model` with params {**those of `model`, "missing"}. Its samples of x also have a mask.

    Raises:
      ValueError: `missingness` is unknown.
    """
    if isinstance(missingness, str) and missingness not in MISSINGNESS:
        raise ValueError(
            f"missingness={missingness!r} is unknown; it is one of {', '.join(MISSINGNESS)}."
        )
    if missingness == "self_masking":
        network = None
    elif isinstance(missingness, str):
        network = mlp(() if missingness == "linear" else (50,))(event_shape, event_shape)
    else:
        network = missingness(event_shape, event_shape)

    def init(key, x):
        model_key, missing_key = jax.random.split(key)
        if network is None:
            zeros = jnp.zeros(event_shape)
            missing = {"slope": zeros, "offset": zeros}
        else:
            missing = network.init(missing_key, 0.0)
        return {**model.init(model_key, x), "missing": missing}

    def logits(params, x):
        if network is None:
            return params["offset"] + params["slope"] * x
        return network.apply(params, x)

    def whole(carry, z):
        params, c = carry
        likelihood: Any = model.likelihood(params, z, *c)
        return carry, likelihood.base

    then = (Partial(whole),)

    def with_x(of_z, params, c):
        key = jax.random.key(0)
        of_x: Any = jax.eval_shape(lambda: whole((params, c), of_z.sample(key))[1])
        is_continuous = of_z.is_reparameterised and of_x.is_reparameterised
        return Chain(of_z, (params, c), then, (0, 1), is_continuous)

    def posterior_of(params, x, *c):
        return with_x(model.posterior(params, x, *c), params, c)

    def prior_of(params, *c):
        return with_x(model.prior(params, *c), params, c)

    def likelihood_of(params, latents, *c):
        z, x = latents
        likelihood: Any = model.likelihood(params, z, *c)
        return NotAtRandom(likelihood.base, x, Partial(logits, params["missing"]))

    return Model(init=init, posterior=posterior_of, prior=prior_of, likelihood=likelihood_of)

"""What the layers of a hierarchy say: samples and reconstructions from some of them."""

import functools
from typing import Any

import jax
import numpy as np

from vae_jax.distributions import Chain
from vae_jax.models import Batch, Model, Params
from vae_jax.trained import TrainedVAE

_ROWS, _COLUMNS = 6, 10


def kept_layers(num_layers: int, most: int = _ROWS) -> list[int]:
    """At most `most` numbers of layers, counted from the top, from 1 to all of them."""
    return sorted({int(number) for number in np.linspace(1, num_layers, min(most, num_layers))})


def resampled(vae: TrainedVAE, key: jax.Array, number: int = _COLUMNS) -> dict[str, jax.Array]:
    """Samples that have their first layers in common: name -> means of p(x|z), [number, *event].

    The layers of one sample of p(z) are kept from the top down, and the others are drawn anew for
    each image, so that the rows show what each layer decides.
    """
    one_key, rest_key = jax.random.split(key)
    z = jax.tree.map(lambda leaf: leaf[0], vae.sample_prior(one_key, 1))
    keys = jax.random.split(rest_key, number)
    rows = {"nothing kept": vae.decode(_completed(vae.model, vae.params, keys, (None,) * len(z)))}
    for kept in kept_layers(len(z)):
        some = _top(z, kept)
        rows[_named(len(z), kept, "kept")] = vae.decode(
            _completed(vae.model, vae.params, keys, some)
        )
    return rows


def reconstructed(vae: TrainedVAE, x: Batch, key: jax.Array) -> dict[str, jax.Array]:
    """Examples and their reconstructions from the first layers: name -> [N, *event].

    The top layers are a sample of q(z|x), and those below them a sample of the prior given these,
    so that the rows show what each layer knows of x.

    x: N examples of a model without a condition.
    """
    keys = jax.random.split(key, len(x))
    prior: Any = jax.eval_shape(vae.model.prior, vae.params)
    rows = {"data": x.x}
    for kept in reversed(kept_layers(prior.num_layers)):
        drawn = _seen_by_top(vae.model, kept, vae.params, x.x, keys)
        rows[_named(prior.num_layers, kept, "of q")] = vae.decode(drawn)
    return rows


def _top(z: Any, kept: int) -> Any:
    """The tuple z without the layers below the top ones."""
    return (None,) * (len(z) - kept) + z[len(z) - kept :]


@functools.partial(jax.jit, static_argnums=0)
def _completed(model: Model, params: Params, keys: jax.Array, some: Any) -> Any:
    """Samples of p(z) with some layers given, one for each key."""
    prior: Any = model.prior(params)
    return jax.vmap(prior.complete, (0, None))(keys, some)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _seen_by_top(model: Model, kept: int, params: Params, x: jax.Array, keys: jax.Array) -> Any:
    """Samples whose top layers are of q(z|x) and the others of p(z) given these."""

    def one(x, key):
        q_key, prior_key = jax.random.split(key)
        z: Any = model.posterior(params, x).sample(q_key)
        prior: Any = model.prior(params)
        return prior.complete(prior_key, _top(z, kept))

    return jax.vmap(one)(x, keys)


def _named(num_layers: int, kept: int, what: str) -> str:
    """The label of a row in which the top layers are kept."""
    lowest = num_layers - kept + 1
    layers = f"$z_{{{num_layers}}}$"
    return f"{layers} {what}" if kept == 1 else f"$z_{{{lowest}}}$ to {layers} {what}"


def is_hierarchy(vae: TrainedVAE) -> bool:
    """Whether the prior of a model without a condition has layers."""
    return isinstance(jax.eval_shape(vae.model.prior, vae.params), Chain)

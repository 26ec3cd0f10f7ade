"""What the layers of a hierarchy say: samples and reconstructions from some of them."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.distributions import Chain
from vae_jax.distributions.chain import keys_of_layers
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
    one = vae.sample_prior(one_key, 1)
    z = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (number, *leaf.shape[1:])), one)
    keys = jax.random.split(rest_key, number)
    return {
        _named(len(z), kept, "kept"): vae.decode(_below(vae.model, vae.params, keys, z, kept))
        for kept in (0, *kept_layers(len(z)))
    }


def reconstructed(vae: TrainedVAE, x: Batch, key: jax.Array) -> dict[str, jax.Array]:
    """Examples and their reconstructions from the first layers: name -> [N, *event].

    The top layers are a sample of q(z|x), and those below them a sample of the prior given these,
    so that the rows show what each layer knows of x.

    x: N examples of a model without a condition.
    """
    q_keys, prior_keys = jax.vmap(jax.random.split, out_axes=1)(jax.random.split(key, len(x)))
    z = _of_posteriors(vae.model, vae.params, q_keys, x.x)
    rows = {"data": x.x}
    for kept in reversed(kept_layers(len(z))):
        drawn = _below(vae.model, vae.params, prior_keys, z, kept)
        rows[_named(len(z), kept, "of q")] = vae.decode(drawn)
    return rows


@functools.partial(jax.jit, static_argnums=0)
def _of_posteriors(model: Model, params: Params, keys: jax.Array, x: jax.Array) -> Any:
    """A sample of q(z|x) for each key and example."""
    return jax.vmap(lambda x, key: model.posterior(params, x).sample(key))(x, keys)


@functools.partial(jax.jit, static_argnums=0)
def _below(model: Model, params: Params, keys: jax.Array, z: Any, kept: jax.Array | int) -> Any:
    """z with all layers below the top ones, of which `kept` are kept, drawn from p(z) anew.

    That number is an argument of one program: a program for each takes a very deep model minutes
    to compile.
    """
    prior: Any = model.prior(params)

    def one(key, z):
        of_layers, found = keys_of_layers(key, len(z)), list(z)

        def choose(place, distribution):
            is_kept, drawn = place >= len(z) - kept, distribution.sample(of_layers[place])
            found[place] = jax.tree.map(functools.partial(jnp.where, is_kept), z[place], drawn)
            return found[place]

        prior.walk(choose)
        return tuple(found)

    return jax.vmap(one)(keys, z)


def _named(num_layers: int, kept: int, what: str) -> str:
    """The label of a row in which the top layers are kept."""
    if kept == 0:
        return f"nothing {what}"
    lowest = num_layers - kept + 1
    layers = f"$z_{{{num_layers}}}$"
    return f"{layers} {what}" if kept == 1 else f"$z_{{{lowest}}}$ to {layers} {what}"


def is_hierarchy(vae: TrainedVAE) -> bool:
    """Whether the prior of a model without a condition has layers."""
    return isinstance(jax.eval_shape(vae.model.prior, vae.params), Chain)

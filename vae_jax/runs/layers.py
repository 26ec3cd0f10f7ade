"""What the layers of a hierarchy say: samples and reconstructions from some of them."""

from functools import partial
from typing import Any

import jax
import numpy as np

from vae_jax.distributions import Chain
from vae_jax.models import Batch
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
    prior: Any = vae.model.prior(vae.params)
    z = prior.sample(one_key)
    keys = jax.random.split(rest_key, number)
    rows = {"nothing kept": vae.decode(jax.vmap(prior.sample)(keys))}
    for kept in kept_layers(len(z)):
        some = (None,) * (len(z) - kept) + z[len(z) - kept :]
        drawn = jax.vmap(partial(_completed, prior), (0, None))(keys, some)
        rows[_named(len(z), kept, "kept")] = vae.decode(drawn)
    return rows


def reconstructed(vae: TrainedVAE, x: Batch, key: jax.Array) -> dict[str, jax.Array]:
    """Examples and their reconstructions from the first layers: name -> [N, *event].

    The top layers are a sample of q(z|x), and those below them a sample of the prior given these,
    so that the rows show what each layer knows of x.

    x: N examples of a model without a condition.
    """
    params = vae.params

    def row(kept):
        def one(x, key):
            q_key, prior_key = jax.random.split(key)
            z: Any = vae.model.posterior(params, x).sample(q_key)
            some = (None,) * (len(z) - kept) + z[len(z) - kept :]
            return _completed(vae.model.prior(params), prior_key, some)

        return vae.decode(jax.jit(jax.vmap(one))(x.x, keys))

    keys = jax.random.split(key, len(x))
    prior: Any = jax.eval_shape(vae.model.prior, params)
    rows = {"data": x.x}
    for kept in reversed(kept_layers(prior.num_layers)):
        rows[_named(prior.num_layers, kept, "of q")] = row(kept)
    return rows


def _completed(prior: Any, key: jax.Array, some: Any) -> Any:
    return prior.complete(key, some)


def _named(num_layers: int, kept: int, what: str) -> str:
    """The label of a row in which the top layers are kept."""
    lowest = num_layers - kept + 1
    layers = f"$z_{{{num_layers}}}$"
    return f"{layers} {what}" if kept == 1 else f"$z_{{{lowest}}}$ to {layers} {what}"


def is_hierarchy(vae: TrainedVAE) -> bool:
    """Whether the prior of a model without a condition has layers."""
    return isinstance(jax.eval_shape(vae.model.prior, vae.params), Chain)

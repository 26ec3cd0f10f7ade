"""Latents as symbols: how they are popped by q(z|x), and pushed and popped by p(z)."""

from typing import Any

import jax

from vae_jax.compression import values
from vae_jax.compression.coded import Latents, unknown
from vae_jax.compression.continuous import Continuous, UnderMixture
from vae_jax.compression.discrete import Codes, Discrete
from vae_jax.compression.layers import Layers, SwappedLayers
from vae_jax.distributions import Chain, Coded, FullNormal, LowRankNormal, Mixture, Normal
from vae_jax.distributions.mixture import NormalMixture
from vae_jax.models import Model, Params


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
        layers = SwappedLayers if is_markov and q.order != p.order else Layers
        return layers(model, params, x, q, p, bits)
    if isinstance(q, Coded):
        return Codes(model, params, p)
    if not q.is_reparameterised:
        if not (values.is_coded(q) and values.is_coded(p)):
            raise unknown(p)
        return Discrete(model, params, x)
    if not isinstance(q, Normal | FullNormal | LowRankNormal | NormalMixture):
        raise unknown(q)
    if isinstance(p, Normal):
        return Continuous(model, params, bits)
    if isinstance(p, Mixture) and isinstance(p.components, Normal):
        return UnderMixture(model, params, bits)
    raise unknown(p)

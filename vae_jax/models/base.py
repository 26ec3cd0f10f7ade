"""The interface of variational autoencoders: four pure functions of ONE example."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from vae_jax.distributions import Distribution
from vae_jax.networks import Params


class Model(NamedTuple):
    """A variational autoencoder (Kingma & Welling 2014), as four pure functions of one example.

    Attributes:
      init: (key, x) -> params. x: [*event], an example. The untrained decoder starts at its value,
        so pass the mean of the training examples.
      posterior: (params, x) -> q(z|x), the encoder.
      prior: (params) -> p(z).
      likelihood: (params, z) -> p(x|z), the decoder.
    """

    init: Callable[[jax.Array, jax.Array], Params]
    posterior: Callable[[Params, jax.Array], Distribution]
    prior: Callable[[Params], Distribution]
    likelihood: Callable[[Params, Any], Distribution]

"""Networks as (init, apply) pairs. The only room that knows flax."""

from vae_jax.networks.base import Architecture, Network, Params, Shape
from vae_jax.networks.causal import Causal, CausalArchitecture, Values, pixelcnn, transformer
from vae_jax.networks.convolutional import conv, grid_of, resnet
from vae_jax.networks.dense import gated_mlp, mlp
from vae_jax.networks.own_modules import from_linen, from_nnx
from vae_jax.networks.top_down import TopDown, size_problem, top_down

__all__ = [
    "Architecture",
    "Causal",
    "CausalArchitecture",
    "Network",
    "Params",
    "Shape",
    "TopDown",
    "Values",
    "conv",
    "from_linen",
    "from_nnx",
    "gated_mlp",
    "grid_of",
    "mlp",
    "pixelcnn",
    "resnet",
    "size_problem",
    "top_down",
    "transformer",
]

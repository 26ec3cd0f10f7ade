"""vae_jax: variational autoencoders in JAX, as pure functions of one example."""

import importlib.metadata

from vae_jax import (
    data,
    diagnostics,
    disentanglement,
    distributions,
    evidence,
    models,
    networks,
    objectives,
    training,
)
from vae_jax.distributions import Bernoulli, Categorical, Normal, reparameterise
from vae_jax.models import Model, elbo, heads, latents, vae
from vae_jax.networks import gated_mlp, mlp
from vae_jax.trained import TrainedVAE, load

__all__ = [
    "Bernoulli",
    "Categorical",
    "Model",
    "Normal",
    "TrainedVAE",
    "data",
    "diagnostics",
    "disentanglement",
    "distributions",
    "elbo",
    "evidence",
    "gated_mlp",
    "heads",
    "latents",
    "load",
    "mlp",
    "models",
    "networks",
    "objectives",
    "reparameterise",
    "training",
    "vae",
]


def __getattr__(name: str) -> str:
    """`__version__`, looked up when it is asked for: finding the package takes milliseconds."""
    if name == "__version__":
        try:
            return importlib.metadata.version("vae_jax")
        except importlib.metadata.PackageNotFoundError:
            return "0+unknown"  # a checkout that is not installed
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

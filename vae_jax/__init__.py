"""vae_jax: variational autoencoders in JAX, as pure functions of one example."""

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

"""vae_jax: variational autoencoders in JAX, as pure functions of one example."""

import importlib
import importlib.metadata
import os
from typing import Any

# Before JAX is imported. On many processors XLA calls every compiled program that it takes from a
# cache, made on the same machine, one of another machine (jax-ml/jax #38445): two long lines each
# at the level of errors. What does fail is raised as an exception all the same.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from vae_jax import (
    config,
    data,
    diagnostics,
    disentanglement,
    distributions,
    evidence,
    models,
    networks,
    objectives,
    runs,
    training,
)
from vae_jax.config import Config, Grid, Hardware
from vae_jax.distributions import Bernoulli, Categorical, Normal, reparameterise
from vae_jax.models import Model, elbo, heads, latents, vae
from vae_jax.networks import gated_mlp, mlp
from vae_jax.runs import Run, fit, fit_prior, sweep
from vae_jax.runs import load_run as load
from vae_jax.trained import TrainedVAE

__all__ = [
    "Bernoulli",
    "Categorical",
    "Config",
    "Grid",
    "Hardware",
    "Model",
    "Normal",
    "Run",
    "TrainedVAE",
    "config",
    "data",
    "diagnostics",
    "disentanglement",
    "distributions",
    "elbo",
    "evaluation",
    "evidence",
    "figures",
    "fit",
    "fit_prior",
    "gated_mlp",
    "heads",
    "latents",
    "load",
    "mlp",
    "models",
    "networks",
    "objectives",
    "reparameterise",
    "runs",
    "sweep",
    "training",
    "vae",
    "verify",
]


def __getattr__(name: str) -> Any:
    """`__version__` and rooms that few need, looked up when asked for, as they take time."""
    if name in ("evaluation", "figures", "verify"):  # matplotlib takes as long as all the rest
        return importlib.import_module(f"vae_jax.{name}")
    if name == "__version__":
        try:
            return importlib.metadata.version("vae_jax")
        except importlib.metadata.PackageNotFoundError:
            return "0+unknown"  # a checkout that is not installed
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

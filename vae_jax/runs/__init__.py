"""Runs: from a configuration and data to a folder with a trained, evaluated model.

The way of a run: `fit` (compares the configuration with the folder), `images` (the data), `recipe`
(model, objective, optimiser), `training` (epochs, from the checkpoint that `resuming` finds),
`finishing` (evaluation, `pictures`, `summary`), and `run` (the object that a user gets).
"""

from vae_jax.runs import events, listeners
from vae_jax.runs.fit import fit
from vae_jax.runs.new_prior import NewPrior, fit_prior
from vae_jax.runs.run import Run, load_run
from vae_jax.runs.summary import Summary
from vae_jax.runs.sweep import sweep

__all__ = [
    "NewPrior",
    "Run",
    "Summary",
    "events",
    "fit",
    "fit_prior",
    "listeners",
    "load_run",
    "sweep",
]

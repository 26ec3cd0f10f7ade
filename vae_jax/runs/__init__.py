"""Runs: from a configuration and data to a folder with a trained, evaluated model.

The way of a run: `fit` (what is asked for, against what the folder holds), `images` (the data),
`recipe` (model, objective, optimiser), `training` (epochs, from where `resuming` finds them),
`finishing` (evaluation, `pictures`, `summary`), and `run` (what one does with it).
"""

from vae_jax.runs import events, listeners
from vae_jax.runs.fit import fit
from vae_jax.runs.run import Run, load_run
from vae_jax.runs.summary import Summary
from vae_jax.runs.sweep import sweep

__all__ = ["Run", "Summary", "events", "fit", "listeners", "load_run", "sweep"]

"""Training: the step, the epoch, sweeps of runs, the optimiser and checkpoints."""

from vae_jax.training import checkpoint, streamed, sweep
from vae_jax.training.epoch import EpochInfo, divergence, make_epoch
from vae_jax.training.optimiser import adam, warmup_length
from vae_jax.training.trainer import (
    Recipe,
    Settings,
    Trainer,
    TrainState,
    make_swept_trainer,
    make_trainer,
)

__all__ = [
    "EpochInfo",
    "Recipe",
    "Settings",
    "TrainState",
    "Trainer",
    "adam",
    "checkpoint",
    "divergence",
    "make_epoch",
    "make_swept_trainer",
    "make_trainer",
    "streamed",
    "sweep",
    "warmup_length",
]

"""Training: the step, the epoch, the optimiser and checkpoints."""

from vae_jax.training import checkpoint
from vae_jax.training.epoch import EpochInfo, divergence, make_epoch
from vae_jax.training.optimiser import adam
from vae_jax.training.trainer import Trainer, TrainState, make_trainer

__all__ = [
    "EpochInfo",
    "TrainState",
    "Trainer",
    "adam",
    "checkpoint",
    "divergence",
    "make_epoch",
    "make_trainer",
]

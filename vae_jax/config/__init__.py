"""Configurations: the options of a run, of a sweep and of the hardware."""

from vae_jax.config.config import Config
from vae_jax.config.grid import Grid
from vae_jax.config.hardware import Hardware
from vae_jax.config.option import Option, read, written

__all__ = ["Config", "Grid", "Hardware", "Option", "read", "written"]

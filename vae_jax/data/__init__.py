"""Data sets as arrays of images, and their binarisation."""

from vae_jax.data import shapes
from vae_jax.data.binarise import (
    Binarise,
    draw_once,
    dynamic,
    grey,
    is_binary,
    mean_example,
    threshold,
)
from vae_jax.data.dataset import Dataset, load
from vae_jax.data.errors import DataError, NotAvailableError
from vae_jax.data.splits import split_indices

__all__ = [
    "Binarise",
    "DataError",
    "Dataset",
    "NotAvailableError",
    "draw_once",
    "dynamic",
    "grey",
    "is_binary",
    "load",
    "mean_example",
    "shapes",
    "split_indices",
    "threshold",
]

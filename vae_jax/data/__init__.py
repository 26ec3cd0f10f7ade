"""Data sets of any kind, in memory or read when indexed, and the binarisation of pixels."""

from vae_jax.data import shapes, shards
from vae_jax.data.binarise import (
    CHUNK,
    Binarise,
    as_floats,
    draw_once,
    dynamic,
    grey,
    is_binary,
    mean_example,
    pixel_kind,
    sum_of_examples,
    threshold,
)
from vae_jax.data.dataset import (
    IN_MEMORY,
    Dataset,
    from_arrays,
    is_file,
    is_name,
    load,
    load_whole,
    with_hidden,
)
from vae_jax.data.fingerprint import fingerprint, joined_fingerprint
from vae_jax.data.h5ad import Covariate
from vae_jax.data.halves import HALVES, cut, joined
from vae_jax.data.missing import hidden_at_random, with_holes
from vae_jax.data.rows import Rows
from vae_jax.data.schema import Column, as_text
from vae_jax.data.splits import NUMBERS, Kind, Split, Undivided, split_indices
from vae_jax.data.stream import stream
from vae_jax.errors import DataError, NotAvailableError

__all__ = [
    "CHUNK",
    "HALVES",
    "IN_MEMORY",
    "NUMBERS",
    "Binarise",
    "Column",
    "Covariate",
    "DataError",
    "Dataset",
    "Kind",
    "NotAvailableError",
    "Rows",
    "Split",
    "Undivided",
    "as_floats",
    "as_text",
    "cut",
    "draw_once",
    "dynamic",
    "fingerprint",
    "from_arrays",
    "grey",
    "hidden_at_random",
    "is_binary",
    "is_file",
    "is_name",
    "joined",
    "joined_fingerprint",
    "load",
    "load_whole",
    "mean_example",
    "pixel_kind",
    "shapes",
    "shards",
    "split_indices",
    "stream",
    "sum_of_examples",
    "threshold",
    "with_hidden",
    "with_holes",
]

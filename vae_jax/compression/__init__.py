"""Lossless compression with a trained VAE: the bound as the size of a file.

    data = compression.compress(run.vae, x).data
    assert (compression.decompress(run.vae, data) == x).all()

The way of the data: examples as symbols (symbols.py) -> a batch after the other on a stack of bits
(codec.py, stack.py): z is taken from the stack by q(z|x), x and then z are put on it by p(x|z) and
p(z). latents.py chooses how z is coded: as bins of a grid (continuous.py, tables.py), as they are
(discrete.py) or layer by layer (layers.py); values.py has the probabilities of discrete values ->
a file that knows its model (archive.py), and its size beside those of other programs (rates.py).
The coder is that of constriction, which is an extra: pip install 'vae_jax[compression]'.
"""

from vae_jax.compression.archive import Archive
from vae_jax.compression.codec import (
    LATENT_BITS,
    Compressed,
    compress,
    decompress,
    fingerprint,
    require_compressible,
)
from vae_jax.compression.rates import other_sizes

__all__ = [
    "LATENT_BITS",
    "Archive",
    "Compressed",
    "compress",
    "decompress",
    "fingerprint",
    "other_sizes",
    "require_compressible",
]

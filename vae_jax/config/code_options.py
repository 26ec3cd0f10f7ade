"""Options of deterministic codes, and of causal networks over codes and pixels."""

import dataclasses

from vae_jax.config.option import option
from vae_jax.models import spec


@dataclasses.dataclass(frozen=True, kw_only=True)
class CodeOptions:
    """The codes of latents=vq, fsq and lfq, and the networks that go from place to place."""

    num_codes: int = option(
        512, "Entries of each codebook of latents=vq.", group="model", low=2, swept="shape"
    )
    code_dim: int = option(
        64, "Numbers of each vector of latents=vq.", group="model", low=1, swept="shape"
    )
    residual_codes: int = option(
        1,
        "Codebooks of latents=vq after one another, each of which rounds what is left.",
        group="model",
        low=1,
        swept="shape",
    )
    code_groups: int = option(
        1,
        "Parts of a vector of latents=vq, each of which has codebooks of its own.",
        group="model",
        low=1,
        swept="shape",
    )
    fsq_levels: tuple[int, ...] = option(
        (8, 6, 5),
        "Levels of each number of latents=fsq; their product is the number of codes.",
        group="model",
        swept="shape",
    )
    code_bits: int = option(
        9, "Bits of a code of latents=lfq.", group="model", low=1, high=30, swept="shape"
    )
    prior_width: int = option(
        64,
        "Channels of prior=pixelcnn and prior=transformer.",
        group="model",
        low=1,
        swept="shape",
    )
    prior_layers: int = option(
        4, "Layers of prior=pixelcnn and prior=transformer.", group="model", low=1, swept="shape"
    )
    pixels: str = option(
        "independent",
        "How p(x|z) treats the pixels of an image: independent given z, or each given those before "
        "it by a gated PixelCNN or a transformer (PixelVAE).",
        group="model",
        choices=("independent", *spec.CAUSAL),
        swept="shape",
    )
    pixel_width: int = option(
        32, "Channels of the network of pixels.", group="model", low=1, swept="shape"
    )
    pixel_layers: int = option(
        3, "Layers of the network of pixels.", group="model", low=1, swept="shape"
    )
    pixel_features: int = option(
        16,
        "Numbers that the decoder gives the network of pixels for each of them.",
        group="model",
        low=1,
        swept="shape",
    )
    causal_kernel: int = option(
        5,
        "Width of the kernels of a PixelCNN of prior and pixels, an odd number.",
        group="model",
        low=3,
        swept="shape",
    )
    causal_heads: int = option(
        4,
        "Heads of a transformer of prior and pixels, which divide its width.",
        group="model",
        low=1,
        swept="shape",
    )

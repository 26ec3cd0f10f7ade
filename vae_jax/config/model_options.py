"""Options of the model."""

import dataclasses

from vae_jax.config.option import option
from vae_jax.models import heads, spec


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The model: latents, networks and likelihood."""

    latent_dim: int = option(
        40, "Number of latent variables.", group="model", low=1, swept="shape", first=True
    )
    latents: str = option(
        "normal",
        "Kind of latent variables. bernoulli and categorical are trained with the estimators vimco "
        "and concrete.",
        group="model",
        choices=tuple(spec.LATENTS),
        swept="shape",
    )
    num_categories: int = option(
        10, "Values of each categorical latent.", group="model", low=2, swept="shape"
    )
    network: str = option(
        "gated_mlp",
        "Kind of network of encoder and decoder; conv has strided convolutions, which halve an "
        "image, and then dense layers; resnet has residual blocks between them.",
        group="model",
        choices=tuple(spec.NETWORKS),
        swept="shape",
        first=True,
    )
    hidden: tuple[int, ...] = option(
        (300, 300),
        "Widths of the encoder's dense hidden layers; the decoder mirrors them.",
        group="model",
        swept="shape",
        first=True,
    )
    channels: tuple[int, ...] = option(
        (32, 64),
        "Channels of the stages of network=conv and network=resnet, each of which halves the "
        "image; the decoder mirrors them.",
        group="model",
        swept="shape",
    )
    num_blocks: int = option(
        2, "Residual blocks of each stage of network=resnet.", group="model", low=1, swept="shape"
    )
    encoder: str | None = option(
        None,
        "Kind of network of the encoder. Default: that of network.",
        group="model",
        choices=tuple(spec.NETWORKS),
        swept="shape",
    )
    decoder: str | None = option(
        None,
        "Kind of network of the decoder. Default: that of network.",
        group="model",
        choices=tuple(spec.NETWORKS),
        swept="shape",
    )
    activation: str | None = option(
        None,
        "Function between layers. Default: relu, and none beside the gates of gated_mlp.",
        group="model",
        choices=tuple(spec.ACTIVATIONS),
        swept="shape",
    )
    likelihood: str = option(
        "bernoulli",
        "Distribution of pixels given latents. bernoulli: for black and white; all others: for "
        "grey or colour pixels (binarisation=none). Densities of intensities in [0, 1]: "
        "continuous_bernoulli; gaussian, with likelihood_std; gaussian_learned, with one learned "
        "standard deviation; gaussian_per_dim, with one for each pixel; gaussian_per_pixel, with "
        "those that the network gives; laplace; student_t. Probabilities of the 256 levels of "
        "8-bit pixels: discretised_logistic; logistic_mixture (PixelCNN++); categorical. "
        "bernoulli_unnormalised: the Bernoulli formula on grey pixels, which is no likelihood.",
        group="model",
        choices=tuple(spec.LIKELIHOODS),
        first=True,
    )
    likelihood_std: float = option(
        0.1,
        "Standard deviation of the gaussian likelihood, for intensities in [0, 1].",
        group="model",
        above=0,
    )
    logistic_scale: str = option(
        "channel",
        "Scale of the discretised_logistic likelihood: one parameter, one for each channel, or an "
        "output of the network for each pixel.",
        group="model",
        choices=heads.LOGISTIC_SCALES,
    )
    num_logistics: int = option(
        10, "Number of components of the logistic_mixture likelihood.", group="model", low=1
    )

"""Options of the model."""

import dataclasses

from vae_jax.config.option import option
from vae_jax.models import spec


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
        "Kind of network of encoder and decoder.",
        group="model",
        choices=tuple(spec.NETWORKS),
        swept="shape",
        first=True,
    )
    hidden: tuple[int, ...] = option(
        (300, 300),
        "Widths of the encoder's hidden layers; the decoder mirrors them.",
        group="model",
        swept="shape",
        first=True,
    )
    activation: str | None = option(
        None,
        "Function between layers. Default: relu for mlp, none beside the gates of gated_mlp.",
        group="model",
        choices=tuple(spec.ACTIVATIONS),
        swept="shape",
    )
    likelihood: str = option(
        "bernoulli",
        "Distribution of pixels given latents. bernoulli: for black and white; gaussian: for grey "
        "pixels (binarisation=none), with likelihood_std; gaussian_learned: for grey pixels, with "
        "one learned standard deviation; bernoulli_unnormalised: the Bernoulli formula on grey "
        "pixels, which is no likelihood.",
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

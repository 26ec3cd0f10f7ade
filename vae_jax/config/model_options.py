"""Options of the model."""

import dataclasses

from vae_jax.config.option import option
from vae_jax.models import heads, spec
from vae_jax.models.conditions import CONDITION_IN
from vae_jax.models.likelihoods import LIKELIHOODS
from vae_jax.models.partial import MISSINGNESS


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The model: latents, networks and likelihood."""

    latent_dim: int = option(
        40, "Number of latent variables.", group="model", low=1, swept="shape", first=True
    )
    latents: str = option(
        "normal",
        "Kind of latent variables. bernoulli and categorical are trained with the estimators "
        "vimco, concrete and straight_through. vq (vectors of a codebook), fsq (rounded numbers) "
        "and lfq (signs) are codes of a deterministic encoder, at latent_dim places or, with "
        "network=conv or resnet, at those of the image behind its stages: straight_through or "
        "rotation.",
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
        "image; the decoder mirrors them. One number for layer_sizes.",
        group="model",
        swept="shape",
    )
    num_blocks: int = option(
        2, "Residual blocks of each stage of network=resnet.", group="model", low=1, swept="shape"
    )
    norm_groups: int | None = option(
        None,
        "Groups of channels that network=conv and network=resnet normalise together, which must "
        "divide all numbers of channels. Default: no normalisation.",
        group="model",
        low=1,
        swept="shape",
    )
    layer_sizes: tuple[int, ...] | None = option(
        None,
        "Heights of the layers of a very deep VAE of images (VDVAE), z_1 first, such as "
        "28,14,14,7,1 for 28 x 28 pixels: each divides the one before. layers are then the numbers "
        "of latents of each pixel, and all layers share one path of residual blocks, whose width "
        "is channels. For network=resnet and inference=top_down.",
        group="model",
        swept="shape",
    )
    patch_size: int = option(
        1,
        "Side of the squares of pixels that are one pixel of the path of layer_sizes, which then "
        "takes less time; the heights of the layers are counted in such squares.",
        group="model",
        low=1,
        swept="shape",
    )
    bottleneck: int = option(
        2,
        "Number by which the channels inside the blocks of layer_sizes are fewer than channels.",
        group="model",
        low=1,
        swept="shape",
    )
    bfloat16: bool = option(
        False,
        "Whether the activations of layer_sizes are bfloat16, for accelerators; parameters and "
        "sums stay float32.",
        group="model",
    )
    remat: bool = option(
        False,
        "Whether gradients compute the inside of the blocks of layer_sizes anew, which saves "
        "memory on accelerators.",
        group="model",
    )
    condition_in: str = option(
        ",".join(CONDITION_IN),
        "Parts of p(x|c) that take the condition, if there is one. The prior takes it if it is "
        "learned: prior=conditional, mixture, flow, autoregressive, or the layers of a hierarchy.",
        group="model",
    )
    condition_dropout: float = option(
        0.0,
        "Probability with which training replaces the condition of an example by none, so that the "
        "same model also is one without a condition.",
        group="model",
        low=0,
        below=1,
    )
    missingness: str = option(
        "random",
        "Why values are missing. random: for no reason of their own, so that only observed ones "
        "count (MIWAE); self_masking, linear, network: with a probability that depends on the "
        "value itself, or on all values by a line or a network (not-MIWAE).",
        group="model",
        choices=("random", *MISSINGNESS),
    )
    dropout: float = option(
        0.0,
        "Probability with which training drops each hidden unit of an encoder mlp or gated_mlp, "
        "against overfitting, as in scVI.",
        group="model",
        low=0,
        below=1,
        swept="shape",
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
        "auto",
        "Distribution of examples given latents. auto: chosen by the kind of data, and said. "
        "bernoulli: for black and white; all others: for data that are not binarised. Densities of "
        "intensities in [0, 1]: continuous_bernoulli; and of these and of real numbers: gaussian, "
        "with likelihood_std; gaussian_learned, with one learned standard deviation; "
        "gaussian_per_dim, with one for each pixel or column; gaussian_per_pixel, with those that "
        "the network gives; laplace; student_t. Density of positive numbers: log_normal. "
        "Probabilities of the 256 levels of 8-bit pixels: discretised_logistic; "
        "discretised_gaussian; logistic_mixture (PixelCNN++); categorical. Probabilities of "
        "counts: poisson; negative_binomial; zinb, with additional zeros; binomial, with "
        "num_trials. Rows with columns of several types: columns. "
        "bernoulli_unnormalised: the Bernoulli formula on grey pixels, which is no likelihood.",
        group="model",
        choices=("auto", *LIKELIHOODS),
        first=True,
    )
    likelihood_std: float = option(
        0.1,
        "Standard deviation of the gaussian likelihood, for intensities in [0, 1] or for real "
        "numbers, which are standardised.",
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
    num_trials: int | None = option(
        None,
        "Number of trials of the binomial likelihood. Default: the largest training count.",
        group="model",
        low=1,
    )
    dispersion: str = option(
        "dim",
        "Inverse dispersions of negative_binomial and zinb: dim, one for each dimension; network, "
        "an output of the network for each; condition, one for each dimension and batch, or any "
        "value of the condition.",
        group="model",
        choices=spec.DISPERSIONS,
    )
    size_factors: bool = option(
        False,
        "Whether means of counts are proportions times the total count of the example, which is "
        "then a condition (poisson, negative_binomial, zinb), as in scVI.",
        group="model",
    )
    latent_size: bool = option(
        False,
        "Whether the size factor is a latent variable instead, log-normal with the moments of the "
        "training examples' totals, or of those of each batch, as scVI's latent library size. "
        "Needs size_factors.",
        group="model",
    )

"""A model as plain names and numbers, so that a saved run can be built again.

The only table of names in the library: whoever loads a run needs it, with or without the
experiments that trained it.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from vae_jax.models import heads, latents
from vae_jax.models.base import Model
from vae_jax.models.heads import Head
from vae_jax.models.latents import Latents
from vae_jax.models.vae import vae
from vae_jax.networks import Architecture, conv, gated_mlp, mlp, resnet

# name -> (widths of the dense layers of an encoder or a decoder, spec, options) -> architecture
NETWORKS: dict[str, Callable[..., Architecture]] = {
    "mlp": lambda widths, spec, **options: mlp(widths, **options),
    "gated_mlp": lambda widths, spec, **options: gated_mlp(widths, **options),
    "conv": lambda widths, spec, **options: conv(spec.channels, spec.hidden, **options),
    "resnet": lambda widths, spec, **options: resnet(
        spec.channels, spec.hidden, num_blocks=spec.num_blocks, **options
    ),
}
ACTIVATIONS = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "leaky_relu": jax.nn.leaky_relu,
}
START = 0.3  # about the standard deviation of the intensities of images in [0, 1]


class Likelihood(NamedTuple):
    """A likelihood by name, and the facts of it."""

    head: Callable[["ModelSpec"], Head]
    pixels: Literal["black and white", "grey", "8-bit"]  # that it is for; grey ones may be 8-bit
    kind: Literal["mass", "density", "neither"]  # of what its log-probabilities are


LIKELIHOODS = {
    "bernoulli": Likelihood(lambda spec: heads.bernoulli(), "black and white", "mass"),
    "bernoulli_unnormalised": Likelihood(
        lambda spec: heads.bernoulli_unnormalised(), "grey", "neither"
    ),
    "continuous_bernoulli": Likelihood(
        lambda spec: heads.continuous_bernoulli(), "grey", "density"
    ),
    "gaussian": Likelihood(
        lambda spec: heads.normal_fixed_scale(spec.likelihood_std), "grey", "density"
    ),
    "gaussian_learned": Likelihood(lambda spec: heads.normal_learned_scale(), "grey", "density"),
    "gaussian_per_dim": Likelihood(
        lambda spec: heads.normal_scale_per_dim(START), "grey", "density"
    ),
    "gaussian_per_pixel": Likelihood(lambda spec: heads.diagonal_normal(), "grey", "density"),
    "laplace": Likelihood(lambda spec: heads.laplace(START), "grey", "density"),
    "student_t": Likelihood(lambda spec: heads.student_t(START), "grey", "density"),
    "discretised_logistic": Likelihood(
        lambda spec: heads.discretised_logistic(spec.logistic_scale), "8-bit", "mass"
    ),
    "logistic_mixture": Likelihood(
        lambda spec: heads.logistic_mixture(spec.num_logistics), "8-bit", "mass"
    ),
    "categorical": Likelihood(lambda spec: heads.categorical_levels(256), "8-bit", "mass"),
}
LATENTS: dict[str, Callable[["ModelSpec"], Latents]] = {
    "normal": lambda spec: latents.normal(),
    "bernoulli": lambda spec: latents.bernoulli(),
    "categorical": lambda spec: latents.categorical(spec.num_categories),
}


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """What `vae` needs, by name.

    Raises:
      ValueError: a name is not in its table or a size is not positive.
    """

    event_shape: tuple[int, ...]  # of one example, such as (28, 28, 1)
    latent_dim: int = 40
    network: str = "gated_mlp"  # of NETWORKS; the decoder mirrors the encoder
    hidden: tuple[int, ...] = (300, 300)  # widths of the encoder's dense layers, input first
    activation: str | None = None  # of ACTIVATIONS; None: none for gated_mlp, else relu
    likelihood: str = "bernoulli"  # of LIKELIHOODS
    likelihood_std: float = 0.1  # of 'gaussian', in units of the pixels scaled to [0, 1]
    logistic_scale: str = "channel"  # of heads.LOGISTIC_SCALES, of 'discretised_logistic'
    num_logistics: int = 10  # of 'logistic_mixture'
    latents: str = "normal"  # of LATENTS; latent_dim of them
    num_categories: int = 10  # of 'categorical', for each of the latents
    encoder: str | None = None  # of NETWORKS; None: `network`
    decoder: str | None = None  # of NETWORKS; None: `network`
    channels: tuple[int, ...] = (32, 64)  # of the stages of 'conv' and 'resnet', each half the size
    num_blocks: int = 2  # residual blocks of a stage of 'resnet'

    def __post_init__(self):
        # Lists, as JSON gives them, become tuples, so that equal specs compare equal.
        object.__setattr__(self, "event_shape", tuple(self.event_shape))
        object.__setattr__(self, "hidden", tuple(self.hidden))
        object.__setattr__(self, "channels", tuple(self.channels))
        for name in ("network", "encoder", "decoder"):
            if getattr(self, name) is not None:
                check_name(name, getattr(self, name), NETWORKS)
        check_name("likelihood", self.likelihood, LIKELIHOODS)
        check_name("logistic_scale", self.logistic_scale, dict.fromkeys(heads.LOGISTIC_SCALES))
        check_name("latents", self.latents, LATENTS)
        if self.activation is not None:
            check_name("activation", self.activation, ACTIVATIONS)
        for name in ("hidden", "channels"):
            if any(width < 1 for width in getattr(self, name)):
                raise ValueError(f"{name}: widths must be positive, not {getattr(self, name)}.")
        if self.latent_dim < 1:
            raise ValueError(f"latent_dim must be positive, not {self.latent_dim}.")
        if not self.likelihood_std > 0:
            raise ValueError(f"likelihood_std must be positive, not {self.likelihood_std}.")
        for name in ("num_logistics", "num_blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.num_categories < 2:
            raise ValueError(f"num_categories must be at least 2, not {self.num_categories}.")

    def build(self) -> Model:
        """The model that the names stand for."""
        encoder, decoder = (NETWORKS[name or self.network] for name in (self.encoder, self.decoder))
        options = {} if self.activation is None else {"activation": ACTIVATIONS[self.activation]}
        return vae(
            self.event_shape,
            self.latent_dim,
            encoder=encoder(self.hidden, self, **options),
            decoder=decoder(self.hidden[::-1], self, **options),
            likelihood=LIKELIHOODS[self.likelihood].head(self),
            latents=LATENTS[self.latents](self),
        )


def check_name(what: str, name: str, table: dict) -> None:
    """Raises a ValueError that lists what is allowed if `name` is not in `table`."""
    if name not in table:
        raise ValueError(f"{what}={name!r} is unknown; it is one of {', '.join(table)}.")

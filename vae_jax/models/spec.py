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
    "conv": lambda widths, spec, **options: conv(
        spec.channels, spec.hidden, num_groups=spec.norm_groups, **options
    ),
    "resnet": lambda widths, spec, **options: resnet(
        spec.channels,
        spec.hidden,
        num_blocks=spec.num_blocks,
        num_groups=spec.norm_groups,
        **options,
    ),
}
WITH_DROPOUT = ("mlp", "gated_mlp")
ACTIVATIONS = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "leaky_relu": jax.nn.leaky_relu,
}


class Likelihood(NamedTuple):
    """A likelihood by name, and the facts of it.

    Attributes:
      head: description of a model -> head.
      kinds: kinds of data that it is for, see `data.Kind`; the first is the usual one.
      measure: what its log-probabilities are: those of a mass, of a density, or neither.
      starts_at_scale: whether it has a scale that starts at that of the data.
    """

    head: Callable[["ModelSpec"], Head]
    kinds: tuple[str, ...]
    measure: Literal["mass", "density", "neither"]
    starts_at_scale: bool = False


_GREY = ("intensities", "8-bit")
_REAL = ("real", *_GREY)
_LEVELS = ("8-bit", "binary")
_DENSITIES: dict[str, Callable[["ModelSpec"], Head]] = {
    "gaussian_learned": lambda spec: heads.normal_learned_scale(spec.initial_std),
    "gaussian_per_dim": lambda spec: heads.normal_scale_per_dim(spec.initial_std),
    "gaussian_per_pixel": lambda spec: heads.diagonal_normal(spec.initial_std),
    "laplace": lambda spec: heads.laplace(spec.initial_std),
    "student_t": lambda spec: heads.student_t(spec.initial_std),
}
_COUNTS: dict[str, Callable[["ModelSpec"], Head]] = {
    "poisson": lambda spec: heads.poisson(spec.size_factors),
    "negative_binomial": lambda spec: heads.negative_binomial(spec.dispersion, spec.size_factors),
    "zinb": lambda spec: heads.zero_inflated_negative_binomial(spec.dispersion, spec.size_factors),
}
LIKELIHOODS = {
    "bernoulli": Likelihood(lambda spec: heads.bernoulli(), ("binary",), "mass"),
    "bernoulli_unnormalised": Likelihood(
        lambda spec: heads.bernoulli_unnormalised(), (*_GREY, "binary"), "neither"
    ),
    "continuous_bernoulli": Likelihood(lambda spec: heads.continuous_bernoulli(), _GREY, "density"),
    "gaussian": Likelihood(
        lambda spec: heads.normal_fixed_scale(spec.likelihood_std), _REAL, "density"
    ),
    **{name: Likelihood(head, _REAL, "density", True) for name, head in _DENSITIES.items()},
    "log_normal": Likelihood(
        lambda spec: heads.log_normal(spec.initial_std), ("real",), "density", True
    ),
    "discretised_logistic": Likelihood(
        lambda spec: heads.discretised_logistic(spec.logistic_scale), _LEVELS, "mass"
    ),
    "logistic_mixture": Likelihood(
        lambda spec: heads.logistic_mixture(spec.num_logistics), _LEVELS, "mass"
    ),
    "categorical": Likelihood(lambda spec: heads.categorical_levels(256), _LEVELS, "mass"),
    "binomial": Likelihood(lambda spec: heads.binomial(spec.num_trials or 1), ("count",), "mass"),
    **{name: Likelihood(head, ("count",), "mass") for name, head in _COUNTS.items()},
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
    norm_groups: int | None = None  # groups of channels that 'conv' and 'resnet' normalise
    dropout: float = 0.0  # probability with which training drops hidden units of the encoder
    condition_shape: tuple[int, ...] | None = None  # of the inputs of p(x|c); None for p(x)
    size_factors: bool = False  # whether means of counts are proportions times a size factor
    dispersion: str = "dim"  # of heads.DISPERSIONS, of 'negative_binomial' and 'zinb'
    num_trials: int | None = None  # of 'binomial'
    initial_std: float = 0.3  # of likelihoods with a learned scale, in units of the examples
    shift: tuple[float, ...] | None = None  # [D], by which real numbers are standardised
    scale: tuple[float, ...] | None = None  # [D]

    def __post_init__(self):
        # Lists, as JSON gives them, become tuples, so that equal specs compare equal.
        object.__setattr__(self, "event_shape", tuple(self.event_shape))
        object.__setattr__(self, "hidden", tuple(self.hidden))
        object.__setattr__(self, "channels", tuple(self.channels))
        for name in ("condition_shape", "shift", "scale"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("network", "encoder", "decoder"):
            if getattr(self, name) is not None:
                check_name(name, getattr(self, name), NETWORKS)
        check_name("likelihood", self.likelihood, LIKELIHOODS)
        check_name("logistic_scale", self.logistic_scale, dict.fromkeys(heads.LOGISTIC_SCALES))
        check_name("dispersion", self.dispersion, dict.fromkeys(heads.DISPERSIONS))
        check_name("latents", self.latents, LATENTS)
        if self.activation is not None:
            check_name("activation", self.activation, ACTIVATIONS)
        for name in ("hidden", "channels"):
            if any(width < 1 for width in getattr(self, name)):
                raise ValueError(f"{name}: widths must be positive, not {getattr(self, name)}.")
        if self.latent_dim < 1:
            raise ValueError(f"latent_dim must be positive, not {self.latent_dim}.")
        for name in ("likelihood_std", "initial_std"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}.")
        if self.likelihood == "binomial" and (self.num_trials or 0) < 1:
            raise ValueError(f"num_trials must be at least 1, not {self.num_trials}.")
        if self.dropout > 0.0 and (self.encoder or self.network) not in WITH_DROPOUT:
            raise ValueError(
                f"dropout={self.dropout} is not for encoder={self.encoder or self.network} but for "
                f"{', '.join(WITH_DROPOUT)}."
            )
        for name in ("num_logistics", "num_blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.num_categories < 2:
            raise ValueError(f"num_categories must be at least 2, not {self.num_categories}.")

    def build(self) -> Model:
        """The model that the names stand for."""
        encoder, decoder = (NETWORKS[name or self.network] for name in (self.encoder, self.decoder))
        options = {} if self.activation is None else {"activation": ACTIVATIONS[self.activation]}
        dropout = {"dropout": self.dropout} if self.dropout > 0.0 else {}
        return vae(
            self.event_shape,
            self.latent_dim,
            encoder=encoder(self.hidden, self, **options, **dropout),
            decoder=decoder(self.hidden[::-1], self, **options),
            likelihood=self._head(),
            latents=LATENTS[self.latents](self),
            condition_shape=self.condition_shape,
            size_factors=self.size_factors,
            encoder_inputs=self._encoder_inputs(),
        )

    def _head(self) -> Head:
        head = LIKELIHOODS[self.likelihood].head(self)
        return head if self.shift is None else heads.standardised(head, *self._units())

    def _units(self) -> tuple[jax.Array, jax.Array]:
        shift, scale = (
            jnp.asarray(values, jnp.float32).reshape(self.event_shape)
            for values in (self.shift, self.scale)
        )
        return shift, scale

    def _encoder_inputs(self) -> Callable[[jax.Array], jax.Array] | None:
        """What the encoder takes: standardised real numbers, and the logs of counts plus one."""
        if "count" in LIKELIHOODS[self.likelihood].kinds:
            return jnp.log1p
        if self.shift is None:
            return None
        shift, scale = self._units()
        if self.likelihood == "log_normal":
            return lambda x: jnp.log(x / scale)
        return lambda x: (x - shift) / scale


def check_name(what: str, name: str, table: dict) -> None:
    """Raises a ValueError that lists what is allowed if `name` is not in `table`."""
    if name not in table:
        raise ValueError(f"{what}={name!r} is unknown; it is one of {', '.join(table)}.")

"""A model as plain names and numbers, so that a saved run can be built again.

The names are those of the tables here, in `likelihoods` and in `posteriors`.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.models import heads, latents, priors, quantisers
from vae_jax.models.annealed import annealed
from vae_jax.models.base import Model
from vae_jax.models.cells import dispersion_by_condition, latent_size
from vae_jax.models.conditions import CONDITION_IN, condition_of
from vae_jax.models.flows import SYLVESTER_BASES
from vae_jax.models.heads import Head
from vae_jax.models.hierarchy import INFERENCES, hierarchy
from vae_jax.models.latents import Latents
from vae_jax.models.likelihoods import LIKELIHOODS
from vae_jax.models.partial import MISSINGNESS, masked_inputs, not_at_random
from vae_jax.models.posteriors import FLOWS, POSTERIORS
from vae_jax.models.priors import Prior
from vae_jax.models.refined import refined
from vae_jax.models.semi_supervised import semi_supervised
from vae_jax.models.vae import vae
from vae_jax.models.very_deep import very_deep
from vae_jax.networks import (
    Architecture,
    CausalArchitecture,
    conv,
    gated_mlp,
    grid_of,
    mlp,
    pixelcnn,
    resnet,
    transformer,
)

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


# How dispersions of negative binomials depend: those of the head, or a table of the condition
DISPERSIONS = (*heads.DISPERSIONS, "condition")
LATENTS: dict[str, Callable[["ModelSpec"], Latents]] = {
    "normal": lambda spec: (
        latents.sphere if POSTERIORS[spec.posterior].on_sphere else latents.normal
    )(POSTERIORS[spec.posterior].head(spec)),
    "bernoulli": lambda spec: latents.bernoulli(),
    "categorical": lambda spec: latents.categorical(spec.num_categories),
    "vq": lambda spec: latents.codes(
        quantisers.vector_quantiser(
            spec.num_codes, spec.code_dim, residual=spec.residual_codes, groups=spec.code_groups
        ),
        spec.grid,
    ),
    "fsq": lambda spec: latents.codes(
        quantisers.finite_scalar_quantiser(spec.fsq_levels), spec.grid
    ),
    "lfq": lambda spec: latents.codes(quantisers.binary_quantiser(spec.code_bits), spec.grid),
}
CODES = ("vq", "fsq", "lfq")
CONVOLUTIONAL = ("conv", "resnet")
# name -> (width, number of layers, spec) -> causal network
CAUSAL: dict[str, Callable[[int, int, "ModelSpec"], CausalArchitecture]] = {
    "pixelcnn": lambda width, number, spec: pixelcnn(width, number, spec.causal_kernel),
    "transformer": lambda width, number, spec: transformer(width, number, spec.causal_heads),
}
# name -> number of components if none is given; None where there are none
PRIORS = {
    "normal": None,
    "mixture": 10,
    "vamp": 500,
    "exemplar": 500,
    "conditional": None,
    "flow": None,
    "autoregressive": None,
    "pixelcnn": None,
    "transformer": None,
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
    layers: tuple[int, ...] | None = None  # latents of each layer of a hierarchy, next to x first
    inference: str = "bottom_up"  # of INFERENCES, of a hierarchy
    layer_hidden: tuple[int, ...] = (100,)  # widths of its networks from layer to layer
    skip: bool = False  # whether its decoder sees all layers
    layer_sizes: tuple[int, ...] | None = None  # heights of the layers of a very deep VAE
    patch_size: int = 1  # side of the squares of pixels that are one pixel of its path
    bottleneck: int = 2  # number by which the channels inside its blocks are fewer
    bfloat16: bool = False  # whether its activations are bfloat16 instead of float32
    remat: bool = False  # whether its gradients compute the inside of blocks anew
    latents: str = "normal"  # of LATENTS; latent_dim of them
    num_categories: int = 10  # of 'categorical', for each of the latents
    posterior: str = "diagonal"  # of POSTERIORS, of latents 'normal'
    posterior_rank: int = 4  # of 'low_rank'
    posterior_components: int = 5  # of 'mixture'
    chain_steps: int = 4  # of 'uha'
    refine_steps: int = 0  # gradient steps from what the encoder says
    refine_rate: float = 0.1  # length of such a step, times the gradient
    refine_samples: int = 8  # samples of q(z|x) in the ELBO of such a step
    refine_through: bool = True  # whether training differentiates through these steps
    prior: str = "normal"  # of PRIORS; 'normal' is the usual prior of other latents, too
    prior_components: int | None = None  # of 'mixture', 'vamp' and 'exemplar'; None: that of PRIORS
    prior_flow: str = "spline"  # of FLOWS, of the prior 'flow'
    num_flows: int = 4  # bijections of a flow
    flow_hidden: tuple[int, ...] = (128,)  # widths of the networks in flows and priors
    flow_context: int = 64  # values from the encoder that the networks of a flow take
    shared_flows: bool = False  # whether a flow takes nothing from the encoder
    sylvester_basis: str = "orthogonal"  # of SYLVESTER_BASES
    sylvester_columns: int = 16  # orthonormal columns or reflections of a Sylvester flow
    num_codes: int = 512  # entries of a codebook of 'vq'
    code_dim: int = 64  # numbers of an entry
    residual_codes: int = 1  # codebooks after one another
    code_groups: int = 1  # parts of a vector with a codebook each
    fsq_levels: tuple[int, ...] = (8, 6, 5)  # of 'fsq', whose product is the number of codes
    code_bits: int = 9  # of 'lfq'
    prior_width: int = 64  # channels of the priors 'pixelcnn' and 'transformer'
    prior_layers: int = 4
    pixels: str = "independent"  # or of CAUSAL: how p(x|z) treats the pixels of an image
    pixel_width: int = 32  # channels of its network
    pixel_layers: int = 3
    pixel_features: int = 16  # numbers that the decoder gives it for each pixel
    causal_kernel: int = 5  # width of the kernels of 'pixelcnn'
    causal_heads: int = 4  # of 'transformer'
    encoder: str | None = None  # of NETWORKS; None: `network`
    decoder: str | None = None  # of NETWORKS; None: `network`
    channels: tuple[int, ...] = (32, 64)  # of the stages of 'conv' and 'resnet', each half the size
    num_blocks: int = 2  # residual blocks of a stage of 'resnet'
    norm_groups: int | None = None  # groups of channels that 'conv' and 'resnet' normalise
    dropout: float = 0.0  # probability with which training drops hidden units of the encoder
    condition_shape: tuple[int, ...] | None = None  # of the inputs of p(x|c); None for p(x)
    condition_in: str = ",".join(CONDITION_IN)  # parts that take it, with commas
    condition_dropout: float = 0.0  # probability of dropping it; above 0 it is optional
    size_factors: bool = False  # whether means of counts are proportions times a size factor
    dispersion: str = "dim"  # of DISPERSIONS, of 'negative_binomial' and 'zinb'
    num_trials: int | None = None  # of 'binomial'
    initial_std: float = 0.3  # of likelihoods with a learned scale, in units of the examples
    shift: tuple[float, ...] | None = None  # [D], by which real numbers are standardised
    scale: tuple[float, ...] | None = None  # [D]
    missing: bool = False  # whether examples are Observed ones, with missing values
    missingness: str = "random"  # or of MISSINGNESS, if being missing says something
    columns: tuple[tuple, ...] | None = None  # D heads.ColumnType, of 'columns'
    num_classes: int | None = None  # of labels that are latent where they are missing
    latent_size: bool = False  # whether the size factor is latent
    size_moments: tuple[tuple[float, float], ...] | None = None  # of log totals, of each batch

    def __post_init__(self):
        # Lists, as JSON gives them, become tuples, so that equal specs compare equal.
        object.__setattr__(self, "event_shape", tuple(self.event_shape))
        object.__setattr__(self, "hidden", tuple(self.hidden))
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "flow_hidden", tuple(self.flow_hidden))
        object.__setattr__(self, "layer_hidden", tuple(self.layer_hidden))
        object.__setattr__(self, "fsq_levels", tuple(self.fsq_levels))
        for name in ("layers", "layer_sizes", "condition_shape", "shift", "scale"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.columns is not None:
            object.__setattr__(self, "columns", tuple(tuple(of) for of in self.columns))
        check_name("missingness", self.missingness, dict.fromkeys(("random", *MISSINGNESS)))
        for name in ("network", "encoder", "decoder"):
            if getattr(self, name) is not None:
                check_name(name, getattr(self, name), NETWORKS)
        check_name("likelihood", self.likelihood, LIKELIHOODS)
        check_name("logistic_scale", self.logistic_scale, dict.fromkeys(heads.LOGISTIC_SCALES))
        check_name("dispersion", self.dispersion, dict.fromkeys(DISPERSIONS))
        if self.dispersion == "condition" and self.condition_shape is None:
            raise ValueError("dispersion=condition needs a condition.")
        if self.size_moments is not None:
            pairs = tuple((float(mean), float(std)) for mean, std in self.size_moments)
            object.__setattr__(self, "size_moments", pairs)
        check_name("latents", self.latents, LATENTS)
        check_name("pixels", self.pixels, dict.fromkeys(("independent", *CAUSAL)))
        if self.latents in CODES:
            kinds = {
                (name or self.network) in CONVOLUTIONAL for name in (self.encoder, self.decoder)
            }
            if len(kinds) > 1:
                raise ValueError(
                    f"latents={self.latents} needs encoder and decoder that both keep the plane "
                    f"({', '.join(CONVOLUTIONAL)}), or neither."
                )
            if self.layers is not None:
                raise ValueError(f"latents={self.latents} have one layer, not {self.layers}.")
        if self.pixels != "independent" and self.missing:
            raise ValueError(f"pixels={self.pixels} needs whole images, without missing values.")
        check_name("inference", self.inference, dict.fromkeys(INFERENCES))
        check_name("posterior", self.posterior, POSTERIORS)
        check_name("prior", self.prior, PRIORS)
        check_name("prior_flow", self.prior_flow, FLOWS)
        check_name("sylvester_basis", self.sylvester_basis, dict.fromkeys(SYLVESTER_BASES))
        if self.activation is not None:
            check_name("activation", self.activation, ACTIVATIONS)
        for name in ("hidden", "channels", "layers", "layer_hidden"):
            if any(width < 1 for width in getattr(self, name) or ()):
                raise ValueError(f"{name}: widths must be positive, not {getattr(self, name)}.")
        if self.layer_sizes is not None and (
            len(self.layers or ()) != len(self.layer_sizes)
            or self.condition_shape is not None
            or self.prior != "normal"
            or self.missing
        ):
            raise ValueError(
                f"layer_sizes={self.layer_sizes} need as many layers, no condition, no missing "
                f"values and the prior 'normal', not layers={self.layers}, condition_shape="
                f"{self.condition_shape}, missing={self.missing} and prior={self.prior!r}."
            )
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

    def build(self, held: jax.Array | np.ndarray | None = None) -> Model:
        """The model that the names stand for.

        held: [K, *event], training examples at which a VampPrior starts, or which an exemplar prior
        holds; None for zeros, which will do for parameters that are loaded.
        """
        encoder, decoder = (NETWORKS[name or self.network] for name in (self.encoder, self.decoder))
        options: dict[str, Any] = (
            {} if self.activation is None else {"activation": ACTIVATIONS[self.activation]}
        )
        dropout = {"dropout": self.dropout} if self.dropout > 0.0 else {}
        common: dict[str, Any] = {
            "encoder": encoder(self.hidden, self, **options, **dropout),
            "decoder": decoder(self.hidden[::-1], self, **options),
            "likelihood": self._head(),
            "latents": LATENTS[self.latents](self),
            "prior": self._prior(held),
            "condition_shape": self.condition_shape,
            "condition_in": self.condition_in.split(","),
            "condition_optional": self.condition_dropout > 0.0,
            "size_factors": self.size_factors,
            "encoder_inputs": self._encoder_inputs(),
            "missing": self.missing,
        }
        if self.layers and self.layer_sizes:
            return very_deep(
                self.event_shape,
                self.layer_sizes,
                self.layers,
                likelihood=common["likelihood"],
                encoder_inputs=common["encoder_inputs"],
                width=self.channels[0],
                bottleneck=self.bottleneck,
                num_blocks=self.num_blocks,
                patch_size=self.patch_size,
                dtype=jnp.bfloat16 if self.bfloat16 else jnp.float32,
                remat=self.remat,
                **options,
            )
        if self.layers:
            dense = gated_mlp if self.network == "gated_mlp" else mlp
            return self._with_missingness(
                hierarchy(
                    self.event_shape,
                    self.layers,
                    inference=self.inference,
                    between=dense(self.layer_hidden, **options),
                    skip=self.skip,
                    num_features=self.hidden[-1] if self.hidden else 300,
                    **common,
                )
            )
        model = self._of_cells(vae(self.event_shape, self.latent_dim, **common))
        model = self._with_missingness(model)
        if self.num_classes is not None:
            of_label = encoder(self.hidden, self, **options)
            return semi_supervised(model, self.num_classes, self.event_shape, classifier=of_label)
        if self.refine_steps > 0:
            model = refined(
                model,
                self.refine_steps,
                rate=self.refine_rate,
                num_samples=self.refine_samples,
                through=self.refine_through,
            )
        if POSTERIORS[self.posterior].is_chain:
            model = annealed(model, self.latent_dim, self.chain_steps)
        return model

    def _of_cells(self, model: Model) -> Model:
        if self.dispersion == "condition":
            number = math.prod(self.condition_shape or ())
            model = dispersion_by_condition(model, number, self.event_shape)
        if self.latent_size:
            model = latent_size(model, self.size_moments or ((0.0, 1.0),), self.event_shape)
        return model

    def _with_missingness(self, model: Model) -> Model:
        if self.missingness == "random":
            return model
        return not_at_random(model, self.event_shape, self.missingness)

    @property
    def top_dim(self) -> int:
        """The number of latents that the prior is of: all, or those of the top of a hierarchy."""
        return self.layers[-1] if self.layers else self.latent_dim

    @property
    def grid(self) -> tuple[int, int] | None:
        """The height and width of the plane of codes; None where they are on a line."""
        if (self.encoder or self.network) not in CONVOLUTIONAL:
            return None
        return grid_of(self.event_shape, len(self.channels))

    @property
    def num_held(self) -> int:
        """The number of training examples that the prior starts at or holds."""
        if self.prior not in ("vamp", "exemplar"):
            return 0
        return self.prior_components or PRIORS[self.prior] or 0

    def _prior(self, held: jax.Array | np.ndarray | None) -> Prior | None:
        """The prior; None for the usual one of the latents."""
        parts, is_optional = self.condition_in.split(","), self.condition_dropout > 0.0
        shapes = condition_of(self.condition_shape, False, parts, is_optional).shapes("prior")
        size = sum(map(math.prod, shapes))
        if held is None:
            held = np.zeros((self.num_held, *self.event_shape), np.float32)
        if self.prior == "mixture":
            number = self.prior_components or PRIORS["mixture"] or 1
            return priors.mixture(self.top_dim, number, condition_size=size)
        if self.prior == "vamp":
            return priors.vamp(jnp.asarray(held), self._bounds())
        if self.prior == "exemplar":
            return priors.exemplar(jnp.asarray(held), _intensities)
        if self.prior == "conditional":
            of_latents = LATENTS[self.latents](self)
            if not shapes:
                raise ValueError("prior=conditional needs a condition that the prior takes.")
            return priors.conditional(
                of_latents.layer or of_latents.posterior,
                of_latents.prior(self.top_dim).event_shape,
                shapes[0],
                mlp(self.flow_hidden),
            )
        if self.prior == "flow":
            family = FLOWS[self.prior_flow](self.num_flows, self.flow_hidden, size, self)
            return priors.flow(self.top_dim, family)
        if self.prior == "autoregressive":
            usual = LATENTS[self.latents](self).prior(self.top_dim)
            return priors.autoregressive(usual.event_shape, self.flow_hidden, condition_size=size)
        if self.prior in CAUSAL:
            usual = LATENTS[self.latents](self).prior(self.top_dim)
            network = CAUSAL[self.prior](self.prior_width, self.prior_layers, self)
            return priors.causal(usual, network, condition_size=size)
        return None

    def _bounds(self) -> tuple[float, float] | None:
        """The smallest and the largest value of an example that the encoder can take."""
        if self.likelihood == "log_normal":
            return (float(np.finfo(np.float32).tiny), math.inf)
        if "count" in LIKELIHOODS[self.likelihood].kinds:
            return (0.0, math.inf)
        return (0.0, 1.0) if self.shift is None else None

    def _head(self) -> Head:
        head = LIKELIHOODS[self.likelihood].head(self)
        if self.pixels != "independent":
            network = CAUSAL[self.pixels](self.pixel_width, self.pixel_layers, self)
            return heads.autoregressive(head, network, self.pixel_features)
        return head if self.shift is None else heads.standardised(head, *self._units())

    def _units(self) -> tuple[jax.Array, jax.Array]:
        shift, scale = (
            jnp.asarray(values, jnp.float32).reshape(self.event_shape)
            for values in (self.shift, self.scale)
        )
        return shift, scale

    def _encoder_inputs(self) -> Callable[[Any], jax.Array] | None:
        """What the encoder takes: the values as `_inputs`, and a mask if some are missing."""
        inputs, owners = self._inputs(), None
        if self.columns is not None:
            inputs, owners = heads.features(self.columns)
        return masked_inputs(inputs, owners) if self.missing else inputs

    def _inputs(self) -> Callable[[jax.Array], jax.Array] | None:
        """Standardised real numbers, and logs of counts plus one; None for values themselves."""
        if "count" in LIKELIHOODS[self.likelihood].kinds:
            return jnp.log1p
        if self.shift is None:
            return None
        shift, scale = self._units()
        if self.likelihood == "log_normal":
            return lambda x: jnp.log(x / scale)
        return lambda x: (x - shift) / scale


def _intensities(stored: jax.Array) -> jax.Array:
    """Stored examples as floats, 8-bit pixels divided by 255."""
    x = stored.astype(jnp.float32)
    return x / 255.0 if stored.dtype == jnp.uint8 else x


def check_name(what: str, name: str, table: dict) -> None:
    """Raises a ValueError that lists what is allowed if `name` is not in `table`."""
    if name not in table:
        raise ValueError(f"{what}={name!r} is unknown; it is one of {', '.join(table)}.")

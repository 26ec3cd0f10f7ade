"""Contradictions between the options of the latents of a `Config`."""

import itertools
from typing import Any

from vae_jax.errors import BadInputError
from vae_jax.models import spec
from vae_jax.models.posteriors import POSTERIORS
from vae_jax.models.quantisers import MOST_CODES
from vae_jax.objectives import by_name

OF_REFINEMENT = ("refine_rate", "refine_samples", "refine_through")
OF_LAYERS = ("inference", "layer_hidden", "skip")
OF_CODES = {
    "num_codes": ("vq",),
    "code_dim": ("vq",),
    "residual_codes": ("vq",),
    "code_groups": ("vq",),
    "fsq_levels": ("fsq",),
    "code_bits": ("lfq",),
}
OF_PRIOR_NETWORKS = ("prior_width", "prior_layers")
OF_PIXEL_NETWORKS = ("pixel_width", "pixel_layers", "pixel_features")
# Likelihoods with a parameter of each pixel, or that are of no pixels.
NOT_OF_PIXELS = ("gaussian_per_dim", "columns", "binomial", "poisson", "negative_binomial", "zinb")
OF_LAYER_SIZES = ("patch_size", "bottleneck", "bfloat16", "remat")


def require_no_contradiction(config: Any) -> None:
    """Raises a BadInputError for options of the latents that contradict each other."""
    _check_refinement(config)
    _check_latents(config)
    _check_layers(config, config.choice)
    _check_layer_sizes(config)
    _check_codes(config)
    _check_causal(config)


def _require_defaults(config: Any, names: tuple[str, ...], users: str) -> None:
    """Refuses options that differ from their defaults. users: what they are for, in words."""
    for name in names:
        known, value = config.OPTIONS[name], getattr(config, name)
        if value != known.default:
            raise BadInputError(f"{name}={known.write(value)} is for {users}.")


def _check_refinement(config: Any) -> None:
    """Refuses gradient steps where there is nothing to differentiate, and options without steps."""
    if config.refine_steps == 0:
        _require_defaults(config, OF_REFINEMENT, "refine_steps above 0, and refine_steps=0")
        return
    if config.latents != "normal":
        raise BadInputError(
            f"refine_steps={config.refine_steps} is for continuous latents, and "
            f"latents={config.latents} is discrete."
        )
    if config.dropout > 0.0:
        raise BadInputError(
            f"refine_steps={config.refine_steps} is for an encoder without dropout, and "
            f"dropout={config.dropout}."
        )


def _check_latents(config: Any) -> None:
    """Refuses posteriors and priors that are not for the latents, or not for each other."""
    posterior, prior = POSTERIORS[config.posterior], config.prior
    if config.latents != "normal" and config.posterior != "diagonal":
        raise BadInputError(
            f"posterior={config.posterior} is for continuous latents, and latents={config.latents} "
            "is discrete: use latents=normal."
        )
    if config.latents != "normal" and prior in ("mixture", "exemplar", "flow"):
        raise BadInputError(
            f"prior={prior} is for continuous latents, and latents={config.latents} is discrete: "
            f"use prior={_discrete_priors(config)}, or latents=normal."
        )
    if config.latents == "normal" and prior in ("autoregressive", *spec.CAUSAL):
        raise BadInputError(
            f"prior={prior} is for discrete latents, and latents=normal is continuous: use "
            "prior=flow, which has autoregressive ones, or latents=bernoulli."
        )
    for name, least in (
        (f"posterior={config.posterior}", posterior.least_dim),
        (f"prior_flow={config.prior_flow}", POSTERIORS[config.prior_flow].least_dim),
    ):
        is_used = name.startswith("posterior") or prior == "flow"
        dims = config.layers or (config.latent_dim,)
        smallest = min(dims) if name.startswith("posterior") else dims[-1]
        if is_used and smallest < least:
            of = "latent_dim=" if config.layers is None else "a layer has "
            what = "couples two halves of the latents"
            what = "lies on a sphere" if posterior.on_sphere else what
            raise BadInputError(
                f"{name} {what}, and {of}{smallest}: use at least {least} latents, or another "
                "family."
            )
    if not posterior.has_log_prob and (
        config.estimator != "pathwise" or config.objective == "piwae"
    ):
        what = "objective=piwae" if config.objective == "piwae" else f"estimator={config.estimator}"
        raise BadInputError(
            f"{what} needs log q(z|x) at a given z, which posterior={config.posterior} does not "
            "have: use estimator=pathwise, or posterior=iaf, coupling or spline."
        )
    if prior == "vamp" and not posterior.has_log_prob and not posterior.is_chain:
        raise BadInputError(
            "prior=vamp needs log q(z|u) at a given z, which "
            f"posterior={config.posterior} does not have: use posterior=diagonal, full, low_rank, "
            "mixture, iaf, coupling or spline."
        )
    if posterior.on_sphere:
        _check_sphere(config)
    if prior == "exemplar" and config.weight_decay > 0.0:
        raise BadInputError(
            f"weight_decay={config.weight_decay} would shrink the training examples that "
            "prior=exemplar holds: use weight_decay=0, or prior=vamp."
        )
    if prior == "exemplar" and posterior.is_flow:
        raise BadInputError(
            "prior=exemplar needs the mean of q(z|x), which "
            f"posterior={config.posterior} does not know: use posterior=diagonal, full, low_rank "
            "or mixture."
        )


def _check_sphere(config: Any) -> None:
    """Refuses what latents on a sphere cannot have."""
    sphere = f"posterior={config.posterior} has latents on a sphere"
    if config.prior in ("mixture", "exemplar", "flow"):
        raise BadInputError(
            f"{sphere}, where prior={config.prior} is no density: use prior=normal, which is "
            "uniform there, or vamp."
        )
    for name, problem in (
        ("layers", config.layers is not None),
        ("missingness", config.missingness != "random"),
        ("latent_size", config.latent_size),
    ):
        if problem:
            value = config.OPTIONS[name].write(getattr(config, name))
            raise BadInputError(f"{sphere}, for which {name}={value} is not.")


def _check_layers(config: Any, choice: by_name.Choice) -> None:
    """Refuses what a hierarchy cannot have, and its options where there is none."""
    if config.layers is None:
        if choice.of_layers:
            raise BadInputError(
                f"objective={config.objective} weights the layers of a hierarchy, such as "
                "layers=100,50, and layers is not given."
            )
        of_hierarchy = "a hierarchy, such as layers=100,50, and layers is not given"
        _require_defaults(config, OF_LAYERS, of_hierarchy)
        return
    layers = f"layers={config.OPTIONS['layers'].write(config.layers)}"
    if len(config.layers) < 2:
        raise BadInputError(
            f"{layers} must be at least two layers of a hierarchy, such as layers=100,50: for one "
            "layer use latent_dim."
        )
    known = config.OPTIONS["latent_dim"]
    if config.latent_dim != known.default:
        raise BadInputError(
            f"latent_dim={config.latent_dim} is for one layer of latents, and {layers} for several."
        )
    if config.inference == "bottom_up" and config.prior in ("vamp", "exemplar"):
        raise BadInputError(
            f"prior={config.prior} needs q(z_L|x), which inference=bottom_up has only given the "
            "layers below: use inference=top_down or independent."
        )
    if config.inference == "top_down" and (config.latents, config.posterior) != (
        "normal",
        "diagonal",
    ):
        raise BadInputError(
            "inference=top_down multiplies diagonal normal densities: use latents=normal with "
            "posterior=diagonal, or another inference."
        )
    posterior = POSTERIORS[config.posterior]
    for name, problem in (
        ("posterior", posterior.is_chain or not posterior.has_log_prob),
        ("refine_steps", config.refine_steps > 0),
        ("dropout", config.dropout > 0.0),
        ("objective", choice.needs_path),
    ):
        if problem:
            raise BadInputError(
                f"{name}={getattr(config, name)} is for one layer of latents, and {layers} are "
                "several."
            )


def _check_layer_sizes(config: Any) -> None:
    """Refuses what a very deep VAE cannot have, and its options where there is none."""
    if config.layer_sizes is None:
        of_deep = "a very deep VAE, and layer_sizes is not given"
        _require_defaults(config, OF_LAYER_SIZES, of_deep)
        return
    options = config.OPTIONS
    sizes = f"layer_sizes={options['layer_sizes'].write(config.layer_sizes)}"
    layers = () if config.layers is None else config.layers
    if len(layers) != len(config.layer_sizes):
        raise BadInputError(
            f"{sizes} are {len(config.layer_sizes)} sizes, and there must be as many "
            f"layers, not {len(layers)}."
        )
    for below, above in itertools.pairwise(config.layer_sizes):
        if below % above:
            raise BadInputError(f"{sizes}: {above} must divide {below}, the size below it.")
    wanted = {
        "network": "resnet",
        "hidden": options["hidden"].default,
        "encoder": None,
        "decoder": None,
        "inference": "top_down",
        "prior": "normal",
        "layer_hidden": options["layer_hidden"].default,
        "skip": False,
        "norm_groups": None,
        "size_factors": False,
    }
    for name, needed in wanted.items():
        value = getattr(config, name)
        if value != needed:
            text = "not given" if needed is None else options[name].write(needed)
            raise BadInputError(
                f"{name}={options[name].write(value)} is not for a very deep VAE, {sizes}, where "
                f"it is {text}."
            )
    if len(config.channels) != 1:
        raise BadInputError(
            f"channels={options['channels'].write(config.channels)} must be one number with "
            f"{sizes}, the channels of the path."
        )


def _discrete_priors(config: Any) -> str:
    """The priors with parameters of discrete latents, in words."""
    causal = ", ".join(spec.CAUSAL)
    return causal if config.latents in spec.CODES else f"vamp, autoregressive, {causal}"


def _check_codes(config: Any) -> None:
    """Refuses codes with what is for other latents, and their options elsewhere."""
    options, latents = config.OPTIONS, config.latents
    for name, users in OF_CODES.items():
        if latents not in users:
            _require_defaults(config, (name,), f"latents={users[0]}, and latents={latents}")
    if latents not in spec.CODES:
        if config.choice.of_codes or config.estimator == "rotation":
            what = "objective=codes" if config.choice.of_codes else "estimator=rotation"
            raise BadInputError(
                f"{what} is for the codes of a deterministic encoder, and latents={latents}: use "
                "latents=vq, fsq or lfq."
            )
        return
    if config.estimator not in by_name.OF_CODES:
        raise BadInputError(
            f"latents={latents} are codes of a deterministic encoder, whose gradient "
            f"estimator={config.estimator} does not have: use estimator=straight_through"
            f"{' or rotation' if latents == 'vq' else ''}."
        )
    if latents != "vq" and config.estimator == "rotation":
        raise BadInputError(
            f"estimator=rotation is for latents=vq, and latents={latents} have no codebook: use "
            "estimator=straight_through."
        )
    allowed = ("codes", "elbo", "beta") if latents == "fsq" else ("codes",)
    if config.objective not in allowed:
        raise BadInputError(
            f"objective={config.objective} is not for latents={latents}: use "
            f"objective={' or '.join(allowed)}."
        )
    size = 1
    for level in config.fsq_levels:
        if level < 2:
            raise BadInputError(
                f"fsq_levels={options['fsq_levels'].write(config.fsq_levels)} must be at least 2 "
                "each."
            )
        size *= level
    if size > MOST_CODES:
        raise BadInputError(
            f"fsq_levels={options['fsq_levels'].write(config.fsq_levels)} are {size:,} codes, and "
            f"an index has at most {MOST_CODES:,}: use fewer or smaller levels."
        )
    if config.code_dim % config.code_groups:
        raise BadInputError(
            f"code_groups={config.code_groups} must divide code_dim={config.code_dim}."
        )
    kinds = {
        (name or config.network) in spec.CONVOLUTIONAL for name in (config.encoder, config.decoder)
    }
    if len(kinds) > 1:
        raise BadInputError(
            f"latents={latents} need an encoder and a decoder that both keep the plane, conv or "
            f"resnet, or neither, and encoder={config.encoder or config.network} with decoder="
            f"{config.decoder or config.network} differ."
        )
    if kinds == {True}:
        _require_defaults(
            config,
            ("latent_dim", "hidden"),
            f"codes on a line, and the codes of latents={latents} with network={config.network} "
            "are in the plane",
        )
    for name, problem in (
        ("layers", config.layers is not None),
        ("prior", config.prior in ("vamp", "autoregressive", "conditional")),
        ("condition", config.condition == "partial_labels"),
        ("missingness", config.missingness != "random"),
        ("latent_size", config.latent_size),
    ):
        if problem:
            value = options[name].write(getattr(config, name))
            raise BadInputError(f"{name}={value} is not for latents={latents}.")


def _check_causal(config: Any) -> None:
    """Refuses options of causal networks where there is none, and sizes that do not fit."""
    is_prior, is_pixels = config.prior in spec.CAUSAL, config.pixels != "independent"
    if not is_prior:
        users = f"prior={' or '.join(spec.CAUSAL)}, and prior={config.prior}"
        _require_defaults(config, OF_PRIOR_NETWORKS, users)
    if not is_pixels:
        users = f"pixels={' or '.join(spec.CAUSAL)}, and pixels={config.pixels}"
        _require_defaults(config, OF_PIXEL_NETWORKS, users)
    names = {config.prior, config.pixels}
    if "pixelcnn" not in names:
        _require_defaults(config, ("causal_kernel",), "prior=pixelcnn or pixels=pixelcnn")
    if "transformer" not in names:
        _require_defaults(config, ("causal_heads",), "prior=transformer or pixels=transformer")
    if config.causal_kernel % 2 == 0:
        raise BadInputError(f"causal_kernel={config.causal_kernel} must be odd.")
    for name, width in (("prior", config.prior_width), ("pixels", config.pixel_width)):
        if getattr(config, name) == "transformer" and width % config.causal_heads:
            raise BadInputError(
                f"causal_heads={config.causal_heads} must divide "
                f"{'prior' if name == 'prior' else 'pixel'}_width={width}."
            )
    if is_pixels and config.likelihood in NOT_OF_PIXELS:
        raise BadInputError(
            f"pixels={config.pixels} needs the likelihood of one pixel, without parameters of each "
            f"place, and likelihood={config.likelihood}: use bernoulli, categorical, "
            "logistic_mixture or discretised_logistic."
        )
    if is_pixels and config.layer_sizes is not None:
        raise BadInputError(f"pixels={config.pixels} is not for layer_sizes.")
    if is_pixels and config.missing is not None:
        raise BadInputError(
            f"pixels={config.pixels} needs whole images, and missing={config.missing}."
        )

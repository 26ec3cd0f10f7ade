"""Contradictions between the options of the latents of a `Config`."""

import itertools
from typing import Any

from vae_jax.errors import BadInputError
from vae_jax.models.posteriors import POSTERIORS
from vae_jax.objectives import by_name

OF_REFINEMENT = ("refine_rate", "refine_samples", "refine_through")
OF_LAYERS = ("inference", "layer_hidden", "skip")
OF_LAYER_SIZES = ("patch_size", "bottleneck", "bfloat16", "remat")


def require_no_contradiction(config: Any) -> None:
    """Raises a BadInputError for options of the latents that contradict each other."""
    _check_refinement(config)
    _check_latents(config)
    _check_layers(config, config.choice)
    _check_layer_sizes(config)


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
            "use prior=vamp or autoregressive, or latents=normal."
        )
    if config.latents == "normal" and prior == "autoregressive":
        raise BadInputError(
            "prior=autoregressive is for discrete latents, and latents=normal is continuous: use "
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
            raise BadInputError(
                f"{name} couples two halves of the latents, and {of}"
                f"{smallest}: use at least {least} latents, or another family."
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

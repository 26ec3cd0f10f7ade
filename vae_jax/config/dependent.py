"""Fields of a `Config` that depend on others: their defaults, and contradictions."""

from typing import Any

from vae_jax.config import latent_checks
from vae_jax.errors import BadInputError
from vae_jax.models.conditions import CONDITION_IN
from vae_jax.models.likelihoods import LIKELIHOODS
from vae_jax.models.posteriors import FLOWS, POSTERIORS
from vae_jax.models.spec import WITH_DROPOUT
from vae_jax.objectives import by_name


def defaults(config: Any) -> dict[str, Any]:
    """The values of the fields that are None and depend on other fields of a `Config`."""
    choice, filled = config.choice, {}
    for name, default in choice.options.items():
        if getattr(config, name) is None:
            filled[name] = default
    if config.estimator == "concrete" and config.temperature is None:
        filled["temperature"] = by_name.DEFAULT_TEMPERATURE
    if config.num_samples is None:
        several = config.estimator == "vimco"
        filled["num_samples"] = by_name.SEVERAL if several else choice.num_samples
    if choice.annealed is not None:
        annealing = filled["anneal"] = config.anneal or choice.annealing
        if annealing != "none" and config.anneal_epochs is None:
            filled["anneal_epochs"] = config.epochs / (1 if annealing == "cyclical" else 2)
    return filled


def require_no_contradiction(config: Any) -> None:
    """Raises a BadInputError for fields of a `Config` that contradict each other."""
    choice = config.choice
    for name in by_name.OPTIONS:
        value = getattr(config, name)
        if value is not None and name not in choice.options:
            raise BadInputError(
                f"{name}={config.OPTIONS[name].write(value)} is not for "
                f"objective={config.objective} but for {', '.join(by_name.users_of(name))}."
            )
    if problem := by_name.conflict(
        config.objective,
        config.estimator,
        discrete_latents=config.latents != "normal",
        alpha=config.alpha,
    ):
        raise BadInputError(problem)
    if config.temperature is not None and config.estimator != "concrete":
        raise BadInputError(
            f"temperature={config.temperature} is for estimator=concrete, not for "
            f"estimator={config.estimator}."
        )
    _check_start(config)
    _check_users(config)
    _check_missing(config)
    _check_size(config)
    latent_checks.require_no_contradiction(config)
    _check_condition(config)
    _check_labels(config, choice)
    _check_likelihood(config)
    _check_annealing(config, choice)


# option -> the likelihoods, or the networks, that it is for
_OF_LIKELIHOODS = {
    "likelihood_std": ("gaussian",),
    "logistic_scale": ("discretised_logistic",),
    "num_logistics": ("logistic_mixture",),
    "num_trials": ("binomial",),
    "dispersion": ("negative_binomial", "zinb"),
    "size_factors": ("poisson", "negative_binomial", "zinb"),
}
_OF_NETWORKS = {
    "channels": ("conv", "resnet"),
    "num_blocks": ("resnet",),
    "norm_groups": ("conv", "resnet"),
}
_OF_ENCODERS = {"dropout": WITH_DROPOUT}
OF_POSTERIORS = {
    "posterior_rank": ("low_rank",),
    "posterior_components": ("mixture",),
    "chain_steps": ("uha",),
}
OF_PRIORS = {
    "prior_components": ("mixture", "vamp", "exemplar"),
    "prior_flow": ("flow",),
    "pseudo_inputs": ("vamp",),
}
_WITH_NETWORKS = ("iaf", "coupling", "spline")
OF_FLOWS = {
    "num_flows": (*FLOWS, "flow"),
    "flow_hidden": (*_WITH_NETWORKS, "flow", "autoregressive", "conditional"),
    "flow_context": _WITH_NETWORKS,
    "shared_flows": tuple(FLOWS),
    "sylvester_basis": ("sylvester",),
    "sylvester_columns": ("sylvester",),
}


def _check_start(config: Any) -> None:
    """Refuses to train a part alone where there is none, or nothing to train it on."""
    if config.train_only == "all":
        return
    if config.start is None:
        raise BadInputError(
            f"train_only={config.train_only} needs start, the folder of a finished run whose other "
            "parameters stay."
        )
    if config.train_only == "prior" and config.prior == "normal":
        raise BadInputError(
            "train_only=prior needs a prior with parameters, and prior=normal has none: use "
            "prior=mixture, vamp, exemplar, flow, autoregressive, pixelcnn or transformer."
        )


def _check_condition(config: Any) -> None:
    """Refuses parts that are none, and a condition that nothing of p(x|c) would take."""
    parts = config.condition_in.split(",")
    if not set(parts) <= set(CONDITION_IN) or len(set(parts)) < len(parts):
        raise BadInputError(
            f"condition_in={config.condition_in} must be some of {', '.join(CONDITION_IN)}, with "
            "commas between them."
        )
    # A VampPrior and an exemplar prior take what the encoder takes.
    of_prior = "encoder" if config.prior in ("vamp", "exemplar") else "prior"
    prior_takes_it = of_prior in parts and config.prior != "normal"
    layers_take_it = "prior" in parts and config.layers is not None
    if not ("decoder" in parts or prior_takes_it or layers_take_it):
        raise BadInputError(
            f"condition_in={config.condition_in} with prior={config.prior} makes p(x|c) the same "
            "for all conditions: add decoder, or prior with prior=conditional, mixture or flow."
        )
    if config.prior == "conditional" and "prior" not in parts:
        raise BadInputError(
            f"prior=conditional takes the condition, and condition_in={config.condition_in} "
            "leaves it out: add prior."
        )


def rate_of(missing: str | None) -> float | None:
    """The rate that `missing` names; None for a file, and for None."""
    try:
        return None if missing is None else float(missing)
    except ValueError:
        return None


def _check_missing(config: Any) -> None:
    """Refuses rates that are none, and models of masks that other options are not for."""
    rate = rate_of(config.missing)
    if rate is not None and not 0 < rate < 1:
        raise BadInputError(
            f"missing={config.missing} must be a rate above 0 and below 1, or a .csv file."
        )
    if rate is None and config.missing_seed != 0:
        raise BadInputError(
            f"missing_seed={config.missing_seed} is for a rate of missing values, such as "
            "missing=0.2."
        )
    if config.missingness == "random":
        return
    _require_none(
        config,
        f"missingness={config.missingness} makes missing values latent variables beside z",
        posterior=POSTERIORS[config.posterior].is_chain,
        refine_steps=config.refine_steps > 0,
        layers=config.layers is not None,
        dropout=config.dropout > 0.0,
    )
    if config.likelihood not in ("auto", *_WITH_SAMPLES):
        raise BadInputError(
            f"missingness={config.missingness} needs samples of missing values that can be "
            f"differentiated, which likelihood={config.likelihood} does not have: use "
            f"{', '.join(_WITH_SAMPLES)}."
        )


_WITH_SAMPLES = (
    *("gaussian", "gaussian_learned", "gaussian_per_dim", "gaussian_per_pixel"),
    *("laplace", "student_t", "log_normal"),
)


def _check_labels(config: Any, choice: by_name.Choice) -> None:
    """Refuses partly known labels without their objective, and what a sum over them is not for."""
    is_partial = config.condition == "partial_labels"
    if choice.of_labels != is_partial:
        raise BadInputError(
            f"objective={config.objective} with condition={config.condition}: objective=m2 and "
            "condition=partial_labels belong together."
        )
    if not is_partial:
        for name in ("num_labelled", "labelled_share", "class_weights"):
            known, value = config.OPTIONS[name], getattr(config, name)
            if value != known.default:
                raise BadInputError(f"{name}={known.write(value)} is for condition=partial_labels.")
        return
    _require_none(
        config,
        "condition=partial_labels makes labels latent variables beside z",
        latents=config.latents != "normal",
        layers=config.layers is not None,
        posterior=POSTERIORS[config.posterior].is_chain,
        prior=config.prior in ("vamp", "exemplar"),
        refine_steps=config.refine_steps > 0,
        dropout=config.dropout > 0.0,
        condition_dropout=config.condition_dropout > 0.0,
        size_factors=config.size_factors,
        missingness=config.missingness != "random",
    )


def _check_size(config: Any) -> None:
    """Refuses a latent size factor where there is none, or where latents are of another kind."""
    if not config.latent_size:
        return
    _require_none(
        config,
        "latent_size=true makes the size factor a latent variable beside z",
        size_factors=not config.size_factors,
        latents=config.latents != "normal",
        layers=config.layers is not None,
        posterior=POSTERIORS[config.posterior].is_chain,
        prior=config.prior in ("vamp", "exemplar"),
        refine_steps=config.refine_steps > 0,
        condition=config.condition == "partial_labels",
    )


def _require_none(config: Any, what: str, **problems: bool) -> None:
    """Refuses options that do not go with something. problems: name -> whether it does not."""
    for name, is_problem in problems.items():
        if is_problem:
            value = config.OPTIONS[name].write(getattr(config, name))
            raise BadInputError(f"{what}, which {name}={value} is not for.")


def _check_users(config: Any) -> None:
    """Refuses options of a likelihood or a network that is not chosen."""
    encoder, decoder = config.encoder or config.network, config.decoder or config.network
    uses = (
        ("likelihood", {config.likelihood}, _OF_LIKELIHOODS),
        ("network", {encoder, decoder}, _OF_NETWORKS),
        ("encoder", {encoder}, _OF_ENCODERS),
        ("posterior", {config.posterior}, OF_POSTERIORS),
        ("prior", {config.prior}, OF_PRIORS),
        ("posterior", _flows_of(config), OF_FLOWS),
    )
    groups = config.norm_groups
    if groups is not None and any(number % groups for number in config.channels):
        raise BadInputError(
            f"norm_groups={groups} must divide the channels, "
            f"{config.OPTIONS['channels'].write(config.channels)}."
        )
    for what, chosen, options in uses:
        for name, users in options.items():
            known, value = config.OPTIONS[name], getattr(config, name)
            if value == known.default or chosen & {*users, "auto"}:
                continue
            raise BadInputError(
                f"{name}={known.write(value)} is not for {what}="
                f"{', '.join(sorted(chosen))} but for {', '.join(users)}."
            )


def _flows_of(config: Any) -> set[str]:
    """The names of what may have options of flows: the posterior, the prior and its flow."""
    return {config.posterior, config.prior} | (
        {config.prior_flow} if config.prior == "flow" else set()
    )


def _check_likelihood(config: Any) -> None:
    if config.likelihood == "auto":
        return
    facts, target = LIKELIHOODS[config.likelihood], config.target_reconstruction
    is_binarised = config.binarisation not in ("auto", "none")
    if is_binarised and facts.measure == "density":
        raise BadInputError(
            f"likelihood={config.likelihood} is a density, which has no bound on black and white "
            "pixels: leave them grey with binarisation=none, or use likelihood=bernoulli."
        )
    if is_binarised and "binary" not in facts.kinds:
        raise BadInputError(
            f"likelihood={config.likelihood} is for counts, and binarisation={config.binarisation} "
            "for pixels: use binarisation=none."
        )
    if is_binarised and facts.kinds[0] == "8-bit":
        raise BadInputError(
            f"likelihood={config.likelihood} is for the 256 levels of 8-bit pixels: leave them "
            "grey with binarisation=none, or use likelihood=bernoulli for black and white."
        )
    if facts.measure == "mass" and target is not None and target >= 0.0:
        raise BadInputError(
            f"target_reconstruction={target} cannot be reached: log p(x|z) of likelihood="
            f"{config.likelihood} is a log-probability, below 0 nats."
        )


def _check_annealing(config: Any, choice: by_name.Choice) -> None:
    given = [name for name in ("anneal", "anneal_epochs") if getattr(config, name) is not None]
    if choice.annealed is None and given:
        users = [name for name, c in by_name.OBJECTIVES.items() if c.annealed]
        raise BadInputError(
            f"{given[0]}={getattr(config, given[0])} is not for objective={config.objective} but "
            f"for {', '.join(users)}; to anneal the KL term of the ELBO use objective=beta with "
            "beta=1."
        )
    if choice.annealed is None or config.anneal_epochs is None:
        return
    if (config.anneal or choice.annealing) == "none":
        raise BadInputError(
            f"anneal_epochs={config.anneal_epochs} needs anneal=linear, sigmoid or cyclical."
        )
    if not 0 < config.anneal_epochs <= config.epochs:
        raise BadInputError(
            f"anneal_epochs={config.anneal_epochs} must be above 0 and at most "
            f"epochs={config.epochs}."
        )

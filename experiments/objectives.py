"""Objectives and gradient estimators by name, their options, and which of them go together."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from absl import flags

from vae_jax import objectives, training
from vae_jax.errors import BadInputError
from vae_jax.models import ModelSpec
from vae_jax.objectives import Estimator, Objective, bounds, estimators, mmd, schedules

FLAGS = flags.FLAGS

ESTIMATORS = {
    "pathwise": estimators.pathwise,
    "stl": estimators.sticking_the_landing,
    "dreg": estimators.doubly_reparameterised,
    "score_function": estimators.score_function,
    "vimco": estimators.vimco,
    "concrete": estimators.concrete,  # of --temperature
}
KERNELS = {"rbf": mmd.rbf(), "imq": mmd.imq()}
ANNEALING = {
    "none": lambda value, num_steps: value,
    "linear": lambda value, num_steps: schedules.linear(0.0, value, num_steps),
    "sigmoid": lambda value, num_steps: schedules.sigmoid(0.0, value, num_steps),
    "cyclical": lambda value, num_steps: schedules.cyclical(0.0, value, num_steps),
}


class Choice(NamedTuple):
    """An objective that can be asked for by name."""

    build: Callable[..., Objective]  # of its options by name, and of `estimator` or `num_examples`
    options: Mapping[str, Any] = MappingProxyType({})  # flag -> default that trains well
    annealed: str | None = None  # the option that --anneal is for
    annealing: str = "none"  # default of --anneal
    estimators: tuple[str, ...] = tuple(ESTIMATORS)
    num_samples: int = 1  # default of --num_samples


def _maximise(make_bound: Callable[..., bounds.Bound]) -> Callable[..., Objective]:
    return lambda estimator, **options: objectives.maximise(make_bound(**options), estimator)


def _elbo(estimator: Estimator) -> Objective:
    """Its KL term in closed form, but for the estimators that are of the sampled one."""
    if estimator in (estimators.sticking_the_landing, estimators.doubly_reparameterised):
        return objectives.maximise(bounds.elbo, estimator)
    return objectives.closed_form_elbo(estimator)


def _piwae(estimator: Estimator, num_groups: int) -> Objective:
    return objectives.split(bounds.iwae, bounds.miwae(num_groups), estimator)


def _mmd(kernel: str, **options: Any) -> Objective:
    return objectives.info_vae(**options, kernel=KERNELS[kernel])


def _wae(kernel: str, **options: Any) -> Objective:
    return objectives.wae_mmd(**options, kernel=KERNELS[kernel])


# Objectives that are not functions of the log-weights alone have no sampled log q(z|x) to treat;
# those that penalise z itself need gradients through it.
_OF_THE_RECONSTRUCTION = ("pathwise", "score_function", "vimco", "concrete")
_THROUGH_Z = ("pathwise",)
_SEVERAL = 8

OBJECTIVES = {
    "elbo": Choice(_elbo),
    "sampled_elbo": Choice(_maximise(lambda: bounds.elbo)),
    "iwae": Choice(_maximise(lambda: bounds.iwae), num_samples=_SEVERAL),
    "renyi": Choice(_maximise(bounds.renyi), {"alpha": 0.5}, num_samples=_SEVERAL),
    "miwae": Choice(_maximise(bounds.miwae), {"num_groups": 2}, num_samples=_SEVERAL),
    "piwae": Choice(_piwae, {"num_groups": 2}, num_samples=_SEVERAL),
    "ciwae": Choice(_maximise(bounds.ciwae), {"beta": 0.5}, num_samples=_SEVERAL),
    "tvo": Choice(_maximise(bounds.tvo), {"num_intervals": 5}, num_samples=_SEVERAL),
    "beta": Choice(
        objectives.beta_vae, {"beta": 4.0}, annealed="beta", estimators=_OF_THE_RECONSTRUCTION
    ),
    "capacity": Choice(
        objectives.capacity,
        {"target_kl": 25.0, "gamma": 10.0},
        annealed="target_kl",
        annealing="linear",
        estimators=_OF_THE_RECONSTRUCTION,
    ),
    "free_bits": Choice(
        objectives.free_bits,
        {"free_nats": 0.1, "num_groups": None},
        annealed="free_nats",
        estimators=_OF_THE_RECONSTRUCTION,
    ),
    "geco": Choice(
        objectives.geco, {"target_reconstruction": -70.0}, estimators=_OF_THE_RECONSTRUCTION
    ),
    "beta_tc": Choice(
        objectives.beta_tcvae,
        {"beta": 4.0, "stratified": True},
        annealed="beta",
        estimators=_THROUGH_Z,
    ),
    "factor": Choice(
        objectives.factor_vae, {"gamma": 10.0}, annealed="gamma", estimators=_THROUGH_Z
    ),
    "dip_i": Choice(
        objectives.dip_vae_i, {"off_diagonal": 10.0, "diagonal": 10.0}, estimators=_THROUGH_Z
    ),
    "dip_ii": Choice(
        objectives.dip_vae_ii, {"off_diagonal": 10.0, "diagonal": 10.0}, estimators=_THROUGH_Z
    ),
    "mmd": Choice(
        _mmd,
        {"mmd_weight": 1000.0, "kl_weight": 0.1, "kernel": "rbf"},
        estimators=_THROUGH_Z,
    ),
    "wae": Choice(_wae, {"mmd_weight": 1000.0, "kernel": "imq"}, estimators=_THROUGH_Z),
}

# Options of objectives: what they mean. The values that they take are checked by the library.
_OPTIONS = {
    "alpha": "order of the Renyi bound; 1 is the ELBO, 0 IWAE, -inf the largest weight",
    "num_groups": "groups of samples; for free_bits of latents, one each if not given",
    "num_intervals": "of the integral over inverse temperatures",
    "beta": "weight of the KL term, the ELBO in ciwae, or the total correlation",
    "gamma": "weight of the distance to --target_kl, or of the total correlation",
    "target_kl": "nats that the KL term is held at",
    "free_nats": "nats of each group below which its KL term is free",
    "target_reconstruction": "least log p(x|z) in nats",
    "off_diagonal": "weight of covariances of latents",
    "diagonal": "weight of the distance of their variances from 1",
    "mmd_weight": "weight of the squared maximum mean discrepancy",
    "kl_weight": "weight of the KL term",
}


def users_of(option: str) -> dict[str, Any]:
    """The objectives that an option is for, with its default for each."""
    return {name: c.options[option] for name, c in OBJECTIVES.items() if option in c.options}


def _help(option: str, meaning: str) -> str:
    defaults = ", ".join(
        name + ("" if default is None else f" ({default})")
        for name, default in users_of(option).items()
    )
    return f"Of {defaults}: {meaning}."


flags.DEFINE_enum(
    "objective",
    "elbo",
    list(OBJECTIVES),
    "What to train for; docs/objectives.md has the equations. Its options are refused for others.",
)
flags.DEFINE_enum(
    "estimator",
    "pathwise",
    list(ESTIMATORS),
    "How the gradient is estimated. pathwise: through samples; stl, dreg: pathwise without the "
    "score; score_function, vimco: for any latents; concrete: for discrete ones, relaxed.",
)
flags.DEFINE_integer(
    "num_samples",
    None,
    "Posterior samples per image in training. Default: 1, or 8 for bounds of several samples and "
    "for vimco.",
    lower_bound=1,
)
for _option, _meaning in _OPTIONS.items():
    _define = flags.DEFINE_integer if _option.startswith("num_") else flags.DEFINE_float
    _define(_option, None, _help(_option, _meaning))
flags.DEFINE_boolean(
    "stratified", None, _help("stratified", "by stratified, not weighted, minibatches")
)
flags.DEFINE_enum("kernel", None, list(KERNELS), _help("kernel", "of the discrepancy"))
flags.DEFINE_float("temperature", None, "Of --estimator=concrete (0.5): lower has less bias.")
flags.DEFINE_enum(
    "anneal",
    None,
    list(ANNEALING),
    "How a coefficient rises from 0 to its value: "
    + ", ".join(f"{c.annealed} of {name}" for name, c in OBJECTIVES.items() if c.annealed)
    + ". Default: linear for capacity, else none.",
)
flags.DEFINE_float(
    "anneal_epochs",
    None,
    "Epochs until the coefficient has its value. Default: half of all; all for 4 cycles.",
)


def settle() -> None:
    """Gives the options of the objective their defaults, and checks that all go together.

    What cannot be trained is found by tracing a step of a tiny model, before any long work.

    Raises:
      BadInputError: an option, estimator or number does not go with the objective.
    """
    choice = OBJECTIVES[FLAGS.objective]
    for option in [*_OPTIONS, "stratified", "kernel"]:
        if option not in choice.options and FLAGS[option].value is not None:
            raise BadInputError(
                f"--{option} is not for --objective={FLAGS.objective} but for "
                f"{', '.join(users_of(option))}."
            )
        if option in choice.options and FLAGS[option].value is None:
            setattr(FLAGS, option, choice.options[option])
    if choice.estimators is _THROUGH_Z and FLAGS.latents != "normal":
        raise BadInputError(
            f"--objective={FLAGS.objective} needs gradients through the latents, which "
            f"--latents={FLAGS.latents} have not: use --latents=normal."
        )
    if FLAGS.estimator not in choice.estimators:
        reason = (
            "penalty needs gradients through the latents"
            if choice.estimators is _THROUGH_Z
            else "KL term is in closed form"
        )
        raise BadInputError(
            f"--estimator={FLAGS.estimator} cannot train --objective={FLAGS.objective}, whose "
            f"{reason}: use {' or '.join(choice.estimators)}."
        )
    if FLAGS.estimator in ("stl", "dreg") and FLAGS.alpha in (-math.inf, math.inf):
        raise BadInputError(
            f"--estimator={FLAGS.estimator} is badly biased for --alpha={FLAGS.alpha}, of which "
            "only one sample has a gradient: use pathwise or vimco."
        )
    if FLAGS.temperature is not None and FLAGS.estimator != "concrete":
        raise BadInputError(
            f"--temperature is for --estimator=concrete, not for {FLAGS.estimator}."
        )
    if FLAGS.estimator == "concrete" and FLAGS.temperature is None:
        FLAGS.temperature = 0.5
    _settle_annealing(choice)
    if FLAGS.num_samples is None:
        FLAGS.num_samples = _SEVERAL if FLAGS.estimator == "vimco" else choice.num_samples
    try:
        _trace_a_step()
    except (ValueError, TypeError) as error:
        raise BadInputError(
            f"--objective={FLAGS.objective} with --estimator={FLAGS.estimator}: {error}"
        ) from error


def _settle_annealing(choice: Choice) -> None:
    if choice.annealed is None:
        for name in ("anneal", "anneal_epochs"):
            if FLAGS[name].value is not None:
                users = [name for name, c in OBJECTIVES.items() if c.annealed]
                raise BadInputError(
                    f"--{name} is not for --objective={FLAGS.objective} but for "
                    f"{', '.join(users)}; to anneal the KL term of the ELBO use "
                    "--objective=beta --beta=1."
                )
        return
    if FLAGS.anneal is None:
        FLAGS.anneal = choice.annealing
    if FLAGS.anneal == "none":
        if FLAGS.anneal_epochs is not None:
            raise BadInputError("--anneal_epochs needs --anneal=linear, sigmoid or cyclical.")
        return
    if FLAGS.anneal_epochs is None:
        FLAGS.anneal_epochs = FLAGS.epochs / (1 if FLAGS.anneal == "cyclical" else 2)
    if not 0 < FLAGS.anneal_epochs <= FLAGS.epochs:
        raise BadInputError(
            f"--anneal_epochs={FLAGS.anneal_epochs} must be above 0 and at most "
            f"--epochs={FLAGS.epochs}."
        )


def numbers() -> dict[str, float]:
    """The options of the objective that are numbers which a step can take from its state."""
    names = [name for name in OBJECTIVES[FLAGS.objective].options if is_number(name)]
    if FLAGS.estimator == "concrete":
        names.append("temperature")
    return {name: FLAGS[name].value for name in names}


def is_number(option: str) -> bool:
    """Whether an option is a number on which no shape depends."""
    return option == "temperature" or (option in _OPTIONS and not option.startswith("num_"))


NUMBERS = ["temperature", *filter(is_number, _OPTIONS)]
SHAPES = ["objective", "estimator", "num_samples", "num_groups", "num_intervals", "kernel"]


def make_objective(
    num_examples: int,
    steps_per_epoch: int,
    numbers: Mapping[str, jax.Array] = MappingProxyType({}),
) -> Objective:
    """The objective of --objective and its options, once they are settled.

    Args:
      num_examples: of the training data.
      steps_per_epoch: for --anneal_epochs.
      numbers: what to take in place of the flags that `numbers` names.
    """
    choice = OBJECTIVES[FLAGS.objective]
    options = {option: numbers.get(option, FLAGS[option].value) for option in choice.options}
    temperature = numbers.get("temperature", FLAGS.temperature)
    context = _context(choice, num_examples, temperature)
    if choice.annealed is not None and FLAGS.anneal != "none":
        # Its number is checked here, as a schedule cannot be.
        choice.build(**options, **context)
        num_steps = max(1, round(FLAGS.anneal_epochs * steps_per_epoch))
        options[choice.annealed] = ANNEALING[FLAGS.anneal](options[choice.annealed], num_steps)
    return choice.build(**options, **context)


def _context(
    choice: Choice, num_examples: int, temperature: float | jax.Array | None
) -> dict[str, Any]:
    if choice.build is objectives.beta_tcvae:
        return {"num_examples": num_examples}
    if choice.estimators is _THROUGH_Z:
        return {}
    estimator = ESTIMATORS[FLAGS.estimator]
    return {"estimator": estimator(temperature) if FLAGS.estimator == "concrete" else estimator}


def _trace_a_step() -> None:
    """Traces, without compiling, a step with the given sizes on a model of one pixel."""
    model = ModelSpec(
        event_shape=(1,),
        latent_dim=FLAGS.latent_dim,
        latents=FLAGS.latents,
        num_categories=FLAGS.num_categories,
        network="mlp",
        hidden=(),
    ).build()
    trainer = training.make_trainer(
        model,
        make_objective(num_examples=10 * FLAGS.batch_size, steps_per_epoch=10, numbers={}),
        optax.sgd(0.1),
        num_samples=FLAGS.num_samples,
    )
    state = jax.eval_shape(trainer.init, jax.random.key(0), jnp.zeros(1))
    jax.eval_shape(trainer.step, state, jnp.zeros((FLAGS.batch_size, 1)))

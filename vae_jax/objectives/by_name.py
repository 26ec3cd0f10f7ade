"""Objectives and gradient estimators by name, their options, and which of them go together."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import jax

from vae_jax.objectives import bounds, estimators, mmd, schedules
from vae_jax.objectives.codes import codes
from vae_jax.objectives.dip import dip_vae_i, dip_vae_ii
from vae_jax.objectives.estimators import Estimator
from vae_jax.objectives.factor import factor_vae
from vae_jax.objectives.geco import geco
from vae_jax.objectives.layers import layer_warm_up
from vae_jax.objectives.m2 import m2
from vae_jax.objectives.mmd import info_vae, wae_mmd
from vae_jax.objectives.objective import Objective, closed_form_elbo, maximise, split
from vae_jax.objectives.total_correlation import beta_tcvae
from vae_jax.objectives.weighted_kl import beta_vae, capacity, free_bits

ESTIMATORS = {
    "pathwise": estimators.pathwise,
    "stl": estimators.sticking_the_landing,
    "dreg": estimators.doubly_reparameterised,
    "score_function": estimators.score_function,
    "vimco": estimators.vimco,
    "concrete": estimators.concrete,  # of a temperature
    "straight_through": estimators.straight_through,
    "rotation": estimators.rotation,
}
OF_CODES = ("straight_through", "rotation")  # estimators of deterministic codes
KERNELS = {"rbf": mmd.rbf(), "imq": mmd.imq()}
ANNEALING = {
    "none": lambda value, num_steps: value,
    "linear": lambda value, num_steps: schedules.linear(0.0, value, num_steps),
    "sigmoid": lambda value, num_steps: schedules.sigmoid(0.0, value, num_steps),
    "cyclical": lambda value, num_steps: schedules.cyclical(0.0, value, num_steps),
}
SEVERAL = 8  # number of posterior samples, where one is not enough
DEFAULT_TEMPERATURE = 0.5


class Labels(NamedTuple):
    """The labels of training data, some of which are missing; see `m2`."""

    labelled_share: float = 1.0
    repeats: float = 1.0
    class_weights: tuple[float, ...] | None = None


class Choice(NamedTuple):
    """An objective with a name, and its options."""

    build: Callable[..., Objective]  # (**options, estimator= or num_examples=) -> objective
    options: Mapping[str, Any] = MappingProxyType({})  # option -> default
    annealed: str | None = None  # option that can rise from 0
    annealing: str = "none"  # default schedule of that option
    estimators: tuple[str, ...] = tuple(ESTIMATORS)
    num_samples: int = 1  # default
    of_layers: bool = False  # whether it is for hierarchies alone
    of_labels: bool = False  # whether it is for models of partly known labels alone
    of_codes: bool = False  # whether it is for deterministic codes alone

    @property
    def needs_path(self) -> bool:
        """Whether a penalty needs gradients through the latents."""
        return self.estimators is _THROUGH_Z


def _maximise(make_bound: Callable[..., bounds.Bound]) -> Callable[..., Objective]:
    return lambda estimator, **options: maximise(make_bound(**options), estimator)


def _elbo(estimator: Estimator) -> Objective:
    """The ELBO. Its KL term is sampled for the estimators that treat the gradient of log q(z|x)."""
    if estimator in (estimators.sticking_the_landing, estimators.doubly_reparameterised):
        return maximise(bounds.elbo, estimator)
    return closed_form_elbo(estimator)


def _piwae(estimator: Estimator, num_groups: int) -> Objective:
    return split(bounds.iwae, bounds.miwae(num_groups), estimator)


def _mmd(kernel: str, **options: Any) -> Objective:
    return info_vae(**options, kernel=KERNELS[kernel])


def _wae(kernel: str, **options: Any) -> Objective:
    return wae_mmd(**options, kernel=KERNELS[kernel])


# Objectives that are not functions of the log-weights alone have no sampled log q(z|x), whose
# gradient the estimators could change. Objectives that penalise z need gradients through z.
_OF_THE_RECONSTRUCTION = ("pathwise", "score_function", "vimco", "concrete", *OF_CODES)
_THROUGH_Z = ("pathwise",)

OBJECTIVES = {
    "elbo": Choice(_elbo),
    "sampled_elbo": Choice(_maximise(lambda: bounds.elbo)),
    "iwae": Choice(_maximise(lambda: bounds.iwae), num_samples=SEVERAL),
    "renyi": Choice(_maximise(bounds.renyi), {"alpha": 0.5}, num_samples=SEVERAL),
    "miwae": Choice(_maximise(bounds.miwae), {"num_groups": 2}, num_samples=SEVERAL),
    "piwae": Choice(_piwae, {"num_groups": 2}, num_samples=SEVERAL),
    "ciwae": Choice(_maximise(bounds.ciwae), {"beta": 0.5}, num_samples=SEVERAL),
    "tvo": Choice(_maximise(bounds.tvo), {"num_intervals": 5}, num_samples=SEVERAL),
    "beta": Choice(beta_vae, {"beta": 4.0}, annealed="beta", estimators=_OF_THE_RECONSTRUCTION),
    "capacity": Choice(
        capacity,
        {"target_kl": 25.0, "gamma": 10.0},
        annealed="target_kl",
        annealing="linear",
        estimators=_OF_THE_RECONSTRUCTION,
    ),
    "free_bits": Choice(
        free_bits,
        {"free_nats": 0.1, "num_groups": None},
        annealed="free_nats",
        estimators=_OF_THE_RECONSTRUCTION,
    ),
    "layer_warm_up": Choice(
        layer_warm_up,
        {"beta": 1.0, "layer_weights": "in_turn"},
        annealed="beta",
        annealing="linear",
        estimators=_OF_THE_RECONSTRUCTION,
        of_layers=True,
    ),
    "geco": Choice(geco, {"target_reconstruction": -70.0}, estimators=_OF_THE_RECONSTRUCTION),
    "codes": Choice(
        codes,
        {
            "commitment": 0.25,
            "codebook": "average",
            "codebook_decay": 0.99,
            "restart_share": 0.03,
            "entropy_weight": 0.0,
        },
        estimators=OF_CODES,
        of_codes=True,
    ),
    "m2": Choice(m2, {"label_weight": 0.1}, estimators=_OF_THE_RECONSTRUCTION, of_labels=True),
    "beta_tc": Choice(
        beta_tcvae, {"beta": 4.0, "stratified": True}, annealed="beta", estimators=_THROUGH_Z
    ),
    "factor": Choice(factor_vae, {"gamma": 10.0}, annealed="gamma", estimators=_THROUGH_Z),
    "dip_i": Choice(dip_vae_i, {"off_diagonal": 10.0, "diagonal": 10.0}, estimators=_THROUGH_Z),
    "dip_ii": Choice(dip_vae_ii, {"off_diagonal": 10.0, "diagonal": 10.0}, estimators=_THROUGH_Z),
    "mmd": Choice(
        _mmd,
        {"mmd_weight": 1000.0, "kl_weight": 0.1, "kernel": "rbf"},
        estimators=_THROUGH_Z,
    ),
    "wae": Choice(_wae, {"mmd_weight": 1000.0, "kernel": "imq"}, estimators=_THROUGH_Z),
}
OPTIONS = tuple(dict.fromkeys(name for choice in OBJECTIVES.values() for name in choice.options))


def users_of(option: str) -> dict[str, Any]:
    """The objectives that have an option, with its default for each."""
    return {name: c.options[option] for name, c in OBJECTIVES.items() if option in c.options}


def conflict(
    objective: str, estimator: str, *, discrete_latents: bool, alpha: float | None = None
) -> str | None:
    """A sentence that says why an objective cannot be trained by an estimator; None if it can.

    Args:
      objective: name of an objective.
      estimator: name of an estimator.
      discrete_latents: whether the latents are discrete, so that no gradient passes through them.
      alpha: order of the Renyi bound, if there is one.
    """
    choice = OBJECTIVES[objective]
    if choice.needs_path and discrete_latents:
        return (
            f"objective={objective} needs gradients through the latents, which discrete latents do "
            "not have: use latents=normal."
        )
    if estimator not in choice.estimators:
        reason = "KL term is in closed form"
        if choice.needs_path:
            reason = "penalty needs gradients through the latents"
        if choice.of_codes:
            reason = "codes have no gradient of their own"
        return (
            f"estimator={estimator} cannot train objective={objective}, whose {reason}: use "
            f"{' or '.join(choice.estimators)}."
        )
    if estimator in ("stl", "dreg") and alpha in (-math.inf, math.inf):
        return (
            f"estimator={estimator} is badly biased for alpha={alpha}, where only one sample has a "
            "gradient: use pathwise or vimco."
        )
    return None


def build(
    objective: str,
    options: Mapping[str, Any],
    *,
    estimator: str,
    num_examples: int,
    temperature: float | jax.Array | None = None,
    annealing: str | None = None,
    annealing_steps: int = 1,
    labels: Labels | None = None,
) -> Objective:
    """Makes the objective of a name.

    Args:
      objective: a name in OBJECTIVES.
      options: option -> value, for every option of the objective. A number may be an array of a
        sweep.
      estimator: a name in ESTIMATORS.
      num_examples: size of the training data.
      temperature: temperature of the estimator "concrete".
      annealing: a name in ANNEALING, or None for none.
      annealing_steps: number of steps until the annealed option has its value.
      labels: labels of the training data, for the objective "m2".

    Raises:
      ValueError: an option is out of its range.
    """
    choice, options = OBJECTIVES[objective], dict(options)
    context: dict[str, Any]
    if choice.build is beta_tcvae:
        context = {"num_examples": num_examples}
    elif choice.needs_path:
        context = {}
    elif estimator == "concrete":
        context = {"estimator": estimators.concrete(cast(float, temperature))}
    else:
        context = {"estimator": ESTIMATORS[estimator]}
    if choice.of_labels:
        context |= (labels or Labels())._asdict()
    if choice.annealed is not None and annealing not in (None, "none"):
        choice.build(**options, **context)  # which checks the number; a schedule would hide it
        rise = ANNEALING[annealing]
        options[choice.annealed] = rise(options[choice.annealed], max(1, annealing_steps))
    return choice.build(**options, **context)

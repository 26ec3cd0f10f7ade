"""Likelihoods by name, and what each is for."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from vae_jax.models import heads
from vae_jax.models.heads import Head


class Likelihood(NamedTuple):
    """A likelihood by name, and the facts of it.

    Attributes:
      head: description of a model -> head.
      kinds: kinds of data that it is for, see `data.Kind`; the first is the usual one.
      measure: what its log-probabilities are: those of a mass, of a density, or neither.
      starts_at_scale: whether it has a scale that starts at that of the data.
      is_by_value: whether each value of an example has a probability of its own, so that some of
        them may be missing.
    """

    head: Callable[[Any], Head]
    kinds: tuple[str, ...]
    measure: Literal["mass", "density", "neither"]
    starts_at_scale: bool = False
    is_by_value: bool = True


def _of_head(dispersion: str) -> str:
    """The dispersions of the head, to which a table of the condition is added."""
    return "dim" if dispersion == "condition" else dispersion


_GREY = ("intensities", "8-bit")
_REAL = ("real", *_GREY)
_LEVELS = ("8-bit", "binary")
_DENSITIES: dict[str, Callable[[Any], Head]] = {
    "gaussian_learned": lambda spec: heads.normal_learned_scale(spec.initial_std),
    "gaussian_per_dim": lambda spec: heads.normal_scale_per_dim(spec.initial_std),
    "gaussian_per_pixel": lambda spec: heads.diagonal_normal(spec.initial_std),
    "laplace": lambda spec: heads.laplace(spec.initial_std),
    "student_t": lambda spec: heads.student_t(spec.initial_std),
}
_COUNTS: dict[str, Callable[[Any], Head]] = {
    "poisson": lambda spec: heads.poisson(spec.size_factors),
    "negative_binomial": lambda spec: heads.negative_binomial(
        _of_head(spec.dispersion), spec.size_factors
    ),
    "zinb": lambda spec: heads.zero_inflated_negative_binomial(
        _of_head(spec.dispersion), spec.size_factors
    ),
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
    "discretised_gaussian": Likelihood(lambda spec: heads.discretised_normal(), _LEVELS, "mass"),
    "logistic_mixture": Likelihood(
        lambda spec: heads.logistic_mixture(spec.num_logistics), _LEVELS, "mass", is_by_value=False
    ),
    "categorical": Likelihood(lambda spec: heads.categorical_levels(256), _LEVELS, "mass"),
    "columns": Likelihood(lambda spec: heads.columns(spec.columns or ()), ("mixed",), "density"),
    "binomial": Likelihood(lambda spec: heads.binomial(spec.num_trials or 1), ("count",), "mass"),
    **{name: Likelihood(head, ("count",), "mass") for name, head in _COUNTS.items()},
}

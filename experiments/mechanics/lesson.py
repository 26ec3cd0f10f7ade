"""A step of the lesson: sentences, numbers, pictures, and equations that hold or do not."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vae_jax.errors import DoesNotHoldError
from vae_jax.figures import Figure
from vae_jax.models import Model, Params

STANDARD_ERRORS = 4.0  # standard errors that a mean of samples may be away from its expectation
QUADRATURE = 1e-5  # nats by which the results of two rules may differ on any network


class Check(NamedTuple):
    """An equation in numbers."""

    equation: str
    computed: str
    residual: float  # error of the equation, or the amount by which an inequality is violated
    allowed: float

    @property
    def holds(self) -> bool:
        return bool(self.residual <= self.allowed)  # not if it is nan


class Result(NamedTuple):
    """The result of a step."""

    lines: list[str]
    checks: list[Check]
    figures: dict[str, Figure]  # file name -> figure
    numbers: dict[str, Any]  # for mechanics.json


class Subject(NamedTuple):
    """The subject of the lesson: a VAE of two latent variables, during and after training."""

    model: Model
    snapshots: dict[int, Params]  # epoch -> parameters, of the training with both terms
    trained: dict[str, Params]  # terms in training -> parameters; first: both terms
    x: np.ndarray  # [N, *event] float32, test images

    @property
    def params(self) -> Params:
        """The parameters of the VAE that was trained with both terms of the ELBO."""
        return next(iter(self.trained.values()))


def t_statistic(samples: np.ndarray, expected: float) -> float:
    """|mean - expected| in standard errors of the mean. samples: [N]."""
    samples = np.asarray(samples, np.float64)
    error = samples.std(ddof=1) / np.sqrt(len(samples))
    return float(abs(samples.mean() - expected) / error)


def table(checks: Sequence[tuple[int, Check]]) -> str:
    """The equations and whether they hold, at most 100 columns wide. checks: (step, check)."""
    lines = [f"{'':3}{'equation':36}{'what was computed':36}{'residual':>9}{'allowed':>8}  holds?"]
    for step, check in checks:
        lines.append(
            f"{step}  {check.equation:36}{check.computed:36}{check.residual:9.1e}"
            f"{check.allowed:8g}  {'yes' if check.holds else 'NO'}"
        )
    return "\n".join(lines)


def require_all(checks: Sequence[tuple[int, Check]]) -> None:
    """Raises a DoesNotHoldError that names the equations that do not hold."""
    wrong = [f"{check.equation} (step {step})" for step, check in checks if not check.holds]
    if wrong:
        raise DoesNotHoldError(f"{len(wrong)} of {len(checks)} do not hold: {'; '.join(wrong)}.")

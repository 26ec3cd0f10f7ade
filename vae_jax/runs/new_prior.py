"""A new prior for a finished run, fitted to the codes of its training examples."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from vae_jax.config import Config, Hardware
from vae_jax.data import Dataset
from vae_jax.errors import BadInputError
from vae_jax.models.spec import CODES, PRIORS
from vae_jax.objectives import by_name
from vae_jax.runs.events import Listener
from vae_jax.runs.fit import fit
from vae_jax.runs.report import write_report
from vae_jax.runs.run import Run
from vae_jax.runs.stop import StopSignal

_SHOWN = 64  # samples of each prior in the figure
_KEPT = ("seed", "batch_size", "warmup_steps", "checkpoint_every", "nll_samples")


class NewPrior(NamedTuple):
    """What a new prior brings to a run.

    Attributes:
      before: the run with its old prior.
      after: the run with the new one; encoder and decoder are the same.
    """

    before: Run
    after: Run

    def __str__(self) -> str:
        old: Any = self.before.summary or {}
        new: Any = self.after.summary or {}
        of_codes = self.after.config.latents in CODES
        rows = {
            "test NLL" if of_codes else f"test NLL, K={new['nll_samples']}": "test_nll",
            "test ELBO": "test_elbo",
            "KL": "test_kl",
        }
        names = [written(run.config) for run in (self.before, self.after)]
        lines = [f"{'nats per test example':24} {names[0]:>16} {names[1]:>16} {'difference':>12}"]
        lines += [
            f"{label:24} {old[name]:16.3f} {new[name]:16.3f} {new[name] - old[name]:+12.3f}"
            for label, name in rows.items()
        ]
        return "\n".join(lines)


def fit_prior(
    run: Run,
    prior: str,
    workdir: str | Path,
    *,
    epochs: int = 20,
    learning_rate: float = 5e-3,
    dataset: Dataset | None = None,
    hardware: Hardware | None = None,
    listeners: Iterable[Listener] | None = None,
    stop: StopSignal | None = None,
    **options: Any,
) -> NewPrior:
    """Fits a new prior to the codes of a finished run, whose encoder and decoder stay.

    The prior maximises the mean of log p(z) over z ~ q(z|x) of the training examples, which is all
    that the ELBO has of it, and so minimises KL(q(z) || p(z)) of the aggregate posterior q(z)
    (Hoffman & Johnson 2016). With the new p(z) the model is another one, and its ELBO and its
    importance-weighted bound are bounds on its log p(x) like any other.

    Args:
      run: a finished run.
      prior: family of the new prior, and after a colon its number of components or the name of its
        flow: "gmm:50" or "mixture:50", "vamp:500", "exemplar:500", "flow:spline", for discrete
        latents "autoregressive", and for these and for codes "pixelcnn" and "transformer".
      workdir: folder of the new run, which is like any other: it can be loaded, evaluated, and
        compared with the old one. Its flags.cfg has the new prior with start=RUN and
        train_only=prior.
      epochs: the same as of a `Config`, of this training.
      learning_rate: the same as of a `Config`, of this training.
      dataset: data of the run, if its configuration does not find them; None otherwise.
      hardware: the same as for `fit`.
      listeners: the same as for `fit`.
      stop: the same as for `fit`.
      **options: more fields of a `Config`, such as num_flows.

    Raises:
      BadInputError: the prior is unknown or not for the latents of the run, or what `fit` raises.
    """
    if run.metadata.get("model") is None:
        raise BadInputError(
            f"The run in {run.folder.path} has a model of the user's own, to which no prior is "
            "given by name: make a model with the new prior, and fit it."
        )
    config = _config_of(run, prior, epochs=epochs, learning_rate=learning_rate, **options)
    after = fit(
        config,
        dataset,
        workdir,
        hardware=hardware,
        listeners=listeners,
        stop=stop,
    )
    _draw(run, after)
    return NewPrior(run, after)


def _config_of(run: Run, prior: str, **changes: Any) -> Config:
    """The configuration of the run with the new prior."""
    if "train_only" in changes or "start" in changes:
        raise BadInputError("start and train_only are what fit_prior sets: leave them out.")
    of_training = {
        name: known.default
        for name, known in Config.OPTIONS.items()
        if known.group == "optimisation" and name not in _KEPT
    }
    of_prior = {name: Config.OPTIONS[name].default for name in ("prior_components", "prior_flow")}
    of_objective: dict[str, Any] = {}
    if run.config.latents == "normal":  # discrete latents need their estimator
        of_objective = dict.fromkeys((*by_name.OPTIONS, "temperature", "anneal", "anneal_epochs"))
        of_objective |= {"objective": "elbo", "estimator": "pathwise", "num_samples": 1}
    values: dict[str, Any] = of_training | of_prior | of_objective | parsed(prior) | changes
    start: dict[str, Any] = {
        "start": str(run.folder.path.resolve()),
        "train_only": "prior",
        "keep": "last",
    }
    return dataclasses.replace(run.config, **(values | start))


def parsed(prior: str) -> dict[str, Any]:
    """The fields of a `Config` that a text such as "gmm:50" or "flow:spline" means.

    Raises:
      BadInputError: the text is of another form, or has an unknown name.
    """
    name, colon, rest = prior.partition(":")
    name = {"gmm": "mixture"}.get(name, name)
    allowed = [known for known in PRIORS if known != "normal"]
    if name not in allowed:
        raise BadInputError(
            f"prior={prior} is unknown: use gmm:N or {', '.join(allowed)}, those of components "
            "with :N after them, and flow with the name of one, such as flow:spline."
        )
    if not colon:
        return {"prior": name}
    if name == "flow":
        return {"prior": name, "prior_flow": rest}
    if PRIORS[name] is None or not rest.isdecimal() or int(rest) < 1:
        raise BadInputError(
            f"prior={prior}: after the colon is the number of components of mixture, vamp or "
            "exemplar, such as gmm:50, or the name of a flow."
        )
    return {"prior": name, "prior_components": int(rest)}


def written(config: Config) -> str:
    """The prior of a configuration in the form that `parsed` reads."""
    if config.prior == "flow":
        return f"flow:{config.prior_flow}"
    number = config.prior_components or PRIORS[config.prior]
    return config.prior if number is None else f"{config.prior}:{number}"


def _draw(before: Run, after: Run) -> None:
    """Draws samples of both priors side by side, for images, and writes the page again."""
    shape = tuple(after.metadata["event_shape"])
    is_conditional = after.metadata.get("condition_shape") is not None or after.config.size_factors
    if len(shape) != 3 or shape[-1] not in (1, 3) or is_conditional:
        return
    from vae_jax import figures

    white = 1.0 if after.metadata.get("data_kind") != "count" else None
    drawn = {}
    for run in (before, after):
        means = np.asarray(run.sample(jax.random.key(after.config.seed), _SHOWN))
        drawn[f"prior {written(run.config)}"] = np.clip(means / (white or means.max()), 0.0, 1.0)
    figures.save(figures.side_by_side(drawn), after.folder.figures / "priors.png")
    write_report(after.folder)

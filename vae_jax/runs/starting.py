"""The first state of a run that starts with the parameters of another."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from vae_jax.config import Config
from vae_jax.errors import BadInputError
from vae_jax.models import ModelSpec
from vae_jax.models.posteriors import POSTERIORS
from vae_jax.runs.folder import RunFolder
from vae_jax.runs.resuming import Lane
from vae_jax.trained import load
from vae_jax.training import TrainState

_OF_THE_PRIOR = {
    *("prior", "prior_components", "prior_flow", "num_flows", "flow_hidden", "flow_context"),
    *("shared_flows", "sylvester_basis", "sylvester_columns"),
}


def started(fresh: TrainState, lane: Lane, spec: ModelSpec | None) -> TrainState:
    """The state before the first step, with the parameters of the run `start` if there is one.

    Args:
      fresh: state with parameters that are drawn at random.
      lane: run to be trained. Where it has a checkpoint already, the state stays as it is.
      spec: description of the model; None for a model of the user's own.

    Raises:
      BadInputError: the folder holds no run, or one of another model.
    """
    start = lane.config.start
    if start is None or lane.folder.metadata() is not None:
        return fresh
    other = load(start)
    params = dict(other.params)
    of_other = other.metadata["model"]
    if spec is not None and of_other is not None:
        _require_same_model(spec, ModelSpec(**of_other), start)
        if _prior_of(spec) != _prior_of(ModelSpec(**of_other)):
            params["prior"] = fresh.params["prior"]
    if _shapes(params) != _shapes(fresh.params):
        raise BadInputError(f"start={start} holds a run of another model, with other parameters.")
    return fresh._replace(params=params, average_params=jax.tree.map(jnp.copy, params))


def require_start(config: Config) -> None:
    """Raises a BadInputError if `start` names no folder of a run."""
    if config.start is not None and RunFolder(config.start).recorded() is None:
        raise BadInputError(
            f"start={config.start} holds no flags.cfg, as the folder of a run does."
        )


def _require_same_model(spec: ModelSpec, other: ModelSpec, start: str) -> None:
    """Raises a BadInputError that names what differs, but for the prior."""
    for field in dataclasses.fields(spec):
        ours, theirs = getattr(spec, field.name), getattr(other, field.name)
        of_prior = field.name in ("prior", "prior_components", "prior_flow") or (
            field.name in _OF_THE_PRIOR and not POSTERIORS[spec.posterior].is_flow
        )
        if ours != theirs and not of_prior:
            raise BadInputError(
                f"start={start} holds a run with {field.name}={theirs}, and this one has "
                f"{field.name}={ours}: only the prior may differ."
            )


def _prior_of(spec: ModelSpec) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in _OF_THE_PRIOR}


def _shapes(params: Any) -> Any:
    return jax.tree.map(lambda leaf: (jnp.shape(leaf), str(leaf.dtype)), params)

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

_OF_FLOWS = (
    *("num_flows", "flow_hidden", "flow_context", "shared_flows"),
    *("sylvester_basis", "sylvester_columns"),
)
_OF_THE_PRIOR = ("prior", "prior_components", "prior_flow", "prior_width", "prior_layers")
_OF_CAUSAL = ("causal_kernel", "causal_heads")  # also of the pixels, if they are not independent
_OF_THE_POSTERIOR = (
    *("posterior", "posterior_rank", "posterior_components", "chain_steps"),
    *("refine_steps", "refine_rate", "refine_samples", "refine_through"),
)
_ENCODER = ("encoder", "posterior", "chain")  # names of its parameters


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
    if spec is not None and other.metadata["model"] is not None:
        theirs = ModelSpec(**other.metadata["model"])
        _require_same_model(spec, theirs, start)
        if _of(spec, _OF_THE_PRIOR) != _of(theirs, _OF_THE_PRIOR):
            params["prior"] = fresh.params["prior"]
        if _of(spec, _OF_THE_POSTERIOR) != _of(theirs, _OF_THE_POSTERIOR):
            of_fresh = {name: fresh.params.get(name) for name in _ENCODER}
            params = {name: of for name, of in params.items() if name not in _ENCODER}
            params |= {name: of for name, of in of_fresh.items() if of is not None}
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
    """Raises a BadInputError that names what differs, but for the prior and the posterior."""
    free: tuple[str, ...] = (*_OF_THE_PRIOR, *_OF_THE_POSTERIOR, *_OF_FLOWS)
    free += _OF_CAUSAL if spec.pixels == "independent" else ()
    for field in dataclasses.fields(spec):
        if field.name in free:
            continue
        ours, theirs = getattr(spec, field.name), getattr(other, field.name)
        if ours != theirs:
            raise BadInputError(
                f"start={start} holds a run with {field.name}={theirs}, and this one has "
                f"{field.name}={ours}: only the prior and the posterior may differ."
            )


def _of(spec: ModelSpec, names: tuple[str, ...]) -> dict[str, Any]:
    """What the prior or the posterior depends on; a flow also on the options of flows."""
    found = {name: getattr(spec, name) for name in names}
    has_flow = (
        spec.prior == "flow" if names == _OF_THE_PRIOR else POSTERIORS[spec.posterior].is_flow
    )
    return found | ({name: getattr(spec, name) for name in _OF_FLOWS} if has_flow else {})


def _shapes(params: Any) -> Any:
    return jax.tree.map(lambda leaf: (jnp.shape(leaf), str(leaf.dtype)), params)

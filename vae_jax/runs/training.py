"""Training of one run, or of several side by side in one program, epoch by epoch."""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import evidence, processes, training
from vae_jax.config import Config, Hardware, written
from vae_jax.models import Batch, Model, ModelSpec
from vae_jax.runs import recipe, validation
from vae_jax.runs.classes import accuracy
from vae_jax.runs.compiling import Program, compile_program
from vae_jax.runs.events import Began, Diverged, EndedEarly, EpochDone, Listener, Saved
from vae_jax.runs.examples import Examples, fingerprints, mean_of, require_support
from vae_jax.runs.resuming import Lane, restore_ended, resume
from vae_jax.runs.starting import started
from vae_jax.runs.stop import StopSignal
from vae_jax.runs.versions import versions
from vae_jax.training import TrainState, streamed, sweep


class Keys(NamedTuple):
    """The keys of a run, each for one purpose."""

    train: jax.Array
    validation: jax.Array
    test: jax.Array
    shown: jax.Array
    figures: jax.Array


class Trained(NamedTuple):
    """The result of training a run."""

    state: TrainState
    compile_seconds: float
    num_devices: int
    at_once: int  # number of runs that were trained in the same program


def keys_of(lane: Lane) -> Keys:
    """Derives the keys of a run from its seed."""
    return Keys(*jax.random.split(jax.random.key(lane.config.seed), len(Keys._fields)))


def origin(
    lane: Lane, examples: Examples, spec: ModelSpec | None, data_crc32: list[int]
) -> dict[str, Any]:
    """The metadata in the checkpoints of a run.

    spec: description of the model; None for a model of the user's own.
    """
    return {
        "model": None if spec is None else dataclasses.asdict(spec),
        "event_shape": list(examples.facts.event_shape),
        "condition_shape": examples.facts.condition_shape,
        "data_kind": examples.kind,
        "columns": None if examples.columns is None else list(examples.columns),
        "covariates": None if examples.covariates is None else list(map(list, examples.covariates)),
        "schema": None if examples.schema is None else list(map(list, examples.schema)),
        "dataset": examples.name,
        "binarisation": lane.config.binarisation,
        "likelihood": lane.config.likelihood,
        "epochs": lane.config.epochs,
        "config": {
            name: text
            for name, text in written(lane.config).items()
            if Config.OPTIONS[name].changes_numbers
        },
        "versions": versions(),
        "data_crc32": data_crc32,
    }


def train(
    lanes: list[Lane],
    examples: Examples,
    model: Model,
    spec: ModelSpec | None,
    hardware: Hardware,
    axis: str | None,
    tell: Listener,
    stop: StopSignal,
) -> dict[int, Trained]:
    """Trains lanes from their newest checkpoints, or from the start, to their last epoch.

    Args:
      lanes: runs whose configurations differ in the seed and in numbers only.
      examples: data to train on.
      model: model of all lanes.
      spec: description of the model; None for a model of the user's own.
      hardware: devices that share the work.
      axis: axis that the devices divide, see `sweep.plan`.
      tell: listener of all events in their order. It may raise an error.
      stop: signals, which are checked after every epoch.

    Returns:
      Index of a lane -> result of its training, for lanes that did not diverge.

    Raises:
      Stopped: a signal has come; everything up to the last whole epoch is saved.
      BadInputError: the data have changed since the runs began, or a run cannot continue at the
        epoch of the others.
    """
    data_crc32 = fingerprints(
        examples
    )  # first, since it checks that processes have the same images
    config = lanes[0].config
    trainer = recipe.make_trainer(
        config, model, len(examples.train), examples.train_binarise, examples.labels
    )
    fresh = [
        started(state, lane, spec)
        for state, lane in zip(_fresh(trainer, lanes, examples), lanes, strict=True)
    ]
    require_support(examples, model, fresh[0].params)
    made_from = [origin(lane, examples, spec, data_crc32) for lane in lanes]

    ended = {
        index: Trained(state, 0.0, 1, len(lanes))
        for index, lane in enumerate(lanes)
        if (state := restore_ended(lane, fresh[index])) is not None
    }
    going = [index for index in range(len(lanes)) if index not in ended]
    if not going:
        return ended
    lanes = [lanes[index] for index in going]
    fresh = [fresh[index] for index in going]
    made_from = [made_from[index] for index in going]
    states, epoch = resume(lanes, fresh, made_from[0], tell)
    if epoch >= config.epochs:
        trained = {i: Trained(state, 0.0, 1, len(lanes)) for i, state in enumerate(states)}
    else:
        program = compile_program(trainer, examples, lanes, states, hardware, axis, tell)
        del fresh, states  # which would need the memory of all lanes again
        validate = evidence.make_importance_sampler(
            model, validation.num_samples(config), binarise=examples.test_binarise
        )
        trained = _epochs(program, lanes, examples, model, validate, made_from, epoch, tell, stop)
    return ended | {going[index]: what for index, what in trained.items()}


def _fresh(trainer: training.Trainer, lanes: list[Lane], examples: Examples) -> list[TrainState]:
    """The states of lanes before their first step."""
    mean, start = mean_of(examples), jax.jit(trainer.init)
    return [
        start(
            keys_of(lane).train,
            mean,
            {name: jnp.float32(value) for name, value in recipe.numbers_of(lane.config).items()},
        )
        for lane in lanes
    ]


def _epochs(
    program: Program,
    lanes: list[Lane],
    examples: Examples,
    model: Model,
    validate: evidence.EvidenceEstimator,
    made_from: list[dict[str, Any]],
    epoch: int,
    tell: Listener,
    stop: StopSignal,
) -> dict[int, Trained]:
    """Runs the remaining epochs, saves each and tells of it."""
    run_epoch, states, plan, compile_seconds = program
    config, epochs = lanes[0].config, lanes[0].config.epochs
    alive, saved_epoch = dict(enumerate(lanes)), epoch
    found: dict[int, Trained] = {}
    histories = {index: lane.folder.metrics() for index, lane in alive.items()}
    tell(Began(tuple(lane.folder.name for lane in lanes), config, epoch, epochs))
    while epoch < epochs and alive:
        start = time.perf_counter()
        states, info = stop.wait_for(
            functools.partial(_finished, run_epoch, states),
            until="this epoch is saved",
        )
        seconds = (time.perf_counter() - start) / len(lanes)
        epoch += 1
        stopping = processes.heed(stop)
        here = streamed.on_one_device((states, info), plan)
        rows, saved = {}, {}
        for index, lane in list(alive.items()):
            state, report = sweep.lane_of(here, index)
            scores = by_all_processes(
                validate, state.average_params, examples.validation, keys_of(lane).validation
            )
            where = training.divergence(report)
            if where is None and not np.isfinite(scores.elbo.mean()):
                where = f"validation_elbo at step {int(state.step) - 1}"
            if where is not None:
                del alive[index]
                tell(Diverged(lane.folder.name, _divergence(where, lane, saved_epoch)))
                continue
            row = _row(epoch, int(state.step), config, report.metrics, scores, seconds)
            if examples.labels is not None:
                row["validation_accuracy"] = accuracy(
                    model, state.average_params, examples, "validation"
                )
            rows[lane.folder.name] = row
            histories[index].append(row)
            saved[index] = state
        tell(EpochDone(epoch, epochs, rows, len(lanes)))
        last = epoch == epochs or stopping
        for index, state in saved.items():
            lane, over = alive[index], validation.has_ended(config, histories[index])
            if last or over or epoch % config.checkpoint_every == 0:
                _save(lane, epoch, state, made_from[index], histories[index])
            if over or epoch == epochs:
                found[index] = Trained(state, compile_seconds, plan.num_devices, len(lanes))
            if over:
                del alive[index]
                best_epoch = epoch - cast(int, config.patience)
                tell(EndedEarly(lane.folder.name, epoch, best_epoch))
        if last or epoch % config.checkpoint_every == 0:
            saved_epoch = epoch
            tell(Saved(epoch, tuple(lane.folder.name for lane in alive.values())))
        if stopping and alive:
            raise stop.stopped(
                f"Stopped after epoch {epoch} of {epochs}; the same command goes on."
            )
    return found


def _finished(run_epoch: Callable[[TrainState], Any], states: TrainState) -> Any:
    """Waits for the results of an epoch."""
    return jax.block_until_ready(run_epoch(states))


def _save(
    lane: Lane,
    epoch: int,
    state: TrainState,
    made_from: dict[str, Any],
    history: list[dict[str, Any]],
) -> None:
    """Writes the checkpoint of an epoch, after that of the best epoch if it is the best."""
    metadata = {"epoch": epoch, **made_from}
    if lane.config.keep == "best":
        (name, score), best = validation.score_of(history[-1]), lane.folder.best()
        if best is None or best["epoch"] >= epoch or score > best.get(name, -np.inf):
            lane.folder.save_best(state.average_params, metadata | {name: score})
    lane.folder.save(epoch, state, metadata)


def by_all_processes(
    estimate: evidence.EvidenceEstimator,
    params: Any,
    examples: Batch,
    key: jax.Array,
    progress: Callable[[int], object] = lambda num_examples: None,
) -> evidence.Evidence:
    """The estimate for all examples, a part of which is computed by each process."""
    part = processes.share(len(examples), evidence.EXAMPLES_AT_ONCE)
    found = estimate(params, examples, key, part, progress)
    return evidence.Evidence(*(np.concatenate(processes.gather(values)) for values in found))


def _row(
    epoch: int,
    step: int,
    config: Config,
    metrics: dict[str, jax.Array],
    scores: evidence.Evidence,
    seconds: float,
) -> dict[str, Any]:
    """A row of metrics.jsonl. seconds: share of this run in the time of the epoch."""
    num_images = step // epoch * config.batch_size
    bound = {"validation_bound": float(scores.log_evidence.mean())}
    return {
        "epoch": epoch,
        "step": step,
        **{f"train_{name}": float(value) for name, value in metrics.items()},
        **(bound if validation.num_samples(config) > 1 else {}),
        "validation_elbo": float(scores.elbo.mean()),
        "validation_reconstruction": float(scores.reconstruction.mean()),
        "validation_kl": float(scores.kl.mean()),
        "seconds": seconds,
        "images_per_second": num_images / seconds,
    }


def _divergence(where: str, lane: Lane, saved_epoch: int) -> str:
    kept = f"the checkpoint of epoch {saved_epoch}" if saved_epoch else "nothing"
    return (
        f"Training diverged: {where}, seed {lane.config.seed}, is not finite; {kept} is kept. A "
        "lower learning_rate in another workdir may help."
    )

"""Runs: one, or several side by side in one program, each with a folder of its own."""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import hosts, pictures, settings, summary
from experiments.command import StopSignal
from experiments.images import Images, are_streamed, fingerprints, mean_of
from experiments.progress import Progress
from experiments.run_folder import RunFolder
from vae_jax import TrainedVAE, data, evidence, training
from vae_jax.errors import BadInputError, DivergenceError, Stopped
from vae_jax.training import TrainState, streamed, sweep

FLAGS = flags.FLAGS


class Run(NamedTuple):
    """What is a run's own, beside the flags that it shares with those of the same program."""

    folder: RunFolder
    seed: int
    numbers: dict[str, float]  # see `settings.numbers`


class Keys(NamedTuple):
    """The keys of a run, each for one purpose."""

    train: jax.Array
    validation: jax.Array
    test: jax.Array
    shown: jax.Array
    figures: jax.Array


class Trained(NamedTuple):
    """What training leaves."""

    state: TrainState
    compile_seconds: float
    plan: sweep.Plan
    at_once: int  # runs that were trained in the same program


def keys_of(run: Run) -> Keys:
    """The keys that follow from the seed of a run."""
    return Keys(*jax.random.split(jax.random.key(run.seed), len(Keys._fields)))


def train(
    runs: list[Run],
    images: Images,
    stop: StopSignal,
    diverged: Callable[[Run, str], None],
    how: Callable[..., sweep.Plan],
) -> dict[int, Trained]:
    """Trains all from their newest checkpoints, or from the start, to --epochs.

    Args:
      runs: whose flags differ in seed and numbers alone.
      images: to train on.
      stop: asked after every epoch.
      diverged: is told of a run of which a quantity is not finite, in one sentence; it may raise.
        The others go on.
      how: `sweep.plan` with what flags ask for.

    Returns:
      Index of a run -> what training left, for those that did not diverge.

    Raises:
      Stopped: a signal asked for it; everything up to the last whole epoch is saved.
      BadInputError: the data are not those that the runs began with, or a run cannot go on from
        where the others are.
    """
    data_crc32 = fingerprints(images)  # first, as it may find that processes have different ones
    model_spec = settings.model_spec(images.train.shape[1:])
    model = model_spec.build()
    trainer = settings.make_trainer(model, len(images.train), images.train_binarise)
    validate = evidence.make_importance_sampler(model, 1, binarise=images.test_binarise)
    mean = mean_of(images)
    start_run = jax.jit(trainer.init)
    fresh = [
        start_run(
            keys_of(run).train,
            mean,
            {name: jnp.float32(value) for name, value in run.numbers.items()},
        )
        for run in runs
    ]
    made_from = {
        "model": dataclasses.asdict(model_spec),
        "dataset": images.name,
        "binarisation": FLAGS.binarisation,
        "versions": summary.versions(),
        "data_crc32": data_crc32,
    }
    states, epoch = resume(runs, fresh, made_from)
    saved_epoch = epoch

    start = time.perf_counter()
    run_epoch, lanes, plan = _compiled(trainer, images, states, how)
    compile_seconds = time.perf_counter() - start
    del fresh, states  # which would take the memory of all lanes once more

    alive = dict(enumerate(runs))
    with Progress("Training", FLAGS.epochs, epoch, unit="epoch") as progress:
        while epoch < FLAGS.epochs and alive:
            start = time.perf_counter()
            lanes, info = stop.wait_for(
                lambda lanes=lanes: jax.block_until_ready(run_epoch(lanes)),
                until="this epoch is saved",
            )
            seconds = (time.perf_counter() - start) / len(runs)
            epoch += 1
            rows = {}
            stopping = hosts.heed(stop)
            save = epoch % FLAGS.checkpoint_every == 0 or epoch == FLAGS.epochs or stopping
            here = streamed.on_this_host(lanes, plan)
            for lane, run in list(alive.items()):
                state, report = sweep.lane_of((here, info), lane)
                scores = _by_all_processes(
                    validate, state.average_params, images.validation, keys_of(run).validation
                )
                where = training.divergence(report)
                if where is None and not np.isfinite(scores.elbo.mean()):
                    where = f"validation_elbo at step {int(state.step) - 1}"
                if where is not None:
                    del alive[lane]
                    kept = f"the checkpoint of epoch {saved_epoch}" if saved_epoch else "nothing"
                    diverged(
                        run,
                        f"Training diverged: {where}, seed {run.seed}, is not finite; {kept} is "
                        "kept. A lower --learning_rate in another --workdir may help.",
                    )
                    continue
                rows[lane] = _row(epoch, int(state.step), report.metrics, scores, seconds)
                run.folder.add_metrics(rows[lane])
                if save:
                    run.folder.save(epoch, state, {"epoch": epoch, **made_from})
            if save:
                saved_epoch = epoch
            progress.update(epoch, _note(list(rows.values()), len(runs)))
            if stopping:
                raise Stopped(
                    f"Stopped after epoch {epoch} of {FLAGS.epochs}; the same command goes on."
                )
    here = streamed.on_this_host(lanes, plan)
    return {
        lane: Trained(sweep.lane_of(here, lane), compile_seconds, plan, len(runs)) for lane in alive
    }


def _compiled(
    trainer: training.Trainer,
    images: Images,
    states: list[TrainState],
    how: Callable[..., sweep.Plan],
) -> tuple[Callable[[TrainState], tuple[TrainState, training.EpochInfo]], TrainState, sweep.Plan]:
    """An epoch of all runs, compiled; their states on the devices that train them; the plan."""
    plan = how(
        len(states),
        FLAGS.batch_size,
        lambda: sweep.memory_of(
            trainer,
            FLAGS.batch_size,
            states[0],
            jax.ShapeDtypeStruct(images.train.shape, images.train.dtype),
        ),
    )
    if len(states) > 1 or plan.num_devices > 1:
        print(_in_words(plan, len(states)), flush=True)
    lanes = sweep.stack(states, plan)
    if are_streamed():
        print("Training images are read while training, in blocks.", flush=True)
        read = functools.partial(data.stream, images.train)
        epoch, lanes = streamed.compile_streamed_epoch(
            trainer, FLAGS.batch_size, images.train, read, plan, lanes
        )
        return epoch, lanes, plan
    epoch = sweep.make_swept_epoch(trainer, FLAGS.batch_size, plan)
    epoch, lanes, pixels = sweep.compile_epoch(epoch, lanes, jnp.asarray(images.train))
    return lambda lanes: epoch(lanes, pixels), lanes, plan


def _by_all_processes(
    estimate: evidence.EvidenceEstimator,
    params: Any,
    pixels: np.ndarray,
    key: jax.Array,
    progress: Callable[[int], object] = lambda num_examples: None,
) -> evidence.Evidence:
    """The estimate of all examples, of which each process makes a part."""
    part = hosts.share(len(pixels), evidence.EXAMPLES_AT_ONCE)
    found = estimate(params, pixels, key, part, progress)
    return evidence.Evidence(*(np.concatenate(hosts.gather(values)) for values in found))


def _row(
    epoch: int,
    step: int,
    metrics: dict[str, jax.Array],
    validation: evidence.Evidence,
    seconds: float,
) -> dict[str, Any]:
    """A line of metrics.jsonl. seconds: of this epoch, the share of this run."""
    num_images = step // epoch * FLAGS.batch_size
    return {
        "epoch": epoch,
        "step": step,
        **{f"train_{name}": float(value) for name, value in metrics.items()},
        "validation_elbo": float(validation.elbo.mean()),
        "validation_reconstruction": float(validation.reconstruction.mean()),
        "validation_kl": float(validation.kl.mean()),
        "seconds": seconds,
        "images_per_second": num_images / seconds,
    }


def _in_words(plan: sweep.Plan, num_runs: int) -> str:
    devices = f"{plan.num_devices} {jax.devices()[0].platform} device"
    devices += "s" * (plan.num_devices > 1)
    if plan.axis == "batch":
        return f"Batches of {FLAGS.batch_size} are divided among {devices}."
    return (
        f"{num_runs} run{'s' * (num_runs > 1)} on {devices}, {plan.lanes_at_once} at once on each."
    )


def _note(rows: list[dict[str, Any]], num_runs: int) -> str:
    if not rows:
        return "all diverged"
    best = max(rows, key=lambda row: row["validation_elbo"])
    note = f"ELBO {best['train_elbo']:.2f}, validation {best['validation_elbo']:.2f}"
    if num_runs > 1:
        note = f"best of {len(rows)}: {note}"
    return f"{note}, {best['images_per_second']:,.0f} images/s"


def resume(
    runs: list[Run], fresh: list[TrainState], made_from: dict[str, Any]
) -> tuple[list[TrainState], int]:
    """The states to go on from and the epochs that all have seen: the fresh ones and 0 if none has.

    A kill may leave some runs a checkpoint ahead of the others: they go back to it.

    Raises:
      BadInputError: the data are not those that the runs began with, or a run has no checkpoint
        of the epoch that the others are at.
    """
    restored = [run.folder.restore(state) for run, state in zip(runs, fresh, strict=True)]
    epoch = min(found[1]["epoch"] if found else 0 for found in restored)
    states = []
    differing = None
    for run, state, found in zip(runs, fresh, restored, strict=True):
        if found and found[1]["epoch"] > epoch:
            found = run.folder.restore(state, epoch) if epoch else None
            if epoch and (found is None or found[1]["epoch"] != epoch):
                raise BadInputError(
                    f"{run.folder.path} has no checkpoint of epoch {epoch}, where the other runs "
                    "of the sweep are: delete its checkpoints to begin all again, or theirs."
                )
        if found:
            state, metadata = found
            if metadata["data_crc32"] != made_from["data_crc32"]:
                raise BadInputError(
                    f"--dataset={FLAGS.dataset} has other images than those that the run in "
                    f"{run.folder.path} began with: name another --workdir."
                )
            if metadata["versions"] != made_from["versions"]:
                differing = metadata["versions"]
        states.append(state)
        run.folder.keep_metrics([row for row in run.folder.metrics() if row["epoch"] <= epoch])
    if differing:
        print(
            "The numbers may differ a little from those of an uninterrupted run, as versions "
            f"differ: {differing} before, {made_from['versions']} now."
        )
    if 0 < epoch < FLAGS.epochs:
        print(f"Going on after epoch {epoch} of {FLAGS.epochs}.", flush=True)
    return states, epoch


def make_evaluation(images: Images) -> evidence.EvidenceEstimator:
    """The evaluation with --nll_samples posterior samples, compiled once for all runs."""
    model = settings.model_spec(images.train.shape[1:]).build()
    return evidence.make_importance_sampler(model, FLAGS.nll_samples, binarise=images.test_binarise)


def finish(
    run: Run,
    trained: Trained,
    images: Images,
    estimate: evidence.EvidenceEstimator,
    stop: StopSignal,
) -> dict[str, Any]:
    """Evaluates a trained run and draws its figures; its folder is finished by that.

    Args:
      run: of the flags as they are.
      trained: what training left of it.
      images: to evaluate.
      estimate: see `make_evaluation`.
      stop: asked after every chunk of images.

    Returns:
      Its summary.

    Raises:
      Stopped: a signal asked for it.
      DivergenceError: the test NLL is not finite.
    """
    keys = keys_of(run)
    model = settings.model_spec(images.train.shape[1:]).build()
    vae = TrainedVAE(model, trained.state.average_params, metadata={})
    scores = evaluate(estimate, vae, images, run, keys.test, stop)

    def conclude():
        x = images.test_binarise(keys.shown, jnp.asarray(images.test[:20]))
        history = run.folder.metrics()
        pictures.draw_all(run.folder.figures, vae, x, history, keys.figures)
        result = summary.summarise(images, history, trained.compile_seconds, scores, run.seed)
        result |= {
            "runs_in_program": trained.at_once,
            "num_devices": trained.plan.num_devices,
            "num_processes": jax.process_count(),
            "streamed": are_streamed(),
        }
        run.folder.finish(result)
        return result

    result = hosts.on_first(conclude)
    if hosts.several() and hosts.heed(stop):
        raise Stopped("Stopped after an evaluation; the same command goes on.")
    return result


def evaluate(
    estimate: evidence.EvidenceEstimator,
    vae: TrainedVAE,
    images: Images,
    run: Run,
    key: jax.Array,
    stop: StopSignal,
) -> evidence.Evidence:
    """Evaluates every test image."""
    part = hosts.share(len(images.test), evidence.EXAMPLES_AT_ONCE)
    number = len(range(*part.indices(len(images.test))))
    with Progress("Evaluating", number, 0, unit="image") as progress:

        def count(num_examples):
            if stop.requested and not hosts.several():  # of which none may leave the others
                raise Stopped("Stopped in the evaluation; the same command does it again.")
            progress.update(num_examples)

        scores = stop.wait_for(
            lambda: _by_all_processes(estimate, vae.params, images.test, key, count),
            until="these images are done",
        )
    if not np.isfinite(scores.log_evidence.mean()):
        raise DivergenceError(f"The test NLL, seed {run.seed}, is not finite.")
    return scores

"""From a configuration and data to a trained and evaluated run in a folder."""

import dataclasses
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import cast

from numpy.typing import ArrayLike

from vae_jax import data
from vae_jax.config import Config, Hardware, written
from vae_jax.data import Dataset
from vae_jax.errors import BadInputError, DivergenceError
from vae_jax.models import Model, ModelSpec
from vae_jax.runs import choices, recipe
from vae_jax.runs import examples as examples_of
from vae_jax.runs.agreement import absolute, require_agreement, taken_from
from vae_jax.runs.events import Diverged, EpochDone, Event, Listener, Said, tell_all, telling
from vae_jax.runs.finishing import finish, make_evaluation
from vae_jax.runs.folder import RunFolder
from vae_jax.runs.held import build
from vae_jax.runs.jax_settings import require_usual_settings
from vae_jax.runs.listeners import default_listeners
from vae_jax.runs.resuming import Lane
from vae_jax.runs.run import Run, load_run
from vae_jax.runs.starting import require_start
from vae_jax.runs.stop import StopSignal
from vae_jax.runs.training import train
from vae_jax.training import sweep


def fit(
    config: Config | None = None,
    dataset: Dataset | ArrayLike | str | None = None,
    workdir: str | Path | None = None,
    *,
    model: Model | None = None,
    hardware: Hardware | None = None,
    listeners: Iterable[Listener] | None = None,
    stop: StopSignal | None = None,
) -> Run:
    """Trains a VAE, evaluates it on test images and returns the run.

    The same call continues a run that was interrupted, to the bit, and returns a run that is
    finished. More `epochs` train a finished run further; another number of `nll_samples` evaluates
    it again. Ctrl-C and SIGTERM end the training after the current epoch, which is saved.

    Args:
      config: configuration of the run; None for the defaults.
      dataset: data set: a name as in `Config.dataset`, a `data.Dataset`, or images [N, H, W] or
        [N, H, W, C] as in `data.from_arrays`; None for the data set of `config`.
      workdir: folder of the run; None for a new temporary folder.
      model: model of the user's own; None for the model that `config` describes.
      hardware: devices that share the work; None for the defaults.
      listeners: functions of one event (`runs.events`), which are called with every event; None for
        a progress bar on a terminal or in a notebook, and lines elsewhere.
      stop: signals of several calls; None for signals during this call.

    Raises:
      BadInputError: the arguments contradict each other, the data or the folder; the message says
        how.
      DivergenceError: a quantity is not finite; earlier checkpoints stay.
      Stopped: a signal has come (a KeyboardInterrupt).
    """
    require_usual_settings()
    config, given = _with_data(config or Config(), dataset)
    _require_fields_of_given_model(config, model)
    hardware = hardware or Hardware()
    workdir = tempfile.mkdtemp(prefix="vae_jax-") if workdir is None else workdir
    with ExitStack() as context:
        if stop is None:
            stop = context.enter_context(StopSignal().listening())
        tell = context.enter_context(
            telling(default_listeners() if listeners is None else listeners)
        )
        folder = RunFolder(workdir, say=lambda text: tell(Said(text)))
        return _fit(config, given, folder, model, hardware, tell, stop)


def _fit(
    config: Config,
    given: Dataset | None,
    folder: RunFolder,
    model: Model | None,
    hardware: Hardware,
    tell: Listener,
    stop: StopSignal,
) -> Run:
    recorded = folder.recorded()
    config = taken_from(config, recorded).settled()
    require_agreement(config, recorded, f"workdir={folder.path}")
    moved = recorded is not None and recorded.get("dataset") != config.dataset
    if not (moved or given) and folder.finished(config):
        tell(Said(f"The run in {folder.path} is finished; another workdir= makes a new one."))
        return load_run(folder.path, model=model)
    require_start(config)
    if model is None:
        recipe.check(config)
    check_devices(hardware, 1, config.batch_size)
    with folder.claimed():
        dataset = given or examples_of.load_dataset(config, say=lambda text: tell(Said(text)))
        config = choices.chosen(config, dataset).settled()
        examples = examples_of.prepare(dataset, config)
        tell(Said(examples_of.in_words(examples, config, chosen=True)))
        if model is not None:
            recipe.check(config, model, examples_of.mean_of(examples))
        if folder.finished(config):
            run = load_run(folder.path, model=model)
            return run.with_examples(examples)
        spec = None if model else recipe.model_spec(config, examples.facts)
        built = model or build(cast(ModelSpec, spec), config, examples)
        folder.record(written(config))
        lane = Lane(folder, config)
        tell = tell_all([metrics_of([lane]), raise_divergence, tell])
        trained = train([lane], examples, built, spec, hardware, None, tell, stop)[0]
        estimate = make_evaluation(config, built, examples)
        finish(lane, trained, built, examples, estimate, tell, stop)
        return load_run(folder.path, model=model).with_examples(examples)


def check_devices(hardware: Hardware, num_runs: int, batch_size: int) -> None:
    """Raises a BadInputError if the chosen number of devices does not divide the work."""
    try:
        sweep.plan(
            num_runs,
            batch_size,
            lambda: sweep.Memory(0, 0, 1),
            num_devices=hardware.num_devices,
            lanes_at_once=hardware.lanes_at_once,
        )
    except ValueError as error:
        raise BadInputError(str(error)) from error


def metrics_of(lanes: Iterable[Lane]) -> Listener:
    """Makes the listener that writes metrics.jsonl."""
    folders = {lane.folder.name: lane.folder for lane in lanes}

    def write(event: Event) -> None:
        if isinstance(event, EpochDone):
            for name, row in event.rows.items():
                folders[name].add_metrics(row)

    return write


def raise_divergence(event: Event) -> None:
    """The listener that ends the training of a run that diverged."""
    if isinstance(event, Diverged):
        raise DivergenceError(event.message)


def _with_data(
    config: Config, dataset: Dataset | ArrayLike | str | None
) -> tuple[Config, Dataset | None]:
    """The configuration with the name of the data set, and the data set if it is in memory."""
    if dataset is None or isinstance(dataset, str):
        name = config.dataset if dataset is None else dataset
        return absolute(dataclasses.replace(config, dataset=name)), None
    if not isinstance(dataset, Dataset):
        dataset = data.from_arrays(
            dataset, num_validation=config.num_validation, split_seed=config.split_seed
        )
    name = dataset.name if data.is_name(dataset.name) else f"{data.IN_MEMORY}{dataset.name}"
    if config.dataset not in (Config.OPTIONS["dataset"].default, name):
        raise BadInputError(
            f"dataset={config.dataset} is in the configuration, and {dataset.name} is given: leave "
            "one of them out."
        )
    return dataclasses.replace(config, dataset=name), dataset


def _require_fields_of_given_model(config: Config, model: Model | None) -> None:
    """Raises a BadInputError for fields that a model of the user's own makes meaningless."""
    if model is None:
        return
    if not isinstance(model, Model):
        raise BadInputError(f"model={model!r} must be a vae_jax.Model, as vae_jax.vae makes it.")
    if config.train_only != "all":
        raise BadInputError(
            f"train_only={config.train_only} is for models of a configuration, and model= gives "
            "one: give training.make_trainer a models.frozen.trained_alone(model, names)."
        )
    for name in recipe.OF_THE_MODEL:
        value, known = getattr(config, name), Config.OPTIONS[name]
        if name != "likelihood" and value != known.default:
            raise BadInputError(
                f"{name}={known.write(value)} describes a model, and model= gives one: leave it "
                "out."
            )

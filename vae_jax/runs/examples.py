"""The examples of a run, loaded and ready for their binarisation."""

import functools
import math
import shutil
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import data, processes
from vae_jax.config import Config
from vae_jax.distributions import Observed, observed
from vae_jax.errors import BadInputError
from vae_jax.models import Batch, Model, Params, Sized, require_examples, size_problem
from vae_jax.models.likelihoods import LIKELIHOODS
from vae_jax.objectives.by_name import Labels
from vae_jax.runs import classes
from vae_jax.runs.choices import WORDS
from vae_jax.runs.facts import Facts, facts_of

# The binarisation of a training step, and that of evaluation. 'dynamic' and 'static' are evaluated
# on images that are drawn once, with the same seed for every run.
BINARISATIONS = {
    "dynamic": (data.dynamic, data.grey),
    "static": (data.grey, data.grey),
    "threshold": (data.threshold, data.threshold),
    "none": (data.grey, data.grey),
}


class Examples(NamedTuple):
    """A data set, ready for its binarisation. Arrays are in memory, or x are `data.Rows`.

    Attributes:
      name: name of the data set.
      kind: what the numbers are before binarisation; see `data.Kind`.
      train: stored examples, as `train_binarise` takes their x, with their conditions.
      validation, test: the same for `test_binarise`.
      facts: what a model must know of them.
      test_labels: [N], or [N, F] for several factors; None where there are none.
      validation_labels: [N] or [N, F], likewise.
      labels: labels of the training data, if some may be missing; None for other models.
      columns: names of the columns of a table; None if they are not known.
      schema: columns of a table of several types; None of other data.
      covariates: what the condition of cells is made of; None of other data.
    """

    name: str
    kind: data.Kind
    train: Batch
    validation: Batch
    test: Batch
    train_binarise: data.Binarise
    test_binarise: data.Binarise
    facts: Facts
    test_labels: np.ndarray | None = None
    columns: tuple[str, ...] | None = None
    schema: tuple[data.Column, ...] | None = None
    covariates: tuple[data.Covariate, ...] | None = None
    validation_labels: np.ndarray | None = None
    labels: Labels | None = None


def load_dataset(
    config: Config,
    say: Callable[[str], None] = lambda text: None,
    schema: tuple[data.Column, ...] | None = None,
    covariates: tuple[data.Covariate, ...] | None = None,
) -> data.Dataset:
    """Loads the data set that a configuration names.

    schema, covariates: those of the run that the data are for; None to find them.

    Raises:
      DataError: the data cannot be loaded.
    """
    return data.load(
        config.dataset,
        data_dir=config.data_dir,
        num_validation=config.num_validation,
        split_seed=config.split_seed,
        in_memory=not are_streamed(config),
        report=say,
        kind=config.kind,
        image_size=config.image_size,
        label_column=config.label_column,
        schema=schema or config.schema,
        missing=config.missing,
        missing_seed=config.missing_seed,
        covariates=covariates or config.covariates,
    )


def prepare(dataset: data.Dataset, config: Config) -> Examples:
    """Makes the draws of a binarisation that happen only once.

    config: configuration without `auto` (`choices.chosen`).

    Raises:
      BadInputError: the examples do not fit the configuration.
    """
    if config.missing_rate and dataset.train.hidden is None:  # they were given in memory
        dataset = data.with_hidden(dataset, config.missing_rate, config.missing_seed)
    dataset = in_halves(dataset, config)
    train, validation, test = dataset.train.x, dataset.validation.x, dataset.test.x
    if config.batch_size > len(train):
        raise BadInputError(
            f"batch_size={config.batch_size} is larger than the training data of {dataset.name}, "
            f"{len(train)} examples."
        )
    has_missing = any(split.mask is not None for split in dataset[1:4])
    _require_missing(dataset, has_missing, config)
    if config.binarisation == "static":
        out = _on_disk(train.shape) if isinstance(train, data.Rows) else None
        train = data.draw_once(train, seed=0, out=out)
    if config.binarisation in ("dynamic", "static"):
        validation, test = data.draw_once(validation, seed=1), data.draw_once(test, seed=2)
    condition_shape = _condition_shape(dataset, config)
    _require_condition(dataset, condition_shape, config)
    _require_layer_sizes(tuple(train.shape[1:]), condition_shape, config)

    def batch(split, x):
        return Batch(data.with_holes(x, split.mask), conditions(config, split, condition_shape))

    fill = fill_of(config, dataset.schema) if has_missing else None
    train_binarise, test_binarise = binarisations(config, dataset.kind, fill)
    of_train, labels = batch(dataset.train, train), None
    if config.condition == "partial_labels":
        known, labels, rows = classes.partly_known(config, dataset.train.labels, condition_shape)
        stored = of_train.x.select(rows) if isinstance(train, data.Rows) else of_train.x[rows]
        of_train = Batch(stored, known)
    return Examples(
        dataset.name,
        dataset.kind,
        of_train,
        batch(dataset.validation, validation),
        batch(dataset.test, test),
        train_binarise,
        test_binarise,
        facts=facts_of(dataset, config, condition_shape, has_missing),
        test_labels=dataset.test.labels,
        columns=dataset.columns,
        schema=dataset.schema,
        covariates=dataset.covariates,
        validation_labels=dataset.validation.labels,
        labels=labels,
    )


def in_halves(dataset: data.Dataset, config: Config) -> data.Dataset:
    """The data set with images cut in two, if one half of them is the condition.

    Raises:
      DataError: they are no images in memory.
    """
    if config.condition not in data.HALVES:
        return dataset
    splits: dict[str, Any] = {
        name: data.cut(getattr(dataset, name), config.condition)
        for name in ("train", "validation", "test")
    }
    return dataset._replace(**splits)


def fill_of(config: Config, schema: tuple[data.Column, ...] | None) -> float | np.ndarray:
    """Numbers of the support that stand for missing values, one or one for each column."""
    if schema is None:
        return 1.0 if config.likelihood == "log_normal" else 0.0
    return np.array([float(column.kind == "positive") for column in schema], np.float32)


def binarisations(
    config: Config, kind: data.Kind, fill: float | np.ndarray | None = None
) -> tuple[data.Binarise, data.Binarise]:
    """The functions that make x of stored examples, in training and in evaluation.

    fill: what stands for missing values of an `Observed` x; None if x is whole.
    """
    both: tuple[data.Binarise, data.Binarise] = BINARISATIONS[config.binarisation]
    if kind in data.NUMBERS:
        both = (data.as_floats, data.as_floats)
    if fill is None:
        return both
    return (_of_observed(both[0], fill), _of_observed(both[1], fill))


def _of_observed(binarise: data.Binarise, fill: float | np.ndarray) -> data.Binarise:
    def of(key, stored):
        x = observed(stored.astype(jnp.float32), jnp.broadcast_to(fill, stored.shape))
        return Observed(binarise(key, x.value), x.mask)

    return of


def _require_missing(dataset: data.Dataset, has_missing: bool, config: Config) -> None:
    """Raises a BadInputError for what examples with missing values cannot have, and their options
    where nothing is missing."""
    if not has_missing:
        if config.missingness != "random":
            raise BadInputError(
                f"missingness={config.missingness} is a model of the values that are missing, and "
                f"none are in {dataset.name}."
            )
        return
    what = f"{dataset.name} has missing values"
    if any(not isinstance(split.x, np.ndarray) for split in dataset[1:4]):
        raise BadInputError(f"{what}, which must be in memory: leave stream=true out.")
    for name, problem in (
        ("likelihood", not LIKELIHOODS[config.likelihood].is_by_value),
        ("layer_sizes", config.layer_sizes is not None),
        ("prior", config.prior in ("vamp", "exemplar")),
        ("size_factors", config.size_factors),
    ):
        if problem:
            value = config.OPTIONS[name].write(getattr(config, name))
            raise BadInputError(f"{what}, which {name}={value} is not for: use another.")
    empty = [
        name
        for name in ("train", "validation", "test")
        if (mask := getattr(dataset, name).mask) is not None
        and not mask.reshape(len(mask), -1).any()
    ]
    if empty:
        raise BadInputError(f"{what}: all of them in the {empty[0]} examples.")
    mask = dataset.train.mask
    if mask is not None and not mask.any(axis=0).all():
        place = int(np.argmin(mask.any(axis=0).ravel()))
        name = f"column {dataset.columns[place]!r}" if dataset.columns else f"value {place}"
        if dataset.kind in data.NUMBERS:
            raise BadInputError(
                f"{name} of {dataset.name} is missing in all training examples: leave it out."
            )


def conditions(config: Config, split: data.Split, condition_shape: tuple[int, ...] | None) -> Any:
    """The conditions of the examples of a split, as the model takes them.

    Raises:
      BadInputError: the split has not what they are made of, or has it in another shape.
    """
    inputs = None
    if condition_shape is not None:
        inputs = _inputs(config, split, condition_shape)
    if not config.size_factors or config.latent_size:
        return inputs
    axes = tuple(range(1, len(split.x.shape)))
    totals = np.asarray(split.x[:]).sum(axis=axes, dtype=np.float64)
    if not np.all(totals > 0):
        raise BadInputError(
            f"size_factors=true needs a total count above 0, which example {int(totals.argmin())} "
            "does not have: leave empty examples out."
        )
    return Sized(totals.astype(np.float32), inputs)


def _inputs(config: Config, split: data.Split, shape: tuple[int, ...]) -> np.ndarray:
    if config.condition == "partial_labels":  # of examples whose labels are asked for
        return np.full((len(split), *shape), np.nan, np.float32)
    if config.condition != "labels":
        found = split.condition
        if found is None or np.shape(found)[1:] != shape:
            there = "none" if found is None else f"one of the shape {np.shape(found)[1:]}"
            raise BadInputError(
                f"The model has a condition of the shape {shape}, and these examples have {there}."
            )
        return np.asarray(found, np.float32)
    labels = split.labels
    if labels is None:
        raise BadInputError(
            "condition=labels makes the labels the condition, and these examples have none."
        )
    if labels.min() < 0 or labels.max() >= shape[0]:
        raise BadInputError(
            f"condition=labels: the labels must lie in 0..{shape[0] - 1}, and these lie in "
            f"{labels.min()}..{labels.max()}."
        )
    return np.eye(shape[0], dtype=np.float32)[labels]


def _require_condition(
    dataset: data.Dataset, condition_shape: tuple[int, ...] | None, config: Config
) -> None:
    """Raises a BadInputError for options of a condition where there is none."""
    if condition_shape is not None:
        return
    wanted = {"condition_in": config.OPTIONS["condition_in"].default, "condition_dropout": 0.0}
    for name, default in wanted.items():
        if getattr(config, name) != default:
            raise BadInputError(
                f"{name}={getattr(config, name)} is for a model of p(x|c), and {dataset.name} with "
                f"condition={config.condition} has no condition: use condition=labels."
            )
    if config.dispersion == "condition":
        raise BadInputError(
            f"dispersion=condition is a dispersion for each value of the condition, and "
            f"{dataset.name} with condition={config.condition} has none: covariates=batch names a "
            "column of obs."
        )
    if config.prior == "conditional":
        raise BadInputError(
            f"prior=conditional is p(z|c), and {dataset.name} with condition={config.condition} "
            "has no condition: use condition=labels, or another prior."
        )


def _require_layer_sizes(
    shape: tuple[int, ...], condition_shape: tuple[int, ...] | None, config: Config
) -> None:
    """Raises a BadInputError for examples that a very deep VAE of these layers cannot have."""
    if config.layer_sizes is None:
        return
    sizes = f"layer_sizes={config.OPTIONS['layer_sizes'].write(config.layer_sizes)}"
    if len(shape) != 3:
        raise BadInputError(f"{sizes} are for images, and these examples have the shape {shape}.")
    if condition_shape is not None:
        raise BadInputError(
            f"{sizes} are for models without a condition, and these examples have one of the shape "
            f"{condition_shape}: use condition=none."
        )
    if problem := size_problem(shape, config.layer_sizes, config.patch_size):
        raise BadInputError(problem)


def _condition_shape(dataset: data.Dataset, config: Config) -> tuple[int, ...] | None:
    if config.condition in ("labels", "partial_labels"):
        labels = [split.labels for split in (dataset.train, dataset.validation, dataset.test)]
        if any(of is None or of.ndim != 1 for of in labels):
            missing = ", -1 where it is missing" * (config.condition == "partial_labels")
            raise BadInputError(
                f"condition={config.condition} needs a label for each example{missing}, which "
                f"{dataset.name} has not."
            )
        return (int(max(of.max() for of in labels if of is not None)) + 1,)
    if config.condition == "none" or dataset.train.condition is None:
        return None
    return tuple(np.shape(dataset.train.condition)[1:])


def in_words(examples: Examples, config: Config, *, chosen: bool = False) -> str:
    """A sentence that describes the examples. chosen: whether it names the likelihood, too."""
    what, noun = f"{config.binarisation.replace('none', 'no')} binarisation", "images"
    if examples.kind in data.NUMBERS:
        what, noun = WORDS[examples.kind], "examples"
    if examples.facts.missing:
        missing = np.isnan(examples.train.x).mean()
        what += f" of which {100 * missing:.1f} % are missing"
    if examples.facts.condition_shape is not None:
        what += f" with a condition of the shape {examples.facts.condition_shape}"
    return (
        f"{examples.name}, {what}: {len(examples.train):,} training, "
        f"{len(examples.validation):,} validation and {len(examples.test):,} test {noun} of "
        f"{examples.facts.event_shape}" + (f"; likelihood={config.likelihood}." if chosen else ".")
    )


def are_streamed(config: Config) -> bool:
    """Whether training examples are read during training; several processes then read parts."""
    return config.stream or processes.several()


def mean_of(examples: Examples) -> Batch:
    """The mean training example, see `data.mean_example`, with the first condition, if any.

    Each process reads a part.
    """
    if examples.facts.missing:
        mean = np.nan_to_num(np.nanmean(np.asarray(examples.train.x, np.float64), axis=0))
        x = Observed(jnp.asarray(mean, jnp.float32), jnp.ones(mean.shape))
        return Batch(x, jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), examples.train.c))
    binarise = examples.train_binarise
    binarise = data.grey if binarise is data.dynamic else binarise
    part = processes.share(len(examples.train), data.CHUNK)
    sums: Any = processes.gather(data.sum_of_examples(examples.train.x, binarise, part)[None])
    mean = np.asarray(sum(sums)[0] / len(examples.train), np.float32)
    return Batch(mean, jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), examples.train.c))


def require_support(examples: Examples, model: Model, params: Params) -> None:
    """Checks real numbers and counts of all splits against the support of the model's likelihood.

    Pixels are in the support of every likelihood that `choices.chosen` lets pass.

    Raises:
      BadInputError: a value is outside of it, such as a count above the trials of a binomial.
    """
    if examples.kind not in data.NUMBERS:
        return
    for name in ("train", "validation", "test"):
        split: Batch = getattr(examples, name)
        try:
            require_examples(model, params, Batch(binarised(split.x, examples), split.c))
        except BadInputError as error:
            raise BadInputError(f"{examples.name}, {name} examples: {error}") from error


def fingerprints(examples: Examples) -> list[int]:
    """The `data.fingerprint` of the three splits. Each process reads a part of the training x.

    Conditions, which are in memory, follow the bytes of x.

    Raises:
      BadInputError: the processes have different validation or test examples. Differences between
        training examples are not noticed in parts that another process reads.
    """
    x = examples.train.x
    part = processes.share(len(x))
    num_bytes = x[:1].nbytes * len(range(*part.indices(len(x))))
    own = np.array([data.fingerprint(x, part), num_bytes], np.int64)
    held_out = [
        _with_conditions(data.fingerprint(split.x), split)
        for split in (examples.validation, examples.test)
    ]
    parts = processes.gather(own[None])
    if any((other != held_out).any() for other in processes.gather(np.array(held_out))):
        raise BadInputError(
            f"The processes have different data under the name of {examples.name}: give all the "
            "same files."
        )
    train, _ = functools.reduce(
        lambda one, other: (data.joined_fingerprint(one[0], *other), 0),
        [tuple(map(int, one[0])) for one in parts],
    )
    return [_with_conditions(train, examples.train), *held_out]


def _with_conditions(checksum: int, batch: Batch) -> int:
    for leaf in map(np.asarray, jax.tree.leaves(batch.c)):
        checksum = data.joined_fingerprint(checksum, data.fingerprint(leaf), leaf.nbytes)
    return checksum


def other_examples(dataset: data.Dataset, examples: Examples, config: Config) -> Batch:
    """The test examples of another data set, binarised like those of the run.

    Raises:
      BadInputError: they have another shape or kind than those of the run, or no conditions.
    """
    dataset = in_halves(dataset, config)
    if (dataset.test.mask is not None) and not examples.facts.missing:
        raise BadInputError(f"{dataset.name} has missing values, and the run is of whole examples.")
    pixels, shape = dataset.test.x, examples.facts.event_shape
    if pixels.shape[1:] != shape:
        raise BadInputError(
            f"{dataset.name} has examples of {pixels.shape[1:]}, and the run's are of {shape}."
        )
    if config.binarisation in ("dynamic", "static"):
        pixels = data.draw_once(pixels, seed=2)
    elif dataset.kind not in LIKELIHOODS[config.likelihood].kinds:
        raise BadInputError(
            f"likelihood={config.likelihood} is not for {WORDS[dataset.kind]}, which "
            f"{dataset.name} has."
        )
    c = conditions(config, dataset.test, examples.facts.condition_shape)
    return Batch(binarised(data.with_holes(pixels, dataset.test.mask), examples), c)


def binarised(pixels: np.ndarray | data.Rows, examples: Examples) -> Any:
    """Stored x binarised for evaluation, without random draws; `Observed` if values are missing."""
    keys = jax.random.split(jax.random.key(0), len(pixels))
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(examples.test_binarise))(keys, pixels[:]))


def _on_disk(shape: tuple[int, ...]) -> np.ndarray:
    """An array in a temporary file, which may be larger than the memory.

    Raises:
      BadInputError: the file does not fit on the disk.
    """
    folder, needed = tempfile.gettempdir(), math.prod(shape)
    if shutil.disk_usage(folder).free < needed:
        raise BadInputError(
            f"binarisation=static draws all training examples once, {needed / 1e9:.1f} GB, for "
            f"which {folder} has no room: TMPDIR names another folder."
        )
    return np.memmap(tempfile.TemporaryFile(), np.uint8, "w+", shape=shape)

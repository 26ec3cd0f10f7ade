"""A run: a trained VAE with its folder, its configuration, its numbers and its data."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import data, evidence
from vae_jax.config import Config
from vae_jax.data import Dataset, Split
from vae_jax.distributions import Distribution, flat_points_of
from vae_jax.errors import BadInputError
from vae_jax.models import Batch, Model, Params, Sized, given
from vae_jax.runs import examples as examples_of
from vae_jax.runs import pictures
from vae_jax.runs.agreement import read_config
from vae_jax.runs.events import Listener, telling
from vae_jax.runs.examples import Examples, fingerprints
from vae_jax.runs.finishing import evaluate, make_evaluation
from vae_jax.runs.folder import RunFolder
from vae_jax.runs.listeners import default_listeners
from vae_jax.runs.resuming import Lane
from vae_jax.runs.stop import StopSignal
from vae_jax.runs.summary import Summary, bits_per_dim
from vae_jax.runs.training import keys_of
from vae_jax.trained import TrainedVAE, load


@dataclasses.dataclass(frozen=True)
class Run:
    """A run folder and the VAE that was trained in it.

    Attributes:
      folder: files of the run.
      config: settled configuration of the run.
      vae: model with its averaged parameters.
      examples: data of the run; None if they are not loaded.
    """

    folder: RunFolder
    config: Config
    vae: TrainedVAE
    examples: Examples | None = None

    @property
    def loaded_examples(self) -> Examples:
        """The images of a run whose images are loaded; see `with_data`."""
        assert self.examples is not None
        return self.examples

    @property
    def model(self) -> Model:
        """The VAE, as functions of its parameters."""
        return self.vae.model

    @property
    def of_one_condition(self) -> Model:
        """The VAE given a condition of zeros, of which only the shapes matter, if it has one."""
        shape = self.metadata.get("condition_shape")
        c: Any = None if shape is None else jnp.zeros(shape)
        if self.config.size_factors and not self.config.latent_size:
            c = Sized(jnp.ones(()), c)
        return given(self.model, c)

    @property
    def params(self) -> Params:
        """The trained parameters."""
        return self.vae.params

    @property
    def metadata(self) -> dict[str, Any]:
        """The data that training has stored beside the parameters."""
        return self.vae.metadata

    @property
    def summary(self) -> Summary | None:
        """The test results; None if the run is not finished. It prints as words."""
        found = self.folder.summary()
        return None if found is None else Summary(found)

    @property
    def history(self) -> list[dict[str, Any]]:
        """A row for each epoch: the metrics of training and validation, in nats."""
        return self.folder.metrics()

    def sample(self, key: jax.Array, num_samples: int, c: Any = None) -> jax.Array:
        """See `TrainedVAE.sample`."""
        return self.vae.sample(key, num_samples, c)

    def encode(self, x: Any, c: Any = None) -> Distribution:
        """See `TrainedVAE.encode`."""
        return self.vae.encode(x, c)

    def decode(self, z: Any, c: Any = None) -> jax.Array:
        """See `TrainedVAE.decode`."""
        return self.vae.decode(z, c)

    def reconstruct(self, key: jax.Array, x: Any, c: Any = None) -> jax.Array:
        """See `TrainedVAE.reconstruct`."""
        return self.vae.reconstruct(key, x, c)

    @property
    def covariates(self) -> tuple[data.Covariate, ...] | None:
        """What the condition of cells is made of; None for other data."""
        found = self.metadata.get("covariates")
        if found is None:
            return None
        return tuple(data.Covariate(name, tuple(texts), *rest) for name, texts, *rest in found)

    def interpolate(
        self, a: jax.Array, b: jax.Array | None, steps: int = 11, c: Any = None, c_end: Any = None
    ) -> jax.Array:
        """Means of p(x|z) on lines between the posterior means of examples, or great circles.

        Args:
          a: [N, *event], where the lines start.
          b: [N, *event], where they end; None to stay at the codes of a and change the condition.
          steps: number of points of a line.
          c: conditions of a, leaves [N, ...]; None where there are none.
          c_end: conditions of b, to which the condition goes on a straight line, too; None for c.

        Returns [N, steps, *event].

        Raises:
          BadInputError: the shapes differ or are not the model's, the latents are discrete, or
            there are fewer than two steps.
        """
        if b is not None and jnp.shape(a) != jnp.shape(b):
            raise BadInputError(
                f"a and b have the shapes {jnp.shape(a)} and {jnp.shape(b)}, which must be equal."
            )
        if steps < 2:
            raise BadInputError(f"steps={steps} must be at least 2: the two ends.")
        ends = [self.encode(a, c)]
        ends += [ends[0] if b is None else self.encode(b, c if c_end is None else c_end)]
        if not ends[0].is_reparameterised:
            raise BadInputError(
                f"The latents are {type(ends[0]).__name__}, between whose values there is nothing."
            )
        return pictures.decoded_lines(self.vae, ends[0], ends[1], steps, c, c_end)

    def plot(self, path: str | Path | None = None) -> Any:
        """Draws the curves of training. path: file .png, .pdf or .svg. Returns the figure.

        Raises:
          BadInputError: there are no metrics, or the file cannot be written.
        """
        from vae_jax import figures

        history = self.history
        if not history:
            raise BadInputError(f"{self.folder.path} has no metrics of an epoch to draw.")
        return _saved(figures.training_curves(pictures.columns_of(history)), path)

    def scatter(
        self,
        of: Split | Batch | np.ndarray | None = None,
        labels: np.ndarray | None = None,
        path: str | Path | None = None,
    ) -> Any:
        """Draws the posterior means of examples in the plane, coloured by their labels.

        Args:
          of: split of a data set, which is binarised as for evaluation, or examples [N, *event], or
            a `Batch` of them, as the model takes them; None for the test images of the run.
          labels: whole numbers [N]; None for the labels of the split, or its first factor.
          path: file .png, .pdf or .svg; None for no file.

        Returns the figure.
        """
        from vae_jax import figures

        x: Any = of
        if isinstance(of, Split):
            labels = pictures.first_label(of.labels) if labels is None else labels
            x = self.batch_of(of)
        elif of is None:
            examples = self.with_data().loaded_examples
            labels = pictures.first_label(examples.test_labels) if labels is None else labels
            x = Batch(examples_of.binarised(examples.test.x, examples), examples.test.c)
        codes = np.asarray(flat_points_of(self.encode(x)))
        return _saved(figures.latent_scatter(codes, labels), path)

    def as_evaluated(self, stored: np.ndarray | data.Rows, mask: np.ndarray | None = None) -> Any:
        """Stored x [N, *event], binarised as for evaluation; greys are drawn with seed 2.

        mask: [N, *event] bool, False where a value is missing; None where none is. The examples of
        a model of missing values are `Observed`.

        Raises:
          BadInputError: values are missing, and the model is one of whole examples.
        """
        if self.config.binarisation in ("dynamic", "static"):
            stored = data.draw_once(stored, seed=2)
        kind = self.metadata.get("data_kind", "8-bit")
        if mask is not None and not self.has_missing:
            raise BadInputError(
                f"These examples have missing values, and the run in {self.folder.path} was "
                "trained on whole ones: fill them in, or train with missing=0.2."
            )
        fill = examples_of.fill_of(self.config, self.schema) if self.has_missing else None
        _, binarise = examples_of.binarisations(self.config, kind, fill)
        keys = jax.random.split(jax.random.key(0), len(stored))  # they are not used
        x = jnp.asarray(data.with_holes(stored[:], mask))
        return jax.tree.map(np.asarray, jax.jit(jax.vmap(binarise))(keys, x))

    @property
    def has_missing(self) -> bool:
        """Whether the examples of the model are `Observed`, with missing values."""
        return bool((self.metadata.get("model") or {}).get("missing", False))

    @property
    def schema(self) -> tuple[data.Column, ...] | None:
        """The columns of a table of several types; None for other data."""
        found = self.metadata.get("schema")
        if found is None:
            return None
        return tuple(data.Column(name, kind, tuple(texts)) for name, kind, texts in found)

    def batch_of(self, split: Split) -> Batch:
        """The examples of a split, as evaluated, with the conditions that the model takes.

        Raises:
          BadInputError: the model has a condition, which the split does not have.
        """
        shape = self.metadata.get("condition_shape")
        shape = None if shape is None else tuple(shape)
        is_whole = tuple(split.x.shape[1:]) != tuple(self.metadata["event_shape"])
        if self.config.condition in data.HALVES and is_whole:
            split = data.cut(split, self.config.condition)
        c = examples_of.conditions(self.config, split, shape)
        return Batch(self.as_evaluated(split.x, split.mask), c)

    def evaluate(
        self,
        dataset: Dataset | None = None,
        *,
        num_samples: int | None = None,
        listeners: list[Listener] | None = None,
    ) -> Summary:
        """Evaluates the test images again, with any number of samples for the NLL.

        The same number of samples as in the summary gives the same results. No file is written.

        Args:
          dataset: data of the run, if its configuration does not find them; None otherwise.
          num_samples: K; None for that of the run.
          listeners: the same as for `fit`.

        Raises:
          DataError: the images cannot be loaded.
          BadInputError: they are not the images that the run was trained on.
          DivergenceError: the NLL is not finite.
        """
        config = dataclasses.replace(
            self.config, nll_samples=self.config.nll_samples if num_samples is None else num_samples
        )
        examples = self.with_data(dataset).loaded_examples
        estimate = make_evaluation(config, self.model, examples)
        key = keys_of(Lane(self.folder, config)).test
        listeners = default_listeners() if listeners is None else listeners
        with StopSignal().listening() as stop, telling(listeners) as tell:
            scores = evaluate(estimate, self.vae, examples, config.seed, key, tell, stop)
        nll, error = evidence.mean_and_standard_error(scores.log_evidence)
        measured = {
            "test_elbo": float(scores.elbo.mean()),
            "test_reconstruction": float(scores.reconstruction.mean()),
            "test_kl": float(scores.kl.mean()),
            "test_nll": -nll,
            "test_nll_stderr": error if len(examples.test) > 1 else None,
            "nll_samples": config.nll_samples,
            "bits_per_dim": bits_per_dim(config, nll, examples),
        }
        return Summary({**(self.summary or {}), **measured})

    def with_examples(self, examples: Examples) -> "Run":
        """The same run with its data in memory.

        Raises:
          BadInputError: they are not the images that the run was trained on.
        """
        shape = self.vae.metadata.get("condition_shape")
        wanted, found = None if shape is None else tuple(shape), examples.facts.condition_shape
        if wanted != found:
            raise BadInputError(
                f"The model of the run in {self.folder.path} has {_condition(wanted)}, and "
                f"{examples.name} has {_condition(found)}."
            )
        if fingerprints(examples) != self.vae.metadata["data_crc32"]:
            raise BadInputError(
                f"{examples.name} has other data than the run in {self.folder.path} was trained "
                "on: dataset= or data_dir= may say where those are."
            )
        return dataclasses.replace(self, examples=examples)

    def with_data(self, dataset: Dataset | None = None) -> "Run":
        """The same run with its data in memory, which are loaded if needed.

        dataset: data of the run, if its configuration does not find them; None otherwise.

        Raises:
          DataError: the images cannot be loaded.
          BadInputError: they are not the images that the run was trained on.
        """
        if dataset is None and self.examples is not None:
            return self
        dataset = dataset or examples_of.load_dataset(self.config)
        return self.with_examples(examples_of.prepare(dataset, self.config))


def load_run(
    run: str | Path,
    *,
    model: Model | None = None,
    which: Literal["last", "best"] | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> Run:
    """Loads a run from its folder. If there are several processes, all of them must call it.

    Args:
      run: folder of a run of `fit`, of the command or of a sweep.
      model: model of the run, if it was trained with the user's own model; None otherwise.
      which: "last" for the parameters after the last epoch, "best" for those of the epoch that
        was the best in validation; None for the choice of the run's `keep`.
      report: function that receives one sentence if the newest checkpoint is damaged and an older
        one is used.

    Raises:
      BadInputError: the folder is not that of a run, or the run was trained with the user's own
        model and none is given.
      CheckpointError: the folder has no checkpoint that can be used.
    """
    folder = RunFolder(run, say=report)
    recorded = folder.recorded()
    if recorded is None:
        raise BadInputError(f"run={folder.path} holds no flags.cfg, as the folder of a run does.")
    if "num_seeds" in recorded:
        runs = sorted(path.parent.name for path in folder.path.glob("*/flags.cfg"))
        raise BadInputError(
            f"run={folder.path} holds a sweep: name the folder of one of its runs, such as "
            f"{folder.path / runs[0] if runs else 'RUN'}."
        )
    vae = load(folder.path, model=model, which=which, report=report)
    return Run(folder, read_config(recorded, folder.path), vae)


def _condition(shape: tuple[int, ...] | None) -> str:
    return "no condition" if shape is None else f"a condition of the shape {shape}"


def _saved(figure: Any, path: str | Path | None) -> Any:
    from vae_jax import figures

    if path is not None:
        figures.save(figure, path)
    return figure

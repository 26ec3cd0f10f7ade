"""The evaluation of a run, which measures, writes and draws everything."""

import dataclasses
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import data, figures
from vae_jax.data import shapes
from vae_jax.distributions import HasMean, Normal
from vae_jax.errors import BadInputError
from vae_jax.evaluation import drawings, measures, memory, numbers, page
from vae_jax.evaluation.annealing import Annealer, Bounds, simulate
from vae_jax.evaluation.budget import Budget
from vae_jax.evaluation.parts import Parts
from vae_jax.models import Batch, draw_batch, kl_term
from vae_jax.models.likelihoods import LIKELIHOODS
from vae_jax.runs.events import Listener, telling
from vae_jax.runs.examples import Examples, binarised, other_examples
from vae_jax.runs.files import output_folder, write_json, writing
from vae_jax.runs.finished import require_examples
from vae_jax.runs.jax_settings import require_usual_settings
from vae_jax.runs.listeners import default_listeners
from vae_jax.runs.run import Run
from vae_jax.runs.stop import StopSignal
from vae_jax.runs.versions import versions

_TUNING_EXAMPLES = 20
_MOST_EXAMPLES = 10_000  # images for the latent space


class _Keys(NamedTuple):
    """Keys, each for one purpose."""

    binarise: jax.Array
    weights: jax.Array
    tune: jax.Array
    test: jax.Array
    train: jax.Array
    simulate: jax.Array
    forward: jax.Array
    reverse: jax.Array
    best: jax.Array
    surgery: jax.Array
    curve: jax.Array
    outliers: jax.Array


class Evaluated(NamedTuple):
    """The results of `evaluate`.

    Attributes:
      folder: folder of evidence.json, evidence.md and the figures.
      numbers: content of evidence.json; pairs are a mean over images and its standard error, in
        nats.
      text: content of evidence.md, the results in words.
    """

    folder: Path
    numbers: numbers.Numbers
    text: str

    def __str__(self) -> str:
        return self.text


def evaluate(
    run: Run,
    budget: Budget | None = None,
    output: str | Path | None = None,
    *,
    listeners: Iterable[Listener] | None = None,
    stop: StopSignal | None = None,
) -> Evaluated:
    """Measures how good a trained VAE is, and what limits it.

    An interval for log p(x) by annealed importance sampling in both directions (Wu et al. 2017,
    Grosse et al. 2015); the inference gap split into its causes (Cremer et al. 2018); ELBO surgery
    (Hoffman & Johnson 2016); the decoder's rate-distortion curve (Huang et al. 2020). If an
    evaluation was interrupted, the same call continues it and gives the same numbers.

    Args:
      run: a run, from `fit` or `load`.
      budget: size of the evaluation; None for the defaults.
      output: folder of the results; None for RUN/evidence.
      listeners: the same as for `fit`.
      stop: the same as for `fit`.

    Raises:
      BadInputError: the run has discrete latents or an unnormalised likelihood, the budget asks for
        more images or memory than there are, or the folder cannot be used.
      DataError: the images cannot be loaded.
      Stopped: a signal has come; all finished measurements are saved.
    """
    require_usual_settings()
    budget = budget or Budget()
    require_evaluable(run, budget)
    listeners = default_listeners() if listeners is None else listeners
    with StopSignal().listening() as own_stop, telling(listeners) as tell:
        run = run.with_data()
        require_examples(budget.num_examples, run, "test", "train")
        subject = _Subject.of(run, budget)
        folder = output_folder(output or run.folder.path / "evidence")
        settings = _settings(run, budget)
        with Parts.of(folder / "parts", settings, stop or own_stop, tell) as parts:
            return _evaluate(subject, settings, folder, parts)


def require_evaluable(run: Run, budget: Budget) -> None:
    """Raises a BadInputError for a run that cannot be evaluated, or not as the budget asks."""
    config, path = run.config, run.folder.path
    if config.latents == "normal" and (config.posterior, config.prior) != ("diagonal", "normal"):
        raise BadInputError(
            f"The run in run={path} has posterior={config.posterior} and prior={config.prior}, and "
            "only posterior=diagonal with prior=normal can be evaluated yet: its NLL is in "
            "summary.json."
        )
    prior = jax.eval_shape(run.of_one_condition.prior, run.params)
    if not isinstance(prior, Normal):
        raise BadInputError(
            f"The latents of the run in run={path} are {type(prior).__name__}, which annealing "
            "cannot move: train with more nll_samples, or for a few latents use "
            "vae_jax.evidence.enumeration."
        )
    if budget.quadrature and prior.mean.size > 2:
        raise BadInputError(
            "quadrature=true is for one or two latent variables, and this run has "
            f"{prior.mean.size}: annealing gives an interval instead."
        )
    if LIKELIHOODS[run.config.likelihood].measure == "neither":
        raise BadInputError(
            f"The run in run={path} has likelihood={run.config.likelihood}, which is no "
            "likelihood, so that there is no log p(x): train one on black and white images."
        )


@dataclasses.dataclass(frozen=True)
class _Subject:
    """A run with the images that it is evaluated on."""

    run: Run
    budget: Budget
    keys: _Keys
    x: Batch  # N test examples
    outside: Batch | None  # N examples of another data set
    quadrature_latents: int | None
    examples_at_once: int  # number of examples whose chains run together

    @classmethod
    def of(cls, run: Run, budget: Budget) -> "_Subject":
        keys = _Keys(*jax.random.split(jax.random.key(budget.seed), len(_Keys._fields)))
        x = _images(run, "test", keys.binarise, budget.num_examples)
        num_latents = cast(HasMean, run.of_one_condition.prior(run.params)).mean.size
        wanted = num_latents <= 2 if budget.quadrature is None else budget.quadrature
        at_once = memory.examples_at_once(run.vae, x[0], budget.num_examples, budget.chains)
        outside = None
        if budget.outliers is not None:
            other = data.load(budget.outliers, data_dir=run.config.data_dir)
            outside = other_examples(other, run.loaded_examples, run.config)
            outside = jax.tree.map(jnp.asarray, outside[: budget.num_examples])
        return cls(run, budget, keys, x, outside, num_latents if wanted else None, at_once)

    def images(self, split: str, number: int) -> Batch:
        return _images(self.run, split, self.keys.binarise, number)


class _Annealed(NamedTuple):
    test: Bounds
    train: Bounds
    simulated: tuple[Bounds, Bounds]  # forward and in reverse


def _evaluate(subject: _Subject, settings: dict[str, Any], folder: Path, parts: Parts) -> Evaluated:
    """Measures everything, part by part, and writes the results."""
    run, budget, keys, x = subject.run, subject.budget, subject.keys, subject.x
    vae = run.vae
    tuned_on = subject.images("validation", _TUNING_EXAMPLES)
    x_train = subject.images("train", budget.num_examples)
    importance = measures.importance(vae, x, keys.weights, budget.iwae_samples, parts)
    bounds = _anneal(subject, tuned_on, x_train, parts)
    elbos = {
        name: measures.elbos(vae, name, of, jax.random.fold_in(keys.best, index), parts)
        for index, (name, of) in enumerate((("test", x), ("train", x_train)))
    }
    exact = None
    if subject.quadrature_latents is not None:
        exact = measures.exact(vae, x, subject.quadrature_latents, parts)
    surgery, units = measures.latents(
        vae, subject.images("test", _MOST_EXAMPLES), keys.surgery, parts
    )
    curve = measures.curve(vae, x, tuned_on, keys.curve, parts)
    scores = None
    if subject.outside is not None:
        scores = measures.outlier_scores(vae, x, subject.outside, keys.outliers, parts)
    missing: dict[str, str] = {}
    disentanglement = None
    if run.loaded_examples.name == "shapes":
        disentanglement = _or_missing(
            lambda: measures.disentangled(vae, *_all_shapes(run.loaded_examples), parts),
            "disentanglement",
            missing,
        )

    found = {
        "run": str(run.folder.path),
        "dataset": run.loaded_examples.name,
        "data_kind": run.loaded_examples.kind,
        "binarisation": run.config.binarisation,
        "likelihood": run.config.likelihood,
        "settings": settings,
        "log_evidence": numbers.log_evidence(bounds.test, importance, bounds.simulated, exact),
        "gaps": {
            "test": numbers.gaps(bounds.test, elbos["test"]),
            "train": numbers.gaps(bounds.train, elbos["train"]),
        },
        "latent_space": numbers.latent_space(surgery, units),
        "rate_distortion": numbers.curve_numbers(curve, _rate(run, x), elbos["test"]),
        "disentanglement": disentanglement,
        "outliers": None if scores is None else numbers.outlier_numbers(scores),
        "outliers_of": budget.outliers,
        "not_measured": missing,
        "versions": versions(),
    }
    text = page.page(found, importance, surgery, units)
    for name, figure in drawings.drawn(
        found, bounds.test, importance, bounds.simulated, units, curve, scores
    ).items():
        figures.save(figure, folder / f"{name}.png")
    write_json(folder / "evidence.json", found)
    with writing(folder / "evidence.md"):
        (folder / "evidence.md").write_text(text)
    return Evaluated(folder, found, text)


def _anneal(subject: _Subject, tuned_on: Batch, x_train: Batch, parts: Parts) -> _Annealed:
    """Bounds on log p(x) of test, training and simulated images."""
    budget, keys, vae = subject.budget, subject.keys, subject.run.vae
    anneal = Annealer(
        vae,
        budget.chains,
        budget.temperatures,
        subject.examples_at_once,
        tuned_on,
        keys.tune,
        parts,
    )
    test = anneal("test", "Annealing, test examples", subject.x, keys.test)
    train = anneal("train", "Annealing, training examples", x_train, keys.train)
    x, z = simulate(vae, subject.x, keys.simulate, parts)
    forward = anneal("forward", "Annealing, simulated examples", x, keys.forward)
    reverse = anneal("reverse", "The same in reverse", x, keys.reverse, z)
    return _Annealed(test, train, (forward, reverse))


def _rate(run: Run, x: Batch) -> float:
    """The mean KL from the prior, on the images of the rate-distortion curve."""
    some = x[: measures.CURVE_EXAMPLES]
    keys = jax.random.split(jax.random.key(0), (1, len(some)))  # for samples that nobody uses
    return float(jnp.mean(kl_term(draw_batch(run.model, run.params, some, keys))))


def _or_missing(measure: Callable[[], Any], name: str, missing: dict[str, str]) -> Any:
    """The measurement, or None and the reason in `missing`, so that the others go on."""
    try:
        return measure()
    except ValueError as error:
        missing[name] = str(error)
        return None


def _all_shapes(examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    """All drawn shapes, as the evaluation takes them, and their factors."""
    pixels, factors = shapes.all_images()
    return binarised(pixels, examples), factors


def _images(run: Run, split: str, key: jax.Array, number: int) -> Batch:
    """The first images of a split, as the model takes them.

    Only training images depend on the key; the others are binarised once.
    """
    examples = run.loaded_examples
    binarise = examples.train_binarise if split == "train" else examples.test_binarise
    stored = jax.tree.map(jnp.asarray, getattr(examples, split)[:number])
    keys = jax.random.split(key, len(stored))
    return Batch(jax.jit(jax.vmap(binarise))(keys, stored.x), stored.c)


def _settings(run: Run, budget: Budget) -> dict[str, Any]:
    """All settings on which the numbers depend."""
    leaves = jax.tree.leaves(run.params)
    return {
        "parameters_crc32": zlib.crc32(b"".join(np.asarray(leaf).tobytes() for leaf in leaves)),
        "seed": budget.seed,
        "num_examples": budget.num_examples,
        "chains": budget.chains,
        "temperatures": budget.temperatures,
        "iwae_samples": budget.iwae_samples,
        "device": jax.devices()[0].device_kind,
        "versions": {name: of for name, of in versions().items() if name != "commit"},
    }

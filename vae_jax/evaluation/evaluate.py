"""The evaluation of a run, which measures, writes and draws everything."""

import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import figures
from vae_jax.data import shapes
from vae_jax.distributions import Coded, Normal
from vae_jax.errors import BadInputError
from vae_jax.evaluation import codes, drawings, measures, numbers, page
from vae_jax.evaluation.against import (
    PER_EXAMPLE,
    compare,
    per_example_of,
    require_comparable,
    require_same_examples,
)
from vae_jax.evaluation.annealing import Annealer, Bounds, simulate
from vae_jax.evaluation.budget import Budget
from vae_jax.evaluation.latents import Latents, has_one_prior, latents_of
from vae_jax.evaluation.parts import Parts
from vae_jax.evaluation.subject import Subject, images_of, require_evaluable
from vae_jax.models import Batch, draw_batch, kl_term
from vae_jax.runs.events import Listener, telling
from vae_jax.runs.examples import Examples, binarised
from vae_jax.runs.files import output_folder, save_npz, write_json, writing
from vae_jax.runs.finished import require_examples
from vae_jax.runs.jax_settings import require_usual_settings
from vae_jax.runs.listeners import default_listeners
from vae_jax.runs.run import Run
from vae_jax.runs.stop import StopSignal
from vae_jax.runs.versions import versions

_TUNING_EXAMPLES = 20
_RATE_SAMPLES = 100  # of each posterior, for a KL without a closed form
_MOST_EXAMPLES = 10_000  # examples for the latent space
_MOST_OF_A_RICH_FAMILY = 1_000  # the same for posteriors whose density takes longer


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
    against: Run | None = None,
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
      against: another run on the same data, which is evaluated first, in its own RUN/evidence; the
        results then have what it brings, example by example. None for no comparison.
      listeners: the same as for `fit`.
      stop: the same as for `fit`.

    Raises:
      BadInputError: a run has discrete latents or an unnormalised likelihood, the budget asks for
        more images or memory than there are, the other run is of other data or of another measure,
        or a folder cannot be used.
      DataError: the images cannot be loaded.
      Stopped: a signal has come; all finished measurements are saved.
    """
    require_usual_settings()
    budget = budget or Budget()
    require_evaluable(run, budget)
    listeners = default_listeners() if listeners is None else list(listeners)
    compared = None
    if isinstance(latents_of(run).posterior, Coded):
        return _evaluate_codes(run, against, output, listeners, stop)
    if against is not None:
        require_evaluable(against, budget)
        run, against = run.with_data(), against.with_data()
        require_against(run, against, budget)
        other = evaluate(against, budget, listeners=listeners, stop=stop)
        compared = (against, per_example_of(other.folder))
    with StopSignal().listening() as own_stop, telling(listeners) as tell:
        run = run.with_data()
        require_examples(budget.num_examples, run, "test", "train")
        subject = Subject.of(run, budget)
        folder = output_folder(output or run.folder.path / "evidence")
        settings = _settings(run, budget)
        with Parts.of(folder / "parts", settings, stop or own_stop, tell) as parts:
            return _evaluate(subject, compared, settings, folder, parts)


def _evaluate_codes(
    run: Run,
    against: Run | None,
    output: str | Path | None,
    listeners: list[Listener],
    stop: StopSignal | None,
) -> Evaluated:
    """`evaluate` for a run with codes."""
    if against is not None:
        raise BadInputError(
            f"The run in run={run.folder.path} has codes, whose bound is not compared with that of "
            "another run: evaluate each of them."
        )
    with StopSignal().listening() as own_stop, telling(listeners):
        run = run.with_data()
        folder = output_folder(output or run.folder.path / "evidence")
        found = (stop or own_stop).wait_for(
            lambda: codes.write(run, folder), until="these codes are measured"
        )
    return Evaluated(folder, *found)


def require_against(run: Run, other: Run, budget: Budget) -> None:
    """Raises a BadInputError for two runs with data that cannot be compared."""
    require_comparable(run, other)
    keys = jax.random.key(0)  # the test examples do not depend on it
    ours, theirs = (images_of(each, "test", keys, budget.num_examples) for each in (run, other))
    require_same_examples(ours, theirs, run, other)


class _Annealed(NamedTuple):
    test: Bounds
    train: Bounds
    simulated: tuple[Bounds, Bounds]  # forward and in reverse


def _evaluate(
    subject: Subject,
    compared: tuple[Run, dict[str, np.ndarray]] | None,
    settings: dict[str, Any],
    folder: Path,
    parts: Parts,
) -> Evaluated:
    """Measures everything, part by part, and writes the results.

    compared: another run and its measures of each test example; None for none.
    """
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
    if subject.with_quadrature:
        exact = measures.exact(vae, x, subject.latents.num_axes, parts)
    is_normal = isinstance(subject.latents.posterior, Normal)
    some = subject.images("test", _MOST_EXAMPLES if is_normal else _MOST_OF_A_RICH_FAMILY)
    one_prior = has_one_prior(run, some.c)
    missing = _not_measured(subject.latents, one_prior)
    surgery, units, moments = measures.latents(
        vae, some, keys.surgery, parts, with_surgery=not missing, one_prior=one_prior
    )
    layer_kl = None
    if subject.latents.is_hierarchy:
        layer_kl = measures.layer_kl(vae, some, keys.surgery, parts)
    curve = measures.curve(vae, x, tuned_on, keys.curve, parts)
    scores = None
    if subject.outside is not None:
        scores = measures.outlier_scores(vae, x, subject.outside, keys.outliers, parts)
    disentanglement = None
    if run.loaded_examples.name == "shapes":
        disentanglement = _or_missing(
            lambda: measures.disentangled(vae, *_all_shapes(run.loaded_examples), parts),
            "disentanglement",
            missing,
        )

    per_example = {
        "elbo": elbos["test"]["encoder"],
        "log_evidence_annealed": bounds.test.lower,
        "log_evidence_importance": importance["log_evidence"],
    }
    found = {
        "run": str(run.folder.path),
        "dataset": run.loaded_examples.name,
        "data_kind": run.loaded_examples.kind,
        "binarisation": run.config.binarisation,
        "likelihood": run.config.likelihood,
        "posterior": subject.latents.family,
        "settings": settings,
        "log_evidence": {
            "start": subject.latents.start,
            **numbers.log_evidence(bounds.test, importance, bounds.simulated, exact),
        },
        "gaps": {
            "test": numbers.gaps(bounds.test, elbos["test"]),
            "train": numbers.gaps(bounds.train, elbos["train"]),
        },
        "latent_space": numbers.latent_space(surgery, units, layer_kl),
        "rate_distortion": numbers.curve_numbers(curve, _rate(subject), elbos["test"]),
        "disentanglement": disentanglement,
        "outliers": None if scores is None else numbers.outlier_numbers(scores),
        "outliers_of": budget.outliers,
        "not_measured": missing,
        "against": None
        if compared is None
        else compare(run, compared[0], per_example, compared[1]),
        "versions": versions(),
    }
    text = page.page(found, importance, surgery, units)
    for name, figure in drawings.drawn(
        found, bounds.test, importance, bounds.simulated, units, moments, curve, scores
    ).items():
        figures.save(figure, folder / f"{name}.png")
    save_npz(folder / PER_EXAMPLE, **per_example)
    write_json(folder / "evidence.json", found)
    with writing(folder / "evidence.md"):
        (folder / "evidence.md").write_text(text)
    return Evaluated(folder, found, text)


def _anneal(subject: Subject, tuned_on: Batch, x_train: Batch, parts: Parts) -> _Annealed:
    """Bounds on log p(x) of test, training and simulated images."""
    budget, keys, vae = subject.budget, subject.keys, subject.run.vae
    anneal = Annealer(
        vae,
        subject.latents.start,
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


def _not_measured(latents: Latents, one_prior: bool) -> dict[str, str]:
    """What cannot be measured of a run, and why."""
    if latents.is_hierarchy:
        reason = "The layers of a hierarchy depend on each other."
    elif not latents.has_density:
        reason = "The density of q(z|x) is known at its own samples alone, not at those of others."
    elif not one_prior:
        reason = "The prior depends on the condition, so that there is no prior of all examples."
    else:
        return {}
    return {"the parts of the KL": reason}


def _rate(subject: Subject) -> float:
    """The mean KL from the prior, on the examples of the rate-distortion curve."""
    run, some = subject.run, subject.x[: measures.CURVE_EXAMPLES]
    # Where the KL has a closed form, samples are not used.
    samples = 1 if subject.latents.has_closed_kl else _RATE_SAMPLES
    keys = jax.random.split(jax.random.key(0), (samples, len(some)))
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

"""The end of a run: its evaluation on the test images, its figures and its summary."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import data, evidence, processes
from vae_jax.config import Config
from vae_jax.errors import DivergenceError
from vae_jax.models import Batch, Model, Params, given, kl_form
from vae_jax.models.checks import accepted
from vae_jax.models.spec import CODES
from vae_jax.runs import classes, codes, pictures
from vae_jax.runs.events import Counted, Finished, Listener, Said
from vae_jax.runs.examples import Examples, are_streamed
from vae_jax.runs.report import write_report
from vae_jax.runs.resuming import Lane
from vae_jax.runs.stop import StopSignal
from vae_jax.runs.summary import Summary, summarise
from vae_jax.runs.training import Trained, by_all_processes, keys_of
from vae_jax.trained import TrainedVAE

_DRAWN, _PIXELS_DRAWN = (
    1000,
    1 << 24,
)  # number of test images in figures, and of the pixels of all of them


def kl_form_of(model: Model, params: Params, c: Any) -> str:
    """The form of the KL term of a model; see `models.kl_form`. c: one condition, or None."""
    model = given(model, c)
    x = accepted(model, params).x
    shapes = jax.eval_shape(
        lambda params, x: (model.posterior(params, x), model.prior(params)), params, x
    )
    return kl_form(*shapes)


def make_evaluation(config: Config, model: Model, examples: Examples) -> evidence.EvidenceEstimator:
    """The evaluation with `nll_samples` posterior samples, compiled once for all runs.

    Codes have one sample, since all are equal.
    """
    number = 1 if config.latents in CODES else config.nll_samples
    return evidence.make_importance_sampler(model, number, binarise=examples.test_binarise)


def finish(
    lane: Lane,
    trained: Trained,
    model: Model,
    examples: Examples,
    estimate: evidence.EvidenceEstimator,
    tell: Listener,
    stop: StopSignal,
) -> Summary:
    """Evaluates a trained run and draws its figures, which completes its folder.

    Args:
      lane: run to be finished.
      trained: result of its training.
      model: model of the run.
      examples: data of the run, whose test images are evaluated.
      estimate: evaluation, from `make_evaluation`.
      tell: listener of the progress and of the result.
      stop: signals, which are checked after every chunk of images.

    Raises:
      Stopped: a signal asked for it.
      DivergenceError: the test NLL is not finite.
    """
    keys, config = keys_of(lane), lane.config
    history = lane.folder.metrics()
    step_of_epoch = len(examples.train) // config.batch_size
    params, epoch = trained.state.average_params, int(trained.state.step) // step_of_epoch
    if config.keep == "best":
        params, epoch = lane.folder.restore_best(params), (lane.folder.best() or {})["epoch"]
        tell(Said(f"The parameters of epoch {epoch} are the best in validation: these count."))
    vae = TrainedVAE(model, params, metadata={})
    scores = evaluate(estimate, vae, examples, config.seed, keys.test, tell, stop)

    def conclude():
        number = min(_DRAWN, max(20, _PIXELS_DRAWN // math.prod(examples.facts.event_shape)))
        stored = examples.test[:number]
        x = examples.test_binarise(keys.shown, jnp.asarray(stored.x))
        shown = Batch(x, jax.tree.map(jnp.asarray, stored.c))
        labels = None if examples.test_labels is None else examples.test_labels[:number]
        pictures.draw_all(
            lane.folder.figures,
            vae,
            shown,
            labels,
            history,
            keys.figures,
            kind=examples.kind if config.binarisation == "none" else "binary",
            columns=examples.columns,
            given=config.condition if config.condition in data.HALVES else None,
        )
        result = summarise(config, examples, history, trained.compile_seconds, scores, epoch)
        result |= classes.scores(model, params, examples)
        result |= codes.scores(model, params, examples)
        result |= {
            "kl_term": kl_form_of(model, params, shown[0].c),
            "runs_in_program": trained.at_once,
            "num_devices": trained.num_devices,
            "num_processes": jax.process_count(),
            "streamed": are_streamed(config),
        }
        write_report(lane.folder, result)
        lane.folder.finish(result)
        return dict(result)

    result = Summary(processes.on_first(conclude))
    tell(Finished(lane.folder.name, result))
    if processes.several() and processes.heed(stop):
        raise stop.stopped("Stopped after an evaluation; the same command goes on.")
    return result


def evaluate(
    estimate: evidence.EvidenceEstimator,
    vae: TrainedVAE,
    examples: Examples,
    seed: int,
    key: jax.Array,
    tell: Listener,
    stop: StopSignal,
) -> evidence.Evidence:
    """Evaluates every test image.

    Raises:
      Stopped: a signal asked for it.
      DivergenceError: the test NLL is not finite.
    """
    part = processes.share(len(examples.test), evidence.EXAMPLES_AT_ONCE)
    number = len(range(*part.indices(len(examples.test))))

    def count(num_examples):
        if stop.requested and not processes.several():  # and no process may leave the others
            raise stop.stopped("Stopped in the evaluation; the same command does it again.")
        tell(Counted("Evaluating", num_examples, number, "example"))

    tell(Counted("Evaluating", 0, number, "example"))
    scores = stop.wait_for(
        lambda: by_all_processes(estimate, vae.params, examples.test, key, count),
        until="these examples are done",
    )
    if not np.isfinite(scores.log_evidence.mean()):
        raise DivergenceError(f"The test NLL, seed {seed}, is not finite.")
    return scores

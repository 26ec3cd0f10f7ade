"""Says how good a trained VAE really is, and what holds it back.

python -m experiments.evaluate --run=runs/mnist
python -m experiments.evaluate --run=runs/mnist --num_examples=20 --temperatures=50
python -m experiments.evaluate --run=runs/fashion --outliers=mnist

An interval for log p(x), by annealed importance sampling in both directions; the inference gap
split into its causes; the state of the latent space; the decoder's rate-distortion curve.
evidence.json, evidence.md (the same in words) and figures are written to --output. The same command
goes on with an evaluation that was interrupted.
"""

import os
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax.flatten_util import ravel_pytree

from experiments.evaluate import measure, report
from experiments.evaluate.measure import Annealer, Budget, Keys
from experiments.evaluate.parts import Parts
from vae_jax import Normal, TrainedVAE, data
from vae_jax.commands import command
from vae_jax.commands import flags as of_training
from vae_jax.config import Config
from vae_jax.errors import BadInputError
from vae_jax.evidence import chain
from vae_jax.runs import Run
from vae_jax.runs.finished import require_examples
from vae_jax.runs.images import other_images
from vae_jax.runs.stop import StopSignal
from vae_jax.runs.versions import versions

FLAGS = flags.FLAGS
of_training.define(Config)
flags.DEFINE_string("run", None, "Folder of a finished run.")
flags.DEFINE_integer("num_examples", 100, "Test, training and simulated images each.", 2)
flags.DEFINE_integer("chains", 16, "Annealed chains for each image.", lower_bound=2)
flags.DEFINE_integer("temperatures", 200, "Of annealing; more is tighter and slower.", 1)
flags.DEFINE_integer("iwae_samples", 5000, "Of importance sampling for each image.", 1)
flags.DEFINE_bool(
    "quadrature",
    None,
    "Whether to compute log p(x) by quadrature, too. Default: if there are one or two latents.",
)
flags.DEFINE_string("outliers", None, "Another data set, whose images are scored beside the run's.")
flags.DEFINE_string("output", None, "Folder for everything that is written. Default: RUN/evidence.")
flags.declare_key_flag("seed")
flags.declare_key_flag("data_dir")
flags.declare_key_flag("dataset")

_TUNING_EXAMPLES = 20
_MOST_EXAMPLES = 10_000  # of the latent space
_CHAINS_AT_ONCE = 320
_BYTES_LEFT = 1 << 30  # for everything else


def main(stop: StopSignal) -> None:
    if FLAGS.run is None:
        raise BadInputError("--run is missing: name the folder of a finished run.")
    of_training.refuse_flags_of_training({"seed", *of_training.MOVED})
    command.use_compile_cache()
    run = of_training.finished_run(FLAGS.run, require=_require_normal)
    require_examples(FLAGS.num_examples, run, "test", "train")
    num_latents = run.vae.model.prior(run.vae.params).mean.size
    use_quadrature = num_latents <= 2 if FLAGS.quadrature is None else FLAGS.quadrature
    keys = Keys(*jax.random.split(jax.random.key(FLAGS.seed), len(Keys._fields)))
    x = _images(run, "test", keys.binarise)
    budget = Budget(
        num_chains=FLAGS.chains,
        num_temperatures=FLAGS.temperatures,
        num_weights=FLAGS.iwae_samples,
        examples_at_once=_examples_at_once(run.vae, x[0]),
    )
    outside = None
    if FLAGS.outliers is not None:
        other = data.load(FLAGS.outliers, data_dir=run.config.data_dir)
        outside = jnp.asarray(other_images(other, run.images, run.config)[: FLAGS.num_examples])
    folder = command.output_folder(FLAGS.output or Path(FLAGS.run) / "evidence")
    exact_latents = num_latents if use_quadrature else None
    with Parts.of(folder / "parts", _settings(run), stop) as parts:
        evaluate(run, x, outside, budget, keys, folder, parts, exact_latents)


def evaluate(
    run: Run,
    x: jax.Array,
    outside: jax.Array | None,
    budget: Budget,
    keys: Keys,
    folder: Path,
    parts: Parts,
    quadrature_latents: int | None,
) -> None:
    """Measures everything, part by part, and writes and prints what it means."""
    vae, images = run.vae, run.images
    tuned_on = _images(run, "validation", keys.binarise, _TUNING_EXAMPLES)
    importance = measure.importance(vae, x, keys.weights, budget.num_weights, parts)
    anneal = Annealer(vae, budget, tuned_on, keys.tune, parts)
    test = anneal("test", "Annealing, test images", x, keys.test)
    x_train = _images(run, "train", keys.binarise)
    train = anneal("train", "Annealing, training images", x_train, keys.train)
    simulated_x, z = measure.simulate(vae, len(x), keys.simulate, parts)
    simulated = (
        anneal("forward", "Annealing, simulated images", simulated_x, keys.forward),
        anneal("reverse", "The same in reverse", simulated_x, keys.reverse, z),
    )
    elbos = {
        name: measure.elbos(vae, name, of, jax.random.fold_in(keys.best, index), parts)
        for index, (name, of) in enumerate((("test", x), ("train", x_train)))
    }
    exact = None
    if quadrature_latents is not None:
        exact = measure.exact(vae, x, quadrature_latents, parts)
    all_test = _images(run, "test", keys.binarise, _MOST_EXAMPLES)
    surgery, units = measure.latents(vae, all_test, keys.surgery, parts)
    curve = measure.curve(vae, x, tuned_on, keys.curve, parts)
    scores = None
    if outside is not None:
        scores = measure.outlier_scores(vae, x, outside, keys.outliers, parts)

    on_curve = jax.vmap(lambda q: q.kl_per_dim(vae.model.prior(vae.params)).sum())(
        vae.encode(x[: measure.CURVE_EXAMPLES])
    )
    rate = float(jnp.mean(on_curve))
    numbers = {
        "run": str(run.folder.path),
        "dataset": images.name,
        "binarisation": run.config.binarisation,
        "likelihood": run.config.likelihood,
        "settings": _settings(run),
        "log_evidence": report.log_evidence(test, importance, simulated, exact),
        "gaps": {
            "test": report.gaps(test, elbos["test"]),
            "train": report.gaps(train, elbos["train"]),
        },
        "latent_space": report.latent_space(surgery, units),
        "rate_distortion": {
            "num_examples": len(curve.rate),
            "vae_rate": rate,
            "vae_distortion": -float(elbos["test"]["encoder"][: len(curve.rate)].mean()) - rate,
            "b": curve.b,
            "rate": curve.rate.mean(axis=0),
            "distortion": curve.distortion.mean(axis=0),
        },
        "disentanglement": (
            measure.disentanglement(vae, parts) if images.name == "shapes" else None
        ),
        "outliers": None if scores is None else report.outlier_numbers(scores),
        "outliers_of": FLAGS.outliers,
        "versions": versions(),
    }
    report.draw(folder, numbers, test, importance, simulated, units, curve, scores)
    text = report.page(numbers, importance, surgery, units)
    report.write(folder, numbers, text)
    print(f"\n{text}\nWritten to {folder}: evidence.json, evidence.md and figures.")


def _images(run: Run, split: str, key: jax.Array, number: int | None = None) -> jax.Array:
    """The first images of a split, as the model takes them; --num_examples of them by default.

    The key matters to training images alone: the others were drawn once.
    """
    binarise = run.images.train_binarise if split == "train" else run.images.test_binarise
    pixels = getattr(run.images, split)[: number or FLAGS.num_examples]
    return jax.jit(jax.vmap(binarise))(jax.random.split(key, len(pixels)), jnp.asarray(pixels))


def _require_normal(run: Run) -> None:
    """Raises a BadInputError for a run that cannot be evaluated, or not as the flags ask."""
    prior = jax.eval_shape(run.model.prior, run.params)
    if not isinstance(prior, Normal):
        raise BadInputError(
            f"The latents of the run in --run={FLAGS.run} are {type(prior).__name__}, which "
            "annealing cannot move: use experiments.mnist's own --nll_samples, or for a few of "
            "them vae_jax.evidence.enumeration."
        )
    if FLAGS.quadrature and prior.mean.size > 2:
        raise BadInputError(
            f"--quadrature is for one or two latent variables, and this run has {prior.mean.size}: "
            "annealing gives an interval instead."
        )
    if run.config.likelihood == "bernoulli_unnormalised":
        raise BadInputError(
            f"The run in --run={FLAGS.run} has --likelihood=bernoulli_unnormalised, which is no "
            "likelihood, so that there is no log p(x): train one on black and white images."
        )


def _examples_at_once(vae: TrainedVAE, x: jax.Array) -> int:
    """Examples whose chains are run together.

    Raises:
      BadInputError: the chains of one example do not fit into memory.
    """
    densities = chain.densities_of(vae.model, vae.params, x, "posterior")
    z, _ = ravel_pytree(vae.model.prior(vae.params).mean)
    trial = 64
    gradients = jax.jit(jax.vmap(jax.grad(densities.log_joint)))
    compiled = gradients.lower(jnp.zeros((trial, z.size))).compile()
    analysis = compiled.memory_analysis()
    per_chain = 2 * (analysis.temp_size_in_bytes + analysis.output_size_in_bytes) / trial
    fitting = int(max(0, _free_bytes() - _BYTES_LEFT) / per_chain)
    if fitting < FLAGS.chains:
        raise BadInputError(
            f"--chains={FLAGS.chains} do not fit into memory: at most {fitting} of this model do."
        )
    return max(1, min(FLAGS.num_examples, min(_CHAINS_AT_ONCE, fitting) // FLAGS.chains))


def _free_bytes() -> int:
    """Memory that can be had on the device, or here what the system has without swapping."""
    stats = jax.devices()[0].memory_stats()
    if stats is not None:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        sizes = dict(line.split(":") for line in lines)
        return int(sizes["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # not Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _settings(run: Run) -> dict[str, Any]:
    """What the numbers depend on."""
    leaves = jax.tree.leaves(run.vae.params)
    return {
        "parameters_crc32": zlib.crc32(b"".join(np.asarray(leaf).tobytes() for leaf in leaves)),
        "seed": FLAGS.seed,
        "num_examples": FLAGS.num_examples,
        "chains": FLAGS.chains,
        "temperatures": FLAGS.temperatures,
        "iwae_samples": FLAGS.iwae_samples,
        "device": jax.devices()[0].device_kind,
        "versions": {name: of for name, of in versions().items() if name != "commit"},
    }


if __name__ == "__main__":
    command.run(main)

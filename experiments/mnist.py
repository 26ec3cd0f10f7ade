"""Trains and evaluates a VAE on images.

python -m experiments.mnist --flagfile=experiments/configs/mnist.cfg
python -m experiments.mnist --dataset=fashion_mnist --latent_dim=20 --workdir=runs/fashion

The same command again resumes a run that was interrupted. The run folder (--workdir) gets
flags.cfg, metrics.jsonl, checkpoints/, figures/ and summary.json.
"""

import dataclasses
import functools
import resource
import statistics
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import command, pictures, settings, versions
from experiments.command import BadInputError, DivergenceError, Stopped, StopSignal
from experiments.progress import Progress
from experiments.run_folder import RunFolder
from vae_jax import TrainedVAE, data, evidence, training
from vae_jax.models import ModelSpec
from vae_jax.training import TrainState, checkpoint

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(settings)


class Images(NamedTuple):
    """A data set, ready for its binarisation; pixels [N, H, W, C]."""

    name: str
    train: np.ndarray  # as `train_binarise` takes them
    validation: np.ndarray  # as `test_binarise` takes them
    test: np.ndarray
    train_binarise: data.Binarise
    test_binarise: data.Binarise


class Keys(NamedTuple):
    """The keys of a run, each for one purpose."""

    train: jax.Array
    validation: jax.Array
    test: jax.Array
    figures: jax.Array


def main(stop: StopSignal) -> None:
    folder = RunFolder(FLAGS.workdir)
    with folder.claimed():
        settings.agree_with(folder)
        if (summary := folder.summary()) is not None:
            print(f"The run in {folder.path} is finished; name another --workdir for a new one.")
            print(report(summary))
            return
        cache = command.use_compile_cache()
        print("Compiled programs are kept in", cache or "memory only: no cache folder can be used")
        images = load_images()
        folder.record_flags(settings.as_text())
        model_spec = ModelSpec(
            event_shape=images.train.shape[1:],
            latent_dim=FLAGS.latent_dim,
            network=FLAGS.network,
            hidden=tuple(int(width) for width in FLAGS.hidden),
            activation=FLAGS.activation,
            likelihood=FLAGS.likelihood,
            likelihood_std=FLAGS.likelihood_std,
        )
        keys = Keys(*jax.random.split(jax.random.key(FLAGS.seed), len(Keys._fields)))
        state = train(folder, images, model_spec, keys, stop)
        vae = TrainedVAE(model_spec.build(), state.average_params, metadata={})
        scores = evaluate(vae, images, keys.test, stop)
        x = images.test_binarise(keys.figures, jnp.asarray(images.test[:20]))
        pictures.draw_all(folder.figures, vae, x, folder.metrics(), keys.figures)
        summary = summarise(folder, images, scores)
        folder.finish(summary)
        print(report(summary))


def load_images() -> Images:
    """Loads --dataset and makes the draws that --binarisation wants once.

    Raises:
      DataError: the data cannot be had.
      BadInputError: they do not go with the other flags.
    """
    dataset = data.load(
        FLAGS.dataset,
        data_dir=FLAGS.data_dir,
        num_validation=FLAGS.num_validation,
        split_seed=FLAGS.split_seed,
        report=print,
    )
    if FLAGS.dataset == "auto":
        FLAGS.dataset = dataset.name
    if FLAGS.batch_size > len(dataset.train):
        raise BadInputError(
            f"--batch_size={FLAGS.batch_size} is larger than the training data of {dataset.name}, "
            f"{len(dataset.train)} images."
        )
    train, validation, test = dataset.train, dataset.validation, dataset.test
    if FLAGS.binarisation == "static":
        train = data.draw_once(train, seed=0)
    if FLAGS.binarisation in ("dynamic", "static"):
        validation, test = data.draw_once(validation, seed=1), data.draw_once(test, seed=2)
    bernoulli_on_grey = FLAGS.binarisation == "none" and FLAGS.likelihood == "bernoulli"
    if bernoulli_on_grey and not (data.is_binary(train) and data.is_binary(test)):
        raise BadInputError(
            f"--likelihood=bernoulli is for black and white, and --binarisation=none leaves "
            f"{dataset.name} grey: binarise it, or ask for --likelihood=bernoulli_unnormalised "
            "by name."
        )
    images = Images(
        dataset.name, train, validation, test, *settings.BINARISATIONS[FLAGS.binarisation]
    )
    print(
        f"{images.name}, {FLAGS.binarisation} binarisation: {len(train):,} training, "
        f"{len(validation):,} validation and {len(test):,} test images of {train.shape[1:]}"
    )
    return images


def train(
    folder: RunFolder, images: Images, model_spec: ModelSpec, keys: Keys, stop: StopSignal
) -> TrainState:
    """Trains from the newest checkpoint, or from the start, to --epochs.

    Raises:
      Stopped: a signal asked for it; everything up to the last whole epoch is saved.
      DivergenceError: a quantity is not finite; the checkpoint before it is the newest.
    """
    model = model_spec.build()
    num_steps = FLAGS.epochs * (len(images.train) // FLAGS.batch_size)
    trainer = training.make_trainer(
        model,
        settings.OBJECTIVES[FLAGS.objective],
        training.adam(
            FLAGS.learning_rate,
            num_steps,
            warmup_steps=min(FLAGS.warmup_steps, num_steps // 10),
        ),
        num_samples=FLAGS.num_samples,
        clip_norm=FLAGS.clip_norm,
        average_decay=FLAGS.ema_decay,
        binarise=images.train_binarise,
    )
    run_epoch = training.make_epoch(trainer, FLAGS.batch_size)
    validate = evidence.make_importance_sampler(model, 1, binarise=images.test_binarise)

    mean = data.mean_example(
        images.train, data.threshold if FLAGS.binarisation == "threshold" else data.grey
    )
    state = jax.jit(trainer.init)(keys.train, mean)
    epoch = saved_epoch = 0
    restored = checkpoint.restore(folder.checkpoints, lambda metadata: state, report=print)
    if restored is not None:
        state, metadata = restored
        epoch = saved_epoch = metadata["epoch"]
        print(f"Going on after epoch {epoch} of {FLAGS.epochs}.")
    folder.keep_metrics([row for row in folder.metrics() if row["epoch"] <= epoch])

    pixels = jnp.asarray(images.train)
    with Progress("Training:", FLAGS.epochs, epoch, unit="epoch") as progress:
        while epoch < FLAGS.epochs:
            start = time.perf_counter()
            state, info = stop.wait_for(functools.partial(_finish, run_epoch, state, pixels))
            seconds = time.perf_counter() - start
            if (where := training.divergence(info)) is not None:
                raise DivergenceError(
                    f"Training diverged: {where}, seed {FLAGS.seed}, is not finite. "
                    + (
                        f"The last good checkpoint is that of epoch {saved_epoch}. "
                        * bool(saved_epoch)
                    )
                    + "A lower --learning_rate may help."
                )
            epoch += 1
            scores = validate(state.average_params, images.validation, keys.validation)
            row = {
                "epoch": epoch,
                "step": int(state.step),
                **{f"train_{name}": float(value) for name, value in info.metrics.items()},
                "validation_elbo": float(scores.elbo.mean()),
                "validation_reconstruction": float(scores.reconstruction.mean()),
                "validation_kl": float(scores.kl.mean()),
                "seconds": seconds,
                "images_per_second": num_steps // FLAGS.epochs * FLAGS.batch_size / seconds,
            }
            folder.add_metrics(row)
            if epoch % FLAGS.checkpoint_every == 0 or epoch == FLAGS.epochs or stop.requested:
                metadata = {"epoch": epoch, "model": dataclasses.asdict(model_spec)}
                checkpoint.save(folder.checkpoints, epoch, state, metadata)
                saved_epoch = epoch
            progress.update(
                epoch,
                f"ELBO {row['train_elbo']:.2f}, validation {row['validation_elbo']:.2f} nats  "
                f"{row['images_per_second']:,.0f} images/s",
            )
            if stop.requested:
                raise Stopped(
                    f"Stopped after epoch {epoch} of {FLAGS.epochs}; the same command goes on."
                )
    return state


def evaluate(
    vae: TrainedVAE, images: Images, key: jax.Array, stop: StopSignal
) -> evidence.Evidence:
    """Evaluates every test image with --nll_samples posterior samples."""
    with Progress("Evaluating:", len(images.test), 0, unit="image") as progress:

        def count(num_examples):
            if stop.requested:
                raise Stopped("Stopped in the evaluation; the same command does it again.")
            progress.update(num_examples)

        estimate = evidence.make_importance_sampler(
            vae.model, FLAGS.nll_samples, binarise=images.test_binarise, progress=count
        )
        return stop.wait_for(lambda: estimate(vae.params, images.test, key))


def summarise(folder: RunFolder, images: Images, scores: evidence.Evidence) -> dict[str, Any]:
    """What summary.json holds. All of the test set in nats per image, lower NLL is better."""
    history = folder.metrics()
    log_evidence, standard_error = evidence.mean_and_standard_error(scores.log_evidence)
    return {
        "dataset": images.name,
        "binarisation": FLAGS.binarisation,
        "likelihood": FLAGS.likelihood,
        "objective": FLAGS.objective,
        "seed": FLAGS.seed,
        "epochs": FLAGS.epochs,
        "train_images": len(images.train),
        "test_images": len(images.test),
        "test_elbo": float(scores.elbo.mean()),
        "test_reconstruction": float(scores.reconstruction.mean()),
        "test_kl": float(scores.kl.mean()),
        "test_nll": -log_evidence,
        "test_nll_stderr": standard_error,
        "nll_samples": FLAGS.nll_samples,
        "bits_per_dim": evidence.bits_per_dim(log_evidence, images.test[0].size),
        "validation_elbo": history[-1]["validation_elbo"],
        "train_seconds": sum(row["seconds"] for row in history),
        "images_per_second": statistics.median(row["images_per_second"] for row in history),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "device": jax.devices()[0].device_kind,
        "versions": versions.versions(),
    }


def report(summary: dict[str, Any]) -> str:
    """A summary in words, for the end of a run."""
    lines = [
        f"{summary['dataset']}, {summary['binarisation']} binarisation, "
        f"{summary['test_images']:,} test images, seed {summary['seed']}, "
        f"{summary['epochs']} epochs in {summary['train_seconds']:.0f} s "
        f"({summary['images_per_second']:,.0f} images/s)",
        f"  test NLL            {summary['test_nll']:9.3f} nats, standard error "
        f"{summary['test_nll_stderr']:.3f} (importance-weighted, K={summary['nll_samples']})",
        f"  test ELBO           {summary['test_elbo']:9.3f} nats = reconstruction - KL",
        f"    reconstruction    {summary['test_reconstruction']:9.3f} nats",
        f"    KL                {summary['test_kl']:9.3f} nats",
        f"  bits per dimension  {summary['bits_per_dim']:9.4f}",
    ]
    if summary["likelihood"] == "bernoulli_unnormalised":
        lines.append("  (of an unnormalised likelihood: cross-entropies, not comparable with NLLs)")
    return "\n".join(lines)


def _finish(run_epoch, state, pixels):
    return jax.block_until_ready(run_epoch(state, pixels))


if __name__ == "__main__":
    command.run(main)

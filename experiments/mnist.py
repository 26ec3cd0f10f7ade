"""Trains and evaluates a VAE on images.

python -m experiments.mnist --flagfile=experiments/configs/mnist.cfg
python -m experiments.mnist --dataset=fashion_mnist --latent_dim=20 --workdir=runs/fashion

The same command again resumes a run that was interrupted. The run folder (--workdir) gets
flags.cfg, metrics.jsonl, checkpoints/, figures/ and summary.json.
"""

import dataclasses
import time
import zlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import command, objectives, pictures, settings, summary
from experiments.command import BadInputError, DivergenceError, Stopped, StopSignal
from experiments.images import Images, load_images
from experiments.progress import Progress
from experiments.run_folder import RunFolder
from vae_jax import TrainedVAE, data, evidence, training
from vae_jax.models import ModelSpec
from vae_jax.training import TrainState, checkpoint

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(settings)


class Keys(NamedTuple):
    """The keys of a run, each for one purpose."""

    train: jax.Array
    validation: jax.Array
    test: jax.Array
    shown: jax.Array
    figures: jax.Array


def main(stop: StopSignal) -> None:
    folder = RunFolder(FLAGS.workdir)
    settings.settle(folder)
    if (result := folder.summary()) is not None:
        print(f"The run in {folder.path} is finished; name another --workdir for a new one.")
        print(summary.report(result))
        return
    command.use_compile_cache()
    with folder.claimed():
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
            latents=FLAGS.latents,
            num_categories=FLAGS.num_categories,
        )
        keys = Keys(*jax.random.split(jax.random.key(FLAGS.seed), len(Keys._fields)))
        state, compile_seconds = train(folder, images, model_spec, keys, stop)
        vae = TrainedVAE(model_spec.build(), state.average_params, metadata={})
        scores = evaluate(vae, images, keys.test, stop)
        x = images.test_binarise(keys.shown, jnp.asarray(images.test[:20]))
        pictures.draw_all(folder.figures, vae, x, folder.metrics(), keys.figures)
        result = summary.summarise(images, folder.metrics(), compile_seconds, scores)
        folder.finish(result)
        print(summary.report(result))


def train(
    folder: RunFolder, images: Images, model_spec: ModelSpec, keys: Keys, stop: StopSignal
) -> tuple[TrainState, float]:
    """Trains from the newest checkpoint, or from the start, to --epochs.

    Returns the last state, and the seconds that compilation took.

    Raises:
      Stopped: a signal asked for it; everything up to the last whole epoch is saved.
      DivergenceError: a quantity is not finite; the checkpoint before it is the newest.
      BadInputError: as for `resume`.
    """
    model = model_spec.build()
    steps_per_epoch = len(images.train) // FLAGS.batch_size
    num_steps = FLAGS.epochs * steps_per_epoch
    trainer = training.make_trainer(
        model,
        objectives.make_objective(len(images.train), steps_per_epoch),
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
    made_from = {
        "model": dataclasses.asdict(model_spec),
        "dataset": images.name,
        "binarisation": FLAGS.binarisation,
        "versions": summary.versions(),
        "data_crc32": [zlib.crc32(np.ascontiguousarray(split)) for split in images[1:4]],
    }
    state, epoch = resume(folder, state, made_from)
    saved_epoch = epoch

    pixels = jnp.asarray(images.train)
    start = time.perf_counter()
    run_epoch = run_epoch.lower(state, pixels).compile()
    compile_seconds = time.perf_counter() - start
    with Progress("Training", FLAGS.epochs, epoch, unit="epoch") as progress:
        while epoch < FLAGS.epochs:
            start = time.perf_counter()
            state, info = stop.wait_for(
                lambda state=state: jax.block_until_ready(run_epoch(state, pixels)),
                until="this epoch is saved",
            )
            seconds = time.perf_counter() - start
            epoch += 1
            scores = validate(state.average_params, images.validation, keys.validation)
            where = training.divergence(info)
            if where is None and not np.isfinite(scores.elbo.mean()):
                where = f"validation_elbo at step {int(state.step) - 1}"
            if where is not None:
                kept = f"the checkpoint of epoch {saved_epoch}" if saved_epoch else "nothing"
                raise DivergenceError(
                    f"Training diverged: {where}, seed {FLAGS.seed}, is not finite; {kept} is "
                    "kept. A lower --learning_rate in another --workdir may help."
                )
            row = {
                "epoch": epoch,
                "step": int(state.step),
                **{f"train_{name}": float(value) for name, value in info.metrics.items()},
                "validation_elbo": float(scores.elbo.mean()),
                "validation_reconstruction": float(scores.reconstruction.mean()),
                "validation_kl": float(scores.kl.mean()),
                "seconds": seconds,
                "images_per_second": steps_per_epoch * FLAGS.batch_size / seconds,
            }
            folder.add_metrics(row)
            if epoch % FLAGS.checkpoint_every == 0 or epoch == FLAGS.epochs or stop.requested:
                checkpoint.save(folder.checkpoints, epoch, state, {"epoch": epoch, **made_from})
                saved_epoch = epoch
            progress.update(
                epoch,
                f"ELBO {row['train_elbo']:.2f}, validation {row['validation_elbo']:.2f}, "
                f"{row['images_per_second']:,.0f} images/s",
            )
            if stop.requested:
                raise Stopped(
                    f"Stopped after epoch {epoch} of {FLAGS.epochs}; the same command goes on."
                )
    return state, compile_seconds


def resume(
    folder: RunFolder, state: TrainState, made_from: dict[str, Any]
) -> tuple[TrainState, int]:
    """The state to go on from and the epochs that it has seen: the given one and 0 in a new run.

    Raises:
      BadInputError: the data are not those that the run began with.
    """
    epoch = 0
    restored = checkpoint.restore(folder.checkpoints, lambda metadata: state, report=print)
    if restored is not None:
        state, metadata = restored
        epoch = metadata["epoch"]
        if metadata["data_crc32"] != made_from["data_crc32"]:
            raise BadInputError(
                f"--dataset={FLAGS.dataset} has other images than those that the run in "
                f"{folder.path} began with: name another --workdir."
            )
        if metadata["versions"] != made_from["versions"]:
            print(
                "The numbers may differ a little from those of an uninterrupted run, as versions "
                f"differ: {metadata['versions']} before, {made_from['versions']} now."
            )
        if epoch < FLAGS.epochs:
            print(f"Going on after epoch {epoch} of {FLAGS.epochs}.", flush=True)
    folder.keep_metrics([row for row in folder.metrics() if row["epoch"] <= epoch])
    return state, epoch


def evaluate(
    vae: TrainedVAE, images: Images, key: jax.Array, stop: StopSignal
) -> evidence.Evidence:
    """Evaluates every test image with --nll_samples posterior samples."""
    with Progress("Evaluating", len(images.test), 0, unit="image") as progress:

        def count(num_examples):
            if stop.requested:
                raise Stopped("Stopped in the evaluation; the same command does it again.")
            progress.update(num_examples)

        estimate = evidence.make_importance_sampler(
            vae.model, FLAGS.nll_samples, binarise=images.test_binarise, progress=count
        )
        scores = stop.wait_for(
            lambda: estimate(vae.params, images.test, key), until="these images are done"
        )
    if not np.isfinite(scores.log_evidence.mean()):
        raise DivergenceError(f"The test NLL, seed {FLAGS.seed}, is not finite.")
    return scores


if __name__ == "__main__":
    command.run(main)

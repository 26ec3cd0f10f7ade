"""The theory of VAEs from Bayes' theorem to generation, each equation verified in numbers.

python -m experiments.mechanics
python -m experiments.mechanics --dataset=fashion_mnist --output=runs/fashion_mechanics

It trains a VAE of two latent variables, for which every integral can be computed as a sum, and
takes it apart in six steps. It ends with a table of equations, and exits with 1 if one of them does
not hold. The figures and mechanics.json are in --output.
"""

import time
from pathlib import Path

import jax
import numpy as np
from absl import flags

from experiments.mechanics import (
    bayes,
    fit,
    generation,
    identity,
    lesson,
    pathways,
    terms,
    training,
)
from experiments.mechanics.lesson import Result, Subject
from vae_jax import data, figures, objectives
from vae_jax.commands import command
from vae_jax.commands.command import sentence
from vae_jax.errors import BadInputError, Stopped
from vae_jax.runs.files import output_folder, write_json, writing
from vae_jax.runs.progress import Progress
from vae_jax.runs.stop import StopSignal
from vae_jax.runs.versions import versions

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "dataset",
    "mnist_5k",
    "Images of the lesson, black and white or grey: mnist_5k, which needs no network; mnist, "
    "fashion_mnist, kmnist or tfds:NAME, of TensorFlow Datasets; PATH.npz or FOLDER/, of your own.",
)
flags.DEFINE_string(
    "data_dir",
    None,
    "Folder of TensorFlow Datasets, which mnist_5k and images of your own do not need. Default: "
    "the environment variable TFDS_DATA_DIR, or ~/tensorflow_datasets.",
)
flags.DEFINE_integer("epochs", 15, "Epochs of each of the three trainings.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of all parameters and noise.", 0, 2**32 - 1)
flags.DEFINE_string("output", "runs/mechanics", "Folder of the figures and of mechanics.json.")

STEPS = (bayes, fit, identity, terms, pathways, generation)
_MOST_TEST_IMAGES, _LEAST_TEST_IMAGES = 500, 10


def main(stop: StopSignal) -> None:
    start, start_cpu = time.perf_counter(), time.process_time()
    dataset = data.load(
        FLAGS.dataset,
        data_dir=FLAGS.data_dir,
        report=lambda message: print(sentence(message), flush=True),
    )
    if len(dataset.test) < _LEAST_TEST_IMAGES:
        raise BadInputError(
            f"--dataset={FLAGS.dataset} has {len(dataset.test)} test images, and the lesson shows "
            f"{_LEAST_TEST_IMAGES}."
        )
    folder = output_folder(FLAGS.output)
    command.use_compile_cache()
    train_key, *step_keys = jax.random.split(jax.random.key(FLAGS.seed), 1 + len(STEPS))
    subject = train(dataset, train_key, stop)
    results = []
    for number, (step, key) in enumerate(zip(STEPS, step_keys, strict=True), start=1):
        print(f"\nStep {number}. {step.TEXT}", flush=True)
        result = stop.wait_for(
            lambda step=step, key=key: step.run(subject, key), until=f"step {number} is done"
        )
        if stop.requested:
            raise Stopped(f"Stopped; what was drawn before step {number} is in {folder}.")
        print("\n".join(result.lines), flush=True)
        for name, figure in result.figures.items():
            with writing(folder / f"{name}.png"):
                figures.save(figure, folder / f"{name}.png")
        results.append(result)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    checks = [(i, check) for i, result in enumerate(results, start=1) for check in result.checks]
    write(folder, results, seconds)
    print(f"\n{lesson.table(checks)}\n")
    print(f"The figures and mechanics.json are in {folder}.")
    print(f"{seconds:.0f} s, of which {cpu_seconds:.0f} s of processors.", flush=True)
    lesson.require_all(checks)


def train(dataset: data.Dataset, key: jax.Array, stop: StopSignal) -> Subject:
    """Trains a VAE with both terms of the ELBO, and one with each term alone.

    Raises:
      Stopped: a signal asked to stop.
      DivergenceError: a quantity is not finite.
    """
    model = training.two_dimensional(dataset.train.x.shape[1:])
    kept = training.kept_epochs(FLAGS.epochs)
    trainings = {
        terms.BOTH: objectives.closed_form_elbo(),
        terms.NO_KL: objectives.beta_vae(0.0),
        terms.NO_RECONSTRUCTION: training.only_kl(),
    }
    print(
        f"A VAE of two latent variables learns {dataset.name}, {len(dataset.train):,} images, for "
        f"{FLAGS.epochs} epochs;\nthen two others learn as long, each with one term of the ELBO.",
        flush=True,
    )
    snapshots = {}
    with Progress("Training", len(trainings) * FLAGS.epochs, 0, unit="epoch") as progress:
        for i, (name, objective) in enumerate(trainings.items()):
            of_run = training.train(model, objective, dataset.train.x, FLAGS.epochs, key)
            snapshots[name] = {}
            for _ in range(FLAGS.epochs + 1):
                epoch, params = stop.wait_for(of_run.__next__, until="this epoch is done")
                if stop.requested:
                    raise Stopped("Stopped; nothing is written.")
                if epoch in kept:
                    snapshots[name][epoch] = params
                progress.update(i * FLAGS.epochs + epoch, name)
    return Subject(
        model=model,
        snapshots=snapshots[terms.BOTH],
        trained={name: of_run[FLAGS.epochs] for name, of_run in snapshots.items()},
        x=data.draw_once(dataset.test.x[:_MOST_TEST_IMAGES], seed=2) / np.float32(255.0),
    )


def write(folder: Path, results: list[Result], seconds: float) -> None:
    """Writes mechanics.json, the numbers and checks of every step.

    Raises:
      BadInputError: the file cannot be written.
    """
    found = {
        "dataset": FLAGS.dataset,
        "epochs": FLAGS.epochs,
        "seed": FLAGS.seed,
        "steps": [
            {
                "checks": [check._asdict() | {"holds": check.holds} for check in result.checks],
                "numbers": result.numbers,
            }
            for result in results
        ],
        "seconds": seconds,
        "versions": versions(),
    }
    write_json(folder / "mechanics.json", found)


if __name__ == "__main__":
    command.run(main)

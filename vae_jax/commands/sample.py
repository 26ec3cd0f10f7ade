"""Draws samples from a trained model: z ~ p(z), then the mean of p(x|z).

vae-jax sample runs/mnist 1000 --out=samples.npz
vae-jax sample runs/mnist 100 --out=samples.png
vae-jax sample runs/mnist 100 --out=samples/      # one PNG file each

A model of p(x|c) has the classes in turn as c where the labels are its condition, and else the
conditions of the test examples in turn.
"""

from typing import Any

import jax
import numpy as np

from vae_jax.commands import command, flags
from vae_jax.commands.outputs import output_file, save_pngs
from vae_jax.errors import BadInputError
from vae_jax.models import Batch
from vae_jax.runs import Run, load_run, pictures
from vae_jax.runs.files import save_npz
from vae_jax.runs.stop import StopSignal

ARGUMENTS = ("RUN", "NUMBER")
_AT_ONCE = 1000
_MOST_IN_A_FIGURE = 400


def define_flags() -> None:
    """Defines the flags of the command."""
    flags.define_one(
        "out",
        str,
        "samples.npz",
        "Where the samples go: FILE.npz with the arrays x and z, FILE.png with a grid of at most "
        f"{_MOST_IN_A_FIGURE}, or FOLDER/ with one PNG file each.",
        "output",
        first=True,
    )
    flags.define_one(
        "seed", int, 0, "Seed of the samples.", "output", low=0, high=2**32 - 1, first=True
    )


def main(stop: StopSignal, run: str, number: str) -> None:
    del stop
    if not number.isdecimal() or not int(number):
        raise BadInputError(f"NUMBER is {number!r} and must be a positive whole number.")
    num_samples, out = int(number), flags.value_of("out")
    path, kind = output_file(out, (".npz", ".png", "/"))
    if kind == ".png" and num_samples > _MOST_IN_A_FIGURE:
        raise BadInputError(
            f"out={out} is one figure, for at most {_MOST_IN_A_FIGURE} samples and not {number}: "
            "an .npz file and a FOLDER/ take any number."
        )
    command.use_compile_cache()
    trained = load_run(run, report=lambda text: print(text, flush=True))
    c = conditions(trained, num_samples)
    key = jax.random.key(flags.value_of("seed"))
    z = trained.vae.sample_prior(key, num_samples, c)
    both = Batch(z, c)
    parts = [both[start : start + _AT_ONCE] for start in range(0, num_samples, _AT_ONCE)]
    x = np.concatenate([np.asarray(trained.decode(part.x, part.c)) for part in parts])
    if kind == ".npz":
        save_npz(path, x=x, z=np.asarray(z))
    elif kind == ".png":
        from vae_jax import figures

        figures.save(figures.samples(np.clip(x, 0.0, 1.0)), path)
    else:
        save_pngs(path, np.clip(x, 0.0, 1.0))
    print(f"{num_samples:,} samples of the run in {run}: {out}.")


def conditions(run: Run, number: int) -> Any:
    """The conditions of samples, leaves [number, ...]; None for a model without a condition.

    They are the classes in turn where labels alone are the condition, and else those of the run's
    test examples in turn.
    """
    shape = run.metadata.get("condition_shape")
    if shape is None and not run.config.size_factors:
        return None
    if shape is not None and run.config.condition == "labels" and not run.config.size_factors:
        return np.eye(shape[0], dtype=np.float32)[np.arange(number) % shape[0]]
    return pictures.repeated(run.with_data().loaded_examples.test.c, number)

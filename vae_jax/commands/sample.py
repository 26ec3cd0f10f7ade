"""Draws samples from a trained model: z ~ p(z), then the mean of p(x|z), or x ~ p(x|z) of tables.

vae-jax sample runs/mnist 1000 --out=samples.npz
vae-jax sample runs/mnist 100 --out=samples.png
vae-jax sample runs/mnist 100 --out=samples/      # one PNG file each
vae-jax sample runs/wine 1000 --out=samples.csv

A model of p(x|c) has the classes in turn as c where the labels are its condition, and else the
conditions of the test examples in turn. --label=3 is one class, --label=none no condition.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.commands import command, flags
from vae_jax.commands.outputs import as_csv, output_file, save_pngs
from vae_jax.distributions import Code, value_of
from vae_jax.errors import BadInputError
from vae_jax.evidence import annealed
from vae_jax.models import Batch, no_condition
from vae_jax.runs import Run, load_run, pictures
from vae_jax.runs.files import replace, save_npz
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
        "Where the samples go: FILE.npz with the arrays x and z, FILE.csv with a row for each, and "
        f"of images FILE.png with a grid of at most {_MOST_IN_A_FIGURE}, or FOLDER/ with one PNG "
        "file each.",
        "output",
        first=True,
    )
    flags.define_one(
        "label",
        str,
        None,
        "Class of all samples, for a run with condition=labels or partial_labels; or none, for a "
        "run with condition_dropout, whose samples then have no condition. Default: each in turn.",
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
    path, kind = output_file(out, (".npz", ".csv", ".png", "/"))
    if kind == ".png" and num_samples > _MOST_IN_A_FIGURE:
        raise BadInputError(
            f"out={out} is one figure, for at most {_MOST_IN_A_FIGURE} samples and not {number}: "
            "an .npz file and a FOLDER/ take any number."
        )
    command.use_compile_cache()
    trained = load_run(run, report=lambda text: print(text, flush=True))
    shape = trained.metadata["event_shape"]
    are_images = len(shape) == 3 and shape[-1] in (1, 3)
    if kind in (".png", "/") and not are_images:
        raise BadInputError(
            f"out={out} is for images, and the run in {run} has examples of the shape "
            f"{tuple(shape)}: name an .npz or a .csv file."
        )
    key, label = jax.random.key(flags.value_of("seed")), flags.value_of("label")
    if trained.model.summed is not None and label is not None:
        x, z = of_label(trained, key, num_samples, label)
    else:
        c = conditions(trained, num_samples, label)
        x, z = samples(trained, key, num_samples, are_images, c)
    white = x.max() if trained.metadata.get("data_kind") == "count" else 1.0
    if kind == ".npz":
        save_npz(path, x=x, **_latents(z))
    elif kind == ".csv":
        rows = x.reshape(num_samples, -1)
        replace(path, as_csv(rows, trained.schema or trained.metadata.get("columns")))
    elif kind == ".png":
        from vae_jax import figures

        figures.save(figures.samples(np.clip(x / white, 0.0, 1.0)), path)
    else:
        save_pngs(path, np.clip(x / white, 0.0, 1.0))
    print(f"{num_samples:,} samples of the run in {run}: {out}.")


def _latents(z: Any) -> dict[str, np.ndarray]:
    """z [N, L], or the layers z_1, z_2, ... of a hierarchy, or index and vector of codes."""
    if isinstance(z, Code):
        return {"index": np.asarray(z.index), "vector": np.asarray(z.vector)}
    if not isinstance(z, tuple):
        return {"z": np.asarray(z)}
    return {f"z_{layer}": np.asarray(one) for layer, one in enumerate(z, start=1)}


def samples(
    run: Run, key: jax.Array, number: int, are_images: bool, c: Any
) -> tuple[np.ndarray, Any]:
    """Means of p(x|z) for images, and samples of it for tables, [number, *event]; and their z.

    c: their conditions, leaves [number, ...]; None for a model without a condition.
    """
    if not are_images:
        x, z = annealed.simulate(run.model, run.params, key, number, c)
        return np.asarray(value_of(x)), z
    z = run.vae.sample_prior(key, number, c)
    both = Batch(z, c)
    parts = [both[start : start + _AT_ONCE] for start in range(0, number, _AT_ONCE)]
    return np.concatenate([np.asarray(run.decode(part.x, part.c)) for part in parts]), z


def of_label(run: Run, key: jax.Array, number: int, label: str) -> tuple[np.ndarray, Any]:
    """Means of p(x|z, y) of one class y of a model of partly known labels, and their latents.

    Raises:
      BadInputError: there is no such class.
    """
    num_classes = pictures.num_classes_of(run.vae)
    if label not in map(str, range(num_classes)):
        raise BadInputError(f"label={label} must be one of 0 to {num_classes - 1}.")
    z = pictures.given_label(run.vae, key, number, int(label), num_classes)
    return np.asarray(run.decode(z)), z


def conditions(run: Run, number: int, label: str | None = None) -> Any:
    """The conditions of samples, leaves [number, ...]; None for a model without a condition.

    They are the classes in turn where labels alone are the condition, and else those of the run's
    test examples in turn.

    label: the class of all of them; "none" for no condition; None for each in turn.

    Raises:
      BadInputError: the model has no such class, or must have a condition.
    """
    shape, config = run.metadata.get("condition_shape"), run.config
    has_size = config.size_factors and not config.latent_size
    num_classes = 0
    if shape is not None and config.condition == "labels" and not has_size:
        num_classes = int(shape[0])
    if label == "none" and (shape is None or config.condition_dropout == 0.0):
        raise BadInputError(
            "label=none is for a run with condition_dropout above 0, whose condition is optional."
        )
    if label not in (None, "none", *map(str, range(num_classes))):
        allowed = "must be for a run with condition=labels alone"
        if num_classes:
            allowed = f"must be one of 0 to {num_classes - 1}"
            allowed += ", or none" if config.condition_dropout > 0.0 else ""
        raise BadInputError(f"label={label} {allowed}.")
    if (shape is None and not has_size) or run.model.summed is not None:
        return None
    if num_classes:
        in_turn = np.arange(number) % num_classes
        labels = in_turn if label in (None, "none") else np.full(number, int(label))
        c: Any = np.eye(num_classes, dtype=np.float32)[labels]
    else:
        c = pictures.repeated(run.with_data().loaded_examples.test.c, number)
    return no_condition(jax.tree.map(jnp.asarray, c)) if label == "none" else c

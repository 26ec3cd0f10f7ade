"""Encodes examples: writes the posterior q(z|x) of each, and its ELBO.

vae-jax encode runs/mnist mnist --out=codes.npz
vae-jax encode runs/own digits.npz --out=codes.csv --split=train
vae-jax encode runs/mnist mnist --hmc_steps=20    # with samples close to p(z|x)
vae-jax encode runs/mnist mnist --for_training    # a data set of codes, for another model of them

The arrays are mean and std [N, L] of a normal posterior, or logits of a discrete one, or index
[N, *grid, Q] and vector [N, *grid, D] of codes; for a
hierarchy mean_1, std_1, mean_2 and so on, of each layer given the means of those drawn before it;
elbo, reconstruction and kl [N], in nats; labels, where the data have them; and with --hmc_steps
samples z [N, L] that have gone from q(z|x) towards p(z|x), all layers after one another.
"""

import csv
import dataclasses
import io
import operator
from typing import Any

import jax
import numpy as np

from vae_jax import data, evidence
from vae_jax.commands import command, flags
from vae_jax.commands.outputs import output_file
from vae_jax.distributions import Layers, flat_points_of
from vae_jax.errors import BadInputError
from vae_jax.runs import Run, load_run
from vae_jax.runs import examples as examples_of
from vae_jax.runs.agreement import absolute
from vae_jax.runs.files import replace, save_npz
from vae_jax.runs.stop import StopSignal

ARGUMENTS = ("RUN", "DATA")
_AT_ONCE = 1000
_ELBO_SAMPLES = 64
_CONTINUOUS = ("mean", "std", "centre", "concentration")
_DISCRETE = ("logits", "index", "vector")


def define_flags() -> None:
    """Defines the flags of the command."""
    flags.define_one(
        "out", str, "codes.npz", "Where the codes go: FILE.npz or FILE.csv.", "output", first=True
    )
    flags.define_one(
        "split",
        str,
        "test",
        "Which examples of DATA to encode.",
        "data",
        choices=("train", "validation", "test"),
        first=True,
    )
    flags.define_one(
        "data_dir",
        str,
        None,
        "Folder in which TensorFlow Datasets keeps its data. Default: that of the run.",
        "data",
        first=True,
    )
    flags.define_one(
        "hmc_steps",
        int,
        0,
        "Adds samples z that start at q(z|x) and take this many Hamiltonian transitions towards "
        "p(z|x).",
        "output",
        low=0,
        first=True,
    )
    flags.define_one(
        "for_training",
        bool,
        False,
        "Writes a data set of the codes of all splits, x_train, y_train, x_test and y_test, for "
        "another model of them: means of q(z|x), of which validation examples are training ones.",
        "output",
        first=True,
    )
    flags.define_one(
        "seed", int, 0, "Seed of the samples of the ELBO.", "output", low=0, high=2**32 - 1
    )


def main(stop: StopSignal, run: str, name: str) -> None:
    path, kind = output_file(flags.value_of("out"), (".npz", ".csv"))
    command.use_compile_cache()
    trained = load_run(run, report=lambda text: print(text, flush=True))
    data_dir = flags.value_of("data_dir") or trained.config.data_dir
    config = dataclasses.replace(trained.config, dataset=name, data_dir=data_dir)
    config = absolute(dataclasses.replace(config, missing=None, missing_seed=0))
    known = (trained.schema, trained.covariates)
    dataset = examples_of.load_dataset(config, lambda text: print(text, flush=True), *known)
    if flags.value_of("for_training"):
        if kind != ".npz":
            raise BadInputError(f"for_training writes arrays, and out={path}: name an .npz file.")
        save_npz(path, **as_data(trained, dataset))
        print(f"The codes of {dataset.name} as a data set: {path}.")
        return
    split = getattr(dataset, flags.value_of("split"))
    columns = stop.wait_for(
        lambda: encoded(
            trained, split, jax.random.key(flags.value_of("seed")), flags.value_of("hmc_steps")
        ),
        until="these examples are encoded",
    )
    if kind == ".npz":
        save_npz(path, **columns)
    else:
        replace(path, as_csv(columns))
    print(f"{len(split):,} {flags.value_of('split')} examples of {dataset.name}: {path}.")


def as_data(run: Run, dataset: data.Dataset) -> dict[str, np.ndarray]:
    """The codes of all splits as the arrays of a data set: points of q(z|x), [N, L]."""
    found = {}
    for name, splits in (
        ("train", (dataset.train, dataset.validation)),
        ("test", (dataset.test,)),
    ):
        codes = []
        for split in splits:
            x = run.batch_of(split)
            for start in range(0, len(x), _AT_ONCE):
                codes.append(np.asarray(flat_points_of(run.encode(x[start : start + _AT_ONCE]))))
        found[f"x_{name}"] = np.concatenate(codes)
        labels = [split.labels for split in splits]
        if all(of is not None for of in labels):
            found[f"y_{name}"] = np.concatenate([np.asarray(of) for of in labels])
    return found


def encoded(
    run: Run, split: data.Split, key: jax.Array, hmc_steps: int = 0
) -> dict[str, np.ndarray]:
    """The posteriors and ELBOs of the images of a split, name -> [N, ...].

    Grey images are binarised like the test images of the run. The ELBO is estimated by 64 samples.
    With `hmc_steps` above 0 there are samples z of as many transitions (`evidence.short_run_hmc`).

    Raises:
      BadInputError: the images do not have the shape or the values that the model takes, or
        `hmc_steps` are asked for of discrete latents.
    """
    if hmc_steps > 0 and run.config.latents != "normal":
        raise BadInputError(
            f"hmc_steps={hmc_steps} is for continuous latents, and the run has "
            f"latents={run.config.latents}."
        )
    x = run.batch_of(split)
    posteriors = [run.encode(x[start : start + _AT_ONCE]) for start in range(0, len(x), _AT_ONCE)]
    q: Any = jax.tree.map(lambda *leaves: np.concatenate(leaves), *posteriors)
    layers = {"": q}
    if isinstance(q, Layers):
        layers = {f"_{layer}": one for layer, one in enumerate(q.of_each, start=1)}
    found = {
        name + layer: np.asarray(jax.vmap(operator.attrgetter(name))(of_layer))
        for layer, of_layer in layers.items()
        for name in (_CONTINUOUS if of_layer.is_reparameterised else _DISCRETE)
        if hasattr(jax.tree.map(lambda leaf: leaf[0], of_layer), name)
    }
    estimate = evidence.make_importance_sampler(run.model, _ELBO_SAMPLES)
    scores = estimate(run.params, x, key)
    found |= {name: getattr(scores, name) for name in ("elbo", "reconstruction", "kl")}
    if hmc_steps > 0:
        hmc_key = jax.random.fold_in(key, 1)
        moved = evidence.short_run_hmc(run.model, run.params, x, hmc_key, num_steps=hmc_steps)
        found["z"] = moved.z[:, 0]
    return found if split.labels is None else found | {"labels": np.asarray(split.labels)}


def as_csv(columns: dict[str, np.ndarray]) -> str:
    """Writes arrays [N, ...] as a table, under a line of names: mean_0, mean_1, ..., elbo."""
    named = {}
    for name, values in columns.items():
        flat = values.reshape(len(values), -1)
        for index in range(flat.shape[1]):
            named[name if values.ndim == 1 else f"{name}_{index}"] = flat[:, index].tolist()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(named)
    writer.writerows(zip(*named.values(), strict=True))
    return text.getvalue()

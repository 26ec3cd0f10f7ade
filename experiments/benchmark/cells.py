"""Trains scVI's model of cells here and by scvi-tools, on the same counts, in turn for each seed.

python -m experiments.benchmark.cells --scvi_python=ENVIRONMENT/bin/python --counts=cells.npz

Both have one hidden layer, no normalisation of layers, a negative binomial distribution with
additional zeros, total counts as library sizes, dropout in the encoder, and a weight of the KL term
that rises to 1 over all epochs. Both have Adam with the weight decay and the eps of scvi-tools,
here with a learning rate that falls as a cosine, and averaged parameters. scvi-tools trains on the
training cells that are left here without those for validation. It prints the seconds of training
and log p(x) of the test cells by importance sampling.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from vae_jax import data
from vae_jax.commands import command
from vae_jax.config import Config
from vae_jax.errors import BadInputError
from vae_jax.runs import fit
from vae_jax.runs.stop import StopSignal

FLAGS = flags.FLAGS
flags.DEFINE_string("scvi_python", None, "Python of an environment that has scvi-tools.")
flags.DEFINE_string(
    "counts",
    None,
    "An .npz file with counts x_train and x_test, [N, genes]; without it, 20,000 training and "
    "2,000 test cells with 2,000 genes are simulated.",
)
flags.DEFINE_integer("epochs", 400, "Number of epochs.", lower_bound=1)
flags.DEFINE_integer("num_seeds", 3, "Number of seeds.", lower_bound=1)
flags.DEFINE_integer("num_samples", 1_000, "Samples of q(z|x) for log p(x).", lower_bound=1)

_MODEL = {"hidden": 128, "latent_dim": 10, "dropout": 0.1, "batch_size": 128}


def simulated(num_cells: int, num_genes: int, num_factors: int = 10) -> np.ndarray:
    """Counts [N, D] of an overdispersed log-linear model of `num_factors` factors."""
    rng = np.random.default_rng(0)
    weights = rng.normal(0.0, 0.5, (num_factors, num_genes))
    logits = rng.normal(0.0, 1.5, num_genes) + rng.normal(size=(num_cells, num_factors)) @ weights
    logits -= logits.max(axis=1, keepdims=True)
    proportions = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    sizes = rng.lognormal(np.log(3_000), 0.3, (num_cells, 1))
    inverse_dispersion = 2.0
    rates = rng.gamma(inverse_dispersion, sizes * proportions / inverse_dispersion)
    return rng.poisson(rates).astype(np.float32)


def dataset_of(path: str | None) -> data.Dataset:
    """The cells of a file, or simulated ones."""
    if path is not None:
        return data.load(path, kind="count")
    counts = simulated(22_000, 2_000)
    return data.from_arrays(counts[:20_000], counts[20_000:], kind="count")


def trained_here(dataset: data.Dataset, seed: int) -> dict[str, Any]:
    """Seconds of training and compiling, and the mean of log p(x) over the test cells."""
    config = Config(
        kind="count",
        likelihood="zinb",
        size_factors=True,
        network="mlp",
        hidden=(_MODEL["hidden"],),
        latent_dim=_MODEL["latent_dim"],
        dropout=_MODEL["dropout"],
        batch_size=_MODEL["batch_size"],
        weight_decay=1e-6,
        adam_eps=0.01,
        objective="beta",
        beta=1.0,
        anneal="linear",
        anneal_epochs=FLAGS.epochs,
        epochs=FLAGS.epochs,
        nll_samples=FLAGS.num_samples,
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        summary = fit(config, dataset, folder, listeners=()).summary
    return {
        "seconds": summary["train_seconds"],
        "compile_seconds": summary["compile_seconds"],
        "log_p": -summary["test_nll"],
        "stderr": summary["test_nll_stderr"],
    }


def trained_by_scvi(counts: Path, seed: int) -> dict[str, Any]:
    """The same of scvi-tools, whose log p(x) are those of the test cells one by one."""
    settings = _MODEL | {
        "counts": str(counts),
        "seed": seed,
        "epochs": FLAGS.epochs,
        "num_samples": FLAGS.num_samples,
        "threads": len(os.sched_getaffinity(0)),
    }
    script = Path(__file__).with_name("cells_scvi.py")
    arguments = [FLAGS.scvi_python, str(script), json.dumps(settings)]
    run = subprocess.run(arguments, capture_output=True, text=True)
    if run.returncode:
        raise BadInputError(f"--scvi_python={FLAGS.scvi_python} ends with {run.stderr[-2000:]}")
    found = json.loads(run.stdout.splitlines()[-1])
    log_p = np.asarray(found.pop("log_p"), np.float64)
    return found | {"log_p": log_p.mean(), "stderr": log_p.std(ddof=1) / np.sqrt(len(log_p))}


def require_scvi() -> None:
    """Raises a BadInputError if --scvi_python is no Python that has scvi-tools."""
    if FLAGS.scvi_python is None:
        raise BadInputError("--scvi_python is missing: name a Python that has scvi-tools.")
    try:
        found = subprocess.run([FLAGS.scvi_python, "-c", "import scvi"], capture_output=True)
    except OSError as error:
        raise BadInputError(f"--scvi_python={FLAGS.scvi_python} does not start: {error}") from error
    if found.returncode:
        raise BadInputError(
            f"--scvi_python={FLAGS.scvi_python} has no scvi-tools: it must be a Python of an "
            "environment that has it."
        )


def main(stop: StopSignal) -> None:
    """Runs the comparison."""
    del stop
    require_scvi()
    dataset = dataset_of(FLAGS.counts)
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts.npz"
        np.savez(counts, x_train=dataset.train.x, x_test=dataset.test.x)
        print(f"{len(dataset.train.x):,} training cells, {len(dataset.test.x):,} test cells")
        for seed in range(FLAGS.num_seeds):
            here, there = trained_here(dataset, seed), trained_by_scvi(counts, seed)
            print(
                f"seed {seed}: vae_jax {here['seconds']:.1f} s and {here['compile_seconds']:.1f} s "
                f"of compiling, {here['log_p']:.2f} +- {here['stderr']:.2f} nats; scvi-tools "
                f"{there['version']} {there['seconds']:.1f} s, {there['log_p']:.2f} +- "
                f"{there['stderr']:.2f} nats; {there['seconds'] / here['seconds']:.1f} times the "
                "time without compiling",
                flush=True,
            )


if __name__ == "__main__":
    command.run(main)

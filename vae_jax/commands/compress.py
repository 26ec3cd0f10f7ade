"""Compresses examples with a trained model, without loss: its bound as the size of a file.

vae-jax compress runs/mnist mnist --out=mnist.vae
vae-jax compress runs/own pictures/ --out=pictures.vae --split=all
vae-jax decompress runs/mnist mnist.vae --out=mnist.npz

Black and white or 8-bit pixels, and counts; grey pixels of a run that binarises are compressed as
they are evaluated. The file takes minus the ELBO in bits for each example, and is read by the same
model on the same kind of machine alone. It needs an extra: pip install 'vae_jax[compression]'.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from vae_jax import compression, data, evidence
from vae_jax.commands import command, flags
from vae_jax.commands.outputs import output_file
from vae_jax.runs import Run, load_run
from vae_jax.runs import examples as examples_of
from vae_jax.runs.agreement import absolute
from vae_jax.runs.events import Counted, telling
from vae_jax.runs.files import replace_bytes
from vae_jax.runs.listeners import default_listeners
from vae_jax.runs.stop import StopSignal

ARGUMENTS = ("RUN", "DATA")
_MOST_SAMPLES = 100_000  # of all posteriors, for the ELBO


def define_flags() -> None:
    """Defines the flags of the command."""
    flags.define_one("out", str, "compressed.vae", "The file.", "output", first=True)
    flags.define_one(
        "split",
        str,
        "test",
        "Which examples of DATA to compress; all of them are in the order of their source.",
        "data",
        choices=("train", "validation", "test", "all"),
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
        "latent_bits",
        int,
        compression.LATENT_BITS,
        "Bits of the grid on which each continuous latent lies, an even number.",
        "output",
        low=8,
        high=20,
        first=True,
    )
    flags.define_one(
        "seed",
        int,
        0,
        "Seed of the random bits at the start.",
        "output",
        low=0,
        high=2**32 - 1,
        first=True,
    )


def main(stop: StopSignal, run: str, name: str) -> None:
    path, _ = output_file(flags.value_of("out"), (".vae",))
    command.use_compile_cache()
    trained = load_run(run, report=lambda text: print(text, flush=True))
    compression.require_compressible(trained.vae)
    split = examples_of_source(trained, name)
    x = trained.batch_of(split).x
    with telling(default_listeners()) as tell:
        found = compression.compress(
            trained.vae,
            x,
            latent_bits=flags.value_of("latent_bits"),
            seed=flags.value_of("seed"),
            count=lambda number: _counted(tell, stop, "Compressing", number, len(x)),
        )
    replace_bytes(path, found.data)
    print(f"{len(x):,} examples of {name}: {path}, {len(found.data):,} bytes.\n")
    print(in_words(trained, x, found))


def examples_of_source(run: Run, name: str) -> data.Split:
    """The examples of a source of data that --split asks for.

    Raises:
      DataError: they cannot be loaded.
    """
    data_dir = flags.value_of("data_dir") or run.config.data_dir
    config = absolute(dataclasses.replace(run.config, dataset=name, data_dir=data_dir))

    def report(text):
        print(text, flush=True)

    wanted = flags.value_of("split")
    if wanted != "all":
        dataset = examples_of.load_dataset(config, report, run.schema, run.covariates)
        return getattr(dataset, wanted)
    _, found = data.load_whole(
        name,
        data_dir=config.data_dir,
        report=report,
        kind=config.kind,
        image_size=config.image_size,
        label_column=config.label_column,
    )
    splits = [of for of in (found.train, found.validation, found.test) if of is not None]
    return data.Split(np.concatenate([np.asarray(of.x[:]) for of in splits]))


def in_words(run: Run, x: Any, found: compression.Compressed) -> str:
    """The size of a compression beside minus the ELBO and other programs, as a table."""
    number, dims = len(x), int(np.prod(x.shape[1:]))
    num_samples = max(1, _MOST_SAMPLES // number)
    estimate = evidence.make_importance_sampler(run.model, num_samples)
    elbo = estimate(run.params, x, jax.random.key(0)).elbo / np.log(2.0)
    are_bits = run.config.binarisation != "none" or run.metadata.get("data_kind") == "binary"
    is_8_bit = run.metadata.get("data_kind") == "8-bit" and not are_bits
    others = compression.other_sizes(
        np.rint(np.asarray(x, np.float64) * (255 if is_8_bit else 1)).astype(np.int64),
        are_bits=are_bits,
    )
    rows = [("this file", 8 * len(found.data) / number)]
    rows.append(("  of which codes", found.num_bits / number))
    rows.append(("  start, header", (found.start_bits + found.header_bits) / number))
    rows.append(("minus the ELBO", -float(elbo.mean())))
    names = {"png": "PNG, all in one picture", "zstd": "zstd, level 19", "raw": "uncompressed"}
    rows += [(names[key], 8 * size / number) for key, size in others.items() if size is not None]
    lines = [f"{'':32} {'bits/example':>12} {'bits/dim':>9}"]
    return "\n".join(lines + [f"{name:32} {bits:12.2f} {bits / dims:9.4f}" for name, bits in rows])


def _counted(tell: Any, stop: StopSignal, what: str, number: int, total: int) -> None:
    """Tells how far the work is, and ends it if a signal has come."""
    if stop.requested:
        raise stop.stopped("Stopped; no file was written.")
    tell(Counted(what, number, total, "example"))

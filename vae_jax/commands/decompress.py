"""Gives compressed examples back, to the bit, with the model that has compressed them.

vae-jax decompress runs/mnist mnist.vae --out=mnist.npz
vae-jax decompress runs/own pictures.vae --out=pictures/    # one PNG file each

FILE.npz has x: 8-bit pixels as stored, 0 to 255, black and white ones as 0 and 1, and counts.
"""

from pathlib import Path

import numpy as np

from vae_jax import compression
from vae_jax.commands import command, flags
from vae_jax.commands.outputs import output_file, save_pngs
from vae_jax.errors import BadInputError
from vae_jax.runs import Run, load_run
from vae_jax.runs.events import Counted, telling
from vae_jax.runs.files import reading, save_npz
from vae_jax.runs.listeners import default_listeners
from vae_jax.runs.stop import StopSignal

ARGUMENTS = ("RUN", "FILE")


def define_flags() -> None:
    """Defines the flags of the command."""
    flags.define_one(
        "out",
        str,
        "examples.npz",
        "Where the examples go: FILE.npz, or of images FOLDER/ with one PNG file each.",
        "output",
        first=True,
    )


def main(stop: StopSignal, run: str, name: str) -> None:
    path, kind = output_file(flags.value_of("out"), (".npz", "/"))
    file = Path(name).expanduser()
    with reading(file):
        content = file.read_bytes()
    compression.Archive.from_bytes(content, name)  # refuses another file before the model is read
    command.use_compile_cache()
    trained = load_run(run, report=lambda text: print(text, flush=True))
    shape = trained.metadata["event_shape"]
    if kind == "/" and not (len(shape) == 3 and shape[-1] in (1, 3)):
        raise BadInputError(
            f"out={path}/ is for images, and the run in {run} has examples of the shape "
            f"{tuple(shape)}: name an .npz file."
        )
    with telling(default_listeners()) as tell:

        def count(number: int, total: int) -> None:
            if stop.requested:
                raise stop.stopped("Stopped; no file was written.")
            tell(Counted("Decompressing", number, total, "example"))

        x = compression.decompress(trained.vae, content, name=name, count=count)
    if kind == "/":
        save_pngs(path, x)
    else:
        save_npz(path, x=as_stored(trained, x))
    print(f"{len(x):,} examples of {name}: {flags.value_of('out')}.")


def as_stored(run: Run, x: np.ndarray) -> np.ndarray:
    """Examples as their file had them: whole numbers."""
    kind = run.metadata.get("data_kind", "8-bit")
    if run.config.binarisation != "none" or kind == "binary":
        return x.astype(np.uint8)
    if kind == "8-bit":
        return np.rint(x * 255.0).astype(np.uint8)
    return np.rint(x).astype(np.int64)

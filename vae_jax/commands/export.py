"""Writes encoder and decoder of a trained model as ONNX files, for programs without JAX.

vae-jax export runs/mnist --out=exported/

The folder gets encoder.onnx (input x, outputs mean and std, or of codes index and vector) and
decoder.onnx (input z, or vector; output the mean of p(x|z)), for batches of any size. vae-jax
encode writes the codes of examples. It needs an extra: pip install 'vae_jax[onnx]'.
"""

from vae_jax import export
from vae_jax.commands import command, flags
from vae_jax.commands.outputs import output_file
from vae_jax.errors import BadInputError
from vae_jax.runs import load_run
from vae_jax.runs.files import replace_bytes
from vae_jax.runs.stop import StopSignal

ARGUMENTS = ("RUN",)
PARTS = {"encoder": export.encoder_to_onnx, "decoder": export.decoder_to_onnx}


def define_flags() -> None:
    """Defines the flags of the command."""
    flags.define_one("out", str, "exported/", "Folder of the files.", "output", first=True)
    flags.define_one(
        "part",
        str,
        "both",
        "What is written.",
        "output",
        choices=("both", *PARTS),
        first=True,
    )


def main(stop: StopSignal, run: str) -> None:
    del stop
    folder, _ = output_file(flags.value_of("out"), ("/",))
    command.use_compile_cache()
    trained = load_run(run, report=lambda text: print(text, flush=True))
    chosen, written = flags.value_of("part"), []
    for name, to_onnx in PARTS.items():
        if chosen not in ("both", name):
            continue
        try:
            content = to_onnx(trained.vae)
        except BadInputError as error:
            raise BadInputError(f"{error} (--part chooses one.)") from error
        replace_bytes(folder / f"{name}.onnx", content)
        written.append(f"{name}.onnx")
    print(f"{' and '.join(written)} of the run in {run}: {folder}.")

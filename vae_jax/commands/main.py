"""`vae-jax COMMAND`: the commands by their names."""

import importlib
import sys

COMMANDS = {
    "train": "train and evaluate a VAE",
    "sweep": "train many, by seeds and values, side by side",
    "table": "join runs into one table",
    "prior": "fit a new prior to the codes of a finished run",
    "evaluate": "bound log p(x), and say what holds a model back",
    "sample": "draw samples from a trained model",
    "encode": "encode examples: posteriors and ELBOs",
    "impute": "fill in missing values",
    "compress": "compress examples without loss",
    "decompress": "give compressed examples back",
    "export": "write encoder and decoder as ONNX files",
    "report": "write the page of a run or of a sweep",
    "verify": "check every estimator against exact truth, on this machine",
}
_MODULES = {"sweep": "train"}  # where a command is not a module of its own name


def main() -> None:
    """Runs the command that the first argument names."""
    given = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if given in ("--help", "-h", "help"):
        print(_help())
        return
    if given == "--version":
        import vae_jax

        print(vae_jax.__version__)
        return
    if given not in COMMANDS:
        print(f"Error: there is no command {given!r}, only {', '.join(COMMANDS)}.", file=sys.stderr)
        sys.exit(2)
    sys.argv = [f"vae-jax {given}", *sys.argv[2:]]
    from vae_jax.commands import command

    module = importlib.import_module(f"vae_jax.commands.{_MODULES.get(given, given)}")
    module.define_flags()
    command.run(module.main, about=module.__doc__, arguments=getattr(module, "ARGUMENTS", ()))


def _help() -> str:
    lines = [f"  vae-jax {name:10} {about}" for name, about in COMMANDS.items()]
    return "\n".join(["Variational autoencoders: vae-jax COMMAND --help says more.", "", *lines])

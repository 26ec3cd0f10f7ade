"""Fits a new prior to the codes of a finished run, whose encoder and decoder stay as they are.

vae-jax prior runs/mnist --prior=gmm:50 --out=runs/mnist_gmm
vae-jax prior runs/mnist --prior=vamp:500 --out=runs/mnist_vamp
vae-jax prior runs/mnist --prior=flow:spline --out=runs/mnist_flow
vae-jax prior runs/vq --prior=pixelcnn --out=runs/vq_pixelcnn

The new run is like any other: its test NLL and ELBO, with the new prior, are printed beside the old
ones, figures/priors.png shows samples of both, and
vae-jax evaluate --run=runs/mnist --against=runs/mnist_gmm
says what it brings, example by example. The same command resumes it.
"""

from vae_jax.commands import command, flags
from vae_jax.config import Config
from vae_jax.errors import BadInputError
from vae_jax.runs.new_prior import fit_prior, parsed
from vae_jax.runs.stop import StopSignal

ARGUMENTS = ("RUN",)
_OF_CONFIG = (
    *("epochs", "batch_size", "learning_rate", "num_flows", "flow_hidden"),
    *("prior_width", "prior_layers", "causal_kernel", "causal_heads"),
)
_DEFAULTS = {"epochs": 20, "learning_rate": 5e-3}


def define_flags() -> None:
    """Defines the flags of the command."""
    flags.define_one(
        "prior",
        str,
        "gmm:50",
        "The new prior: gmm:N (a mixture of N normals), vamp:N, exemplar:N, flow:NAME, or for "
        "discrete latents autoregressive, pixelcnn or transformer, the latter two also for codes.",
        "run",
        first=True,
    )
    flags.define_one("out", str, None, "Folder of the new run.", "run", first=True)
    for name in _OF_CONFIG:
        known = Config.OPTIONS[name]
        text = known.help + ("" if name in _DEFAULTS else " Default: that of the run.")
        default = _DEFAULTS.get(name)
        limits = {"low": known.low, "above": known.above}
        flags.define_one(name, known.kind, default, text, "optimisation", first=True, **limits)
    flags.define_moved()


def main(stop: StopSignal, run: str) -> None:
    out = flags.value_of("out")
    if out is None:
        raise BadInputError("--out is missing: name the folder of the new run.")
    given = {name: flags.value_of(name) for name in _OF_CONFIG}
    parsed(flags.value_of("prior"))  # refuses it before the data are read
    command.use_compile_cache()
    before = flags.finished_run(run)
    options = {name: value for name, value in given.items() if value is not None}
    found = fit_prior(before, flags.value_of("prior"), out, stop=stop, **options)
    print(
        f"\n{found}\nThe new run: {out}. Samples of both: {found.after.folder.figures}/priors.png."
    )

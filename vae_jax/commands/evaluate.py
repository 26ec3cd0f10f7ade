"""Says how good a trained VAE really is, and what holds it back.

vae-jax evaluate --run=runs/mnist
vae-jax evaluate --run=runs/mnist --num_examples=20 --temperatures=50
vae-jax evaluate --run=runs/fashion --outliers=mnist
vae-jax evaluate --run=runs/mnist --against=runs/vamp

It computes an interval for log p(x), by annealed importance sampling in both directions; the
inference gap, split into its causes; the state of the latent space; and the rate-distortion curve
of the decoder. It writes evidence.json, evidence.md (the same in words) and figures to --output,
and adds them to the page of the run, report.html. With --against it says what another run brings,
example by example. The same command resumes an evaluation that was interrupted.
"""

from pathlib import Path

from vae_jax.commands import command, flags
from vae_jax.errors import BadInputError
from vae_jax.evaluation import Budget, evaluate
from vae_jax.evaluation.subject import require_evaluable
from vae_jax.runs.report import write_report
from vae_jax.runs.stop import StopSignal


def define_flags() -> None:
    """Defines the flags of the command."""
    flags.define_one("run", str, None, "Folder of a finished run.", "run", first=True)
    flags.define_one(
        "output",
        str,
        None,
        "Folder for everything that is written. Default: RUN/evidence.",
        "run",
        first=True,
    )
    flags.define_one(
        "against",
        str,
        None,
        "Folder of another finished run on the same data: what it brings, example by example.",
        "run",
        first=True,
    )
    flags.define(Budget)
    flags.define_moved()


def main(stop: StopSignal) -> None:
    path = flags.value_of("run")
    if path is None:
        raise BadInputError("--run is missing: name the folder of a finished run.")
    budget = Budget(**{name: flags.value_of(name) for name in Budget.OPTIONS})
    command.use_compile_cache()
    run = flags.finished_run(path, require=lambda run: require_evaluable(run, budget))
    against = flags.value_of("against")
    if against is not None:
        against = flags.finished_run(
            against, require=lambda other: require_evaluable(other, budget)
        )
    output = flags.value_of("output") or Path(path) / "evidence"
    found = evaluate(run, budget, output, against=against, stop=stop)
    print(f"\n{found}\nWritten to {found.folder}: evidence.json, evidence.md and figures.")
    if flags.value_of("output") is None:
        print(f"The page of the run has it, too: {write_report(run.folder)}")

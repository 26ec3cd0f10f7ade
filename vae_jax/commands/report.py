"""Writes the page of a run or of a sweep again: report.html in its folder.

vae-jax report runs/mnist
vae-jax report runs/sweep --open

A run writes its page when it is finished. Written again, the page also has the results of
`evaluate`. It needs no other file and no network.
"""

import webbrowser

from vae_jax.commands import flags
from vae_jax.runs.folder import RunFolder
from vae_jax.runs.report import write_report
from vae_jax.runs.stop import StopSignal

ARGUMENTS = ("RUN",)


def define_flags() -> None:
    """Defines the flags of the command."""
    flags.define_one("open", bool, False, "Show the page in the browser.", "output", first=True)


def main(stop: StopSignal, run: str) -> None:
    del stop
    path = write_report(RunFolder(run, say=lambda text: print(text, flush=True)))
    print(path)
    if flags.value_of("open") and not webbrowser.open(path.absolute().as_uri()):
        print("There is no browser here to show it.")

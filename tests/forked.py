"""Processes that have imported the library already, so that a test of a command starts at once.

A new Python needs a second to import JAX. Here one process of `multiprocessing`, the fork server,
imports what commands import, and each command is a fork of it: a process with its own arguments,
environment, working directory and output.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "vae_jax",
        "vae_jax.evaluation",
        "vae_jax.verify",
        "vae_jax.commands.command",
        "matplotlib.figure",
    ]
)


class Finished(NamedTuple):
    code: int
    out: str
    err: str


def run(arguments, *, environment, cwd, timeout):
    """Runs `python ARGUMENTS`, of the form `-m MODULE ...` or `-c PROGRAM ...`, to its end.

    environment: what JAX reads when it is imported cannot differ from that of this process.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        process = _SERVER.Process(target=_become, args=(arguments, environment, cwd, out, err))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
        return Finished(process.exitcode, out.read_text(), err.read_text())


def _become(arguments, environment, cwd, out, err):
    for path, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    how, what, *rest = arguments
    sys.argv = [how, *rest]
    sys.path.insert(0, str(cwd))
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})

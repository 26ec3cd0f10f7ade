"""Runs that tests share: a command on small images, and the run that it has trained."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import compiling, forked
from tests.forked import Finished

ROOT = Path(__file__).parent.parent
MNIST = ("-m", "experiments.mnist")


class Command:
    """Runs `python -m experiments.mnist`, and other commands, on small images, as a user would."""

    def __init__(self, folder):
        self.folder = folder
        self.data = folder / "small.npz"
        rng = np.random.default_rng(0)
        # Bright squares at random places: something that a VAE can learn.
        images = np.zeros((150, 8, 8), np.uint8)
        for image, (row, column) in zip(images, rng.integers(0, 5, (150, 2)), strict=True):
            image[row : row + 4, column : column + 4] = 230
        np.savez(self.data, x_train=images[:120], x_test=images[120:])
        self.environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(folder / "cache"),
            "TFDS_DATA_DIR": str(folder / "tfds"),
            "PYTHONPATH": str(ROOT),
        }
        # The value before JAX is imported, which sets it.
        self.environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
        # Commands see one device, as a user has it.
        self.environment["XLA_FLAGS"] = f"{compiling.ON_ONE_CORE} {compiling.QUICKLY}"

    def start(self, workdir, *flags, defaults=True, through=(), program=MNIST, cwd="."):
        """Starts a new Python, which a test may send signals, and returns its `Popen`."""
        return subprocess.Popen(
            [*through, sys.executable, *program, *self._flags(workdir, flags, defaults)],
            env=self.environment,
            cwd=self.folder / cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, process):
        try:
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()
        return Finished(process.returncode, out, err)

    def run(self, workdir, *flags, defaults=True):
        return self.python(*MNIST, *self._flags(workdir, flags, defaults))

    def call(self, module, *flags):
        """Runs `python -m experiments.MODULE` for what measures a run."""
        return self.python("-m", f"experiments.{module}", *flags)

    def python(self, *arguments):
        return forked.run(arguments, environment=self.environment, cwd=self.folder, timeout=600)

    def _flags(self, workdir, flags, defaults):
        small = [
            f"--dataset={self.data}",
            "--network=mlp",
            "--hidden=16",
            "--latent_dim=2",
            "--batch_size=20",
            "--nll_samples=7",
            "--epochs=4",
        ]
        return [f"--workdir={self.folder / workdir}", *(small if defaults else []), *flags]


@pytest.fixture(scope="session")
def command(tmp_path_factory):
    return Command(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def finished(command):
    """A finished run, in the folder 'finished'."""
    result = command.run("finished")
    assert result.code == 0, result.err
    return result


@pytest.fixture(scope="session")
def shards(command):
    """The same images as a folder of shards, in the folder 'squares'."""
    folder = command.folder / "squares"
    folder.mkdir()
    with np.load(command.data) as images:
        for number, part in enumerate(np.split(images["x_train"], [50, 51])):
            np.save(folder / f"train-{number}.npy", part)
        np.save(folder / "test-0.npy", images["x_test"])
    return folder


@pytest.fixture(scope="session")
def finished_discrete(command):
    """A finished run with discrete latents, in the folder 'discrete'."""
    result = command.run("discrete", "--latents=bernoulli", "--estimator=vimco", "--num_samples=3")
    assert result.code == 0, result.err

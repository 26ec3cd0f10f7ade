"""The start of a run: nothing slow is imported before it is needed."""

import subprocess
import sys

SLOW = ("matplotlib", "scipy.stats", "tensorflow_datasets", "tensorflow", "sklearn", "torch")


def test_a_run_starts_without_what_it_needs_later_or_never(command):
    program = (
        "import sys, experiments.mnist, vae_jax\n"
        f"print(*(name for name in {SLOW} if name in sys.modules), sep=', ')"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program],
        env=command.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == ""

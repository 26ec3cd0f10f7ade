"""The versions of software that determine the numbers of a run."""

import functools
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("jax", "flax", "optax", "vae_jax")


def versions() -> dict[str, str]:
    """The versions of Python and the relevant packages, and the commit of this checkout."""
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
        "commit": _commit(),
    }


@functools.cache
def _commit() -> str:
    """The commit, followed by -dirty if files have changed; 'unknown' outside a checkout."""
    folder = Path(__file__).parents[2]
    if not (
        folder / ".git"
    ).exists():  # otherwise it would be the commit of a checkout around a wheel
        return "unknown"
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()

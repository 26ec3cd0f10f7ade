"""The versions that make the numbers."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("jax", "flax", "optax", "vae_jax")


def versions() -> dict[str, str]:
    """Versions of Python, the packages that make the numbers, and the commit of this checkout."""
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
        "commit": _commit(),
    }


def _commit() -> str:
    """The commit, with -dirty behind it if files differ from it; 'unknown' outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()

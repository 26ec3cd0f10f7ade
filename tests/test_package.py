"""The metadata of the installed package."""

import importlib.metadata
import importlib.resources
import subprocess
import sys

import pytest

import vae_jax


def test_the_version_is_that_of_the_installed_package(monkeypatch):
    asked = []
    monkeypatch.setattr(importlib.metadata, "version", lambda name: asked.append(name) or "7.8.9")
    assert vae_jax.__version__ == "7.8.9"
    assert asked == ["vae_jax"]


def test_a_checkout_that_is_not_installed_has_no_version(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert vae_jax.__version__ == "0+unknown"
    with pytest.raises(AttributeError, match="module 'vae_jax' has no attribute 'vesrion'"):
        _ = vae_jax.vesrion


def test_the_package_says_that_it_has_types():
    """PEP 561: type checkers read the annotations of a package with this file."""
    assert importlib.resources.files("vae_jax").joinpath("py.typed").is_file()


def test_importing_the_library_imports_no_room_that_only_some_need():
    code = (
        "import sys, vae_jax\n"
        "rooms = ('vae_jax.verify', 'vae_jax.figures', 'matplotlib', 'sklearn')\n"
        "print(*(name for name in rooms if name in sys.modules), sep=', ')"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert finished.stdout.strip() == ""

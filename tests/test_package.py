"""What the installed package says of itself."""

import importlib.metadata
import importlib.resources

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

"""Strict numerics for every test: what would pass silently elsewhere fails here."""

import os

# Before the backend starts.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
)

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_legacy_prng_key", "error")


def pytest_configure(config):
    """Fast tests spend most of their time in the compiler, which is told to do less.

    Slow tests, and commands that tests run as processes of their own, are compiled as ever.
    """
    if config.option.markexpr == "not slow":
        os.environ["XLA_FLAGS"] += " --xla_backend_optimization_level=0"


@pytest.fixture
def float64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield

"""Strict numerics for every test: what would pass silently elsewhere fails here."""

import os
from pathlib import Path

# Before JAX is imported. Most of the time of the tests goes into compiling. Many tests compile a
# program that another test, or a command that a test started, has compiled before.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(
    Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vae_jax" / "tests"
)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
# XLA logs a line for each program of the cache that another kind of CPU might not run.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import pytest

from tests import compiling

# JAX reads it when it computes something for the first time.
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=2",
        compiling.ON_ONE_CORE,
    ]
)

pytest_plugins = ("tests.run_fixtures",)

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_legacy_prng_key", "error")
# pytest hides frames of JAX, and exceptions get no note about that, which `match` would see.
jax.config.update("jax_traceback_filtering", "tracebackhide")


def pytest_configure(config):
    """Fast tests are compiled quickly; slow tests as a user compiles, but for the commands."""
    if config.option.markexpr == "not slow":
        os.environ["XLA_FLAGS"] += f" {compiling.QUICKLY}"


@pytest.fixture
def float64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield

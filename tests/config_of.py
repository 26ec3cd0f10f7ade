"""Configurations from the flags that stand for them."""

from vae_jax.config import Config, read


def config_of(*flags: str) -> Config:
    """The configuration of flags --name=value and --noname."""
    pairs = [flag.removeprefix("--").partition("=") for flag in flags]
    return read(
        Config,
        {
            name if equals else name.removeprefix("no"): text if equals else "false"
            for name, equals, text in pairs
        },
    )

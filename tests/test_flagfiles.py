"""The flagfiles of experiments/configs: each says its command, and holds flags that it takes."""

from pathlib import Path

import pytest

from tests.config_of import config_of
from vae_jax.config import Config

FILES = sorted((Path(__file__).parent.parent / "experiments" / "configs").glob("*.cfg"))
TRAINING = ("python -m experiments.mnist ", "vae-jax train ", "vae-jax sweep ")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_flagfile_says_its_command_and_its_flags_agree_with_each_other(path):
    lines = path.read_text().splitlines()
    comments = [line for line in lines if line.startswith("#")]
    (command,) = (line for line in comments if line.startswith("# Command: "))
    assert f"--flagfile=experiments/configs/{path.name}" in command
    flags = [line for line in lines if not line.startswith("#")]
    assert flags
    assert all(flag.startswith("--") for flag in flags)
    names = [flag[2:].partition("=")[0] for flag in flags]
    assert len(set(names)) == len(names)
    if command.removeprefix("# Command: ").startswith(TRAINING):
        of_config = [
            flag for flag, name in zip(flags, names, strict=True) if known(name) in Config.OPTIONS
        ]
        others = {name for name in names if known(name) not in Config.OPTIONS}
        assert others <= {"workdir", "num_seeds", "sweep"}
        config_of(*of_config).settled()


def known(name):
    return name if name in Config.OPTIONS else name.removeprefix("no")

"""The code in README.md and docs/ works, and their statements about flags are true."""

import re
from pathlib import Path

import numpy as np
import pytest

from vae_jax.config import Config, Hardware

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.slow
def test_the_library_example_has_twelve_lines_and_trains():
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/library.md").read_text(), re.S)[
        :1
    ]
    assert len([line for line in example.splitlines() if line.strip()]) == 12
    scope = {}
    exec(example, scope)
    assert scope["image"].shape == (28, 28, 1)
    assert 0 <= np.min(scope["image"]) < np.max(scope["image"]) <= 1
    np.testing.assert_allclose(scope["bound"], scope["reconstruction"] - scope["kl"], rtol=1e-6)
    # An untrained model has about -207 nats on average.
    assert scope["info"].metrics["elbo"] > -150


@pytest.mark.slow
def test_the_session_from_python_has_eight_lines_and_works(tmp_path, monkeypatch):
    (example,) = re.findall(r"```python\n(.*?)```", README.partition("## From Python")[2], re.S)[:1]
    assert len(example.splitlines()) == 8
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(example.replace("epochs=10", "epochs=1"), scope)
    assert scope["run"].summary["nll_samples"] == 1000
    np.testing.assert_allclose(scope["run"].history[-1]["validation_elbo"], -203, atol=4)
    for name in ("curves.pdf", "latents.pdf"):
        assert (tmp_path / name).read_bytes().startswith(b"%PDF")


def test_the_table_of_flags_has_the_true_defaults():
    page = (ROOT / "docs/commands.md").read_text()
    rows = re.findall(r"^\| `--(\w+)` \| `([^`]*)` \|", page, re.M)
    assert len(rows) > 15
    for name, default in rows:
        known = {**Config.OPTIONS, **Hardware.OPTIONS}.get(name)
        if known is None:
            assert default == {"workdir": "runs/mnist", "num_seeds": "1", "sweep": ""}[name]
        else:
            assert known.write(known.default) == default, name

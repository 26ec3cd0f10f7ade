"""The evaluation of a run from Python."""

import json

import numpy as np
import pytest

import vae_jax as vj
from vae_jax.errors import BadInputError
from vae_jax.evaluation import Budget

SMALL = Budget(num_examples=2, chains=2, temperatures=2, iwae_samples=10, quadrature=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on drawn shapes with a single latent, for which disentanglement is not defined."""
    config = vj.Config(
        dataset="shapes", binarisation="threshold", latent_dim=1, hidden=(8,), epochs=1,
        batch_size=1000, nll_samples=2, network="mlp",
    )  # fmt: skip
    return vj.fit(config, workdir=tmp_path_factory.mktemp("shapes") / "run", listeners=[])


@pytest.mark.slow
def test_a_measure_that_does_not_apply_is_named_and_the_rest_is_there(run):
    found = vj.evaluation.evaluate(run, SMALL, listeners=[])
    assert found.folder == run.folder.path / "evidence"
    numbers = json.loads((found.folder / "evidence.json").read_text())
    assert numbers["disentanglement"] is None
    assert "L and F of 2 or more" in numbers["not_measured"]["disentanglement"]
    assert "\nNot measured: disentanglement. codes must be [N, L]" in str(found)
    assert str(found) == (found.folder / "evidence.md").read_text()
    assert numbers["latent_space"]["num_latents"] == 1
    low, high = numbers["log_evidence"]["interval"]
    assert np.isfinite([low, high]).all()
    # Everything is on disk now, so that the same call gives the same numbers at once.
    again = vj.evaluation.evaluate(vj.load(run.folder.path), SMALL, listeners=[])
    assert json.loads((found.folder / "evidence.json").read_text()) == numbers
    assert again.text == found.text


@pytest.mark.slow
def test_what_cannot_be_evaluated_is_one_sentence(run):
    with pytest.raises(BadInputError, match="num_examples=20000 is more than"):
        vj.evaluation.evaluate(run, Budget(num_examples=20_000), listeners=[])
    with pytest.raises(BadInputError, match="Budget has no field 'chain': did you mean chains"):
        Budget(chain=3)
    with pytest.raises(BadInputError, match="chains=1 must be at least 2"):
        Budget(chains=1)

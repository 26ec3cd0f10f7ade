"""One half of an image as the condition of the other."""

import numpy as np
import pytest

from vae_jax import data
from vae_jax.config import Config
from vae_jax.errors import BadInputError, DataError
from vae_jax.runs import fit, load_run

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("given", data.HALVES)
def test_halves_are_cut_and_joined(given):
    x = RNG.integers(0, 256, (4, 5, 7, 1)).astype(np.uint8)
    split = data.cut(data.Split(x, labels=np.arange(4)), given)
    rows = {"top": x[:, :2], "bottom": x[:, 2:], "left": x[:, :, :3], "right": x[:, :, 3:]}
    other = {"top": "bottom", "bottom": "top", "left": "right", "right": "left"}[given]
    np.testing.assert_array_equal(split.x, rows[other])
    np.testing.assert_allclose(split.condition, rows[given] / 255, rtol=1e-6)
    whole = data.joined(split.x / 255, split.condition, given)
    np.testing.assert_allclose(whole, x / 255, rtol=1e-6)
    np.testing.assert_array_equal(split.labels, np.arange(4))


def test_a_run_fills_in_the_half_that_follows_from_the_other(tmp_path):
    """The right half is the left one mirrored: with it as the condition less is left to say."""
    left = (RNG.random((400, 6, 3)) > 0.5).astype(np.float32)
    images = np.concatenate([left, left[:, :, ::-1]], axis=2)
    dataset = data.from_arrays(images)
    options = {
        "epochs": 30, "batch_size": 20, "hidden": (64,), "network": "mlp", "latent_dim": 2,
        "nll_samples": 20, "learning_rate": 5e-3,
    }  # fmt: skip
    run = fit(Config(condition="left", **options), dataset, tmp_path / "run", listeners=[])
    assert tuple(run.metadata["event_shape"]) == (6, 3, 1)
    assert run.summary["test_nll"] < 0.5 * 18 * np.log(2)
    assert (tmp_path / "run" / "figures" / "inpainting.png").exists()
    again = load_run(tmp_path / "run")
    batch = again.batch_of(dataset.test)
    np.testing.assert_array_equal(batch.x[..., 0], dataset.test.x[:, :, 3:, 0])
    nll = again.evaluate(dataset)["test_nll"]
    np.testing.assert_allclose(nll, run.summary["test_nll"], rtol=1e-6)


def test_what_has_no_halves_is_refused(tmp_path):
    table = data.from_arrays(RNG.normal(size=(60, 3)), kind="real")
    with pytest.raises((BadInputError, DataError), match="condition=top is for images"):
        fit(Config(condition="top", batch_size=10), table, tmp_path / "run", listeners=[])

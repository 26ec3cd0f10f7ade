"""The commands on modalities and on imputation, as a user calls them."""

import json

import numpy as np
import pytest

from vae_jax.config import Config
from vae_jax.runs import fit


@pytest.mark.slow
@pytest.mark.parametrize("joining", ["joint", "product"])
def test_images_and_labels(command, tmp_path, joining):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    images = np.zeros((400, 6, 6), np.uint8)
    images[np.arange(400), 2 * labels] = 250
    path = tmp_path / "rows.npz"
    np.savez(
        path, x_train=images[:300], y_train=labels[:300], x_test=images[300:], y_test=labels[300:]
    )
    call = (
        "-m", "experiments.modalities", f"--dataset={path}", f"--joining={joining}",
        "--subset_rate=0.3", "--epochs=40", "--hidden=32", "--latent_dim=2", "--batch_size=50",
        "--learning_rate=0.01", "--num_samples=50", f"--output={tmp_path}/out",
    )  # fmt: skip
    result = command.python(*call)
    assert result.code == 0, result.err
    found = json.loads((tmp_path / "out" / "modalities.json").read_text())
    both, label = found["log p(image, label)"], found["log p(label|image)"]
    np.testing.assert_allclose(both, found["log p(image)"] + label, rtol=1e-4, atol=1e-4)
    assert found["label of an image is right"] > 0.8
    assert label > -np.log(3)
    assert (tmp_path / "out" / "generated.png").exists()


@pytest.mark.slow
def test_estimates_beside_those_of_scikit_learn(command, tmp_path):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(200, 1))
    x = z + 0.3 * rng.normal(size=(200, 3))
    path = tmp_path / "table.csv"
    lines = [",".join([*(f"{v:.4f}" for v in row), "ab"[int(row[0] > 0)]]) for row in x]
    path.write_text("a,b,c,d\n" + "\n".join(lines) + "\n")
    config = Config(
        dataset=str(path), missing="0.2", epochs=3, batch_size=20, hidden=(16,), network="mlp",
        latent_dim=2, nll_samples=5,
    )  # fmt: skip
    fit(config, None, tmp_path / "run", listeners=[])
    call = ("-m", "experiments.imputation", f"--runs={tmp_path}/run", f"--output={tmp_path}/out")
    result = command.python(*call)
    assert result.code == 0, result.err
    text = (tmp_path / "out" / "imputation.md").read_text()
    for method in ("vae_jax", "KNNImputer", "IterativeImputer", "mean, median, most frequent"):
        assert f"| {method} |" in text
    rows = json.loads((tmp_path / "out" / "imputation.json").read_text())
    assert rows["KNNImputer"][0]["real"][0] < rows["KNNImputer"][0]["real"][1]

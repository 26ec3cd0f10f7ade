"""The figures of each kind of model."""

import jax
import numpy as np
import pytest

from vae_jax import TrainedVAE
from vae_jax.models import Batch, ModelSpec
from vae_jax.runs import pictures

HISTORY = [
    {"epoch": epoch}
    | {
        f"{split}_{name}": -10.0 + epoch
        for split in ("train", "validation")
        for name in ("elbo", "reconstruction", "kl")
    }
    for epoch in (1, 2)
]


@pytest.mark.parametrize(
    ("latents", "latent_dim", "num_examples", "of_latents"),
    [
        ("normal", 2, 4, {"codes", "manifold"}),
        ("normal", 3, 4, {"codes", "interpolation"}),
        ("normal", 3, 1, {"codes"}),  # a line between one example and which other?
        ("bernoulli", 2, 4, set()),
        ("categorical", 2, 4, set()),
    ],
)
def test_latents_are_drawn_if_they_are_continuous(
    tmp_path, latents, latent_dim, num_examples, of_latents
):
    spec = ModelSpec((6, 6, 1), latent_dim, "mlp", (5,), latents=latents, num_categories=2)
    x = np.round(jax.random.uniform(jax.random.key(0), (num_examples, 6, 6, 1)))
    model = spec.build()
    vae = TrainedVAE(model, model.init(jax.random.key(1), x[0]), metadata={})
    labels = np.arange(2 * num_examples).reshape(num_examples, 2)
    paths = pictures.draw_all(
        tmp_path / "figures", vae, Batch(x), labels, HISTORY, jax.random.key(2)
    )
    assert {path.stem for path in paths} == {
        "reconstructions",
        "samples",
        "training_curves",
        *of_latents,
    }
    assert all(path.stat().st_size > 0 for path in paths)

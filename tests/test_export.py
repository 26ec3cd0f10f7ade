"""ONNX models of encoder and decoder: onnxruntime gives the numbers of JAX.

They are made in processes of their own, since jax2onnx changes Flax while it is at work.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAM = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np, jax, jax.numpy as jnp, onnxruntime
from vae_jax import export
from vae_jax.distributions import Code
from vae_jax.models import ModelSpec
from vae_jax.trained import TrainedVAE
options = eval(sys.argv[1])
shape = options.pop("event_shape", (9, 8, 1))
model = ModelSpec(event_shape=shape, **{"hidden": (16,), **options}).build()
params = model.init(jax.random.key(0), jnp.full(shape, 0.4))
wave = lambda leaf: jnp.sin(jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape)
params = jax.tree.map(lambda leaf: leaf + 0.1 * wave(leaf), params)
vae = TrainedVAE(model, params, {"event_shape": shape, "model": None})
rng = np.random.default_rng(0)
for number in (1, 3):
    session = onnxruntime.InferenceSession(export.encoder_to_onnx(vae))
    x = rng.integers(0, 2, (number, *shape)).astype(np.float32)
    found = dict(zip([o.name for o in session.get_outputs()], session.run(None, {"x": x})))
    q = vae.encode(x)
    layers = {"": q}
    if hasattr(q, "of_each"):
        layers = {f"_{at}": of for at, of in enumerate(q.of_each, 1)}
    for name, value in found.items():
        of = layers[name[name.index("_"):] if "_" in name else ""]
        expected = jax.vmap(lambda one: getattr(one, name.split("_")[0]))(of)
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=2e-5)
    print("encoder", sorted(found), found[sorted(found)[0]].shape[0])
session = onnxruntime.InferenceSession(export.decoder_to_onnx(vae))
z = vae.sample_prior(jax.random.key(1), 3)
leaves = [z.vector] if isinstance(z, Code) else jax.tree.leaves(z)
names = [i.name for i in session.get_inputs()]
(mean,) = session.run(None, {name: np.asarray(leaf) for name, leaf in zip(names, leaves)})
np.testing.assert_allclose(mean, vae.decode(z), rtol=1e-4, atol=1e-5)
print("decoder", names, mean.shape)
"""


def exported(options):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, repr(options)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


CASES = {
    "gated_mlp": ({"latent_dim": 3}, ["encoder ['mean', 'std'] 3", "decoder ['z'] (3, 9, 8, 1)"]),
    "conv": (
        {"latent_dim": 3, "network": "conv", "channels": (3, 4)},
        ["encoder ['mean', 'std'] 3"],
    ),
    "resnet, vq": (
        {
            **{"network": "resnet", "channels": (3, 4), "num_blocks": 1, "norm_groups": 1},
            **{"latents": "vq", "num_codes": 6, "code_dim": 4},
        },
        ["encoder ['index', 'vector'] 3", "decoder ['vector'] (3, 9, 8, 1)"],
    ),
    "fsq": (
        {"network": "mlp", "latent_dim": 3, "latents": "fsq"},
        ["encoder ['index', 'vector'] 3"],
    ),
    "hierarchy, full": (
        {"layers": (3, 2), "layer_hidden": (8,), "posterior": "full", "network": "mlp"},
        ["encoder ['mean_1', 'mean_2', 'std_1', 'std_2'] 3", "decoder ['z_1', 'z_2']"],
    ),
    "bits": ({"latent_dim": 3, "latents": "bernoulli"}, ["encoder ['logits', 'mean'] 3"]),
    "logistic mixture": (
        {"event_shape": (5, 4, 3), "latent_dim": 2, "likelihood": "logistic_mixture"},
        ["decoder ['z'] (3, 5, 4, 3)"],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_onnxruntime_gives_the_same_numbers_for_batches_of_any_size(name):
    options, expected = CASES[name]
    found = exported(options)
    assert found.returncode == 0, found.stderr[-3000:]
    for line in expected:
        assert line in found.stdout


@pytest.mark.slow
def test_what_has_no_counterpart_is_refused_in_one_sentence():
    found = exported({"latent_dim": 2, "pixels": "pixelcnn", "pixel_width": 4})
    assert "likelihood has no mean in one pass" in found.stderr

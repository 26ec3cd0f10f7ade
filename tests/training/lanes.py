"""A small sweep of four lanes with settings of their own, and each of them by itself."""

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import data
from vae_jax.models import vae
from vae_jax.networks import mlp
from vae_jax.objectives import beta_vae
from vae_jax.training import Recipe, adam, make_epoch, make_swept_trainer

BATCH_SIZE, EPOCHS = 10, 2
PIXELS = jnp.asarray(np.random.default_rng(0).integers(0, 256, (85, 4, 4, 1), dtype=np.uint8))
MEAN = data.mean_example(np.asarray(PIXELS))
KEYS = jax.random.split(jax.random.key(1), 4)
SETTINGS = {
    "learning_rate": np.array([1e-2, 3e-2, 1e-2, 1e-3], np.float32),
    "beta": np.array([1.0, 1.0, 4.0, 0.5], np.float32),
    "clip_norm": np.array([100.0, 1.0, 100.0, 100.0], np.float32),
    "average_decay": np.array([0.9, 0.9, 0.9, 0.0], np.float32),
    "weight_decay": np.array([0.0, 0.0, 0.1, 0.1], np.float32),
}


def recipe(settings):
    return Recipe(
        beta_vae(settings["beta"]),
        adam(settings["learning_rate"], 16, warmup_steps=2, weight_decay=settings["weight_decay"]),
        settings["clip_norm"],
        settings["average_decay"],
    )


MODEL = vae((4, 4, 1), 2, encoder=mlp((8,)), decoder=mlp((8,)))
TRAINER = make_swept_trainer(MODEL, recipe, binarise=data.dynamic)
# Compiled once for all tests.
start_alone = jax.jit(TRAINER.init)
run_alone = make_epoch(TRAINER, BATCH_SIZE)


def train(run_epoch, state):
    for _ in range(EPOCHS):
        state, info = run_epoch(state, PIXELS)
    return state, info


def by_itself(lane, settings=SETTINGS):
    values = {name: jnp.asarray(of_lanes[lane]) for name, of_lanes in settings.items()}
    return train(run_alone, start_alone(KEYS[lane], MEAN, values))


def arrays(tree):
    tree = tree._replace(key=jax.random.key_data(tree.key)) if hasattr(tree, "key") else tree
    return jax.tree.map(np.asarray, tree)

"""Trains the VAE of the lesson with the library's trainer, and keeps it at several epochs."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import data, training
from vae_jax.errors import DivergenceError
from vae_jax.models import Model, ModelSpec, Params, mean_elbo
from vae_jax.objectives import Objective

_BATCH_SIZE, _LEARNING_RATE = 100, 2e-3


class Snapshot(NamedTuple):
    """Parameters after a number of epochs."""

    epoch: int
    params: Params


def two_dimensional(event_shape: tuple[int, ...]) -> Model:
    """A VAE of two latent variables. Its tanh is smooth, so that quadrature is exact."""
    return ModelSpec(event_shape, 2, "mlp", (100, 100), "tanh").build()


def train(
    model: Model, objective: Objective, images: np.ndarray, epochs: int, key: jax.Array
) -> Iterator[Snapshot]:
    """Yields the parameters before the first epoch and after each epoch.

    Raises:
      DivergenceError: a quantity is not finite.
    """
    batch_size = min(_BATCH_SIZE, len(images))
    num_steps = epochs * (len(images) // batch_size)
    trainer = training.make_trainer(
        model,
        objective,
        training.adam(_LEARNING_RATE, num_steps, warmup_steps=num_steps // 10),
        clip_norm=200.0,
        average_decay=0.99,
        binarise=data.dynamic,
    )
    run_epoch = training.make_epoch(trainer, batch_size)
    state = jax.jit(trainer.init)(key, data.mean_example(images))
    pixels = jnp.asarray(images)
    yield Snapshot(0, jax.device_get(state.average_params))
    for epoch in range(1, epochs + 1):
        state, info = run_epoch(state, pixels)
        if (where := training.divergence(info)) is not None:
            raise DivergenceError(f"Training diverged: {where} is not finite.")
        yield Snapshot(epoch, jax.device_get(state.average_params))


def only_kl() -> Objective:
    """Minimises KL(q(z|x) || p(z)) alone: the ELBO with its reconstruction switched off."""

    def loss(state, step, key, draw_fn):
        del step, key
        elbo, terms = mean_elbo(draw_fn())
        kl = jnp.mean(terms.kl)
        metrics = {"elbo": jnp.mean(elbo), "reconstruction": jnp.mean(terms.reconstruction)}
        return kl, (state, {**metrics, "kl": kl})

    return Objective(init=lambda key, draw: (), loss=loss)


def kept_epochs(epochs: int, count: int = 8) -> list[int]:
    """Epoch 0 and about `count` others up to the last, each a fixed factor after the one before."""
    later = np.unique(np.round(np.geomspace(1, epochs, count)).astype(int))
    return [0, *later.tolist()]

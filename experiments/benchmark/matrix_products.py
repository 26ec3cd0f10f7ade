"""The matrix products of training and evaluation alone, the lower bound of their time.

These are all the products of a dense network, forward and backward, and nothing else: no
activation, no density, no noise, no optimiser. Each step of a loop multiplies other numbers, or the
compiler would take the products out of the loop.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.cases import NUM_PIXELS, Case

NAME = "matrix products alone"
_BATCHES = 8  # number of batches that take turns as input

Weights = Sequence[jax.Array]  # weights [inputs, outputs] of each layer


def weights(case: Case) -> tuple[Weights, Weights]:
    """The weights of encoder and decoder."""
    rng = np.random.default_rng(0)

    def of_network(*widths):
        return [
            jnp.asarray(rng.normal(size=shape) / np.sqrt(shape[0]), jnp.float32)
            for shape in pairwise(widths)
        ]

    return (
        of_network(NUM_PIXELS, *case.hidden, 2 * case.latent_dim),
        of_network(case.latent_dim, *reversed(case.hidden), NUM_PIXELS),
    )


def of_step(encoder: Weights, decoder: Weights, x: jax.Array, num_samples: int) -> list[jax.Array]:
    """The products of one training step.

    Args:
      encoder: weights of the encoder.
      decoder: weights of the decoder.
      x: [B, pixels]; there is no gradient with respect to it.
      num_samples: K, so that the decoder multiplies K * B rows.

    Returns:
      Arrays with the shapes of the gradients of all weights.
    """
    latent_dim = decoder[0].shape[0]
    encoded = _forward(encoder, x)
    z = jnp.tile(encoded[-1][:, :latent_dim], (num_samples, 1))
    decoded = _forward(decoder, z)
    of_decoder, from_z = _backward(decoder, decoded, decoded[-1])
    from_z = (from_z @ decoder[0].T).reshape(num_samples, len(x), latent_dim).sum(axis=0)
    of_encoder, _ = _backward(encoder, encoded, jnp.concatenate([from_z, from_z], axis=1))
    return of_encoder + of_decoder


def step_flops(case: Case) -> int:
    """Floating-point operations of `of_step`, 2 for each multiplication and addition."""
    encoder, decoder = ([matrix.size for matrix in network] for network in weights(case))
    # Forward, gradient of the weights, gradient of the inputs except the images.
    multiplied = 3 * sum(encoder) - encoder[0] + case.num_samples * 3 * sum(decoder)
    return 2 * case.batch_size * multiplied


def training(case: Case) -> Callable[[], None]:
    """The products of an epoch of training."""
    run_epoch, arguments = training_program(case)
    run_epoch = jax.jit(run_epoch)
    return lambda: jax.block_until_ready(run_epoch(*arguments))


def training_program(case: Case) -> tuple[Callable, tuple[Any, ...]]:
    """The function of an epoch and its arguments."""
    encoder, decoder = weights(case)
    x = jax.random.uniform(jax.random.key(0), (_BATCHES, case.batch_size, NUM_PIXELS))

    def run_epoch(encoder, decoder, x):
        def step(gradients, index):
            del gradients
            return of_step(encoder, decoder, x[index % _BATCHES], case.num_samples), None

        zeros = [jnp.zeros_like(matrix) for matrix in (*encoder, *decoder)]
        return jax.lax.scan(step, zeros, jnp.arange(case.num_steps))[0]

    return run_epoch, (encoder, decoder, x)


def evaluation(case: Case, samples_at_once: int) -> Callable[[], None]:
    """The products of importance sampling with K = case.num_samples, which are forward only.

    Args:
      case: the case, whose batch is encoded once.
      samples_at_once: number of samples of an image in one product of the decoder. It divides K.
    """
    encoder, decoder = weights(case)
    x = jax.random.uniform(jax.random.key(0), (case.batch_size, NUM_PIXELS))

    @jax.jit
    def run(encoder, decoder, x):
        z = jnp.tile(_forward(encoder, x)[-1][:, : case.latent_dim], (samples_at_once, 1))

        def step(logits, shift):
            del logits
            return _forward(decoder, z + shift)[-1], None

        shifts = jnp.linspace(0.0, 1.0, case.num_samples // samples_at_once)
        return jax.lax.scan(step, jnp.zeros((len(z), NUM_PIXELS)), shifts)[0]

    return lambda: jax.block_until_ready(run(encoder, decoder, x))


def _forward(matrices: Weights, rows: jax.Array) -> list[jax.Array]:
    """The inputs of each layer, and the output of the last."""
    values = [rows]
    for matrix in matrices:
        values.append(values[-1] @ matrix)
    return values


def _backward(
    matrices: Weights, inputs: list[jax.Array], gradient: jax.Array
) -> tuple[list[jax.Array], jax.Array]:
    """The gradients of the weights, and the gradient of the output of the first layer."""
    gradients = []
    for layer in reversed(range(len(matrices))):
        gradients.insert(0, inputs[layer].T @ gradient)
        if layer:
            gradient = gradient @ matrices[layer].T
    return gradients, gradient

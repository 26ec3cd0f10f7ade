"""The measured pieces of a plan: what a very deep VAE of CIFAR-10 would take on accelerators.

Nothing is trained. The products are counted in the gradient, and the memory is that of its compiled
program at one and at two images, whose difference is that of an image.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from experiments.benchmark.steps import flops, products_of_step
from vae_jax.models import Model, draw_batch, heads, mean_elbo, very_deep

SHAPE = (32, 32, 3)
LAYER_SIZES = (32,) * 22 + (16,) * 12 + (8,) * 6 + (4,) * 3 + (1,) * 2


def model_of(*, remat: bool = False) -> Model:
    """The model of CIFAR-10 of Child 2021: 45 layers, a mixture of ten logistics."""
    networks = {"width": 384, "bottleneck": 4, "num_blocks": 6, "remat": remat}
    channels = (16,) * len(LAYER_SIZES)
    return very_deep(
        SHAPE, LAYER_SIZES, channels, likelihood=heads.logistic_mixture(10), **networks
    )


def num_params() -> int:
    """The number of its parameters."""
    params = jax.eval_shape(model_of().init, jax.random.key(0), jnp.zeros(SHAPE))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def memory_of_image(*, remat: bool) -> float:
    """The memory that the gradient of a further image takes in float32, MiB."""
    model = model_of(remat=remat)
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(SHAPE))

    def loss(params, x, keys):
        return -jnp.mean(mean_elbo(draw_batch(model, params, x, keys))[0])

    def of_batch(size):
        x = jax.ShapeDtypeStruct((size, *SHAPE), jnp.float32)
        keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), (1, size)))
        program = jax.jit(jax.grad(loss)).lower(params, x, keys).compile()
        sizes: Any = program.memory_analysis()
        return sizes.temp_size_in_bytes / 2**20

    return of_batch(2) - of_batch(1)


def pieces() -> str:
    """The pieces, a line for each. It compiles four programs, which takes minutes."""
    operations = sum(flops(*product) for product in products_of_step(model_of(), SHAPE, 1))
    kept, anew = (memory_of_image(remat=remat) for remat in (False, True))
    return (
        f"{num_params():,} parameters\n"
        f"{operations / 1e9:.0f} billion operations of products for an image\n"
        f"{kept:.0f} MiB for an image in float32, {anew:.0f} MiB with remat"
    )

"""Small networks inside flows, which give a bijection its numbers."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Conditioner(NamedTuple):
    """A multi-layer perceptron [L] -> [n L] with an elu, perhaps masked, and perhaps of a context.

    Attributes:
      kernels: matrices of the layers, [inputs, outputs].
      biases: [outputs] of each layer.
      of_context: [N, width], added to the first layer: the matrix of the context. None without.
    """

    kernels: tuple[jax.Array, ...]
    biases: tuple[jax.Array, ...]
    of_context: jax.Array | None

    @property
    def hidden(self) -> tuple[int, ...]:
        """The widths of the hidden layers."""
        return tuple(kernel.shape[1] for kernel in self.kernels[:-1])

    def __call__(
        self,
        value: jax.Array,
        context: jax.Array | None = None,
        masks: tuple[np.ndarray, ...] | None = None,
    ) -> jax.Array:
        """The outputs of the last layer, [outputs]. masks: zeros and ones, like the kernels."""
        h = value
        for layer, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            if masks is not None:
                kernel = kernel * masks[layer]
            h = h @ kernel + bias
            if layer == 0 and self.of_context is not None and context is not None:
                h = h + context @ self.of_context
            if layer < len(self.kernels) - 1:
                h = jax.nn.elu(h)
        return h


def init_conditioner(
    key: jax.Array, widths: tuple[int, ...], context_size: int, masks=None
) -> Conditioner:
    """A conditioner whose outputs are zero, so that its bijection starts at the identity.

    Args:
      key: typed PRNG key.
      widths: numbers of inputs, hidden units and outputs.
      context_size: N, number of values of the context; 0 for none.
      masks: masks of the kernels, whose zeros count in the variance of the layers.
    """
    keys = jax.random.split(key, len(widths))
    kernels = []
    for layer, shape in enumerate(itertools.pairwise(widths)):
        if layer == len(widths) - 2:
            kernels.append(jnp.zeros(shape))
            continue
        mask = np.ones(shape) if masks is None else masks[layer]
        num_inputs = np.maximum(mask.sum(axis=0, keepdims=True), 1.0)
        kernels.append(jax.random.normal(keys[layer], shape) / np.sqrt(num_inputs))
    biases = tuple(jnp.zeros(width) for width in widths[1:])
    of_context = None
    if context_size > 0:
        of_context = jax.random.normal(keys[-1], (context_size, widths[1]))
        of_context = of_context / np.sqrt(context_size)
    return Conditioner(tuple(kernels), biases, of_context)

"""Heads whose pixels depend on those before them."""

import jax
import jax.numpy as jnp

from vae_jax.distributions import Raster
from vae_jax.models.heads.base import Head
from vae_jax.networks import CausalArchitecture, Values


def autoregressive(head: Head, network: CausalArchitecture, num_features: int = 16) -> Head:
    """p(x|z) = prod_t p(x_t | x_1 .. x_(t-1), z) of the pixels of an image [H, W, C], as in
    PixelVAE (Gulrajani et al. 2017).

    The decoder gives features of each pixel, which a causal network takes beside the pixels before;
    its outputs are those of `head` for one pixel. The channels of a pixel depend on one another
    only as `head` says. It starts at the same distribution of all pixels as `head` alone.

    Args:
      head: head of one pixel, such as `heads.bernoulli()` or `heads.logistic_mixture()`, without
        parameters for each pixel.
      network: the causal network, such as `networks.pixelcnn(32, 3)`.
      num_features: numbers that the decoder gives for each pixel.

    Raises:
      ValueError: `num_features` is not positive; or (when called) the event is no image, or the
        head has parameters for each pixel.
    """
    if num_features < 1:
        raise ValueError(f"num_features must be positive, not {num_features}.")

    def causal_of(event_shape):
        if len(event_shape) != 3:
            raise ValueError(
                f"The pixels of an image [H, W, C] have an order, and event_shape={event_shape} "
                "is no image."
            )
        height, width, channels = event_shape
        num_outputs = head.output_shape(event_shape)[-1]
        context = (height, width, num_features)
        return network(Values((height, width), channels, False, num_outputs, context))

    def init(key, event):
        causal = causal_of(event.shape)
        network_key, head_key = jax.random.split(key)
        head_params, bias = head.init(head_key, event)
        for leaf in jax.tree.leaves(head_params):
            if jnp.shape(leaf)[:2] == event.shape[:2]:
                raise ValueError(
                    "The head of one pixel must not have parameters for each pixel, such as "
                    f"{jnp.shape(leaf)} of them: choose another likelihood."
                )
        params = {"network": causal.init(network_key), "head": head_params, "bias": bias}
        return params, jnp.zeros((*event.shape[:2], num_features))

    def apply(params, outputs, event_shape):
        causal = causal_of(event_shape)
        *grid, channels = event_shape
        partial = jax.tree_util.Partial
        shared = (params["network"], params["bias"], outputs)

        def family(head_params, of_pixels):
            return head.apply(head_params, of_pixels, (*of_pixels.shape[:2], channels))

        return Raster(
            outputs_of=partial(_outputs_of(causal), *shared),
            start=partial(lambda params, bias, context: causal.start(params, context), *shared),
            step=partial(_step_of(causal, grid[1]), *shared),
            family=partial(family, params["head"]),
            event_shape=tuple(event_shape),
            grid=tuple(grid),
            num_outputs=head.output_shape(event_shape)[-1],
        )

    return Head(lambda event_shape: (*event_shape[:2], num_features), init, apply)


def _outputs_of(causal):
    # Values in [-1, 1], as those of pixels.
    def outputs_of(params, bias, context, values):
        return causal.apply(params, 2.0 * values - 1.0, context) + bias

    return outputs_of


def _step_of(causal, width):
    def step(params, bias, context, cache, t, value):
        del context
        cache, outputs = causal.step(params, cache, t, 2.0 * value - 1.0)
        return cache, outputs + bias[t // width, t % width]

    return step

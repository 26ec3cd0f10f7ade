"""Part "sampling": images of a gated PixelCNN, pixel after pixel, with and without a cache.

The loop without a cache runs the whole network for each pixel. All its steps cost the same, so that
some of them are timed and the others counted.
"""

import jax
import jax.numpy as jnp

from experiments.benchmark.cases import SIDE
from experiments.benchmark.rounds import Row, interleaved, rows_of
from vae_jax.distributions import Raster
from vae_jax.models import heads
from vae_jax.networks import pixelcnn

PART = "sampling"
WHOLE = "the whole network for each pixel"
IMAGES = 16
_TIMED_PLACES = 28  # of the loop without a cache


def measure(rounds: int) -> list[Row]:
    """Measures the time of an image by both loops."""
    head = heads.autoregressive(heads.bernoulli(), pixelcnn(32, 4, 5), 16)
    event = jnp.full((SIDE, SIDE, 1), 0.2)
    params, features = head.init(jax.random.key(0), event)
    keys = jax.random.split(jax.random.key(1), IMAGES)

    def pixels(params) -> Raster:
        return head.apply(params, features, event.shape)

    @jax.jit
    def with_cache(params, keys):
        return jax.vmap(lambda key: pixels(params).sample(key))(keys)

    @jax.jit
    def without(params, keys):
        def sample(key):
            def draw(t, x):
                raster = pixels(params)
                outputs = raster.outputs_of(x)[t // SIDE, t % SIDE]
                one = raster.family(outputs[None, None]).sample(jax.random.fold_in(key, t))
                return jax.lax.dynamic_update_slice(x, one, (t // SIDE, t % SIDE, 0))

            return jax.lax.fori_loop(0, _TIMED_PLACES, draw, jnp.zeros(event.shape))

        return jax.vmap(sample)(keys)

    seconds = interleaved(
        {
            "vae_jax": lambda: jax.block_until_ready(with_cache(params, keys)),
            WHOLE: lambda: jax.block_until_ready(without(params, keys)),
        },
        rounds,
    )
    share = _TIMED_PLACES / (SIDE * SIDE)
    seconds[WHOLE] = [value / share for value in seconds[WHOLE]]
    return rows_of(
        part=PART,
        case=f"gated PixelCNN, 4 layers of 32 channels, {IMAGES} images of 28 x 28",
        unit="ms/image",
        seconds=seconds,
        units=IMAGES,
        images=1,
        reference="vae_jax",
    )

"""The figures of a run: what the model makes of data, drawn by vae_jax.figures."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.run_folder import writing
from vae_jax import Normal, TrainedVAE

_EXAMPLES = 20
_MANIFOLD_SIDE = 20


def draw_all(
    folder: Path, vae: TrainedVAE, x: np.ndarray, history: list[dict[str, Any]], key: jax.Array
) -> list[Path]:
    """Draws reconstructions, samples, curves, and the latent manifold or interpolations.

    Neither of the last two for discrete latents: between their values there is nothing.

    Args:
      folder: where the PNG files go.
      vae: the trained model.
      x: [N, H, W, C] examples that it was not trained on, N >= 1.
      history: rows of metrics.jsonl.
      key: typed PRNG key.
    """
    from vae_jax import figures  # here, as matplotlib takes as long as the rest of a start

    reconstruct_key, sample_key = jax.random.split(key)
    shown = jnp.asarray(x[:_EXAMPLES])
    drawn = {
        "reconstructions": figures.reconstructions(
            _pixels(shown), _pixels(vae.reconstruct(reconstruct_key, shown))
        ),
        "samples": figures.samples(_pixels(vae.sample(sample_key, 100))),
        "training_curves": figures.training_curves(
            {name: [row[name] for row in history] for name in history[0]}
        ),
    }
    posteriors = vae.encode(shown)
    prior = vae.model.prior(vae.params)
    if isinstance(prior, Normal) and prior.mean.shape == (2,):
        quantiles = (np.arange(_MANIFOLD_SIDE) + 0.5) / _MANIFOLD_SIDE
        drawn["manifold"] = figures.manifold(_pixels(manifold(vae, quantiles)), quantiles)
    elif posteriors.is_reparameterised and len(shown) > 1:
        drawn["interpolation"] = figures.interpolation(_pixels(interpolate(vae, posteriors.mean)))
    with writing(folder):
        folder.mkdir(exist_ok=True)
    paths = []
    for name, figure in drawn.items():
        paths.append(folder / f"{name}.png")
        with writing(paths[-1]):
            figures.save(figure, paths[-1])
    return paths


def manifold(vae: TrainedVAE, quantiles: np.ndarray) -> jax.Array:
    """Decodes a grid over two latents (Kingma & Welling 2014, fig. 4).

    quantiles: [R] of the standard normal. Returns [R, R, *event], z1 along the first axis.
    """
    values = jax.scipy.stats.norm.ppf(jnp.asarray(quantiles))
    z1, z2 = jnp.meshgrid(values, values, indexing="ij")
    means = vae.decode(jnp.stack([z1.ravel(), z2.ravel()], axis=1))
    return means.reshape(len(values), len(values), *means.shape[1:])


def interpolate(vae: TrainedVAE, z: jax.Array, rows: int = 5, steps: int = 11) -> jax.Array:
    """Decodes straight lines between the latents of pairs of examples.

    z: [N, L]. Returns [rows, steps, *event], fewer rows if N < 2 * rows.
    """
    rows = min(rows, len(z) // 2)
    start, end = z[:rows, None], z[rows : 2 * rows, None]
    weight = jnp.linspace(0.0, 1.0, steps)[None, :, None]
    line = (1.0 - weight) * start + weight * end
    means = vae.decode(line.reshape(rows * steps, -1))
    return means.reshape(rows, steps, *means.shape[1:])


def _pixels(x: jax.Array) -> np.ndarray:
    """To what can be shown: a normal likelihood's mean may lie outside [0, 1]."""
    return np.clip(np.asarray(x), 0.0, 1.0)

"""The figures of a run, drawn by vae_jax.figures."""

from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.distributions import HasMean, Normal
from vae_jax.runs.files import writing
from vae_jax.trained import TrainedVAE

_EXAMPLES = 20
_MANIFOLD_SIDE = 20


def draw_all(
    folder: Path,
    vae: TrainedVAE,
    x: np.ndarray | jax.Array,
    labels: np.ndarray | None,
    history: list[dict[str, Any]],
    key: jax.Array,
) -> list[Path]:
    """Draws reconstructions, samples, curves, codes, and the latent manifold or interpolations.

    Discrete latents have none of the last three, since there is nothing between their values.

    Args:
      folder: folder of the PNG files.
      vae: trained model.
      x: [N, H, W, C], examples that it was not trained on, N >= 1.
      labels: [N], or [N, F] for several factors, the first of which is shown; None without labels.
      history: rows of metrics.jsonl.
      key: typed PRNG key.
    """
    from vae_jax import figures  # here, since the import of matplotlib is slow

    reconstruct_key, sample_key = jax.random.split(key)
    shown = jnp.asarray(x[:_EXAMPLES])
    drawn = {
        "reconstructions": figures.reconstructions(
            _pixels(shown), _pixels(vae.reconstruct(reconstruct_key, shown))
        ),
        "samples": figures.samples(_pixels(vae.sample(sample_key, 100))),
    }
    if history:
        drawn["training_curves"] = figures.training_curves(columns(history))
    posteriors = vae.encode(x)
    if posteriors.is_reparameterised:
        codes = np.asarray(cast(HasMean, posteriors).mean).reshape(len(x), -1)
        drawn["codes"] = figures.latent_scatter(codes, first_label(labels))
    prior = vae.model.prior(vae.params)
    if isinstance(prior, Normal) and prior.mean.shape == (2,):
        quantiles = (np.arange(_MANIFOLD_SIDE) + 0.5) / _MANIFOLD_SIDE
        drawn["manifold"] = figures.manifold(_pixels(manifold(vae, quantiles)), quantiles)
    elif posteriors.is_reparameterised and len(shown) > 1:
        drawn["interpolation"] = figures.interpolation(
            _pixels(interpolate(vae, cast(HasMean, posteriors).mean[:_EXAMPLES]))
        )
    return save_all(folder, drawn)


def first_label(labels: np.ndarray | None) -> np.ndarray | None:
    """The label of each example, [N], which is the first one of several factors [N, F]."""
    return labels if labels is None or labels.ndim == 1 else labels[:, 0]


def save_all(folder: Path, drawn: dict[str, Any]) -> list[Path]:
    """Writes figures as PNG files, name -> figure. Returns their paths.

    Raises:
      BadInputError: the folder cannot be written.
    """
    from vae_jax import figures

    with writing(folder):
        folder.mkdir(exist_ok=True)
    paths = []
    for name, figure in drawn.items():
        paths.append(folder / f"{name}.png")
        with writing(paths[-1]):
            figures.save(figure, paths[-1])
    return paths


def columns(history: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Name -> values over the epochs, for names that all rows of metrics.jsonl have."""
    return {name: [row[name] for row in history] for name in history[0]}


def manifold(vae: TrainedVAE, quantiles: np.ndarray) -> jax.Array:
    """Decodes a grid over two latents (Kingma & Welling 2014, fig. 4).

    quantiles: [R], quantiles of the standard normal. Returns [R, R, *event], z1 on the first axis.
    """
    values = jax.scipy.stats.norm.ppf(jnp.asarray(quantiles))
    z1, z2 = jnp.meshgrid(values, values, indexing="ij")
    means = vae.decode(jnp.stack([z1.ravel(), z2.ravel()], axis=1))
    return means.reshape(len(values), len(values), *means.shape[1:])


def interpolate(vae: TrainedVAE, z: jax.Array, rows: int = 5, steps: int = 11) -> jax.Array:
    """Decodes straight lines between the latent codes of pairs of examples.

    z: [N, L]. Returns [rows, steps, *event], with fewer rows if N < 2 * rows.
    """
    rows = min(rows, len(z) // 2)
    line = lines(z[:rows], z[rows : 2 * rows], steps)
    means = vae.decode(line.reshape(rows * steps, -1))
    return means.reshape(rows, steps, *means.shape[1:])


def lines(start: jax.Array, end: jax.Array, steps: int) -> jax.Array:
    """Points on straight lines. start, end: [N, L]. Returns [N, steps, L]."""
    weight = jnp.linspace(0.0, 1.0, steps)[None, :, None]
    return (1.0 - weight) * start[:, None] + weight * end[:, None]


def _pixels(x: jax.Array) -> np.ndarray:
    """Clips images to [0, 1], since the mean of a normal likelihood may lie outside."""
    return np.clip(np.asarray(x), 0.0, 1.0)

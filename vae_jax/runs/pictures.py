"""The figures of a run, drawn by vae_jax.figures."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax import data
from vae_jax.distributions import (
    Normal,
    Observed,
    VonMisesFisher,
    flat_points_of,
    points_of,
    value_of,
)
from vae_jax.evidence import annealed
from vae_jax.models import Batch, no_condition
from vae_jax.runs import layers
from vae_jax.runs.files import writing
from vae_jax.trained import TrainedVAE

_EXAMPLES, _SAMPLES = 20, 100
_TABLE_SAMPLES = 1000
_COLUMNS = 10  # examples that are reconstructed from some layers of a hierarchy
_MANIFOLD_SIDE = 20
_INPAINTINGS = 4  # samples of the missing half of each image


def draw_all(
    folder: Path,
    vae: TrainedVAE,
    examples: Batch,
    labels: np.ndarray | None,
    history: list[dict[str, Any]],
    key: jax.Array,
    *,
    kind: data.Kind = "intensities",
    columns: tuple[str, ...] | None = None,
    given: str | None = None,
) -> list[Path]:
    """Draws examples beside what the model makes of them, samples, curves and codes.

    Images are drawn as images, with the latent manifold or interpolations; real columns as
    marginals and pairs, and counts as heat maps and marginals, each of data beside samples. The
    samples of a conditional model have the conditions of the examples, and where these are classes,
    all classes are drawn with the same noise. Discrete latents have no
    codes, manifold and interpolations, since there is nothing between their values.

    Args:
      folder: folder of the PNG files.
      vae: trained model.
      examples: N examples that it was not trained on, N >= 1, as the model takes them.
      labels: [N], or [N, F] for several factors, the first of which is shown; None without labels.
      history: rows of metrics.jsonl.
      key: typed PRNG key.
      kind: what the numbers are.
      columns: names of the columns of a table; None if they are not known.
      given: the half of the images that is the condition (`data.HALVES`), which is drawn beside
        what the model makes of it; None where that is not so.
    """
    from vae_jax import figures  # here, since the import of matplotlib is slow

    shape = np.shape(value_of(examples.x))[1:]
    if len(shape) == 3 and shape[-1] in (1, 3):
        drawn = _of_images(vae, examples, key, white=_white(examples, kind), given=given)
    else:
        drawn = _of_tables(vae, examples, key, kind, columns)
    if history:
        drawn["training_curves"] = figures.training_curves(columns_of(history))
    posteriors = vae.encode(examples)
    if posteriors.is_reparameterised:
        codes = np.asarray(flat_points_of(posteriors))
        drawn["codes"] = figures.latent_scatter(codes, first_label(labels))
    return save_all(folder, drawn)


def _white(examples: Batch, kind: data.Kind) -> float:
    """The value that is drawn as white: 1, or for counts the largest of the examples."""
    return max(1.0, float(np.max(value_of(examples.x)))) if kind == "count" else 1.0


def _of_images(
    vae: TrainedVAE, examples: Batch, key: jax.Array, white: float, given: str | None
) -> dict[str, Any]:
    from vae_jax import figures

    def pixels(x, c=None):
        found = _pixels(x / white)
        return found if given is None or c is None else data.joined(found, c, given)

    reconstruct_key, sample_key = jax.random.split(key)
    shown = examples[:_EXAMPLES]
    c = repeated(examples.c, _SAMPLES)
    drawn = {
        "reconstructions": figures.reconstructions(
            pixels(_with_grey_holes(shown.x), shown.c),
            pixels(vae.reconstruct(reconstruct_key, shown), shown.c),
        ),
        "samples": figures.samples(pixels(vae.sample(sample_key, _SAMPLES, c), c)),
    }
    if given is not None:
        few = shown[:_COLUMNS]
        keys = jax.random.split(jax.random.fold_in(key, 3), _INPAINTINGS)
        rows = {"given": pixels(jnp.full_like(few.x, 0.5 * white), few.c)}
        rows |= {
            f"sample {number}": pixels(vae.sample(one, len(few), few.c), few.c)
            for number, one in enumerate(keys, start=1)
        }
        drawn["inpainting"] = figures.labelled_rows(rows | {"image": pixels(few.x, few.c)})
    classes = _classes(examples.c)
    if vae.model.summed is not None:
        rows = of_labels(vae, num_classes_of(vae), jax.random.fold_in(key, 2), _COLUMNS)
        drawn["classes"] = figures.labelled_rows({name: pixels(of) for name, of in rows.items()})
    elif classes is not None:
        rows = of_classes(vae, classes, jax.random.fold_in(key, 2), _COLUMNS)
        drawn["classes"] = figures.labelled_rows({name: pixels(of) for name, of in rows.items()})
    posteriors = vae.encode(examples)
    if examples.c is not None or not posteriors.is_reparameterised:
        return drawn
    if layers.is_hierarchy(vae):
        resample_key, reconstruct_key = jax.random.split(jax.random.fold_in(key, 1))
        rows = layers.resampled(vae, resample_key)
        drawn["layers"] = figures.labelled_rows({name: pixels(of) for name, of in rows.items()})
        rows = layers.reconstructed(vae, shown[:_COLUMNS], reconstruct_key)
        drawn["from_layers"] = figures.labelled_rows(
            {name: pixels(of) for name, of in rows.items()}
        )
    prior = jax.eval_shape(vae.model.prior, vae.params)
    if isinstance(prior, Normal) and prior.mean.shape == (2,):
        quantiles = (np.arange(_MANIFOLD_SIDE) + 0.5) / _MANIFOLD_SIDE
        drawn["manifold"] = figures.manifold(pixels(manifold(vae, quantiles)), quantiles)
    elif len(shown) > 1:
        drawn["interpolation"] = figures.interpolation(
            pixels(interpolate(vae, jax.tree.map(_first_few, posteriors)))
        )
    return drawn


def _of_tables(
    vae: TrainedVAE,
    examples: Batch,
    key: jax.Array,
    kind: data.Kind,
    columns: tuple[str, ...] | None,
) -> dict[str, Any]:
    from vae_jax import figures

    reconstruct_key, sample_key = jax.random.split(key)
    number = max(len(examples), _TABLE_SAMPLES)
    c = repeated(examples.c, number)
    x, _ = annealed.simulate(vae.model, vae.params, sample_key, number, c)
    table, samples = (_rows(of) for of in (examples.x, x))
    if columns is not None and len(columns) != table.shape[1]:
        columns = None
    drawn = {"marginals": figures.marginals(table, samples, columns)}
    if kind == "count":
        means = np.asarray(vae.reconstruct(reconstruct_key, examples)).reshape(table.shape)
        drawn["heat_maps"] = figures.heat_maps(table, means, samples)
    elif table.shape[1] > 1:
        drawn["pairs"] = figures.pairs(table, samples[: len(table)], columns)
    return drawn


def _rows(x: Any) -> np.ndarray:
    """Examples as rows [N, D], with nan where values are missing."""
    values = np.asarray(value_of(x))
    if isinstance(x, Observed):
        values = np.where(np.asarray(x.mask) > 0, values, np.nan)
    return values.reshape(len(values), -1)


def _with_grey_holes(x: Any) -> Any:
    """Images whose missing pixels are grey."""
    return jnp.where(x.mask > 0, x.value, 0.5) if isinstance(x, Observed) else x


def repeated(c: Any, number: int) -> Any:
    """Conditions of `number` examples, which are those of the given ones again and again."""
    return jax.tree.map(lambda leaf: leaf[np.arange(number) % len(leaf)], c)


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


def columns_of(history: list[dict[str, Any]]) -> dict[str, list[Any]]:
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


def interpolate(vae: TrainedVAE, posteriors: Any, rows: int = 5, steps: int = 11) -> jax.Array:
    """Decodes lines between the latent codes of pairs of examples.

    posteriors: q(z|x) of N examples, stacked. Returns [rows, steps, *event], with fewer rows if
    N < 2 * rows.
    """
    rows = min(rows, len(jax.tree.leaves(posteriors)[0]) // 2)
    start, end = (
        jax.tree.map(lambda leaf, part=part: leaf[part], posteriors)
        for part in (slice(rows), slice(rows, 2 * rows))
    )
    return decoded_lines(vae, start, end, steps)


def _classes(c: Any) -> np.ndarray | None:
    """All classes, one-hot [C, C], where the conditions [N, C] are classes; None elsewhere."""
    is_one_hot = (
        isinstance(c, np.ndarray | jax.Array)
        and c.ndim == 2
        and c.shape[1] > 1
        and np.isin(c, (0.0, 1.0)).all()
        and (np.sum(c, axis=1) == 1.0).all()
    )
    return np.eye(c.shape[1], dtype=np.float32) if is_one_hot else None


def of_classes(
    vae: TrainedVAE, classes: np.ndarray, key: jax.Array, number: int
) -> dict[str, jax.Array]:
    """Samples of each class with the same noise, so that a column shows one style: name -> means of
    p(x|z, c), [number, *event]. A model whose condition is optional has a row without one, too.

    classes: conditions [C, *condition].
    """
    conditions = {f"class {label}": jnp.asarray(c) for label, c in enumerate(classes)}
    if float(vae.metadata.get("config", {}).get("condition_dropout", 0.0)) > 0.0:
        conditions["no class"] = no_condition(jnp.asarray(classes[0]))
    return {
        name: vae.sample(key, number, jnp.broadcast_to(c, (number, *c.shape)))
        for name, c in conditions.items()
    }


def of_labels(
    vae: TrainedVAE, num_classes: int, key: jax.Array, number: int
) -> dict[str, jax.Array]:
    """The same as `of_classes` for a model of partly known labels, whose classes are latents."""
    return {
        f"class {label}": vae.decode(given_label(vae, key, number, label, num_classes))
        for label in range(num_classes)
    }


def num_classes_of(vae: TrainedVAE) -> int:
    """The number of classes of a model of partly known labels."""
    prior: Any = jax.eval_shape(vae.model.prior, vae.params)
    return int(prior.first.logits.shape[0])


def given_label(vae: TrainedVAE, key: jax.Array, number: int, label: int, num_classes: int) -> Any:
    """z ~ p(z|y) and y, [number, ...], of a model of partly known labels."""
    y = jnp.eye(num_classes)[label]

    @jax.jit
    def draw(params, keys):
        prior: Any = vae.model.prior(params)
        return jax.vmap(lambda key: prior.complete(key, (None, y)))(keys)

    return draw(vae.params, jax.random.split(key, number))


def decoded_lines(
    vae: TrainedVAE, start: Any, end: Any, steps: int, c: Any = None, c_end: Any = None
) -> jax.Array:
    """Means of p(x|z) on straight lines between points of posteriors, on spheres on great circles.

    start, end: N posteriors each, stacked. c: conditions of the lines, leaves [N, ...]; None where
    there are none. c_end: conditions at their ends, between which and c there are straight lines;
    None for c. Returns [N, steps, *event].
    """
    on_sphere = isinstance(start, VonMisesFisher)
    start, end = points_of(start), points_of(end)
    number = len(jax.tree.leaves(start)[0])

    def line(start, end):
        start, end = jnp.asarray(start), jnp.asarray(end)
        weight = jnp.linspace(0.0, 1.0, steps).reshape(1, steps, *([1] * (start.ndim - 1)))
        points = (1.0 - weight) * start[:, None] + weight * end[:, None]
        return points.reshape(number * steps, *start.shape[1:])

    def great_circle(start, end):
        sums, differences = (jnp.linalg.norm(of, axis=1) for of in (start + end, start - end))
        angle = 2.0 * jnp.arctan2(differences, sums)[:, None, None]
        weight = jnp.linspace(0.0, 1.0, steps)[None, :, None]
        points = jnp.sin((1.0 - weight) * angle) * start[:, None]
        points += jnp.sin(weight * angle) * end[:, None]
        points = jnp.where(angle > 0.0, points, start[:, None])
        points /= jnp.linalg.norm(points, axis=2, keepdims=True)
        return points.reshape(number * steps, start.shape[1])

    if c_end is not None:
        c = jax.tree.map(line, c, c_end)
    else:
        c = jax.tree.map(lambda leaf: jnp.repeat(jnp.asarray(leaf), steps, axis=0), c)
    z = great_circle(start, end) if on_sphere else jax.tree.map(line, start, end)
    means = vae.decode(z, c)
    return means.reshape(number, steps, *means.shape[1:])


def _first_few(leaf: jax.Array) -> jax.Array:
    return leaf[:_EXAMPLES]


def _pixels(x: jax.Array) -> np.ndarray:
    """Clips images to [0, 1], since the mean of a normal likelihood may lie outside."""
    return np.clip(np.asarray(x), 0.0, 1.0)

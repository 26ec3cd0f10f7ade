"""Labels of which some are missing, and how well a model finds classes."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.config import Config
from vae_jax.distributions import Mixture, Normal, point_of
from vae_jax.errors import BadInputError
from vae_jax.models import Batch, Model, Params
from vae_jax.objectives.by_name import Labels

_AT_ONCE = 1000


def partly_known(
    config: Config, labels: np.ndarray | None, shape: tuple[int, ...] | None
) -> tuple[np.ndarray, Labels, np.ndarray]:
    """The labels of the training examples, of which some are known, and which rows are repeated.

    Args:
      config: configuration with `num_labelled`, `labelled_share` and `class_weights`.
      labels: [N], -1 where they are missing.
      shape: (C,).

    Returns:
      The labels of M rows, one-hot [M, C] with nan where they are missing; the facts of them; and
      the rows [M], in which labelled examples are repeated until they have their share.

    Raises:
      BadInputError: a label is below -1, or fewer examples have labels than are asked for.
    """
    assert labels is not None
    assert shape is not None
    if labels.min() < -1:
        raise BadInputError(
            f"condition=partial_labels: labels must be whole numbers from 0, or -1 where they are "
            f"missing, and one is {labels.min()}."
        )
    known = np.flatnonzero(labels >= 0)
    number, num_classes = config.num_labelled, shape[0]
    if number is not None:
        if number > len(known):
            raise BadInputError(
                f"num_labelled={number} is more than the {len(known)} training examples that have "
                "a label."
            )
        known = _balanced_choice(labels, known, number, config.split_seed)
    one_hot = np.full((len(labels), num_classes), np.nan, np.float32)
    one_hot[known] = np.eye(num_classes, dtype=np.float32)[labels[known]]
    rest, wanted = len(labels) - len(known), config.labelled_share
    repeats = 1
    if len(known) and rest:
        repeats = max(1, round(wanted * rest / (len(known) * (1.0 - wanted))))
    rows = np.concatenate([np.arange(len(labels)), np.tile(known, repeats - 1)])
    weights = None
    if config.class_weights == "balanced" and len(known):
        counts = np.bincount(labels[known], minlength=num_classes)
        inverse = np.where(counts > 0, len(known) / (num_classes * np.maximum(counts, 1)), 0.0)
        weights = tuple(inverse.tolist())
    share = max(len(known) * repeats, 1) / len(rows)
    return one_hot[rows], Labels(share, float(repeats), weights), rows


def _balanced_choice(labels: np.ndarray, known: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Examples of which about as many have each class, in the order of a draw."""
    order = np.random.default_rng(seed).permutation(known)
    found = labels[order]
    # The place of each example among those of its class: the first ones of all classes come first.
    place = np.zeros(len(order), int)
    for label in np.unique(found):
        of_label = found == label
        place[of_label] = np.arange(of_label.sum())
    return np.sort(order[np.lexsort((found, place))][:number])


def class_probabilities(model: Model, params: Params, x: Any) -> np.ndarray:
    """q(y|x) of a model of partly known labels for x [N, *event], [N, C]."""
    return np.concatenate([np.asarray(_probabilities(model, params, of)) for of in chunks(x)])


@functools.partial(jax.jit, static_argnums=0)
def _probabilities(model: Model, params: Params, x: Any) -> jax.Array:
    def one(x):
        posterior: Any = model.posterior(params, x)
        return jax.nn.softmax(posterior.first.logits)

    return jax.vmap(one)(x)


def accuracy(
    model: Model, params: Params, examples: Any, split: Literal["validation", "test"]
) -> float | None:
    """The share of examples whose label is the most probable one; None if no label is known."""
    labels = getattr(examples, f"{split}_labels")
    known = np.flatnonzero(labels >= 0)
    if not len(known):
        return None
    x = evaluated(examples, getattr(examples, split)[known])
    found = class_probabilities(model, params, x).argmax(axis=1)
    return float((found == labels[known]).mean())


def scores(model: Model, params: Params, examples: Any) -> dict[str, float | None]:
    """Measures of classes, for the summary of a run.

    A model of partly known labels has its accuracy on test examples, or without any label that of
    its classes as clusters; a mixture as the prior has that of its components as clusters.
    """
    labels = examples.test_labels
    if labels is None or labels.ndim != 1 or not (labels >= 0).any():
        return {}
    test = examples.test[np.flatnonzero(labels >= 0)]
    labels = labels[labels >= 0]
    if examples.labels is not None:
        x = evaluated(examples, test)
        found = class_probabilities(model, params, x).argmax(axis=1)
        if np.isfinite(np.asarray(examples.train.c)).any():
            return {"test_accuracy": float((found == labels).mean())}
        return of_clusters(labels, found)
    if test.c is not None:
        return {}
    prior = jax.eval_shape(model.prior, params)
    if not isinstance(prior, Mixture) or not isinstance(prior.components, Normal):
        return {}
    if len(prior.logits.shape) != 1 or prior.logits.shape[0] > _MOST_CLUSTERS:
        return {}
    return of_clusters(labels, component_of(model, params, evaluated(examples, test)))


_MOST_CLUSTERS = 100  # components of a prior that are taken for clusters


def component_of(model: Model, params: Params, x: Any) -> np.ndarray:
    """The component of a mixture p(z) with the largest p(component|z) at each q(z|x)'s point, [N].

    z is the point of q(z|x), its mean (VaDE takes the mean over q, Jiang et al. 2017, eq. 16).
    """
    return np.concatenate([np.asarray(_components(model, params, of)) for of in chunks(x)])


@functools.partial(jax.jit, static_argnums=0)
def _components(model: Model, params: Params, x: Any) -> jax.Array:
    prior: Any = model.prior(params)

    def one(x):
        z = point_of(model.posterior(params, x))
        log_probs = jax.vmap(lambda component: component.log_prob(z))(prior.components)
        return jnp.argmax(prior.logits + log_probs)

    return jax.vmap(one)(x)


def of_clusters(labels: np.ndarray, clusters: np.ndarray) -> dict[str, float | None]:
    """How well clusters [N] agree with labels [N].

    The accuracy is the largest share of examples that a matching of clusters with labels gets right
    (Hungarian method; clusters that no label is left for count as wrong). NMI is the mutual
    information, divided by the mean of the two entropies.
    """
    from scipy.optimize import linear_sum_assignment

    table = np.zeros((int(labels.max()) + 1, int(clusters.max()) + 1))
    np.add.at(table, (labels, clusters), 1.0)
    rows, columns = linear_sum_assignment(-table)
    joint = table / len(labels)
    of_labels, of_clusters = joint.sum(axis=1), joint.sum(axis=0)
    independent = of_labels[:, None] * of_clusters
    information = (joint[joint > 0] * np.log(joint[joint > 0] / independent[joint > 0])).sum()
    entropies = [-(p[p > 0] * np.log(p[p > 0])).sum() for p in (of_labels, of_clusters)]
    mean = 0.5 * sum(entropies)
    return {
        "cluster_accuracy": float(table[rows, columns].sum() / len(labels)),
        "cluster_nmi": float(information / mean) if mean > 0 else 0.0,
    }


def chunks(x: Any) -> Iterator[Any]:
    """Examples, leaves [N, ...], a few at a time."""
    for start in range(0, len(jax.tree.leaves(x)[0]), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        yield jax.tree.map(lambda leaf, rows=rows: jnp.asarray(leaf[rows]), x)


def evaluated(examples: Any, batch: Batch) -> Any:
    """The x of stored examples as the evaluation takes them."""
    keys = jax.random.split(jax.random.key(0), len(batch))  # they are not used
    return jax.tree.map(np.asarray, _binarised(examples.test_binarise, keys, jnp.asarray(batch.x)))


@functools.partial(jax.jit, static_argnums=0)
def _binarised(binarise: Callable[..., Any], keys: jax.Array, stored: jax.Array) -> Any:
    return jax.vmap(binarise)(keys, stored)

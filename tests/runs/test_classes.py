"""Partly known labels of a run, and measures of classes."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from vae_jax import data
from vae_jax.config import Config
from vae_jax.errors import BadInputError
from vae_jax.runs import classes, fit, load_run

RNG = np.random.default_rng(0)
PARTIAL = {"condition": "partial_labels", "objective": "m2"}
SMALL = {
    "epochs": 3, "batch_size": 20, "hidden": (16,), "network": "mlp", "latent_dim": 2,
    "nll_samples": 5, "learning_rate": 1e-2,
}  # fmt: skip


def squares(number=300):
    """Images with a bright row, whose class is its place, and noise."""
    labels = RNG.integers(0, 3, number)
    images = 0.05 * RNG.random((number, 6, 6))
    images[np.arange(number), 2 * labels] += 0.9
    return data.from_arrays(images.astype(np.float32), labels=labels)


def test_labelled_examples_are_balanced_and_repeated():
    labels = np.array([0] * 50 + [1] * 30 + [2] * 20)
    config = Config(**PARTIAL, num_labelled=6, labelled_share=0.25, class_weights="balanced")
    one_hot, facts, rows = classes.partly_known(config, labels, (3,))
    known = np.isfinite(one_hot).all(axis=1)
    originals = np.unique(rows[known])
    assert len(originals) == 6
    assert np.bincount(labels[originals]).tolist() == [2, 2, 2]
    np.testing.assert_array_equal(one_hot[known].argmax(axis=1), labels[rows[known]])
    assert facts.repeats == round(0.25 * 94 / (6 * 0.75)) == 5
    np.testing.assert_allclose(facts.labelled_share, 30 / 124)
    assert facts.class_weights == (1.0, 1.0, 1.0)
    assert np.isnan(one_hot[~known]).all()
    again = classes.partly_known(config, labels, (3,))[2]
    np.testing.assert_array_equal(again, rows)
    labels[::2] = -1
    one_hot, facts, rows = classes.partly_known(Config(**PARTIAL), labels, (3,))
    assert (facts.repeats, len(rows)) == (1.0, 100)
    counts = np.bincount(labels[labels >= 0])
    weights = classes.partly_known(Config(**PARTIAL, class_weights="balanced"), labels, (3,))[1]
    np.testing.assert_allclose(weights.class_weights, 50 / (3 * counts))
    with pytest.raises(BadInputError, match="num_labelled=60 is more than the 50 training examp"):
        classes.partly_known(Config(**PARTIAL, num_labelled=60), labels, (3,))
    labels[0] = -2
    with pytest.raises(BadInputError, match="or -1 where they are missing, and one is -2"):
        classes.partly_known(Config(**PARTIAL), labels, (3,))


def test_measures_of_clusters_are_those_of_a_search_and_of_scikit_learn():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        labels, clusters = rng.integers(0, 3, 50), rng.integers(0, 4, 50)
        clusters[:20] = labels[:20]
        found = classes.of_clusters(labels, clusters)
        best = max(
            np.mean(np.array(order)[clusters] == labels)
            for order in itertools.permutations((0, 1, 2, -1))
        )
        np.testing.assert_allclose(found["cluster_accuracy"], best)
        wanted = normalized_mutual_info_score(labels, clusters)
        np.testing.assert_allclose(found["cluster_nmi"], wanted, rtol=1e-6)
    assert classes.of_clusters(labels, labels) == {"cluster_accuracy": 1.0, "cluster_nmi": 1.0}


def test_a_semi_supervised_run_has_its_accuracy(tmp_path):
    dataset = squares()
    config = Config(**SMALL, **PARTIAL, num_labelled=12)
    run = fit(config, dataset, tmp_path / "run", listeners=[])
    summary = run.summary
    assert 0.5 < summary["test_accuracy"] <= 1.0
    assert "test accuracy" in str(summary)
    assert [row["validation_accuracy"] for row in run.history][-1] > 0.5
    assert (tmp_path / "run" / "figures" / "classes.png").exists()
    again = load_run(tmp_path / "run")
    x = again.as_evaluated(dataset.test.x)
    found = classes.class_probabilities(again.model, again.params, x)
    accuracy = (found.argmax(axis=1) == dataset.test.labels).mean()
    np.testing.assert_allclose(accuracy, summary["test_accuracy"])
    assert again.evaluate(dataset)["test_nll"] == summary["test_nll"]
    more = Config(**{**SMALL, "epochs": 4}, **PARTIAL, num_labelled=12)
    assert len(fit(more, dataset, tmp_path / "run", listeners=[]).history) == 4


def test_clusters_without_a_label_and_those_of_a_mixture(tmp_path):
    dataset = squares()
    config = Config(**SMALL, **PARTIAL, num_labelled=0, prior="conditional")
    summary = fit(config, dataset, tmp_path / "gm", listeners=[]).summary
    assert 0.3 < summary["cluster_accuracy"] <= 1.0
    assert "test_accuracy" not in summary
    config = Config(**SMALL, prior="mixture", prior_components=3)
    summary = fit(config, dataset, tmp_path / "mixture", listeners=[]).summary
    assert 0.3 < summary["cluster_accuracy"] <= 1.0
    assert 0.0 <= summary["cluster_nmi"] <= 1.0
    assert "cluster NMI" in str(summary)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"objective": "m2"}, "objective=m2 and condition=partial_labels belong together"),
        ({"condition": "partial_labels"}, "belong together"),
        ({"num_labelled": 5}, "num_labelled=5 is for condition=partial_labels"),
        (
            {**PARTIAL, "layers": (3, 2)},
            "latent variables beside z, which layers=3,2 is not",
        ),
        ({**PARTIAL, "prior": "vamp"}, "latent variables beside z, which prior=vamp is not"),
    ],
)
def test_contradictions_are_refused(options, said):
    with pytest.raises(BadInputError, match=said):
        Config(**options)


def test_data_without_labels_are_refused(tmp_path):
    dataset = data.from_arrays(RNG.random((60, 4, 4)).astype(np.float32))
    with pytest.raises(BadInputError, match="condition=partial_labels needs a label"):
        fit(Config(**SMALL, **PARTIAL), dataset, tmp_path / "run", listeners=[])

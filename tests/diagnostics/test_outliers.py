"""Scores of outliers, and how well they tell them apart, against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.exact import linear_vae
from vae_jax.diagnostics import outliers
from vae_jax.evidence import linear_gaussian


def test_auroc_is_that_of_another_library_ties_included():
    rng = np.random.default_rng(0)
    for _ in range(5):
        inside, outside = rng.integers(2, 9, 40), rng.integers(0, 7, 25)
        labels = np.repeat([1, 0], [40, 25])
        expected = roc_auc_score(labels, np.concatenate([inside, outside]))
        np.testing.assert_allclose(outliers.auroc(inside, outside), expected, rtol=1e-12)
    assert outliers.auroc([2.0, 3.0], [0.0, 1.0]) == 1.0
    with pytest.raises(ValueError, match="at least one score of each kind"):
        outliers.auroc([], [1.0])
    with pytest.raises(ValueError, match="none that is nan"):
        outliers.auroc([1.0, np.nan], [1.0])


def test_scores_are_elbo_and_log_likelihood():
    """With an exact posterior both estimate log p(x), which is lower far from the data."""
    linear = linear_vae()
    x = jnp.concatenate([linear.x, linear.x + 20.0])
    found = outliers.scores(linear.model, linear.exact_params, x, jax.random.key(0))
    exact = [linear_gaussian.log_evidence(linear.truth, each) for each in x]
    np.testing.assert_allclose(found.log_evidence, exact, rtol=1e-4)
    np.testing.assert_allclose(found.elbo, exact, rtol=0.1)  # of 100 samples, KL in closed form
    assert outliers.auroc(found.log_evidence[:5], found.log_evidence[5:]) == 1.0

"""GECO: its multiplier step by step, and the constrained optimum that it finds."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.objectives.given_draw import (
    gradient_of,
    kl_by_dimension,
    loss_of,
    normal_draw,
    reconstruction_of,
)
from tests.objectives.rate_distortion import point_on_the_curve, trained
from vae_jax.objectives import beta_vae, geco
from vae_jax.objectives.geco import GecoState


@pytest.mark.parametrize("target", [-6.0, 30.0, -50.0], ids=["near", "far_above", "far_below"])
def test_the_multiplier_follows_the_algorithm(target):
    """Rezende & Viola 2018, algorithm 1, with the exponent limited as the docstring says."""
    objective = geco(target, rate=0.05, decay=0.8)
    state = objective.init(jax.random.key(0), None)
    multiplier, average = 1.0, None
    for step in range(6):
        draw = normal_draw(seed=step)
        loss, (state, metrics) = loss_of(objective, draw, state=state, step=step)
        violation = target - reconstruction_of(draw)
        kl = kl_by_dimension(draw).sum(axis=1).mean()
        np.testing.assert_allclose(metrics["violation"], violation, rtol=1e-5)
        np.testing.assert_allclose(metrics["multiplier"], multiplier, rtol=1e-4)
        np.testing.assert_allclose(loss, kl + multiplier * violation, rtol=1e-4)
        average = violation if average is None else 0.8 * average + 0.2 * violation
        multiplier *= np.exp(0.05 * np.clip(average, -10.0, 10.0))
        np.testing.assert_allclose(state.violation, average, rtol=1e-4)
    assert abs(np.log(multiplier)) > 0.1


def test_the_gradient_is_that_of_a_beta_vae_whose_beta_is_the_inverse_of_the_multiplier():
    draw = normal_draw()
    state = GecoState(jnp.log(2.5), jnp.asarray(0.7))
    jax.tree.map(
        lambda actual, ordinary: np.testing.assert_allclose(actual, 2.5 * ordinary, rtol=1e-5),
        gradient_of(geco(-6.0), draw, state=state, step=3),
        gradient_of(beta_vae(1.0 / 2.5), draw),
    )


@pytest.mark.slow
@pytest.mark.parametrize("water_level", [0.25, 1.5], ids=["both_latents", "one_latent"])
def test_training_meets_the_constraint_with_the_least_kl(water_level):
    """The multiplier ends at the price of a nat of reconstruction, in nats of KL."""
    point = point_on_the_curve(water_level)
    assert point_on_the_curve(np.inf).reconstruction < point.reconstruction - 0.5
    assert point_on_the_curve(1e-9).reconstruction > point.reconstruction + 0.5
    state, reconstruction, kl = trained(geco(point.reconstruction, rate=0.01, decay=0.9), 3_000)
    np.testing.assert_allclose(reconstruction, point.reconstruction, rtol=0, atol=0.03)
    np.testing.assert_allclose(kl, point.kl, rtol=0, atol=0.03)
    multiplier = np.exp(state.objective_state.log_multiplier)
    np.testing.assert_allclose(multiplier, point.slope, rtol=0.05)


@pytest.mark.parametrize(("target", "limit"), [(1e4, np.exp(10.0)), (-1e4, np.exp(-10.0))])
def test_a_constraint_that_cannot_be_met_or_missed_leaves_the_multiplier_finite(target, limit):
    objective, draw = geco(target, rate=0.5), normal_draw()
    state = objective.init(jax.random.key(0), draw)
    step_of = jax.jit(partial(loss_of, objective, draw))
    for step in range(100):
        loss, (state, metrics) = step_of(state=state, step=step)
    assert np.isfinite(loss)
    np.testing.assert_allclose(metrics["multiplier"], limit, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"rate": 0.0}, "The rate of GECO must be positive, not 0.0."),
        ({"decay": 1.0}, "The decay of GECO must lie in [0, 1), not 1.0."),
        ({"decay": -0.1}, "The decay of GECO must lie in [0, 1), not -0.1."),
    ],
)
def test_bad_values_are_refused_in_a_sentence(options, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        geco(-70.0, **options)

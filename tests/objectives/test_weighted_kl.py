"""Objectives that weigh, steer or floor the KL term, against their definitions."""

import re
from functools import partial

import jax
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
from vae_jax.objectives import (
    beta_vae,
    capacity,
    closed_form_elbo,
    estimators,
    free_bits,
    schedules,
)

NUM_LATENTS = 6
DRAW = normal_draw(num_latents=NUM_LATENTS)
KL = kl_by_dimension(DRAW)
RECONSTRUCTION = reconstruction_of(DRAW)
MEAN_KL = KL.sum(axis=1).mean()


def assert_close(actual, expected):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), actual, expected)


@pytest.mark.parametrize("beta", [0.0, 0.5, 4.0])
def test_beta_vae_is_beta_kl_minus_reconstruction(beta):
    loss, (_, metrics) = loss_of(beta_vae(beta), DRAW)
    np.testing.assert_allclose(loss, beta * MEAN_KL - RECONSTRUCTION, rtol=1e-5)
    np.testing.assert_allclose(metrics["elbo"], RECONSTRUCTION - MEAN_KL, rtol=1e-5)


@pytest.mark.parametrize("estimator", [estimators.pathwise, estimators.score_function])
@pytest.mark.parametrize(
    "make",
    [partial(beta_vae, 1.0), partial(capacity, 0.0, 1.0), partial(free_bits, 0.0)],
    ids=["beta_vae", "capacity", "free_bits"],
)
def test_without_effect_each_is_the_elbo_with_its_gradient(make, estimator):
    objective, elbo = make(estimator=estimator), closed_form_elbo(estimator)
    np.testing.assert_allclose(loss_of(objective, DRAW)[0], loss_of(elbo, DRAW)[0], rtol=1e-5)
    gradient = gradient_of(objective, DRAW)
    assert_close(gradient, gradient_of(elbo, DRAW))
    assert np.any(gradient.log_posterior != 0) == (estimator is estimators.score_function)


@pytest.mark.parametrize(
    ("make", "name"),
    [(beta_vae, "beta"), (partial(capacity, gamma=2.0), "target_kl"), (free_bits, "free_nats")],
)
def test_schedules_follow_the_step(make, name):
    scheduled = make(schedules.linear(0.5, 2.5, 10))
    at_step = jax.jit(lambda step: loss_of(scheduled, DRAW, step=step))
    for step, number in ((0, 0.5), (5, 1.5), (10, 2.5), (99, 2.5)):
        loss, (_, metrics) = at_step(step)
        np.testing.assert_allclose(metrics[name], number, rtol=1e-6)
        np.testing.assert_allclose(loss, loss_of(make(number), DRAW)[0], rtol=1e-5)


@pytest.mark.parametrize("offset", [-0.4, 0.6])
def test_capacity_is_the_distance_of_the_mean_kl_from_its_target(offset):
    target = MEAN_KL + offset
    of_examples = KL.sum(axis=1)
    assert of_examples.min() < target < of_examples.max()  # so that the order of | | and mean shows
    loss, _ = loss_of(capacity(target, gamma=30.0), DRAW)
    np.testing.assert_allclose(loss, 30.0 * abs(offset) - RECONSTRUCTION, rtol=1e-5)


@pytest.mark.parametrize(("offset", "sign"), [(-0.5, 1.0), (0.5, -1.0)])
def test_capacity_pulls_the_kl_to_its_target_from_both_sides(offset, sign):
    gradient = gradient_of(capacity(MEAN_KL + offset, gamma=30.0), DRAW)
    mean, std = np.float64(DRAW.posterior.mean), np.exp(np.float64(DRAW.posterior.log_std))
    np.testing.assert_allclose(gradient.posterior.mean, sign * 30.0 * mean / len(mean), rtol=1e-4)
    expected = sign * 30.0 * (std**2 - 1.0) / len(mean)
    np.testing.assert_allclose(gradient.posterior.log_std, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(gradient.log_likelihood, -1.0 / DRAW.log_likelihood.size)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["beta_vae", "capacity"])
def test_training_ends_on_the_rate_distortion_curve(name):
    point = point_on_the_curve(water_level=0.25)
    objective = {
        "beta_vae": beta_vae(1.0 / point.slope),
        "capacity": capacity(point.kl, gamma=2.0 * point.slope),
    }[name]
    _, reconstruction, kl = trained(objective, 3_000)
    np.testing.assert_allclose(kl, point.kl, rtol=0, atol=0.03)
    np.testing.assert_allclose(reconstruction, point.reconstruction, rtol=0, atol=0.03)


@pytest.mark.parametrize("num_groups", [None, 3, 2, 1])
def test_free_bits_floors_the_kl_of_groups_of_neighbours(num_groups):
    by_group = KL.reshape(len(KL), num_groups or NUM_LATENTS, -1).sum(axis=2).mean(axis=0)
    for floor in (0.0, np.median(by_group) + 0.01, by_group.max() + 1.0):
        loss, (_, metrics) = loss_of(free_bits(floor, num_groups), DRAW)
        expected = np.maximum(by_group, floor).sum()
        np.testing.assert_allclose(loss, expected - RECONSTRUCTION, rtol=1e-5)
        np.testing.assert_allclose(metrics["kl"], MEAN_KL, rtol=1e-5)


def test_free_bits_averages_over_the_batch_before_the_maximum():
    floor = np.median(KL)
    penalty = loss_of(free_bits(floor), DRAW)[0] + RECONSTRUCTION
    np.testing.assert_allclose(penalty, np.maximum(KL.mean(axis=0), floor).sum(), rtol=1e-4)
    assert np.maximum(KL, floor).mean(axis=0).sum() > penalty + 0.1


def test_a_group_below_its_floor_has_no_gradient_and_one_above_the_ordinary_one():
    group_kl = KL.mean(axis=0).reshape(3, 2).sum(axis=1)
    floor = np.median(group_kl) + 0.01
    below = np.repeat(group_kl < floor, 2)
    assert 0 < below.sum() < NUM_LATENTS
    floored = gradient_of(free_bits(floor, 3), DRAW).posterior
    ordinary = gradient_of(closed_form_elbo(), DRAW).posterior
    for actual, expected in zip(*map(jax.tree.leaves, (floored, ordinary)), strict=True):
        np.testing.assert_array_equal(actual[:, below], 0.0)
        np.testing.assert_allclose(actual[:, ~below], expected[:, ~below], rtol=1e-5)
        assert np.abs(expected).min() > 0


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: beta_vae(-0.1), "beta must be finite and not negative, not -0.1."),
        (lambda: beta_vae(np.nan), "beta must be finite and not negative, not nan."),
        (lambda: capacity(-1.0), "target_kl must be finite and not negative, not -1.0."),
        (lambda: capacity(1.0, gamma=-2.0), "gamma must be finite and not negative, not -2.0."),
        (lambda: free_bits(-0.5), "free_nats must be finite and not negative, not -0.5."),
        (lambda: free_bits(0.5, 0), "num_groups must be at least 1, not 0."),
        (
            lambda: loss_of(free_bits(0.5, 4), DRAW),
            f"num_groups=4 must divide the {NUM_LATENTS} latents.",
        ),
    ],
)
def test_bad_values_are_refused_in_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        make()

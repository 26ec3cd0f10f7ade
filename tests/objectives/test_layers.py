"""Warm-up layer by layer and in balance, against their definitions on a given hierarchy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.objectives.given_draw import normal_draw
from vae_jax.models import draw_batch, hierarchy
from vae_jax.networks import mlp
from vae_jax.objectives import closed_form_elbo, layer_warm_up, schedules
from vae_jax.objectives.layers import LAYER_WEIGHTS

SIZES = (4, 2, 3)
NETWORKS = dict.fromkeys(("encoder", "decoder", "between"), mlp((5,)))
MODEL = hierarchy((4,), SIZES, inference="independent", **NETWORKS)
X = jnp.array([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
PARAMS = jax.tree.map(lambda leaf: 3.0 * leaf, MODEL.init(jax.random.key(0), jnp.full(4, 0.5)))
KEYS = jax.random.split(jax.random.key(1), (2, len(X)))


def loss_of(objective, params=PARAMS, step=0):
    draw_fn = functools.partial(draw_batch, MODEL, params, X, KEYS)
    loss, (_, metrics) = objective.loss((), jnp.int32(step), jax.random.key(0), draw_fn)
    return loss, metrics


def gradient_of(objective, step=0):
    return jax.grad(lambda params: loss_of(objective, params, step)[0])(PARAMS)


DRAW = draw_batch(MODEL, PARAMS, X, KEYS)
KL = np.asarray(DRAW.layer_kl, np.float64).mean(axis=(0, 1))
RECONSTRUCTION = float(DRAW.log_likelihood.mean())


@pytest.mark.parametrize("weights", LAYER_WEIGHTS)
def test_at_the_end_it_is_the_elbo_with_its_gradient(weights):
    objective = layer_warm_up(schedules.linear(0.0, 1.0, 10), weights)
    loss, metrics = loss_of(objective, step=10)
    np.testing.assert_allclose(loss, loss_of(closed_form_elbo())[0], rtol=1e-6)
    np.testing.assert_allclose(metrics["elbo"], -loss, rtol=1e-6)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6),
        gradient_of(objective, step=10),
        gradient_of(closed_form_elbo()),
    )


@pytest.mark.parametrize(
    ("beta", "expected"),
    [(0.0, (0, 0, 0)), (0.2, (0.6, 0, 0)), (0.5, (1, 0.5, 0)), (0.9, (1, 1, 0.7))],
)
def test_layers_pay_in_turn_from_the_one_next_to_x(beta, expected):
    loss, metrics = loss_of(layer_warm_up(beta, "in_turn"))
    np.testing.assert_allclose(loss, np.dot(expected, KL) - RECONSTRUCTION, rtol=1e-5)
    found = [metrics[f"weight_{layer}"] for layer in (1, 2, 3)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(metrics["elbo"], RECONSTRUCTION - KL.sum(), rtol=1e-5)


def test_in_balance_layers_pay_by_what_each_of_their_latents_says():
    share = KL / SIZES
    expected = 0.4 * share / share.mean()
    loss, metrics = loss_of(layer_warm_up(0.4, "balanced"))
    np.testing.assert_allclose(loss, np.dot(expected, KL) - RECONSTRUCTION, rtol=1e-4)
    found = [metrics[f"weight_{layer}"] for layer in (1, 2, 3)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert np.ptp(found) > 0.1

    def with_given_weights(params):
        drawn = draw_batch(MODEL, params, X, KEYS)
        kl = drawn.layer_kl.mean(axis=(0, 1))
        return jnp.dot(jnp.asarray(expected, jnp.float32), kl) - drawn.log_likelihood.mean()

    jax.tree.map(  # the weights themselves are not differentiated
        functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5),
        gradient_of(layer_warm_up(0.4, "balanced")),
        jax.grad(with_given_weights)(PARAMS),
    )


@pytest.mark.parametrize(
    ("arguments", "what"),
    [((1.5,), "beta must lie in"), ((1.0, "alike"), "it is one of in_turn, balanced")],
)
def test_what_is_out_of_range_is_refused(arguments, what):
    with pytest.raises(ValueError, match=what):
        layer_warm_up(*arguments)


def test_one_layer_of_latents_is_refused():
    with pytest.raises(ValueError, match="is for hierarchies"):
        layer_warm_up().loss((), jnp.int32(0), jax.random.key(0), lambda **routes: normal_draw(3))

"""Coefficients that are arrays, as in a sweep, against the same coefficients as numbers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.exact import linear_vae
from vae_jax import objectives
from vae_jax.models import draw_batch
from vae_jax.objectives import bounds, estimators, schedules

LINEAR = linear_vae(num_examples=6)
PARAMS = LINEAR.model.init(jax.random.key(5), LINEAR.x[0])
LOG_W = jax.random.normal(jax.random.key(0), (6, 5)) * 3.0

OBJECTIVES = {
    "beta": (objectives.beta_vae, 2.5),
    "beta, annealed": (lambda v: objectives.beta_vae(schedules.linear(0.0, v, 10)), 2.5),
    "beta, sigmoid": (lambda v: objectives.beta_vae(schedules.sigmoid(0.0, v, 10)), 2.5),
    "beta, cyclical": (lambda v: objectives.beta_vae(schedules.cyclical(0.0, v, 10)), 2.5),
    "capacity": (lambda v: objectives.capacity(v, 2.0), 1.5),
    "capacity, gamma": (lambda v: objectives.capacity(1.5, v), 2.0),
    "free_bits": (objectives.free_bits, 3e4),
    "geco": (objectives.geco, -4.0),
    "beta_tc": (lambda v: objectives.beta_tcvae(60, v), 3.0),
    "factor": (objectives.factor_vae, 5.0),
    "dip_i": (lambda v: objectives.dip_vae_i(v, 2.0), 3.0),
    "dip_ii, diagonal": (lambda v: objectives.dip_vae_ii(2.0, v), 3.0),
    "mmd": (lambda v: objectives.info_vae(v, 0.3), 20.0),
    "mmd, kl": (lambda v: objectives.info_vae(20.0, v), 0.3),
    "wae": (objectives.wae_mmd, 20.0),
    "ciwae": (lambda v: objectives.maximise(bounds.ciwae(v)), 0.3),
    "renyi": (lambda v: objectives.maximise(bounds.renyi(v)), 0.4),
    "renyi, dreg": (
        lambda v: objectives.maximise(bounds.renyi(v), estimators.doubly_reparameterised),
        0.4,
    ),
}


FAST = ("beta", "geco", "renyi")


@pytest.mark.parametrize(
    "name",
    [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in OBJECTIVES],
)
def test_an_array_is_as_good_as_a_number(name):
    make, value = OBJECTIVES[name]
    noise_keys = jax.random.split(jax.random.key(1), (4, 6))

    def loss(params, coefficient):
        objective = make(coefficient)
        draw = jax.eval_shape(
            lambda: draw_batch(LINEAR.model, params, LINEAR.x[:1], noise_keys[:1, :1])
        )
        state = objective.init(jax.random.key(2), draw)

        def draw_fn(**options):
            return draw_batch(LINEAR.model, params, LINEAR.x, noise_keys, **options)

        return objective.loss(state, jnp.asarray(3), jax.random.key(3), draw_fn)[0]

    compute = jax.value_and_grad(loss)
    expected = jax.jit(lambda params: compute(params, value))(PARAMS)
    of_array = jax.jit(compute)
    found, other = (of_array(PARAMS, jnp.float32(factor * value)) for factor in (1.0, 0.5))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), found, expected
    )
    assert abs(other[0] - found[0]) > 1e-3


@pytest.mark.parametrize("alpha", [-math.inf, -1.0, 0.0, 0.5, 1.0, 2.0, math.inf])
def test_renyi_of_any_order_and_its_gradient(alpha):
    def value(log_w, alpha):
        return jnp.sum(bounds.renyi(alpha)(log_w))

    expected = jax.value_and_grad(value)(LOG_W, alpha)
    found = jax.jit(jax.value_and_grad(value))(LOG_W, jnp.float32(alpha))
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5, atol=1e-7)


def test_concrete_of_a_temperature_that_is_an_array():
    def draw_fn(temperature=1.0, **options):
        return temperature * jnp.ones((2, 3))

    def value(temperature):
        return estimators.concrete(temperature)(bounds.elbo, draw_fn, lambda draw: draw)

    jax.tree.map(np.testing.assert_array_equal, value(0.3), value(jnp.float32(0.3)))

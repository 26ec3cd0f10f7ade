"""The soft bound of log standard deviations, against its formula, and what it is for."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from tests.exact import with_sampled_kl
from vae_jax.distributions import standard_normal
from vae_jax.models import elbo, heads, vae
from vae_jax.models.heads import LOG_STD_BOUND, soft_bound
from vae_jax.networks import mlp

INSIDE = np.concatenate(
    [np.linspace(-LOG_STD_BOUND, LOG_STD_BOUND, 4001), [1e-30, -1e-30, 0.0, -0.0]]
).astype(np.float32)


@pytest.mark.parametrize("transformed", [lambda f: f, jax.jit])
def test_inside_the_bound_nothing_changes_to_the_bit(transformed):
    found = np.asarray(transformed(lambda v: soft_bound(v, LOG_STD_BOUND))(INSIDE))
    np.testing.assert_array_equal(found.view(np.uint32), INSIDE.view(np.uint32))
    weights = np.random.default_rng(0).normal(size=INSIDE.shape).astype(np.float32)
    gradient = transformed(jax.grad(lambda v: jnp.sum(weights * soft_bound(v, LOG_STD_BOUND))))
    np.testing.assert_array_equal(
        np.asarray(gradient(INSIDE)).view(np.uint32), weights.view(np.uint32)
    )


def test_outside_the_bound_it_is_the_logarithm_of_its_formula_and_odd():
    values = np.float64(np.geomspace(7.01, 1e30, 300))
    expected = 7.0 + np.log1p(values - 7.0)
    for sign in (-1.0, 1.0):
        found = soft_bound(jnp.asarray(sign * values, jnp.float32), 7.0)
        np.testing.assert_allclose(found, sign * expected, rtol=1e-6)
    slopes = jax.vmap(jax.grad(lambda v: soft_bound(v, 7.0)))(jnp.float32(values))
    np.testing.assert_allclose(slopes, 1.0 / (values - 6.0), rtol=2e-4)
    assert np.all(slopes > 0)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_value_and_slope_are_continuous_at_the_bound(sign):
    step = 1e-9
    joint = sign * LOG_STD_BOUND
    around = joint + jnp.array([-step, 0.0, step])
    np.testing.assert_allclose(soft_bound(around, LOG_STD_BOUND), around, rtol=0, atol=step**1.5)
    slopes = jax.vmap(jax.grad(lambda v: soft_bound(v, LOG_STD_BOUND)))(around)
    np.testing.assert_allclose(slopes, 1.0, rtol=0, atol=2 * step)
    for value in (-30.0, -6.9, 0.5, 7.2, 80.0):
        check_grads(lambda v: soft_bound(v, LOG_STD_BOUND), (value,), order=1)


def test_values_that_are_no_numbers_stay_so():
    assert np.isnan(soft_bound(jnp.nan, 7.0))


@functools.cache
def model_and_gradient(head, form):
    """A model whose posterior or likelihood has a standard deviation, and its compiled gradient."""
    likelihood = heads.diagonal_normal() if head == "likelihood" else heads.bernoulli()
    model = vae((6,), 2, encoder=mlp(()), decoder=mlp(()), likelihood=likelihood)
    if form == "sampled":
        model = with_sampled_kl(model)

    @jax.jit
    def value_and_gradient(params, x):
        of_params = jax.value_and_grad(elbo, argnums=1, has_aux=True)
        return of_params(model, params, x, jax.random.key(1))

    return model, value_and_gradient


@pytest.mark.parametrize("head", ["posterior", "likelihood"])
@pytest.mark.parametrize("raw", [-1e4, -74.0, 74.0, 1e4])
@pytest.mark.parametrize("form", ["closed form", "sampled"])
def test_far_outputs_give_a_finite_elbo_and_finite_gradients(head, raw, form):
    """74 is where the second step with default flags took 128 x 128 x 3 images."""
    model, value_and_gradient = model_and_gradient(head, form)
    x = jnp.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    params = jax.jit(model.init)(jax.random.key(0), x)
    network, size = {"posterior": ("encoder", 2), "likelihood": ("decoder", 6)}[head]
    bias = params[network]["output"]["bias"]
    params[network]["output"]["bias"] = bias.at[size:].set(raw)
    (value, _), gradient = value_and_gradient(params, x)
    assert np.isfinite(value)
    chex.assert_tree_all_finite(gradient)
    assert sum(np.sum(np.square(np.float32(leaf))) for leaf in jax.tree.leaves(gradient)) < np.inf
    if head == "posterior" and form == "closed form":
        log_std = np.sign(raw) * (7.0 + np.log1p(abs(raw) - 7.0))
        density = model.posterior(params, x)
        np.testing.assert_allclose(density.log_std, log_std, rtol=1e-2)  # + a little of W x
        kl = jnp.sum(density.kl_per_dim(standard_normal((2,))))
        mean = np.float64(density.mean)
        expected = 0.5 * np.sum(
            np.exp(2 * np.float64(density.log_std)) - 1 - 2 * np.float64(density.log_std) + mean**2
        )
        np.testing.assert_allclose(kl, expected, rtol=1e-4)

"""Heads: the soft bound of log standard deviations, and likelihoods of any outputs."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from tests.exact import with_sampled_kl
from vae_jax.distributions import standard_normal
from vae_jax.models import ModelSpec, elbo, heads, vae
from vae_jax.models.heads import LOG_STD_BOUND, soft_bound
from vae_jax.models.likelihoods import LIKELIHOODS
from vae_jax.networks import mlp

# All but that of tables of several types, which has tests of its own.
OF_ONE_KIND = [name for name in LIKELIHOODS if name != "columns"]

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


@pytest.mark.parametrize("name", OF_ONE_KIND)
def test_far_outputs_of_every_likelihood_are_finite_with_finite_gradients(name):
    event_shape = (2, 2, 3)
    head = LIKELIHOODS[name].head(ModelSpec(event_shape, num_trials=4))
    x = jnp.zeros(event_shape).at[0].set(1.0)  # in the support of all of them but one
    if name == "log_normal":
        x += 0.5
    params, bias = head.init(jax.random.key(0), jnp.full(event_shape, 0.4))
    assert bias.shape == head.output_shape(event_shape)

    @jax.jit
    @jax.vmap
    @jax.value_and_grad
    def log_prob(both):
        return head.apply(*both, event_shape).log_prob(x)

    outputs = jnp.stack([jnp.full(bias.shape, raw) for raw in (-1e4, -74.0, 0.0, 74.0, 1e4)])
    same = jax.tree.map(lambda leaf: jnp.stack([leaf] * 5), params)
    values, gradients = log_prob((same, outputs))
    assert np.all(np.isfinite(values))
    chex.assert_tree_all_finite(gradients)
    if LIKELIHOODS[name].measure == "mass":
        assert np.all(values <= 0)


@pytest.mark.parametrize("name", OF_ONE_KIND)
def test_every_likelihood_learns_values_that_do_not_depend_on_anything(name):
    """By gradient ascent on its outputs and parameters alone, from where they start."""
    event_shape = (1, 1, 3)
    head = LIKELIHOODS[name].head(ModelSpec(event_shape, num_trials=4))
    levels = jnp.array([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    usual = LIKELIHOODS[name].kinds[0]
    if usual == "count":
        levels *= 4.0
    elif usual != "binary":
        levels = jnp.round((0.3 + 0.2 * levels) * 255) / 255
    x = levels.reshape(4, *event_shape)
    start = head.init(jax.random.key(0), jnp.full(event_shape, 0.5))

    def loss(both):
        return -jnp.mean(jax.vmap(head.apply(*both, event_shape).log_prob)(x))

    optimiser = optax.adam(0.02)

    def step(carry, _):
        both, state = carry
        value, gradient = jax.value_and_grad(loss)(both)
        updates, state = optimiser.update(gradient, state)
        return (optax.apply_updates(both, updates), state), value

    (end, _), values = jax.jit(
        lambda: jax.lax.scan(step, (start, optimiser.init(start)), length=300)
    )()
    assert np.all(np.isfinite(values))
    assert values[-1] < values[0] - 0.05
    if name not in ("student_t", "laplace"):  # of which the median is learned
        mean = head.apply(*end, event_shape).mean.ravel()
        scale = 4.0 if usual == "count" else 1.0
        np.testing.assert_allclose(mean, levels.mean(axis=0), atol=0.05 * scale)


def test_heads_refuse_numbers_that_are_not_positive():
    for make in (
        lambda: heads.laplace(0.0),
        lambda: heads.student_t(1.0, -1.0),
        lambda: heads.normal_scale_per_dim(-1.0),
        lambda: heads.discretised_logistic("network", 0.0),
        lambda: heads.logistic_mixture(10, -0.1),
    ):
        with pytest.raises(ValueError, match="must be positive, not"):
            make()
    with pytest.raises(ValueError, match="scale must be one, channel, network, not 'dim'"):
        heads.discretised_logistic("dim")
    with pytest.raises(ValueError, match="num_components must be at least 1, not 0"):
        heads.logistic_mixture(0)
    with pytest.raises(ValueError, match="levels must be at least 2, not 1"):
        heads.categorical_levels(1)


def test_couplings_of_the_mixture_are_those_of_their_outputs():
    """Outputs of one pixel of 3 channels: M logits, 3 M locations, 3 M scales, 3 M couplings."""
    num, event_shape = 2, (1, 1, 3)
    head = heads.logistic_mixture(num)
    assert head.output_shape(event_shape) == (1, 1, 20)
    outputs = jnp.arange(20.0) / 10.0
    found = head.apply({}, outputs.reshape(1, 1, 20), event_shape)
    np.testing.assert_array_equal(found.logits.ravel(), outputs[:2])
    np.testing.assert_array_equal(found.location[0, 0], outputs[2:8].reshape(3, num))
    np.testing.assert_array_equal(found.log_scale[0, 0], outputs[8:14].reshape(3, num))
    np.testing.assert_allclose(found.coupling[0, 0], jnp.tanh(outputs[14:]).reshape(3, num))

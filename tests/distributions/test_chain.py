"""Chains of variables: their factors, completion, temperature, and a chain of one variable."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from vae_jax.distributions import Chain, Layers, Normal, kl_by_layer, normal_mixture
from vae_jax.models import draw_batch, vae

TOP = Normal(jnp.array([0.5, -1.0]), jnp.array([-0.3, 0.2]))


def _below(carry, z):
    """z_1 [1] given z_2 [2]."""
    return carry, Normal(carry * jnp.sum(z, keepdims=True), jnp.log(0.5 + jnp.abs(z[:1])))


CHAIN = Chain(TOP, jnp.asarray(1.5), (Partial(_below),), order=(1, 0))


def test_the_density_is_the_product_of_the_factors():
    z = (jnp.array([0.7]), jnp.array([0.1, -0.4]))
    factors = [_below(1.5, z[1])[1].log_prob(z[0]), TOP.log_prob(z[1])]
    np.testing.assert_allclose(CHAIN.log_prob_by_layer(z), factors, rtol=1e-6)
    np.testing.assert_allclose(CHAIN.log_prob(z), sum(factors), rtol=1e-6)
    drawn, log_prob = CHAIN.sample_and_log_prob(jax.random.key(0))
    np.testing.assert_allclose(log_prob, CHAIN.log_prob(drawn), rtol=1e-5)
    assert CHAIN.event_shape == ((1,), (2,))


def test_what_is_given_stays_and_the_rest_has_its_distribution_at_a_temperature():
    given = jnp.array([0.3, 0.9])
    keys = jax.random.split(jax.random.key(1), 40_000)
    for temperature in (1.0, 0.5):
        z1, z2 = jax.vmap(lambda key, t=temperature: CHAIN.complete(key, (None, given), t))(keys)
        np.testing.assert_array_equal(z2, np.broadcast_to(given, z2.shape))
        std = temperature * (0.5 + 0.3)
        error = 4.5 * std / np.sqrt(len(keys))
        assert abs(float(z1.mean()) - 1.5 * 1.2) < error
        assert abs(float(z1.std()) - std) < error
    z1, z2 = CHAIN.complete(keys[0], (jnp.array([2.0]), None))
    np.testing.assert_array_equal(z1, [2.0])
    # The top does not depend on what is given below it.
    np.testing.assert_array_equal(z2, CHAIN.sample(keys[0])[1])


def test_only_normal_variables_have_a_temperature():
    mixture = normal_mixture(jnp.zeros(2), jnp.zeros((2, 2)), jnp.zeros((2, 2)))
    chain = Chain(mixture, jnp.asarray(1.0), (Partial(_below),), order=(1, 0))
    with pytest.raises(TypeError, match="NormalMixture has no temperature"):
        chain.complete(jax.random.key(0), (None, None), 0.5)


def test_the_layers_at_the_centre_are_those_given_the_means():
    layers = CHAIN.at_centre()
    assert isinstance(layers, Layers)
    np.testing.assert_array_equal(layers.of_each[0].mean, _below(1.5, TOP.mean)[1].mean)
    z, log_prob = layers.sample_and_log_prob(jax.random.key(0))
    np.testing.assert_allclose(log_prob, layers.log_prob(z), rtol=1e-5)


def test_another_event_or_another_number_of_variables_is_refused():
    with pytest.raises(ValueError, match="a tuple of 2 variables, and this value is no tuple"):
        CHAIN.log_prob(jnp.zeros(3))
    with pytest.raises(ValueError, match="from a Chain of 2 variables to one of 1"):
        kl_by_layer(CHAIN, Chain(TOP, None, (), (0,)), CHAIN.sample(jax.random.key(0)))


def test_a_chain_of_one_variable_is_the_model_without_it_to_the_bit():
    model = vae((6,), 2)

    def alone(distribution):
        return Chain(distribution, None, (), (0,))

    chained = model._replace(
        posterior=lambda params, x: alone(model.posterior(params, x)),
        prior=lambda params: alone(model.prior(params)),
        likelihood=lambda params, z: model.likelihood(params, z[0]),
    )
    params = model.init(jax.random.key(0), jnp.full(6, 0.4))
    x = (jax.random.uniform(jax.random.key(1), (3, 6)) < 0.5).astype(jnp.float32)
    keys = jax.random.split(jax.random.key(2), (4, 3))
    one, other = draw_batch(model, params, x, keys), draw_batch(chained, params, x, keys)
    np.testing.assert_array_equal(one.z, other.z[0])
    for name in ("log_w", "log_likelihood", "log_prior", "log_posterior"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    closed = one.of_each_example(lambda q, p: jnp.sum(q.kl_per_dim(p)))
    np.testing.assert_allclose(other.layer_kl[..., 0], np.tile(closed, (4, 1)), rtol=1e-6)

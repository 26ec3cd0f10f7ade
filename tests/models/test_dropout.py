"""Dropout of hidden units of the encoder, in training alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.exact import linear_vae
from tests.monte_carlo import assert_mean
from vae_jax import evidence
from vae_jax.models import Batch, ModelSpec, draw_batch, given, heads, vae
from vae_jax.networks import gated_mlp, mlp

RATE = 0.4
X = jnp.linspace(-1.0, 1.0, 12).reshape(2, 3, 2)


@pytest.mark.parametrize("architecture", [mlp, gated_mlp])
def test_dropped_outputs_have_the_mean_and_the_variance_of_their_closed_form(architecture):
    network = architecture((6,), jnp.tanh, dropout=RATE)(X.shape, (3,))
    params = network.init(jax.random.key(0))
    plain = network.apply(params, X)
    keys = jax.random.split(jax.random.key(1), 20_000)
    dropped = jax.vmap(lambda key: network.apply_with_dropout(key, params, X))(keys)
    assert_mean(dropped, plain)
    # Outputs are sums over hidden units h of W h m / (1 - p), with m = 0 of probability p.
    h = jnp.ravel(X) @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    h = jnp.tanh(h) if architecture is mlp else jnp.tanh(h[:6]) * jax.nn.sigmoid(h[6:])
    parts = params["output"]["kernel"] * h[:, None]
    variance = jnp.sum(parts**2, axis=0) * RATE / (1.0 - RATE)
    assert_mean((dropped - plain[None]) ** 2, variance)


def test_a_network_without_dropout_has_no_function_for_it():
    assert mlp((6,))(X.shape, (3,)).apply_with_dropout is None
    assert vae(X.shape, 2).posterior_with_dropout is None
    with pytest.raises(ValueError, match=r"dropout must lie in \[0, 1\), not 1.0"):
        mlp((6,), dropout=1.0)


@pytest.mark.parametrize("conditional", [False, True])
def test_all_samples_of_an_example_have_the_units_that_its_key_drops(conditional):
    shape = (2,) if conditional else None
    model = vae((4,), 2, encoder=mlp((6,), dropout=RATE), decoder=mlp((5,)), condition_shape=shape)
    params = model.init(jax.random.key(0), jnp.full(4, 0.5))
    x = jnp.eye(3, 4)
    batch = Batch(x, jax.random.normal(jax.random.key(2), (3, 2)) if conditional else None)
    noise_keys = jax.random.split(jax.random.key(3), (2, 3))
    dropout_keys = jax.random.split(jax.random.key(4), 3)
    found = draw_batch(model, params, batch, noise_keys, dropout_keys=dropout_keys)
    for b, one in enumerate(batch):
        of_one = given(model, one.c)
        q = of_one.posterior_with_dropout(dropout_keys[b], params, one.x)
        assert not np.allclose(q.mean, of_one.posterior(params, one.x).mean)
        z, log_q = jax.vmap(q.sample_and_log_prob)(noise_keys[:, b])
        log_p = jax.vmap(lambda z: of_one.likelihood(params, z).log_prob(one.x))(z)  # noqa: B023
        np.testing.assert_allclose(found.posterior.mean[b], q.mean, rtol=1e-5)
        np.testing.assert_allclose(found.z[:, b], z, rtol=1e-5)
        np.testing.assert_allclose(found.log_posterior[:, b], log_q, rtol=1e-5)
        np.testing.assert_allclose(found.log_likelihood[:, b], log_p, rtol=1e-5)


def test_importance_weights_with_dropped_units_have_the_mean_of_the_exact_evidence():
    linear = linear_vae()
    with_dropout = vae(
        linear.x.shape[1:],
        2,
        encoder=mlp((16,), dropout=RATE),
        decoder=mlp(()),
        likelihood=heads.normal_fixed_scale(linear.truth.std),
    )
    untrained = with_dropout.init(jax.random.key(0), jnp.zeros(linear.x.shape[1:]))
    # A small last layer: q is near the prior and wider than p(z|x), so that weights are bounded.
    last = jax.tree.map(lambda leaf: 0.3 * leaf, untrained["encoder"]["output"])
    params = {**linear.exact_params, "encoder": {**untrained["encoder"], "output": last}}
    x, num_samples = linear.x[:1], 100_000
    of_each = jnp.broadcast_to(x, (num_samples, *x.shape[1:]))
    drawn = draw_batch(
        with_dropout,
        params,
        of_each,
        jax.random.split(jax.random.key(1), (1, num_samples)),
        dropout_keys=jax.random.split(jax.random.key(2), num_samples),
    )
    exact = evidence.linear_gaussian.log_evidence(linear.truth, x[0])
    assert_mean(jnp.exp(drawn.log_w[0] - exact), 1.0)


def test_keys_of_dropout_are_refused_by_a_model_without_it():
    model = vae((4,), 2)
    params = model.init(jax.random.key(0), jnp.zeros(4))
    keys = jax.random.split(jax.random.key(1), 3)
    with pytest.raises(TypeError, match="this model has no dropout"):
        draw_batch(model, params, jnp.zeros((3, 4)), keys[None], dropout_keys=keys)


def test_a_spec_has_dropout_in_its_encoder_alone():
    spec = {"event_shape": (4,), "hidden": (6,), "network": "mlp"}
    model, plain = ModelSpec(dropout=RATE, **spec).build(), ModelSpec(**spec).build()
    params = model.init(jax.random.key(0), jnp.zeros(4))
    jax.tree.map(np.testing.assert_array_equal, params, plain.init(jax.random.key(0), jnp.zeros(4)))
    expected = vae((4,), 40, encoder=mlp((6,), dropout=RATE), decoder=mlp((6,)))
    key, x = jax.random.key(1), jnp.array([0.0, 1.0, 1.0, 0.0])
    q, other = (m.posterior_with_dropout(key, params, x).mean for m in (model, expected))
    np.testing.assert_array_equal(q, other)
    with pytest.raises(ValueError, match="dropout=0.4 is not for encoder=conv but for mlp"):
        ModelSpec((4, 4, 1), dropout=RATE, encoder="conv")

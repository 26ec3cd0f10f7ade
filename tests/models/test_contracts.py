"""What a model may be made of: distributions with parameters, priors that call the encoder."""

import dataclasses
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.exact import linear_vae, random_encoder, with_sampled_kl
from tests.monte_carlo import assert_mean
from vae_jax.distributions import Normal, standard_normal
from vae_jax.models import Model, Prior, draw, draw_batch, vae
from vae_jax.networks import mlp
from vae_jax.objectives import closed_form_elbo, estimators

SIZE, BATCH = 1000, 100


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Through:
    """A normal distribution of `size` values around matrix @ code, which holds the matrix."""

    is_reparameterised: ClassVar[bool] = True

    code: jax.Array
    matrix: jax.Array

    @property
    def event_shape(self):
        return self.matrix.shape[:1]

    @property
    def normal(self):
        mean = self.matrix @ self.code
        return Normal(mean, jnp.zeros_like(mean))

    def sample(self, key):
        return self.normal.sample(key)

    def log_prob(self, value):
        return self.normal.log_prob(value)

    def sample_and_log_prob(self, key):
        return self.normal.sample_and_log_prob(key)


WITH_MATRICES = Model(
    init=lambda key, x: {},
    posterior=lambda params, x: Through(x, params["q"]),
    prior=lambda params: standard_normal((SIZE,)),
    likelihood=lambda params, z: Through(z, params["p"]),
)


@pytest.mark.parametrize("score", [True, False])
def test_parameters_inside_distributions_are_in_memory_once(score):
    """Copies for each example would take 400 MB, and for each sample 2 GB."""
    matrix = jax.ShapeDtypeStruct((SIZE, SIZE), jnp.float32)
    x = jax.ShapeDtypeStruct((BATCH, SIZE), jnp.float32)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), (5, BATCH)))

    def bound(params, x, keys):
        return jnp.mean(draw_batch(WITH_MATRICES, params, x, keys, score=score).log_w)

    program = jax.jit(jax.grad(bound)).lower({"q": matrix, "p": matrix}, x, keys).compile()
    # Samples, densities and their derivatives are 5 x 100 x 1000 numbers, 2 MB each.
    assert program.memory_analysis().temp_size_in_bytes < 40e6


def test_distributions_with_parameters_are_drawn_as_in_a_loop():
    q_key, p_key, x_key, key = jax.random.split(jax.random.key(0), 4)
    params = {
        "q": 0.3 * jax.random.normal(q_key, (3, 4)),
        "p": jax.random.normal(p_key, (4, 3)),
    }
    model = WITH_MATRICES._replace(prior=lambda params: standard_normal((3,)))
    x, keys = jax.random.normal(x_key, (5, 4)), jax.random.split(key, (2, 5))
    batch = jax.jit(partial(draw_batch, model))(params, x, keys)
    for b in range(5):
        one = draw(model, params, x[b], keys[:, b])
        np.testing.assert_allclose(batch.log_w[:, b], one.log_w, rtol=1e-5)
        for k in range(2):
            q = Normal(params["q"] @ x[b], jnp.zeros(3))
            np.testing.assert_allclose(batch.z[k, b], q.sample(keys[k, b]), rtol=1e-5)
            p = Normal(params["p"] @ batch.z[k, b], jnp.zeros(4))
            expected = p.log_prob(x[b]) + standard_normal((3,)).log_prob(batch.z[k, b])
            expected -= q.log_prob(batch.z[k, b])
            np.testing.assert_allclose(batch.log_w[k, b], expected, rtol=1e-5)


def test_a_prior_may_have_parameters_and_call_the_encoder():
    """A VampPrior of one pseudo-input is q(z|u), whose gradient reaches u and the encoder."""
    prior = Prior(init=lambda key, x: {"u": x}, apply=lambda params, encode, c: encode(params["u"]))
    model = vae((6,), 2, encoder=mlp((5,)), decoder=mlp((5,)), prior=prior)
    mean = jnp.linspace(0.1, 0.9, 6)
    params = jax.jit(model.init)(jax.random.key(0), mean)
    np.testing.assert_array_equal(params["prior"]["u"], mean)
    params["prior"]["u"] = 1.0 - mean
    expected = model.posterior(params, 1.0 - mean)
    jax.tree.map(np.testing.assert_array_equal, model.prior(params), expected)

    def log_prior(params):
        x = jnp.ones((3, 6))
        return jnp.mean(draw_batch(model, params, x, jax.random.split(KEY, (2, 3))).log_prior)

    gradient = jax.jit(jax.grad(log_prior))(params)
    assert np.any(gradient["prior"]["u"])
    assert np.any(gradient["encoder"]["Dense_0"]["kernel"])


KEY = jax.random.key(0)


@pytest.mark.parametrize("estimator", [estimators.pathwise, estimators.score_function])
def test_a_sampled_kl_term_has_the_gradient_of_the_closed_form(estimator):
    linear = linear_vae()
    params, x = random_encoder(linear.exact_params, 0), linear.x[:2]

    def gradient(model, estimator, keys):
        def loss(bias):
            encoder = {"output": params["encoder"]["output"] | {"bias": bias}}
            draw_fn = partial(draw_batch, model, {**params, "encoder": encoder}, x, keys)
            return closed_form_elbo(estimator).loss((), 0, KEY, draw_fn)[0]

        return jax.grad(loss)(params["encoder"]["output"]["bias"])

    keys = jax.random.split(KEY, (20_000, 1, 2))
    many = jax.jit(
        lambda model, estimator: jax.vmap(partial(gradient, model, estimator))(keys),
        static_argnums=(0, 1),
    )
    exact = many(linear.model, estimators.pathwise)
    found = many(with_sampled_kl(linear.model), estimator)
    assert np.all(np.std(found - exact, axis=0) > 0)
    assert_mean(found - exact, np.zeros(exact.shape[1]))

"""Gradient estimators of discrete latents, against the sum over all of their values."""

import dataclasses
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.exact import jit_once
from tests.monte_carlo import assert_mean
from tests.objectives.cases import BOUNDS, by_speed
from vae_jax.distributions import Bernoulli, Categorical
from vae_jax.models import Model, draw_batch
from vae_jax.objectives import bounds, estimators

X = jnp.array([1.0, 0.0, 1.0, 1.0])
PARAMS = {
    "encoder": jnp.array([[0.6, -0.3, 0.2, 0.1], [-0.8, 0.5, 0.3, 0.4]]),
    "decoder": jnp.array([[1.5, -1.0, 0.7, 0.3], [-0.6, 0.8, 1.2, -0.9]]),
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BernoulliOfGivenNoise(Bernoulli):
    """A Bernoulli distribution that takes for the key the sample, or the noise of a relaxed one."""

    def sample(self, key):
        return key

    def relaxed_sample(self, key, temperature):
        return jax.nn.sigmoid((self.logits + key) / temperature)


def model_of(posterior, prior):
    """Two latent variables, four pixels."""
    return Model(
        init=lambda key, x: PARAMS,
        posterior=lambda params, x: posterior(params["encoder"] @ x),
        prior=lambda params: prior,
        likelihood=lambda params, z: Bernoulli(z.reshape(2, -1)[:, 0] @ params["decoder"] - 0.4),
    )


GIVEN = model_of(BernoulliOfGivenNoise, Bernoulli(jnp.zeros(2)))
BITS = model_of(Bernoulli, Bernoulli(jnp.zeros(2)))
CATEGORIES = model_of(
    lambda logits: Categorical(jnp.stack([logits, jnp.zeros(2), -0.5 * logits], axis=1)),
    Categorical(jnp.zeros((2, 3))),
)


def log_joint_and_posterior(model, params, every_z):
    """log p(x, z) and log q(z|x) of all values of z, [Z] each."""
    q = model.posterior(params, X)

    def of(z):
        likelihood = model.likelihood(params, z).log_prob(X)
        return likelihood + model.prior(params).log_prob(z), q.log_prob(z)

    return jax.vmap(of)(every_z)


def exact_gradient(model, every_z, bound, num_samples):
    """The gradient of the mean of a bound, by summing over all values of all samples."""

    def mean_bound(params):
        log_joint, log_q = log_joint_and_posterior(model, params, every_z)
        choice = jnp.array(list(itertools.product(range(len(every_z)), repeat=num_samples))).T
        values = bound((log_joint - log_q)[choice])
        return jnp.sum(jnp.exp(jnp.sum(log_q[choice], axis=0)) * values)

    return jit_once(jax.grad(mean_bound))(PARAMS)


def values_of(each, num_latents):
    """[len(each) ** num_latents, num_latents, ...]"""
    return jnp.array(list(itertools.product(np.asarray(each), repeat=num_latents)))


EVERY_BIT = values_of([0.0, 1.0], 2)
# The largest and smallest weight have ties among few values, where gradients jump.
SMOOTH = [name for name in BOUNDS if name not in ("vr_max", "vr_min")]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("bound_name", by_speed(SMOOTH))
def test_score_function_and_vimco_are_unbiased_for_every_bound(bound_name):
    """Without statistics: the samples are all that there are, each as often as it is probable."""
    num_samples = 4 if bound_name == "miwae" else 2
    bound = BOUNDS[bound_name][0]
    z = jnp.array(list(itertools.product(EVERY_BIT, repeat=num_samples))).swapaxes(0, 1)
    x = jnp.tile(X, (z.shape[1], 1))

    @jit_once
    def gradients(params):
        def mean_bound(params, estimator):
            value, draw = estimator(bound, partial(draw_batch, GIVEN, params, x, z))
            probability = jnp.exp(jnp.sum(draw.log_posterior, axis=0))
            return jnp.sum(jax.lax.stop_gradient(probability) * value)

        both = (estimators.score_function, estimators.vimco)
        return [jax.grad(mean_bound)(params, estimator) for estimator in both]

    exact = exact_gradient(GIVEN, EVERY_BIT, bound, num_samples)
    assert all(np.max(np.abs(leaf)) > 1e-2 for leaf in jax.tree.leaves(exact))
    for gradient in gradients(PARAMS):
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-7), gradient, exact)


def gradients_of_keys(model, estimator, bound, num_samples, num_keys):
    """[num_keys, ...], by the library's own draws."""

    def gradient(key):
        def mean_bound(params):
            keys = jax.random.split(key, (num_samples, 1))
            return estimator(bound, partial(draw_batch, model, params, X[None], keys))[0][0]

        return jax.grad(mean_bound)(PARAMS)

    return jax.jit(jax.vmap(gradient))(jax.random.split(jax.random.key(0), num_keys))


MODELS = {
    "bernoulli": (BITS, EVERY_BIT),
    "categorical": (CATEGORIES, values_of(np.eye(3), 2)),
}


@pytest.mark.parametrize("name", MODELS)
def test_vimco_of_many_keys_has_the_enumerated_mean_and_less_variance_than_no_baseline(name):
    model, every_z = MODELS[name]
    exact = exact_gradient(model, every_z, bounds.iwae, 3)
    found = gradients_of_keys(model, estimators.vimco, bounds.iwae, 3, 20_000)
    jax.tree.map(assert_mean, found, exact)
    plain = gradients_of_keys(model, estimators.score_function, bounds.iwae, 3, 20_000)
    jax.tree.map(assert_mean, plain, exact)
    assert np.sum(np.var(found["encoder"], axis=0)) < 0.2 * np.sum(np.var(plain["encoder"], axis=0))


@pytest.mark.usefixtures("float64")
def test_the_bias_of_relaxed_gradients_vanishes_with_the_temperature():
    """The mean over the noise by the midpoint rule in its quantiles, so that bias alone is seen."""
    exact = exact_gradient(GIVEN, EVERY_BIT, bounds.elbo, 1)
    quantiles = (np.arange(200) + 0.5) / 200
    noise = values_of(np.log(quantiles) - np.log1p(-quantiles), 2)[None]
    x = jnp.tile(X, (noise.shape[1], 1))

    @jit_once
    def gradient(params, temperature):
        def mean_bound(params):
            relaxed = draw_batch(GIVEN, params, x, noise, temperature=temperature)
            return jnp.mean(bounds.elbo(relaxed.log_w))

        return jax.grad(mean_bound)(params)

    biases = []
    for temperature in (2.0, 1.0, 0.5, 0.25, 0.1):
        found = gradient(PARAMS, temperature)
        difference = found["encoder"] - exact["encoder"]
        biases.append(np.linalg.norm(difference) / np.linalg.norm(exact["encoder"]))
    assert np.all(np.diff(biases) < 0)
    assert biases[0] > 0.2
    assert biases[-1] < 0.02


@pytest.mark.parametrize("name", MODELS)
def test_the_concrete_estimator_has_the_value_of_discrete_and_the_gradient_of_relaxed_samples(name):
    model, _ = MODELS[name]
    keys = jax.random.split(jax.random.key(0), (3, 1))

    def value(params, estimator):
        return estimator(bounds.iwae, partial(draw_batch, model, params, X[None], keys))[0][0]

    def relaxed(params):
        draw = draw_batch(model, params, X[None], keys, temperature=0.7)
        return bounds.iwae(draw.log_w)[0]

    compiled = partial(jit_once, static_argnums=1)
    found, gradient = compiled(jax.value_and_grad(value))(PARAMS, estimators.concrete(0.7))
    np.testing.assert_allclose(found, compiled(value)(PARAMS, estimators.vimco), rtol=1e-6)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6),
        gradient,
        jit_once(jax.grad(relaxed))(PARAMS),
    )


@pytest.mark.parametrize(
    "estimator",
    [
        estimators.pathwise,
        estimators.sticking_the_landing,
        estimators.doubly_reparameterised,
    ],
)
def test_estimators_that_need_a_path_refuse_discrete_samples(estimator):
    keys = jax.random.split(jax.random.key(0), (3, 1))

    def estimate(params):
        return estimator(bounds.iwae, partial(draw_batch, BITS, params, X[None], keys))[0]

    with pytest.raises(
        TypeError,
        match="which those of a Bernoulli cannot: use vimco, concrete or straight_through",
    ):
        jax.eval_shape(estimate, PARAMS)


def test_straight_through_is_the_gradient_at_the_sample_times_that_of_the_probabilities():
    """d log p(x|z) / dz at hard z, times d mean / d logits, and the value at hard z."""
    z = jnp.array([1.0, 0.0])
    keys = jnp.broadcast_to(z, (1, 1, 2))

    def loss(params):
        draw_fn = partial(draw_batch, GIVEN, params, X[None], keys)
        value, draw = estimators.straight_through(bounds.elbo, draw_fn, estimators.log_likelihood)
        return value[0], draw

    (value, draw), gradient = jax.value_and_grad(loss, has_aux=True)(PARAMS)
    logits = PARAMS["encoder"] @ X
    mean = jax.nn.sigmoid(logits)

    def of_decoder(z):
        return Bernoulli(z @ PARAMS["decoder"] - 0.4).log_prob(X)

    np.testing.assert_array_equal(draw.z[0, 0], z)
    np.testing.assert_allclose(value, of_decoder(z), rtol=1e-6)
    expected = (jax.grad(of_decoder)(z) * mean * (1.0 - mean))[:, None] * X[None]
    np.testing.assert_allclose(gradient["encoder"], expected, rtol=1e-5)

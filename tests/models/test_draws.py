"""The routes by which gradients of a draw reach the parameters, each against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.exact import linear_vae, random_encoder
from vae_jax.models import draw, draw_batch, latents, vae

ROUTES = ("theta", "path", "score")
CLOSED = dict.fromkeys(ROUTES, False)
NUM_SAMPLES, NUM_EXAMPLES = 4, 3


@pytest.fixture(autouse=True)
def _float64(float64):
    """Gradients are compared to 10 digits."""


def setting():
    linear = linear_vae(num_examples=NUM_EXAMPLES)
    # The encoder is not the exact posterior, so that no route has a gradient of zero.
    params = random_encoder(linear.exact_params, 0)
    keys = jax.random.split(jax.random.key(1), (NUM_SAMPLES, NUM_EXAMPLES))
    return linear.model, params, linear.x, keys


def jacobian(**routes):
    """d log_w / d params, [K, B, ...] in every leaf."""
    model, params, x, keys = setting()

    def log_w(params):
        return draw_batch(model, params, x, keys, **routes).log_w

    return jax.jit(jax.jacrev(log_w))(params)


def assert_trees_close(actual, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10), actual, expected
    )


def by_definition(of_sample):
    """The gradients of a function (params, x, key, z) of each sample, z a constant."""
    model, params, x, keys = setting()
    over_examples = jax.vmap(jax.grad(of_sample), (None, 0, 0, 0))

    @jax.jit
    def gradients(params, x, keys):
        z = draw_batch(model, params, x, keys).z
        return jax.vmap(over_examples, (None, None, 0, 0))(params, x, keys, z)

    return gradients(params, x, keys)


def test_the_gradients_of_the_routes_sum_to_the_total_gradient():
    alone = [jacobian(**{**CLOSED, route: True}) for route in ROUTES]
    for one in alone:
        assert max(np.max(np.abs(leaf)) for leaf in jax.tree.leaves(one)) > 0.01
    assert_trees_close(jax.tree.map(lambda *parts: sum(parts), *alone), jacobian())


def test_the_theta_route_is_the_gradient_of_the_joint_density_at_a_fixed_z():
    model = setting()[0]

    def log_joint(params, x, key, z):
        return model.likelihood(params, z).log_prob(x) + model.prior(params).log_prob(z)

    assert_trees_close(jacobian(path=False, score=False), by_definition(log_joint))


def test_the_score_route_is_minus_the_gradient_of_the_posterior_at_a_fixed_z():
    model = setting()[0]
    expected = by_definition(lambda params, x, key, z: -model.posterior(params, x).log_prob(z))
    assert_trees_close(jacobian(theta=False, path=False), expected)


def test_the_path_route_is_the_gradient_through_z_at_fixed_densities():
    model, fixed = setting()[:2]

    def log_w(params, x, key, z):
        z = model.posterior(params, x).sample(key)
        log_joint = model.likelihood(fixed, z).log_prob(x) + model.prior(fixed).log_prob(z)
        return log_joint - model.posterior(fixed, x).log_prob(z)

    assert_trees_close(jacobian(theta=False, score=False), by_definition(log_w))


@pytest.mark.parametrize("others", [True, False])
def test_an_array_multiplies_the_path_route_of_each_sample(others):
    scale = jax.random.normal(jax.random.key(2), (NUM_SAMPLES, NUM_EXAMPLES))
    path_route = jacobian(theta=False, score=False)
    expected = jax.tree.map(
        lambda path, rest: scale.reshape(*scale.shape, *(1,) * (path.ndim - 2)) * path + rest,
        path_route,
        jacobian(path=False, theta=others, score=others),
    )
    assert_trees_close(jacobian(path=scale, theta=others, score=others), expected)


def test_an_array_of_one_example_is_a_column_of_that_of_a_batch():
    model, params, x, keys = setting()
    scale = jax.random.normal(jax.random.key(2), keys.shape)
    batch = jacobian(path=scale)

    @jax.jit
    def of_one(params, x, keys, scale):
        return jax.jacrev(lambda params: draw(model, params, x, keys, path=scale).log_w)(params)

    for b in range(NUM_EXAMPLES):
        one = of_one(params, x[b], keys[:, b], scale[:, b])
        assert_trees_close(one, jax.tree.map(lambda leaf, b=b: leaf[:, b], batch))


def test_at_the_exact_posterior_the_path_route_vanishes():
    """Since log_w is the same for all z (Roeder et al. 2017)."""
    linear = linear_vae()
    keys = jax.random.split(jax.random.key(1), (NUM_SAMPLES, len(linear.x)))

    def log_w(params):
        return draw_batch(linear.model, params, linear.x, keys, theta=False, score=False).log_w

    gradients = jax.jit(jax.jacrev(log_w))(linear.exact_params)
    assert_trees_close(gradients, jax.tree.map(np.zeros_like, gradients))


@pytest.mark.parametrize("closed", [*ROUTES, "scaled"])
def test_closing_a_route_changes_no_value(closed):
    model, params, x, keys = setting()
    option = {"path": jnp.zeros(keys.shape)} if closed == "scaled" else {closed: False}
    pair = jax.jit(
        lambda params, x, keys: [
            draw_batch(model, params, x, keys, **each) for each in (option, {})
        ]
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-14), *pair(params, x, keys))


@pytest.mark.parametrize(
    "family", [latents.bernoulli(), latents.categorical(3)], ids=["bernoulli", "categorical"]
)
def test_discrete_samples_close_the_path_route_and_relaxed_ones_open_it(family):
    model = vae((6,), 2, latents=family)
    x = jnp.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    params = jax.jit(model.init)(jax.random.key(1), x)
    keys = jax.random.split(jax.random.key(2), NUM_SAMPLES)

    def encoder_gradient(**options):
        only_path = {"theta": False, "score": False, **options}

        def sum_of_log_w(params):
            return draw(model, params, x, keys, **only_path).log_w.sum()

        return jax.jit(jax.grad(sum_of_log_w))(params)["encoder"]

    assert all(not np.any(leaf) for leaf in jax.tree.leaves(encoder_gradient()))
    closed = encoder_gradient(temperature=0.5, path=False)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(closed))
    score = encoder_gradient(temperature=0.5, path=False, score=True)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(score))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(encoder_gradient(temperature=0.5)))


def test_relaxed_samples_are_weighed_by_the_continued_log_probabilities():
    """log_prob of z in between, as Jang et al. 2017 continue the objective."""
    model = vae((6,), 2, latents=latents.categorical(3))
    x = jnp.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    params = jax.jit(model.init)(jax.random.key(1), x)
    keys = jax.random.split(jax.random.key(2), NUM_SAMPLES)
    relaxed = jax.jit(lambda params: draw(model, params, x, keys, temperature=0.5).log_w)(params)

    @jax.jit
    def expected(key):
        q = model.posterior(params, x)
        z = q.relaxed_sample(key, 0.5)
        log_joint = model.likelihood(params, z).log_prob(x) + model.prior(params).log_prob(z)
        return log_joint - q.log_prob(z)

    for k in range(NUM_SAMPLES):
        np.testing.assert_allclose(relaxed[k], expected(keys[k]), rtol=1e-6)


def test_a_posterior_that_is_not_discrete_has_no_relaxed_samples():
    model, params, x, keys = setting()
    with pytest.raises(TypeError, match="A Normal posterior is not discrete"):
        draw_batch(model, params, x, keys, temperature=0.5)

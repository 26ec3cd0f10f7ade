import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as numpyro_dist
import pytest
from jax.test_util import check_grads

from vae_jax.distributions import (
    Bernoulli,
    FullNormal,
    Normal,
    kl_divergence,
    matched_normal,
    normal_mixture,
    reparameterise,
    standard_normal,
)
from vae_jax.distributions.flows import Flow

Q = Normal(jnp.array([0.5, -1.0, 2.0]), jnp.array([-0.5, 0.3, 0.0]))
P = Normal(jnp.array([0.0, 1.0, 2.0]), jnp.array([0.2, -0.4, 1.0]))


@pytest.mark.parametrize("other", [P, standard_normal((3,))], ids=["normal", "standard"])
def test_kl_equals_numpyro(other):
    as_numpyro = [numpyro_dist.Normal(d.mean, jnp.exp(d.log_std)).to_event(1) for d in (Q, other)]
    expected = numpyro_dist.kl_divergence(*as_numpyro)
    np.testing.assert_allclose(kl_divergence(Q, other), expected, rtol=1e-6)


def test_kl_sums_over_dimensions():
    parts = Q.kl_per_dim(P)
    assert parts.shape == (3,)
    np.testing.assert_allclose(kl_divergence(Q, P), sum(parts), rtol=1e-6)


def test_kl_is_exact_near_zero():
    almost = Normal(jnp.zeros(1), jnp.full((1,), 1e-3))
    # log_std = r gives (exp(2 r) - 1 - 2 r) / 2 = r^2 + O(r^3).
    np.testing.assert_allclose(kl_divergence(almost, standard_normal((1,))), 1e-6, rtol=2e-3)
    assert kl_divergence(Q, Q) == 0.0


def test_kl_to_another_family_names_both():
    with pytest.raises(TypeError, match="Normal to a Bernoulli"):
        kl_divergence(Q, Bernoulli(jnp.zeros(3)))


def test_reparameterise_is_affine_in_the_noise_of_its_key():
    key = jax.random.key(7)
    eps = reparameterise(key, jnp.zeros(3), jnp.ones(3))
    np.testing.assert_array_equal(eps, jax.random.normal(key, (3,)))
    mean, std = jnp.array([1.0, -2.0, 0.0]), jnp.array([0.1, 2.0, 1.0])
    np.testing.assert_allclose(reparameterise(key, mean, std), mean + std * eps, rtol=1e-6)
    by_mean, by_std = jax.jacobian(reparameterise, argnums=(1, 2))(key, mean, std)
    np.testing.assert_allclose(by_mean, jnp.eye(3), atol=1e-6)
    np.testing.assert_allclose(by_std, jnp.diag(eps), atol=1e-6)


@pytest.mark.usefixtures("float64")
def test_gradients_equal_finite_differences():
    q = Normal(jnp.array([0.5, -1.0]), jnp.array([-0.5, 0.3]))
    p = Normal(jnp.array([0.1, 1.0]), jnp.array([0.2, -0.4]))
    key = jax.random.key(0)
    check_grads(kl_divergence, (q, p), order=1)
    check_grads(lambda q: p.log_prob(q.sample(key)), (q,), order=1)


def test_the_gradient_of_sample_and_log_prob_is_that_of_both_apart():
    def apart(q):
        z = q.sample(jax.random.key(0))
        return jnp.sum(z**3) + q.log_prob(z)

    def together(q):
        z, log_prob = q.sample_and_log_prob(jax.random.key(0))
        return jnp.sum(z**3) + log_prob

    for found, expected in zip(
        *(jax.tree.leaves(jax.grad(f)(Q)) for f in (together, apart)), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_matched_normal_has_the_moments():
    assert matched_normal(Q) is Q
    factor = np.array([[0.5, 0.0], [1.2, 0.8]])
    full = FullNormal(jnp.array([1.0, -2.0]), jnp.log(jnp.diag(factor)), jnp.asarray(factor))
    np.testing.assert_allclose(matched_normal(full).mean, full.mean)
    variances = np.diag(factor @ factor.T)
    np.testing.assert_allclose(matched_normal(full).std ** 2, variances, rtol=1e-6)
    # Weights 1/4 and 3/4: mean 2.
    mixture = normal_mixture(
        jnp.log(jnp.array([1.0, 3.0])),
        jnp.array([[8.0], [0.0]]),
        jnp.log(jnp.array([[2.0], [3.0]])),
    )
    matched = matched_normal(mixture)
    np.testing.assert_allclose(matched.mean, 2.0, rtol=1e-6)
    np.testing.assert_allclose(matched.std**2, 0.25 * (4 + 36) + 0.75 * (9 + 4), rtol=1e-6)
    # Far from zero, where a difference of squares has no digits left.
    far = normal_mixture(jnp.zeros(2), jnp.full((2, 1), 1e4), jnp.full((2, 1), -3.0))
    np.testing.assert_allclose(matched_normal(far).std, np.exp(-3.0), rtol=1e-5)


def test_the_matched_normal_of_a_flow_is_estimated_from_samples():
    flow = Flow(jnp.array([3.0, -1.0]), jnp.array([0.5, -0.5]), ())  # a normal distribution
    matched = matched_normal(flow, num_samples=4_000)
    assert np.all(np.abs(matched.mean - flow.shift) < 4 * np.exp(flow.log_scale) / np.sqrt(4_000))
    np.testing.assert_allclose(matched.std, np.exp(flow.log_scale), rtol=4 / np.sqrt(8_000))
    np.testing.assert_array_equal(matched_normal(flow).mean, matched_normal(flow).mean)

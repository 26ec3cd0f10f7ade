"""Short-run HMC on the linear-Gaussian VAE, whose p(z|x) is a known normal distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.exact import linear_vae, random_encoder
from vae_jax.evidence import short_run_hmc
from vae_jax.evidence.linear_gaussian import normal_kl, posterior
from vae_jax.models import latents, vae

LINEAR = linear_vae()
INEXACT = random_encoder(LINEAR.exact_params, 0)
CHAINS = 2_000


def kl_of_moments(z, x):
    """KL of the normal distribution with the moments of z [M, L] from p(z|x)."""
    covariance = jnp.asarray(np.cov(z.T), jnp.float32)
    return float(normal_kl(jnp.asarray(z.mean(axis=0)), covariance, *posterior(LINEAR.truth, x)))


def test_samples_come_from_the_encoder_to_the_posterior():
    x, key = LINEAR.x[:2], jax.random.key(0)
    distances = []
    for num_steps in (0, 1, 20):
        found = short_run_hmc(
            LINEAR.model, INEXACT, x, key, num_steps=num_steps, num_chains=CHAINS, num_leapfrog=3
        )
        assert found.z.shape == (2, CHAINS, 2)
        distances.append(
            np.mean([kl_of_moments(z, one) for z, one in zip(found.z, x, strict=True)])
        )
    assert distances[0] > 2 * distances[1]
    assert distances[2] < 0.01  # by chance about (L + L (L + 1) / 2) / (2 M) = 0.00125
    assert 0.4 < found.acceptance.mean() < 0.95


def test_without_steps_they_are_samples_of_q_with_their_joint_density():
    found = short_run_hmc(
        LINEAR.model, INEXACT, LINEAR.x, jax.random.key(1), num_steps=0, step_size=0.1, num_chains=3
    )
    z = jnp.asarray(found.z)

    def log_joint(z, x):
        likelihood = LINEAR.model.likelihood(INEXACT, z).log_prob(x)
        return likelihood + LINEAR.model.prior(INEXACT).log_prob(z)

    expected = jax.vmap(jax.vmap(log_joint, (0, None)))(z, LINEAR.x)
    np.testing.assert_allclose(found.log_joint, expected, rtol=1e-5)


def test_what_cannot_be_moved_is_refused():
    with pytest.raises(ValueError, match="num_steps >= 0, num_chains >= 1 and num_leapfrog >= 1"):
        short_run_hmc(LINEAR.model, INEXACT, LINEAR.x, jax.random.key(0), num_chains=0)
    bits = vae((4,), 2, latents=latents.bernoulli())
    params = bits.init(jax.random.key(0), jnp.full(4, 0.5))
    with pytest.raises(TypeError, match="those of a Bernoulli do not have"):
        short_run_hmc(bits, params, jnp.ones((2, 4)), jax.random.key(0))

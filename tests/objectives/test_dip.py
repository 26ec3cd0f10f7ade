"""DIP-VAE against NumPy in double precision, and against the covariance of samples."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.monte_carlo import assert_mean
from tests.objectives.given_draw import (
    kl_by_dimension,
    loss_of,
    normal_draw,
    reconstruction_of,
)
from vae_jax.distributions import Bernoulli, Normal, standard_normal
from vae_jax.objectives import dip_vae_i, dip_vae_ii
from vae_jax.objectives.dip import covariance


def test_covariance_is_that_of_numpy_also_far_from_the_origin():
    means = np.random.default_rng(0).normal(size=(50, 4)) @ np.tri(4) + 30.0
    means = np.float32(means)
    expected = np.cov(np.float64(means), rowvar=False, bias=True)
    np.testing.assert_allclose(covariance(jnp.asarray(means)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [dip_vae_i, dip_vae_ii])
@pytest.mark.parametrize(("off_diagonal", "diagonal"), [(3.0, 7.0), (3.0, 0.0), (0.0, 7.0)])
def test_the_loss_is_minus_the_elbo_and_the_weighted_squares(make, off_diagonal, diagonal):
    draw = normal_draw()
    matrix = np.cov(np.float64(draw.posterior.mean), rowvar=False, bias=True)
    if make is dip_vae_ii:
        matrix += np.diag(np.exp(2.0 * np.float64(draw.posterior.log_std)).mean(axis=0))
    penalty = sum(
        diagonal * (matrix[i, i] - 1.0) ** 2 if i == j else off_diagonal * matrix[i, j] ** 2
        for i in range(4)
        for j in range(4)
    )
    elbo = reconstruction_of(draw) - kl_by_dimension(draw).sum(axis=1).mean()
    loss, (_, metrics) = loss_of(make(off_diagonal, diagonal), draw)
    np.testing.assert_allclose(metrics["penalty"], penalty, rtol=1e-4)
    np.testing.assert_allclose(metrics["elbo"], elbo, rtol=1e-5)
    np.testing.assert_allclose(loss, penalty - elbo, rtol=1e-4)


def test_the_matrix_of_the_second_kind_is_the_covariance_of_z():
    """Penalties of one weight give its entries back: (C_ii - 1)^2 and 2 C_ij^2."""
    draw = normal_draw(num_latents=2)
    mean, std = np.asarray(draw.posterior.mean) * 2.0, np.exp(np.asarray(draw.posterior.log_std))
    rng = np.random.default_rng(0)
    z = mean + std * rng.normal(size=(50_000, *mean.shape))
    z -= mean.mean(axis=0)

    def penalty(objective, dims):
        posterior = Normal(jnp.asarray(mean[:, dims]), jnp.log(std[:, dims]))
        of_dims = draw._replace(posterior=posterior, prior=standard_normal((len(dims),)))
        return loss_of(objective, of_dims)[1][1]["penalty"]

    for i in range(2):
        deviation = np.sqrt(penalty(dip_vae_ii(0.0, 1.0), [i]))
        sign = np.sign(np.mean(z[..., i] ** 2) - 1.0)
        assert_mean(np.mean(z[..., i] ** 2, axis=1), 1.0 + sign * deviation)
    off_diagonal = np.sqrt(0.5 * penalty(dip_vae_ii(1.0, 0.0), [0, 1]))
    products = np.mean(z[..., 0] * z[..., 1], axis=1)
    assert_mean(np.sign(products.mean()) * products, off_diagonal)
    assert off_diagonal > 0.01


@pytest.mark.parametrize("make", [dip_vae_i, dip_vae_ii])
def test_what_has_no_covariance_and_bad_weights_are_refused_in_a_sentence(make):
    with pytest.raises(ValueError, match="^The covariance of the latents is estimated over a "):
        loss_of(make(), normal_draw(batch_size=1))
    with pytest.raises(
        ValueError, match="^off_diagonal must be finite and not negative, not -1.0.$"
    ):
        make(off_diagonal=-1.0)
    with pytest.raises(ValueError, match="^diagonal must be finite and not negative, not -2.0.$"):
        make(diagonal=-2.0)
    logits = jnp.zeros((6, 4))
    discrete = normal_draw()._replace(posterior=Bernoulli(logits), prior=Bernoulli(logits[0]))
    with pytest.raises(TypeError, match="which those of a Bernoulli cannot"):
        loss_of(make(), discrete)

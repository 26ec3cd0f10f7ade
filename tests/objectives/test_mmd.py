"""The maximum mean discrepancy against its definition, and its closed form for normals."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from tests.monte_carlo import assert_mean
from tests.objectives.given_draw import (
    kl_by_dimension,
    loss_of,
    normal_draw,
    reconstruction_of,
)
from vae_jax.objectives import info_vae, mmd, wae_mmd

DEFAULT_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
IMQ_SCALES = (0.3, 2.0)
KERNELS = {"rbf": mmd.rbf(1.5), "imq": mmd.imq(IMQ_SCALES)}


def kernel_of_one_pair(name, a, b):
    squared_distance, num_latents = np.sum((a - b) ** 2), len(a)
    if name == "rbf":
        return np.exp(-squared_distance / (2.0 * num_latents * 1.5**2))
    constants = [2.0 * num_latents * scale for scale in IMQ_SCALES]
    return np.mean([c / (c + squared_distance) for c in constants])


def mean_kernel(name, shift, variance, scale=1.5, scales=IMQ_SCALES):
    """E k(a, b) where a - b ~ N(shift, diag(variance)).

    E exp(-t |a - b|^2) is a product over latents, and C / (C + d) is the integral of
    C exp(-t (C + d)) over t > 0.
    """
    num_latents = len(shift)

    def mean_exp(t):
        spread = 1.0 + 2.0 * t * variance
        return np.prod(np.exp(-t * shift**2 / spread) / np.sqrt(spread))

    if name == "rbf":
        return mean_exp(0.5 / (num_latents * scale**2))
    constants = [2.0 * num_latents * scale for scale in scales]

    def integrand(u, c):  # u = t C
        return np.exp(-u) * mean_exp(u / c)

    return np.mean([quad(integrand, 0.0, np.inf, args=(c,))[0] for c in constants])


def test_the_default_kernels_are_those_of_their_papers():
    squared_distance = np.array([0.0, 0.1, 1.0, 7.0, 300.0])
    constants = 2.0 * 4 * np.array(DEFAULT_SCALES)
    inverse = np.mean(constants / (constants + squared_distance[:, None]), axis=1)
    given = jnp.asarray(squared_distance)
    np.testing.assert_allclose(mmd.imq()(given, 4), inverse, rtol=1e-5)
    np.testing.assert_allclose(
        mmd.rbf()(given, 4), np.exp(-squared_distance / (2.0 * 4)), rtol=1e-5
    )


@pytest.mark.parametrize("name", KERNELS)
def test_the_estimator_is_the_sum_over_pairs_of_different_samples(name):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 3)), 0.7 + 0.5 * rng.normal(size=(4, 3))
    kernel = lambda a, b: kernel_of_one_pair(name, a, b)  # noqa: E731
    within_a = np.mean([kernel(a[i], a[j]) for i in range(5) for j in range(5) if i != j])
    within_b = np.mean([kernel(b[i], b[j]) for i in range(4) for j in range(4) if i != j])
    across = np.mean([kernel(x, y) for x in a for y in b])
    actual = mmd.mmd(KERNELS[name], jnp.asarray(a), jnp.asarray(b))
    np.testing.assert_allclose(actual, within_a + within_b - 2.0 * across, rtol=1e-4)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("equal", [False, True], ids=["different", "equal"])
def test_the_estimator_is_unbiased_and_so_zero_in_the_mean_for_equal_distributions(name, equal):
    b_mean, b_std = np.array([0.2, -0.4]), np.array([0.7, 1.4])
    a_mean, a_std = (b_mean, b_std) if equal else (np.array([1.0, 0.3]), np.array([1.2, 0.5]))
    exact = (
        mean_kernel(name, np.zeros(2), 2.0 * a_std**2)
        + mean_kernel(name, np.zeros(2), 2.0 * b_std**2)
        - 2.0 * mean_kernel(name, a_mean - b_mean, a_std**2 + b_std**2)
    )
    assert exact == 0.0 if equal else exact > 0.05

    rng = np.random.default_rng(0)
    a = a_mean + a_std * rng.normal(size=(20_000, 4, 2))
    b = b_mean + b_std * rng.normal(size=(20_000, 3, 2))
    estimates = jax.jit(jax.vmap(lambda a, b: mmd.mmd(KERNELS[name], a, b)))(
        np.float32(a), np.float32(b)
    )
    assert_mean(estimates, exact)
    assert estimates.min() < 0  # as an unbiased estimate of something small must sometimes be


DRAW = normal_draw(num_samples=2, batch_size=4, num_latents=3)
OBJECTIVES = {
    "info_vae": (info_vae(7.0, 0.3), 0.3, "rbf"),
    "wae_mmd": (wae_mmd(7.0), 0.0, "imq"),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_is_the_weighted_mmd_and_kl_minus_the_reconstruction(name):
    objective, kl_weight, _ = OBJECTIVES[name]
    loss, (_, metrics) = loss_of(objective, DRAW)
    kl, reconstruction = kl_by_dimension(DRAW).sum(axis=1).mean(), reconstruction_of(DRAW)
    expected = 7.0 * metrics["mmd"] + kl_weight * kl - reconstruction
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(metrics["elbo"], reconstruction - kl, rtol=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_its_mmd_is_that_of_the_posteriors_of_different_examples_and_the_prior(name):
    """In the mean over samples of both, with the default kernel of each objective."""
    objective, _, kernel = OBJECTIVES[name]
    options = {"scale": 1.0, "scales": DEFAULT_SCALES}
    means, stds = np.float64(DRAW.posterior.mean), np.exp(np.float64(DRAW.posterior.log_std))
    within = [
        mean_kernel(kernel, means[i] - means[j], stds[i] ** 2 + stds[j] ** 2, **options)
        for i in range(4)
        for j in range(i)
    ]
    across = [mean_kernel(kernel, means[i], stds[i] ** 2 + 1.0, **options) for i in range(4)]
    of_the_prior = mean_kernel(kernel, np.zeros(3), np.full(3, 2.0), **options)
    exact = np.mean(within) + of_the_prior - 2.0 * np.mean(across)

    z = means + stds * np.random.default_rng(0).normal(size=(10_000, *DRAW.z.shape))

    def estimate(z, key):
        return loss_of(objective, DRAW._replace(z=z), key=key)[1][1]["mmd"]

    keys = jax.random.split(jax.random.key(0), len(z))
    assert_mean(jax.jit(jax.vmap(estimate))(np.float32(z), keys), exact)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: mmd.rbf(0.0), "The scale of a kernel must be positive, not 0.0."),
        (lambda: mmd.imq(()), "The scales of a kernel must be positive, not ()."),
        (lambda: mmd.imq((1.0, -2.0)), "The scales of a kernel must be positive, not (1.0, -2.0)."),
        (lambda: info_vae(-1.0), "mmd_weight must be finite and not negative, not -1.0."),
        (lambda: info_vae(kl_weight=-0.1), "kl_weight must be finite and not negative, not -0.1."),
        (lambda: wae_mmd(-1.0), "mmd_weight must be finite and not negative, not -1.0."),
        (
            lambda: loss_of(wae_mmd(), normal_draw(batch_size=1)),
            "The MMD is estimated over a batch and needs at least 2 examples, not 1.",
        ),
    ],
)
def test_bad_values_are_refused_in_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        make()

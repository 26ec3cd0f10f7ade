"""beta-TCVAE: its estimates of densities by enumeration, its parts at their limits.

The parts of a batch of all data are in the group `penalties` of vae_jax.verify.
"""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from tests.objectives.given_draw import gradient_of, loss_of, normal_draw, reconstruction_of
from vae_jax.distributions import Normal, standard_normal
from vae_jax.models import Draw
from vae_jax.objectives import beta_tcvae, bounds, maximise, schedules
from vae_jax.objectives.total_correlation import decompose_kl

BOTH = pytest.mark.parametrize("stratified", [True, False])


def sampled_kl(draw):
    return np.mean(np.float64(draw.log_posterior) - np.float64(draw.log_prior))


@BOTH
@pytest.mark.parametrize("num_examples", [6, 60_000])
def test_the_parts_sum_to_the_sampled_kl(stratified, num_examples):
    draw = normal_draw()
    parts = decompose_kl(draw, num_examples, stratified=stratified)
    np.testing.assert_allclose(sum(parts), sampled_kl(draw), rtol=1e-5)


@BOTH
def test_with_all_weights_one_the_loss_is_minus_the_sampled_elbo_with_its_gradient(stratified):
    draw = normal_draw()
    objective = beta_tcvae(1000, 1.0, stratified=stratified)
    loss, _ = loss_of(objective, draw)
    np.testing.assert_allclose(loss, sampled_kl(draw) - reconstruction_of(draw), rtol=1e-5)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
        gradient_of(objective, draw),
        gradient_of(maximise(bounds.elbo), draw),
    )


def test_the_loss_weighs_each_part_by_its_own_weight_and_beta_follows_its_schedule():
    draw = normal_draw()
    parts = np.array(decompose_kl(draw, 1000))
    objective = beta_tcvae(1000, schedules.linear(2.0, 6.0, 10), alpha=0.5, gamma=3.0)
    for step, beta in ((0, 2.0), (5, 4.0), (10, 6.0)):
        loss, (_, metrics) = loss_of(objective, draw, step=step)
        penalty = parts @ np.array([0.5, beta, 3.0])
        np.testing.assert_allclose(loss, penalty - reconstruction_of(draw), rtol=1e-5)
        np.testing.assert_allclose(metrics["total_correlation"], parts[1], rtol=1e-5)


def draw_of_means(mean):
    """Draws of posteriors far narrower than the distances of their means, at the means."""
    mean = jnp.asarray(mean, jnp.float32)
    posterior = Normal(mean, jnp.full(mean.shape, -5.0))
    log_posterior = jax.vmap(lambda q: q.log_prob(q.mean))(posterior)[None]
    zeros = jnp.zeros_like(log_posterior)
    return Draw(mean[None], zeros, zeros, log_posterior, posterior, standard_normal((2,)))


def test_of_six_codes_on_a_grid_the_latents_are_independent_and_on_a_line_they_are_copies():
    grid = draw_of_means(list(itertools.product([-1.0, 1.0], [-1.0, 0.0, 1.0])))
    line = draw_of_means([[i, -i] for i in range(6)])
    for draw, total_correlation in ((grid, 0.0), (line, np.log(6.0))):
        parts = decompose_kl(draw, num_examples=6)
        np.testing.assert_allclose(parts.index_code_mi, np.log(6.0), rtol=1e-5)
        np.testing.assert_allclose(parts.total_correlation, total_correlation, rtol=0, atol=1e-5)


@BOTH
def test_one_latent_has_no_total_correlation(stratified):
    parts = decompose_kl(normal_draw(num_latents=1), 1000, stratified=stratified)
    np.testing.assert_allclose(parts.total_correlation, 0.0, atol=1e-6)


# Five posteriors around an ellipse, of equal density at its centre.
ANGLES = 2.0 * np.pi * np.arange(5) / 5.0
STD = np.array([0.5, 1.3])
MEANS = 1.4 * STD * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
POINT = np.array([0.3, -0.8])


def estimated_log_densities(batches, place, *, stratified):
    """log q(z) at POINT, a sample of example `batch[place]`, as `decompose_kl` estimates it.

    It reports the mean over a batch. With the other samples at the centre, where every row gives
    the same, that of one row is found by subtraction.
    """

    def mean_log_density(mean, z):
        size = len(mean)
        posterior = Normal(mean, jnp.log(STD)[None].repeat(size, axis=0))
        zeros = jnp.zeros((1, size))
        draw = Draw(z[None], zeros, zeros, zeros, posterior, standard_normal((2,)))
        return -decompose_kl(draw, 5, stratified=stratified).index_code_mi

    def of_one_row(mean):
        centre = jnp.zeros_like(mean)
        with_point = mean_log_density(mean, centre.at[place].set(POINT))
        return len(mean) * with_point - (len(mean) - 1) * mean_log_density(mean, centre)

    return np.asarray(jax.jit(jax.vmap(of_one_row))(jnp.asarray(MEANS[np.asarray(batches)])))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("own", range(5))
def test_over_all_minibatches_the_stratified_density_is_unbiased_and_the_weighted_one_too_small(
    own,
):
    density = stats.norm.pdf(POINT, MEANS, STD).prod(axis=1)
    others, place = [n for n in range(5) if n != own], own % 3
    pairs = itertools.combinations(others, 2)
    batches = [(*pair[:place], own, *pair[place:]) for pair in pairs]

    stratified = np.exp(estimated_log_densities(batches, place, stratified=True)).mean()
    np.testing.assert_allclose(stratified, density.mean(), rtol=1e-10)
    weighted = np.exp(estimated_log_densities(batches, place, stratified=False)).mean()
    # Each of the four others is in half of the batches.
    expected = (density[own] + 0.5 * density[others].sum()) / (5 * 3)
    np.testing.assert_allclose(weighted, expected, rtol=1e-10)
    assert weighted < 0.7 * density.mean()


@pytest.mark.usefixtures("float64")
def test_of_a_batch_of_all_data_the_stratified_density_is_exact():
    log_densities = stats.norm.logpdf(POINT, MEANS, STD).sum(axis=1)
    estimate = estimated_log_densities([range(5)], 2, stratified=True)
    np.testing.assert_allclose(estimate, logsumexp(log_densities) - np.log(5.0), rtol=1e-10)


@pytest.mark.usefixtures("float64")
def test_the_gradient_of_the_total_correlation_equals_finite_differences():
    draw = normal_draw()
    moved, directions = (draw.z, draw.posterior), normal_draw(seed=1)
    directions = (directions.z, directions.posterior)

    @jax.jit
    def total_correlation(shift):
        move = lambda leaf, direction: leaf + shift * direction  # noqa: E731
        z, posterior = jax.tree.map(move, moved, directions)
        return decompose_kl(draw._replace(z=z, posterior=posterior), 1000).total_correlation

    difference = (total_correlation(1e-5) - total_correlation(-1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(total_correlation)(0.0), difference, rtol=1e-6)
    assert abs(difference) > 1e-2


def test_bad_sizes_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match="^num_examples must be at least 2, not 1.$"):
        beta_tcvae(1, 1.0)
    with pytest.raises(ValueError, match="^A batch of 6 is larger than num_examples=5.$"):
        decompose_kl(normal_draw(), 5)
    with pytest.raises(ValueError, match="needs at least 2 examples, not 1.$"):
        decompose_kl(normal_draw(batch_size=1), 5)

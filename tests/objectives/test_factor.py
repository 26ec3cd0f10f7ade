"""FactorVAE: its discriminator against the exact density ratio of correlated normals."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from tests.objectives.given_draw import gradient_of, loss_of, normal_draw
from vae_jax.networks import mlp
from vae_jax.objectives import closed_form_elbo, factor_vae, schedules
from vae_jax.objectives.factor import log_density_ratio, permute_dims

KEY = jax.random.key(3)
SMALL = mlp((8,), jnp.tanh)
DRAW = normal_draw()


def log_sigmoid(logits):
    return -jnp.log1p(jnp.exp(-logits))


def test_permuting_keeps_the_values_of_every_latent_and_nothing_of_their_dependence():
    num_examples = 4_000
    column = np.random.default_rng(0).normal(size=num_examples)
    z = np.stack([column, 2.0 * column, -column], axis=1)
    permuted = np.asarray(permute_dims(KEY, jnp.asarray(z, jnp.float32)))
    np.testing.assert_array_equal(np.sort(permuted, axis=0), np.sort(np.float32(z), axis=0))
    dependence = np.corrcoef(np.concatenate([z[:, :1], permuted], axis=1), rowvar=False)
    # The standard error of a correlation of zero.
    assert np.all(np.abs(dependence - np.eye(4)) < 4.0 / np.sqrt(num_examples))


def test_the_discriminator_learns_the_total_correlation_of_a_normal_distribution():
    """TC = -log(1 - rho^2) / 2 of two latents correlated by rho, beside an independent one."""
    rho, num_steps = 0.8, 600
    covariance = np.array([[1.0, rho, 0.0], [rho, 1.0, 0.0], [0.0, 0.0, 1.0]])
    rng = np.random.default_rng(0)
    z = rng.multivariate_normal(np.zeros(3), covariance, (num_steps, 256)).astype(np.float32)

    optimiser = optax.adam(optax.cosine_decay_schedule(0.01, num_steps))
    architecture = mlp((32, 32), jnp.tanh)
    objective = factor_vae(1.0, discriminator=architecture, optimiser=optimiser)
    draw = normal_draw(num_samples=1, batch_size=256, num_latents=3)

    def step(state, now):
        z, key = now
        return loss_of(objective, draw._replace(z=z[None]), state=state, key=key)[1]

    keys = jax.random.split(KEY, num_steps)
    train = jax.jit(lambda: jax.lax.scan(step, objective.init(KEY, draw), (z, keys)))
    state, _ = train()

    z = rng.multivariate_normal(np.zeros(3), covariance, 50_000)
    estimate = log_density_ratio(
        architecture((3,), (1,)), state.params, jnp.asarray(z, jnp.float32)
    )
    exact = stats.multivariate_normal(cov=covariance).logpdf(z) - stats.norm.logpdf(z).sum(axis=1)
    np.testing.assert_allclose(estimate.mean(), -0.5 * np.log(1.0 - rho**2), rtol=0, atol=0.05)
    assert np.sqrt(np.mean((estimate - exact) ** 2)) < 0.2


def test_the_discriminator_descends_its_own_loss_and_nothing_else():
    network = SMALL(DRAW.z.shape[2:], (1,))
    objective = factor_vae(50.0, discriminator=SMALL, optimiser=optax.sgd(0.1))
    state = objective.init(KEY, DRAW)

    def cross_entropy(params):
        real = log_density_ratio(network, params, DRAW.z[0])
        fake = log_density_ratio(network, params, permute_dims(KEY, DRAW.z[0]))
        return -0.5 * jnp.mean(log_sigmoid(real)) - 0.5 * jnp.mean(log_sigmoid(-fake))

    loss, gradient = jax.value_and_grad(cross_entropy)(state.params)
    _, (new_state, metrics) = loss_of(objective, DRAW, state=state, key=KEY)
    np.testing.assert_allclose(metrics["discriminator_loss"], loss, rtol=1e-5)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7),
        new_state.params,
        jax.tree.map(lambda leaf, slope: leaf - 0.1 * slope, state.params, gradient),
    )
    assert optax.tree.norm(gradient) > 1e-2


def test_the_vae_descends_the_elbo_and_gamma_times_the_mean_log_ratio_and_nothing_else():
    network = SMALL(DRAW.z.shape[2:], (1,))
    objective = factor_vae(schedules.linear(1.0, 5.0, 10), discriminator=SMALL)
    state = objective.init(KEY, DRAW)

    def expected(draw):
        ratio = jnp.mean(log_density_ratio(network, state.params, draw.z[0]))
        return loss_of(closed_form_elbo(), draw)[0] + 3.0 * ratio

    options = {"state": state, "step": 5, "key": KEY}
    np.testing.assert_allclose(loss_of(objective, DRAW, **options)[0], expected(DRAW), rtol=1e-5)
    gradient = gradient_of(objective, DRAW, **options)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7),
        gradient,
        jax.grad(expected)(DRAW),
    )
    assert np.abs(gradient.z).max() > 1e-3


def test_no_gradient_reaches_the_vae_through_the_new_state_of_the_discriminator():
    objective = factor_vae(1.0, discriminator=SMALL, optimiser=optax.sgd(0.1))
    state = objective.init(KEY, DRAW)

    def size_of_new_state(z):
        _, (new_state, _) = loss_of(objective, DRAW._replace(z=z), state=state, key=KEY)
        return optax.tree.norm(new_state.params, squared=True)

    np.testing.assert_array_equal(jax.grad(size_of_new_state)(DRAW.z), 0.0)


def test_without_weight_the_loss_is_minus_the_elbo_and_the_discriminator_still_learns():
    objective = factor_vae(0.0)

    @jax.jit
    def first_step():
        state = objective.init(KEY, DRAW)
        loss, (new_state, _) = loss_of(objective, DRAW, state=state)
        return loss, optax.tree.sub(new_state.params, state.params)

    loss, change = first_step()
    np.testing.assert_allclose(loss, loss_of(closed_form_elbo(), DRAW)[0], rtol=1e-6)
    # The first step of Adam is as long as its learning rate.
    np.testing.assert_allclose(optax.tree.norm(change, ord=jnp.inf), 1e-4, rtol=0.01)


def test_a_batch_of_one_and_a_negative_gamma_are_refused_in_a_sentence():
    objective = factor_vae(1.0, discriminator=SMALL)
    draw = normal_draw(batch_size=1)
    with pytest.raises(ValueError, match="^The total correlation is estimated over a batch and "):
        loss_of(objective, draw, state=objective.init(KEY, draw))
    with pytest.raises(ValueError, match="^gamma must be finite and not negative, not -1.0.$"):
        factor_vae(-1.0)

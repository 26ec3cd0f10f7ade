"""Semi-amortised inference on the linear-Gaussian VAE, whose best posterior is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.exact import linear_vae, random_encoder
from tests.monte_carlo import assert_mean
from vae_jax.evidence.linear_gaussian import best_diagonal, log_evidence, normal_kl, posterior
from vae_jax.models import Batch, draw_batch, flows, heads, latents, refined, vae

LINEAR = linear_vae()
INEXACT = random_encoder(LINEAR.exact_params, 0)


def gap_of(q, x):
    """KL(q || p(z|x)), which is log p(x) - ELBO."""
    mean, covariance = posterior(LINEAR.truth, x)
    return normal_kl(q.mean, jnp.diag(jnp.exp(2.0 * q.log_std)), mean, covariance)


def test_more_steps_close_the_amortisation_gap():
    gaps = []
    for num_steps in (0, 3, 30, 300):
        model = refined(LINEAR.model, num_steps, rate=0.05, num_samples=64)
        q = jax.jit(jax.vmap(lambda x, model=model: model.posterior(INEXACT, x)))(LINEAR.x)
        gaps.append(float(np.mean(jax.vmap(gap_of)(q, LINEAR.x))))
    assert gaps[0] > gaps[1] > gaps[2] > gaps[3]
    assert gaps[3] < 0.05 * gaps[0]


def test_it_ends_at_the_best_posterior_of_the_family():
    model = refined(LINEAR.model, 400, rate=0.05, num_samples=200)
    x = LINEAR.x[0]
    q = jax.jit(model.posterior)(INEXACT, x)
    mean, variance, _ = best_diagonal(LINEAR.truth, x)
    # As close as 200 samples of noise, which do not change, allow.
    np.testing.assert_allclose(q.mean, mean, atol=0.15)
    np.testing.assert_allclose(q.log_std, 0.5 * jnp.log(variance), atol=0.15)


def test_no_steps_are_the_model_itself_and_weights_are_those_of_any_posterior():
    assert refined(LINEAR.model, 0) is LINEAR.model
    model = refined(LINEAR.model, 3)
    keys = jax.random.split(jax.random.key(1), (4_000, len(LINEAR.x)))
    log_w = jax.jit(lambda params: draw_batch(model, params, LINEAR.x, keys).log_w)(INEXACT)
    exact = np.asarray(jax.vmap(lambda x: log_evidence(LINEAR.truth, x))(LINEAR.x))
    for of_one in np.exp(np.asarray(log_w, np.float64) - exact[None]).T:
        assert_mean(of_one, 1.0)


@pytest.mark.slow
def test_training_differentiates_through_the_steps_or_takes_them_for_constants():
    x, key = LINEAR.x[:1], jax.random.key(2)[None, None]

    def loss(params, model):
        return jnp.sum(draw_batch(model, params, x, key).log_w)

    model = refined(LINEAR.model, 3, rate=0.05)
    gradient = jax.grad(loss)(INEXACT, model)
    direction = jax.tree.map(
        lambda leaf: jax.random.normal(jax.random.key(leaf.size), leaf.shape), INEXACT
    )
    step = 1e-2

    def moved(sign):
        return jax.tree.map(lambda at, way: at + sign * step * way, INEXACT, direction)

    slope = (loss(moved(1.0), model) - loss(moved(-1.0), model)) / (2.0 * step)
    along = sum(
        jnp.sum(g * d)
        for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True)
    )
    np.testing.assert_allclose(along, slope, rtol=2e-2, atol=2e-2)

    # With constants: the gradient of the model whose encoder says what the steps have found.
    stopped = refined(LINEAR.model, 3, rate=0.05, through=False)
    np.testing.assert_allclose(loss(INEXACT, stopped), loss(INEXACT, model), rtol=1e-6)
    first = LINEAR.model.encoder(INEXACT, x[0])
    change = model.encoder(INEXACT, x[0]) - first

    def shifted_encoder(params, x):
        return LINEAR.model.encoder(params, x) + change

    shifted = LINEAR.model._replace(
        posterior=lambda params, x: LINEAR.model.posterior_of(params, shifted_encoder(params, x))
    )
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4),
        jax.grad(loss)(INEXACT, stopped),
        jax.grad(loss)(INEXACT, shifted),
    )
    gradients = [
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(jax.grad(loss)(INEXACT, each))])
        for each in (model, stopped)
    ]
    assert np.abs(gradients[0] - gradients[1]).max() > 1e-2


@pytest.mark.slow
def test_flows_and_conditions_are_refined_too():
    family = latents.normal(heads.flow(flows.affine_coupling(2, (8,), 4)))
    likelihood = heads.normal_fixed_scale(0.7)
    model = vae((6,), 2, likelihood=likelihood, latents=family, condition_shape=(3,))
    better = refined(model, 10, rate=0.02, num_samples=16)
    params = model.init(jax.random.key(0), jnp.zeros(6))
    batch = Batch(LINEAR.x, jnp.eye(3)[jnp.array([0, 1, 2, 0, 1])])
    keys = jax.random.split(jax.random.key(0), (200, len(LINEAR.x)))
    elbos = [
        float(jnp.mean(draw_batch(each, params, batch, keys).log_w)) for each in (model, better)
    ]
    assert elbos[1] > elbos[0] + 0.1


def test_what_cannot_be_refined_is_one_sentence():
    with pytest.raises(ValueError, match="needs a model with an encoder"):
        refined(LINEAR.model._replace(encoder=None), 2)
    with pytest.raises(ValueError, match="needs num_steps >= 0, num_samples >= 1, and a positive"):
        refined(LINEAR.model, 2, rate=0.0)

"""Uncorrected Hamiltonian annealing on the linear-Gaussian VAE, whose evidence is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.exact import linear_vae, random_encoder
from tests.monte_carlo import assert_mean
from vae_jax.distributions import has_closed_form_kl, matched_normal
from vae_jax.evidence.linear_gaussian import log_evidence
from vae_jax.models import annealed, draw_batch, elbo

LINEAR = linear_vae()
INEXACT = random_encoder(LINEAR.exact_params, 0)
EXACT = np.asarray(jax.vmap(lambda x: log_evidence(LINEAR.truth, x))(LINEAR.x))
NUM_SAMPLES = 4_000


def with_chain(params, num_steps, step_size=0.3):
    chain = {
        "log_step": jnp.full(2, np.log(step_size)),
        "increments": jnp.zeros(num_steps),
        "refresh": jnp.zeros(()),
    }
    return {**params, "chain": chain}


def log_w_of(params, num_steps, seed=0, **options):
    model = annealed(LINEAR.model, 2, num_steps)
    keys = jax.random.split(jax.random.key(seed), (NUM_SAMPLES, len(LINEAR.x)))
    weights = jax.jit(lambda params: draw_batch(model, params, LINEAR.x, keys).log_w)
    return np.asarray(weights(with_chain(params, num_steps, **options)), np.float64)


@pytest.mark.parametrize("num_steps", [1, 4])
def test_the_mean_weight_is_the_evidence(num_steps):
    """Also for temperatures, step sizes and a renewal that are none of the initial ones."""
    params = with_chain(INEXACT, num_steps)
    params["chain"] = {
        "log_step": jnp.log(jnp.array([0.5, 0.2])),
        "increments": jnp.linspace(-1.0, 1.0, num_steps),
        "refresh": jnp.asarray(1.5),
    }
    model = annealed(LINEAR.model, 2, num_steps)
    keys = jax.random.split(jax.random.key(1), (NUM_SAMPLES, len(LINEAR.x)))
    log_w = jax.jit(lambda params: draw_batch(model, params, LINEAR.x, keys).log_w)(params)
    ratios = np.exp(np.asarray(log_w, np.float64) - EXACT[None])
    for of_one in ratios.T:
        assert of_one.std() / np.sqrt(NUM_SAMPLES) < 0.1
        assert_mean(of_one, 1.0)


def test_without_steps_it_is_the_elbo():
    """From the exact posterior every weight is p(x); else the mean is the ELBO of the start."""
    of_exact = log_w_of(LINEAR.exact_params, 0)
    np.testing.assert_allclose(of_exact, np.broadcast_to(EXACT, of_exact.shape), rtol=1e-5)
    keys = jax.random.split(jax.random.key(2), NUM_SAMPLES)
    of_start = jax.jit(
        jax.vmap(
            lambda x: jax.vmap(lambda key: elbo(LINEAR.model, INEXACT, x, key)[0])(keys),
            out_axes=1,
        )
    )(LINEAR.x)
    found = log_w_of(INEXACT, 0)
    error = np.sqrt((found.var(axis=0) + np.var(of_start, axis=0)) / NUM_SAMPLES)
    assert np.all(np.abs(found.mean(axis=0) - np.mean(of_start, axis=0)) < 4 * error)


@pytest.mark.slow
def test_the_bound_lies_below_the_evidence_and_tightens_with_steps():
    found = [log_w_of(INEXACT, num_steps) for num_steps in (0, 4, 16, 64)]
    means = np.array([log_w.mean() for log_w in found])
    errors = np.array([log_w.mean(axis=1).std() / np.sqrt(NUM_SAMPLES) for log_w in found])
    assert np.all(np.diff(means) > 4 * np.hypot(errors[1:], errors[:-1]))
    assert np.all(means < EXACT.mean() + 4 * errors)
    gaps = EXACT.mean() - means
    assert gaps[-1] < 0.2 * gaps[0]


def test_it_says_what_it_cannot_do_and_where_it_starts():
    model = annealed(LINEAR.model, 2, 3)
    params = with_chain(INEXACT, 3)
    q, start = model.posterior(params, LINEAR.x[0]), LINEAR.model.posterior(INEXACT, LINEAR.x[0])
    np.testing.assert_array_equal(q.centre, start.mean)
    assert not q.has_log_prob
    with pytest.raises(TypeError, match="no log-density at a given value, only along its own"):
        q.log_prob(jnp.zeros(2))
    assert not has_closed_form_kl(q, start)
    moments = matched_normal(q, num_samples=2_000)
    samples = jax.vmap(q.sample)(jax.random.split(jax.random.key(5), 2_000))
    assert np.all(np.abs(moments.mean - samples.mean(axis=0)) < 0.15)


@pytest.mark.slow
def test_it_trains_all_of_its_parameters():
    model = annealed(LINEAR.model, 2, 2)
    params = model.init(jax.random.key(0), LINEAR.x[0])
    params = {**params, **{name: INEXACT[name] for name in INEXACT}}
    keys = jax.random.split(jax.random.key(0), (50, len(LINEAR.x)))
    gradient = jax.jit(
        jax.grad(lambda params: jnp.mean(draw_batch(model, params, LINEAR.x, keys).log_w))
    )(params)
    for leaf in jax.tree.leaves(gradient["chain"]):
        assert np.all(np.isfinite(leaf))
        assert np.any(leaf != 0.0)
    with pytest.raises(ValueError, match="needs latent_dim >= 1, num_steps >= 0 and a positive"):
        annealed(LINEAR.model, 2, -1)

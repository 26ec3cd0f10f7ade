"""Annealed importance sampling on both sides of the exact evidence, and chains known by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.exact import large_linear_vae, linear_vae, random_encoder
from tests.monte_carlo import assert_mean
from vae_jax.evidence import annealed, hmc, linear_gaussian
from vae_jax.evidence.annealed import StepSizes
from vae_jax.evidence.hmc import Transition

LINEAR = linear_vae()
INEXACT = random_encoder(LINEAR.exact_params, 0)
LARGE_STEPS = StepSizes(np.array([0.0, 1.0]), np.array([0.5, 0.5]))
NO_STEPS = StepSizes(np.array([0.0, 1.0]), np.array([1e-30, 1e-30]))


def forward_and_reverse(model, params, schedule, step_sizes, x, z, **options):
    """Chains towards p(z|x), and chains from its samples z."""
    sample = annealed.make_annealed_sampler(
        model, schedule, step_sizes, start="prior", examples_at_once=len(x), **options
    )
    return sample(params, x, jax.random.key(10)), sample(params, x, jax.random.key(11), z)


def exact_log_evidence(truth, x):
    return np.asarray(jax.vmap(lambda x: linear_gaussian.log_evidence(truth, x))(x), np.float64)


def squared_error(values):
    """The squared standard error of the mean over the first axis."""
    return np.var(values, ddof=1) / len(values)


@pytest.mark.slow
@pytest.mark.parametrize(("latent_dim", "num_examples"), [(2, 96), (10, 24), (50, 24)])
def test_the_exact_evidence_lies_between_both_and_the_gap_closes(latent_dim, num_examples):
    """Means over examples; with 4 standard errors. The trajectories do not mix perfectly, so that
    a gap may be more than half of that of half as many temperatures."""
    model, params, truth = large_linear_vae(latent_dim)
    x, z = annealed.simulate(model, params, jax.random.key(2), num_examples)
    others, _ = annealed.simulate(model, params, jax.random.key(3), 8)
    sizes = annealed.tune_step_sizes(
        model,
        params,
        others,
        jax.random.key(4),
        annealed.linear_schedule(200),
        start="prior",
        num_leapfrog=5,
    )
    exact = exact_log_evidence(truth, x)
    gaps, errors = [], []
    for num_temperatures in (25, 50):
        forward, reverse = forward_and_reverse(
            model,
            params,
            annealed.linear_schedule(num_temperatures),
            sizes,
            x,
            z,
            num_chains=6,
            num_leapfrog=5,
        )
        upper = reverse.log_w.mean(axis=1) - exact
        log_mean = np.logaddexp.reduce(forward.log_w, axis=1) - np.log(6) - exact
        for lower in (forward.log_w.mean(axis=1) - exact, log_mean):
            assert lower.mean() < 4 * np.sqrt(squared_error(lower))
        assert upper.mean() > -4 * np.sqrt(squared_error(upper))
        gap = reverse.log_w.mean(axis=1) - forward.log_w.mean(axis=1)
        gaps.append(gap.mean())
        errors.append(squared_error(gap))
    gaps, errors = np.array(gaps), np.array(errors)
    assert np.all(gaps > 4 * np.sqrt(errors)), gaps
    assert gaps[1] + 4 * np.sqrt(errors.sum()) < gaps[0], gaps
    assert gaps[1] < 0.8 * gaps[0], gaps


def exact_transition(log_density, z, key, step_size, num_steps, *, on_sphere=False):
    """An independent sample of the density, which is normal whatever the temperature."""
    del step_size, num_steps, on_sphere
    precision = -jax.hessian(log_density)(z)
    mean = z + jnp.linalg.solve(precision, jax.grad(log_density)(z))
    noise = jax.random.normal(key, z.shape)
    factor = jnp.linalg.cholesky(precision)
    moved = mean + jax.scipy.linalg.solve_triangular(factor, noise, lower=True, trans=1)
    return Transition(moved, jnp.ones(()))


def mean_log_likelihood(truth, x, inverse_temperatures):
    """E[log p(x|z)] over z ~ p(z) p(x|z)^b, at each b, in double precision. x: [N, D].

    It is normal with the precision I + b W'W / s^2 and the mean b / s^2 times its inverse times
    W'(x - m). Returns [N, T + 1].
    """
    weights, variance = np.asarray(truth.weights, np.float64), float(truth.std) ** 2
    centred = np.asarray(x, np.float64) - np.asarray(truth.mean, np.float64)
    found = []
    for b in inverse_temperatures:
        covariance = np.linalg.inv(np.eye(weights.shape[1]) + b / variance * weights.T @ weights)
        residual = centred - b / variance * centred @ weights @ covariance @ weights.T
        squared = np.sum(residual**2, axis=1) + np.trace(weights @ covariance @ weights.T)
        constant = x.shape[1] * np.log(2.0 * np.pi * variance)
        found.append(-0.5 * (squared / variance + constant))
    return np.stack(found, axis=1)


@pytest.mark.slow
def test_chains_that_mix_perfectly_have_the_weights_of_left_and_right_sums(monkeypatch):
    """log p(x) is the integral of the mean log-likelihood over b, which rises (thermodynamic
    integration): its left and right sums are the mean log-weights forwards and in reverse. With T
    equal steps they are apart by the whole rise over T, so that the gap halves as T doubles."""
    schedule = np.array([0.0, 0.1, 0.4, 1.0])
    monkeypatch.setattr(hmc, "transition", exact_transition)
    model, params, truth = large_linear_vae(2)
    x, z = annealed.simulate(model, params, jax.random.key(2), 2_000)
    forward, reverse = forward_and_reverse(
        model, params, schedule, LARGE_STEPS, x, z, num_chains=4, num_leapfrog=1
    )
    means = mean_log_likelihood(truth, x, schedule)
    left, right = means[:, :-1] @ np.diff(schedule), means[:, 1:] @ np.diff(schedule)
    fine = mean_log_likelihood(truth, x[:5], np.linspace(0.0, 1.0, 2_001))
    integral = np.trapezoid(fine, dx=1 / 2_000, axis=1)
    np.testing.assert_allclose(integral, exact_log_evidence(truth, x[:5]), atol=1e-2)
    assert_mean(forward.log_w.mean(axis=1) - left, 0.0)
    # Chains from one sample of the posterior have their first step in its place.
    assert_mean(reverse.log_w.mean(axis=1) - right, 0.0)
    exact = exact_log_evidence(truth, x)
    assert_mean(np.exp(forward.log_w - exact[:, None]).mean(axis=1), 1.0)


@pytest.mark.parametrize(
    ("start", "schedule"),
    [
        pytest.param("prior", annealed.linear_schedule(1), marks=pytest.mark.slow),
        ("posterior", annealed.sigmoid_schedule(7)),
    ],
)
def test_a_chain_that_stands_still_has_the_weight_of_where_it_stands(start, schedule):
    """log p(x, z) - log p_0(z), forwards and in reverse, whatever the temperatures."""
    z = jax.vmap(lambda x: linear_gaussian.posterior(LINEAR.truth, x)[0])(LINEAR.x)
    sample = annealed.make_annealed_sampler(
        LINEAR.model, schedule, NO_STEPS, num_chains=3, start=start, num_leapfrog=1
    )
    forward = sample(INEXACT, LINEAR.x, jax.random.key(0))
    reverse = sample(INEXACT, LINEAR.x, jax.random.key(0), z)
    np.testing.assert_array_equal(reverse.z, np.repeat(np.asarray(z)[:, None], 3, axis=1))
    np.testing.assert_allclose(forward.acceptance, 1.0, rtol=1e-6)
    assert np.std(forward.z) > 0.1
    for chains in (forward, reverse):
        expected = log_joint_minus_log_start(LINEAR.x, chains.z, start)
        np.testing.assert_allclose(chains.log_w, expected, rtol=1e-5)


def test_of_one_temperature_the_reverse_weight_is_that_of_the_end_of_the_chain():
    """It moves before it is weighed; forwards it is weighed before it moves."""
    z = jax.vmap(lambda x: linear_gaussian.posterior(LINEAR.truth, x)[0])(LINEAR.x)
    forward, reverse = forward_and_reverse(
        LINEAR.model, INEXACT, annealed.linear_schedule(1), LARGE_STEPS, LINEAR.x, z, num_chains=3
    )
    expected = log_joint_minus_log_start(LINEAR.x, reverse.z, "prior")
    assert np.mean(reverse.z != np.asarray(z)[:, None]) > 0.5
    np.testing.assert_allclose(reverse.log_w, expected, rtol=1e-5)
    other = log_joint_minus_log_start(LINEAR.x, forward.z, "prior")
    assert np.mean(np.abs(forward.log_w - other) > 1e-3) > 0.5


def log_joint_minus_log_start(x, z, start):
    """x: [N, D], z: [N, M, L]. Returns [N, M]."""

    def one(x, z):
        prior = LINEAR.model.prior(INEXACT)
        first = prior if start == "prior" else LINEAR.model.posterior(INEXACT, x)
        log_likelihood = LINEAR.model.likelihood(INEXACT, z).log_prob(x)
        return log_likelihood + prior.log_prob(z) - first.log_prob(z)

    return jax.vmap(jax.vmap(one, (None, 0)))(x, jnp.asarray(z, jnp.float32))

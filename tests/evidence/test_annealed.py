"""Annealed importance sampling: its limits, its step sizes and its schedules.

The means of its weights, forwards and backwards, are in the group `evidence` of vae_jax.verify.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.exact import large_linear_vae, linear_vae, random_encoder
from vae_jax.distributions.flows import Flow, Planar
from vae_jax.evidence import annealed
from vae_jax.evidence.annealed import StepSizes
from vae_jax.evidence.linear_gaussian import log_evidence
from vae_jax.models import draw_batch, latents, vae

LINEAR = linear_vae()
INEXACT = random_encoder(LINEAR.exact_params, 0)
SIZES = StepSizes(np.array([0.0, 1.0]), np.array([0.5, 0.5]))


@pytest.mark.slow
def test_one_temperature_from_the_posterior_is_importance_sampling():
    sampler = annealed.make_annealed_sampler(
        LINEAR.model, annealed.linear_schedule(1), SIZES, num_chains=2_000
    )
    log_w = sampler(INEXACT, LINEAR.x, jax.random.key(0)).log_w
    keys = jax.random.split(jax.random.key(1), (2_000, len(LINEAR.x)))
    other = draw_batch(LINEAR.model, INEXACT, LINEAR.x, keys).log_w
    error = np.sqrt((np.var(log_w, axis=1) + np.var(other, axis=0)) / 2_000)
    assert np.all(np.abs(log_w.mean(axis=1) - np.mean(other, axis=0)) < 4 * error)


@pytest.mark.slow
def test_tuned_step_sizes_are_accepted_as_they_should_be():
    model, params, _ = large_linear_vae(10)
    x, _ = annealed.simulate(model, params, jax.random.key(2), 10)
    schedule = annealed.linear_schedule(100)
    sizes = annealed.tune_step_sizes(model, params, x, jax.random.key(3), schedule, start="prior")
    sampler = annealed.make_annealed_sampler(model, schedule, sizes, start="prior")
    acceptance = sampler(params, x, jax.random.key(4)).acceptance.mean()
    assert abs(acceptance - annealed.TARGET_ACCEPTANCE) < 0.1
    # The joint density is narrower than the prior.
    assert sizes.step_sizes[-1] < 0.8 * sizes.step_sizes[0]


def test_the_chunk_changes_nothing():
    results = [
        annealed.make_annealed_sampler(
            LINEAR.model,
            annealed.linear_schedule(3),
            SIZES,
            num_chains=4,
            examples_at_once=examples_at_once,
        )(INEXACT, LINEAR.x, jax.random.key(0)).log_w
        for examples_at_once in (2, 5)
    ]
    np.testing.assert_allclose(*results, rtol=1e-5)


@pytest.mark.parametrize("schedule", [annealed.linear_schedule, annealed.sigmoid_schedule])
def test_schedules_rise_from_0_to_1(schedule):
    values = schedule(20)
    assert len(values) == 21
    assert values[0] == 0.0
    assert values[-1] == 1.0
    assert np.all(np.diff(values) > 0)
    np.testing.assert_allclose(values + values[::-1], 1.0)
    if schedule is annealed.sigmoid_schedule:
        assert np.diff(values)[0] < 0.2 * np.diff(values)[10]


def test_what_cannot_be_annealed_is_refused():
    bits = vae((4,), 2, latents=latents.bernoulli())
    params = bits.init(jax.random.key(0), jnp.full(4, 0.5))
    sampler = annealed.make_annealed_sampler(bits, annealed.linear_schedule(3), SIZES)
    with pytest.raises(TypeError, match="those of a Bernoulli do not have: use importance"):
        sampler(params, jnp.ones((2, 4)), jax.random.key(0))
    with pytest.raises(ValueError, match="num_temperatures must be at least 1, not 0."):
        annealed.linear_schedule(0)
    with pytest.raises(ValueError, match="num_chains must be at least 1, not 0."):
        annealed.make_annealed_sampler(bits, annealed.linear_schedule(3), SIZES, num_chains=0)
    with pytest.raises(ValueError, match="start must be one of prior, posterior, normal, not 'q'."):
        annealed.make_annealed_sampler(LINEAR.model, annealed.linear_schedule(3), SIZES, start="q")(
            INEXACT, LINEAR.x, jax.random.key(0)
        )


def test_from_the_moments_of_the_posterior_as_from_the_posterior_itself():
    """For a diagonal normal posterior both starts are one. The mean weight is p(x)."""
    runs = [
        annealed.make_annealed_sampler(
            LINEAR.model, annealed.linear_schedule(3), SIZES, num_chains=4, start=start
        )(INEXACT, LINEAR.x, jax.random.key(0)).log_w
        for start in ("posterior", "normal")
    ]
    np.testing.assert_array_equal(*runs)


def test_the_mean_weight_from_the_moments_of_a_flow_is_the_evidence():
    """A q(z|x) without a density: a planar flow that the moments know as a normal distribution."""

    def posterior(params, x):
        q = LINEAR.model.posterior(params, x)
        planar = Planar(jnp.array([1.0, -0.5]), jnp.array([0.4, 0.7]), jnp.asarray(0.2))
        return Flow(q.mean, q.log_std, (planar,))

    model = LINEAR.model._replace(posterior=posterior)
    sampler = annealed.make_annealed_sampler(
        model, annealed.linear_schedule(20), SIZES, num_chains=500, start="normal"
    )
    ratio = sampler(LINEAR.exact_params, LINEAR.x, jax.random.key(0)).log_w
    exact = jax.vmap(lambda x: log_evidence(LINEAR.truth, x))(LINEAR.x)
    ratio = np.exp(ratio - np.asarray(exact)[:, None])
    error = ratio.std(axis=1, ddof=1) / np.sqrt(500)
    assert np.all(error < 0.1)
    assert np.all(np.abs(ratio.mean(axis=1) - 1.0) < 4 * error)

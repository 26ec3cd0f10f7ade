"""A table of discrete distributions x the laws that each must keep, by enumeration."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as numpyro_dist
import pytest
import scipy.stats
from jax.test_util import check_grads

from tests.monte_carlo import assert_mean
from vae_jax.distributions import Bernoulli, Categorical, Distribution, Normal, kl_divergence


class Case(NamedTuple):
    q: Distribution
    p: Distribution
    values: jax.Array  # [V, ...], all values of one variable
    rounded: Callable[[jax.Array], jax.Array]  # a relaxed event to the event it stands for
    log_odds: Callable[[jax.Array], jax.Array]  # [*event] -> [*dims], a logit for each variable
    probabilities: Callable[[Distribution], jax.Array]  # [*dims, V]
    extremes: list[Distribution]


DISCRETE = {
    "bernoulli": Case(
        q=Bernoulli(jnp.array([[-2.0, 0.0], [0.5, 3.0]])),
        p=Bernoulli(jnp.array([[1.0, 0.0], [-0.7, 2.0]])),
        values=jnp.array([0.0, 1.0]),
        rounded=jnp.round,
        log_odds=lambda x: jnp.log(x) - jnp.log1p(-x),
        probabilities=lambda d: jnp.stack([1.0 - d.mean, d.mean], axis=-1),
        extremes=[Bernoulli(jnp.array([-logit, logit])) for logit in (90.0, 1e4)],
    ),
    "categorical": Case(
        q=Categorical(jnp.array([[-1.0, 0.0, 2.0], [5.5, 5.0, 4.0]])),
        p=Categorical(jnp.array([[0.0, 0.0, 0.0], [-1.0, 0.3, 1.0]])),
        values=jnp.eye(3),
        rounded=lambda x: jax.nn.one_hot(jnp.argmax(x, axis=-1), 3),
        log_odds=lambda x: jnp.log(x[..., 0]) - jnp.log(x[..., 2]),
        probabilities=lambda d: d.mean,
        extremes=[Categorical(jnp.array([[0.0, logit, -logit]])) for logit in (90.0, 1e4)],
    ),
}


@pytest.fixture(params=DISCRETE)
def case(request):
    return DISCRETE[request.param]


def num_variables(case):
    return case.q.mean.size // case.values[0].size


def outcomes(case):
    """All events, [V ** num_variables, *event]."""
    every = itertools.product(np.asarray(case.values), repeat=num_variables(case))
    return jnp.array(list(every)).reshape(-1, *case.q.mean.shape)


def each_variable(distribution, case):
    """The distributions of the variables alone."""
    logits = distribution.logits.reshape(-1, *case.values[0].shape)
    return [type(distribution)(logits=one) for one in logits]


def frequencies_of(events, every):
    """Whether event n is outcome o, [N, O]."""
    flat, every = (np.asarray(x).reshape(len(x), -1) for x in (events, every))
    return np.all(flat[:, None] == every[None], axis=-1)


def test_probabilities_sum_to_one(case):
    log_probs = jax.vmap(case.q.log_prob)(outcomes(case))
    np.testing.assert_allclose(jax.nn.logsumexp(log_probs), 0.0, atol=1e-6)


@pytest.mark.parametrize("temperature", [None, 0.3, 2.0])
def test_samples_and_rounded_relaxed_samples_have_the_probabilities_of_all_outcomes(
    case, temperature
):
    keys = jax.random.split(jax.random.key(0), 20_000)
    if temperature is None:
        events = jax.vmap(case.q.sample)(keys)
    else:
        relaxed = jax.vmap(lambda key: case.q.relaxed_sample(key, temperature))(keys)
        assert np.min(relaxed) >= 0
        assert np.max(relaxed) <= 1
        events = case.rounded(relaxed)
    observed = frequencies_of(events, outcomes(case))
    assert np.all(observed.sum(axis=1) == 1)  # nothing but outcomes
    assert_mean(observed, jnp.exp(jax.vmap(case.q.log_prob)(outcomes(case))))


@pytest.mark.parametrize("temperature", [0.7, 2.0])
def test_the_log_odds_of_relaxed_samples_are_logistic_around_the_logits(case, temperature):
    """log_odds(x) = (log_odds(mean) + l) / temperature, l the logistic noise of Maddison et al.
    2017, eq. 16, which is also the difference of two Gumbel variables."""
    keys = jax.random.split(jax.random.key(1), 5_000)
    relaxed = jax.vmap(lambda key: case.q.relaxed_sample(key, temperature))(keys)
    noise = temperature * case.log_odds(relaxed) - case.log_odds(case.q.mean)[None]
    for one in np.asarray(noise).reshape(len(keys), -1).T:
        # A right implementation fails for one seed in ten thousand.
        assert scipy.stats.kstest(one, "logistic").pvalue > 1e-4


def test_relaxed_samples_approach_outcomes_as_the_temperature_falls(case):
    keys = jax.random.split(jax.random.key(2), 2_000)
    for temperature in (0.1, 1e-2, 1e-3):
        relaxed = jax.vmap(lambda key, t=temperature: case.q.relaxed_sample(key, t))(keys)
        # The density of the log-odds of two values is at most 1/4 everywhere, so that the mean
        # distance is at most t log(2) / 2 for two values, and twice that for three.
        assert np.mean(np.abs(relaxed - case.rounded(relaxed))) < np.log(2) * temperature


def test_relaxed_categories_come_from_the_noise_of_sample():
    q = DISCRETE["categorical"].q
    for key in jax.random.split(jax.random.key(3), 20):
        largest = jnp.argmax(q.relaxed_sample(key, 0.5), axis=-1)
        np.testing.assert_array_equal(jax.nn.one_hot(largest, 3), q.sample(key))


@pytest.mark.usefixtures("float64")
def test_gradients_equal_finite_differences(case):
    q, p = (jax.tree.map(lambda leaf: leaf.astype(jnp.float64), d) for d in (case.q, case.p))
    key = jax.random.key(0)

    @jax.jit
    def values(q, p):
        relaxed = q.relaxed_sample(key, 0.7)
        return relaxed, p.log_prob(relaxed), q.log_prob(p.sample(key)), kl_divergence(q, p)

    check_grads(values, (q, p), order=1)


def test_extreme_logits_give_finite_relaxed_samples_and_divergences(case):
    for extreme in case.extremes:
        uniform = jax.tree.map(jnp.zeros_like, extreme)

        def values(q, uniform=uniform):
            relaxed = q.relaxed_sample(jax.random.key(0), 0.1)
            return q.log_prob(relaxed) + q.kl_per_dim(uniform).sum() + uniform.kl_per_dim(q).sum()

        chex.assert_tree_all_finite(jax.value_and_grad(values)(extreme))
        # All probability is on one of the values.
        np.testing.assert_allclose(extreme.kl_per_dim(uniform), np.log(len(case.values)), rtol=1e-6)


def test_kl_equals_its_definition_by_enumeration(case):
    every = outcomes(case)
    log_q, log_p = jax.vmap(case.q.log_prob)(every), jax.vmap(case.p.log_prob)(every)
    expected = jnp.sum(jnp.exp(log_q) * (log_q - log_p))
    np.testing.assert_allclose(kl_divergence(case.q, case.p), expected, rtol=1e-5)
    assert kl_divergence(case.q, case.q) == 0.0


def test_kl_per_dim_is_that_of_each_variable_alone_and_of_numpyro(case):
    parts = case.q.kl_per_dim(case.p)
    assert parts.size == num_variables(case)
    alone = [
        kl_divergence(q, p)
        for q, p in zip(each_variable(case.q, case), each_variable(case.p, case), strict=True)
    ]
    np.testing.assert_allclose(parts.ravel(), jnp.array(alone), rtol=1e-6)
    expected = numpyro_dist.kl_divergence(
        *(numpyro_dist.CategoricalProbs(case.probabilities(d)) for d in (case.q, case.p))
    )
    np.testing.assert_allclose(parts, expected, rtol=1e-5, atol=1e-7)


def test_kl_to_another_family_names_both(case):
    with pytest.raises(TypeError, match=f"{type(case.q).__name__} to a Normal"):
        kl_divergence(case.q, Normal(jnp.zeros(3), jnp.zeros(3)))

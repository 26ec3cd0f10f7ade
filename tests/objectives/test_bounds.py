"""Bounds as functions of the log-weights: laws that all keep, and what orders them.

Their means, and that lower bounds are below log p(x), are in the group `bounds` of vae_jax.verify.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from tests.exact import jit_once, linear_vae, random_encoder
from tests.objectives.cases import BOUNDS
from vae_jax.evidence import linear_gaussian
from vae_jax.models import draw
from vae_jax.objectives import bounds

# Bounds that rise with the order of their list, whatever the log-weights are.
ORDERED = {
    "renyi falls in alpha": [
        bounds.renyi(alpha)
        for alpha in (math.inf, 30.0, 2.0, 1.0, 1.0 - 1e-5, 0.5, 0.0, -1.0, -30.0, -math.inf)
    ],
    "ciwae from elbo to iwae": [
        bounds.elbo,
        *(bounds.ciwae(beta) for beta in (0.9, 0.5, 0.1)),
        bounds.iwae,
    ],
    "tvo from elbo to iwae": [
        bounds.elbo,
        bounds.tvo(1),
        bounds.tvo(2, first=0.1),
        bounds.tvo(9, first=0.1),
        bounds.iwae,
    ],
    "cubo above iwae, and rising": [bounds.iwae, *(bounds.cubo(n) for n in (1.0, 2.0, 5.0))],
}


LINEAR = linear_vae()
INEXACT = random_encoder(LINEAR.exact_params, 0)
LOG_EVIDENCE = float(linear_gaussian.log_evidence(LINEAR.truth, LINEAR.x[0]))


@functools.cache
def log_weights(num_draws, num_samples, exact=False):
    """[num_draws, K] log-weights of one example, under the exact posterior or another."""
    params = LINEAR.exact_params if exact else INEXACT
    keys = jax.random.split(jax.random.key(0), (num_draws, num_samples))
    one = lambda keys: draw(LINEAR.model, params, LINEAR.x[0], keys).log_w  # noqa: E731
    return np.asarray(jax.jit(jax.vmap(one))(keys))


NUM_SAMPLES, NUM_EXAMPLES = 6, 4  # one shape for all laws, so that each bound compiles once


@functools.cache
def compiled(name):
    """log_w [K, B] -> value [B], gradient [K, B]."""
    bound, _ = BOUNDS[name]
    gradient = jax.grad(lambda log_w: jnp.sum(bound(log_w)))
    return jit_once(lambda log_w: (bound(log_w), gradient(log_w)))


@pytest.fixture(params=BOUNDS)
def case(request):
    """(bound compiled with its gradient, its definition)"""
    return compiled(request.param), BOUNDS[request.param][1]


def random_log_w(shape=(NUM_SAMPLES, NUM_EXAMPLES), seed=0):
    return np.random.default_rng(seed).normal(scale=2.0, size=shape).astype(np.float32)


def test_equals_its_definition(case):
    bound, definition = case
    log_w = random_log_w()
    expected = definition(log_w.astype(np.float64))
    np.testing.assert_allclose(bound(log_w)[0], expected, rtol=1e-5, atol=1e-5)


def test_the_gradient_is_that_of_its_definition(case):
    """By central differences in float64."""
    bound, definition = case
    log_w = random_log_w(seed=1).astype(np.float64)
    _, gradient = bound(log_w.astype(np.float32))
    for k in range(NUM_SAMPLES):
        step = np.zeros_like(log_w)
        step[k] = 1e-5
        difference = (definition(log_w + step) - definition(log_w - step)) / 2e-5
        np.testing.assert_allclose(gradient[k], difference, rtol=1e-3, atol=1e-4)


def test_a_shift_of_all_weights_shifts_the_bound(case):
    """log p(x) has thousands of nats on larger images; nothing may be lost by that."""
    bound, _ = case
    log_w = random_log_w()
    (value, gradient), (shifted, same_gradient) = bound(log_w), bound(log_w - 2048.0)
    np.testing.assert_allclose(shifted, value - 2048.0, atol=1e-3)
    np.testing.assert_allclose(same_gradient, gradient, atol=2e-4)  # log_w itself is rounded


def test_of_equal_weights_is_that_weight(case):
    bound, _ = case
    log_w = np.full((NUM_SAMPLES, NUM_EXAMPLES), -87.5, np.float32)
    np.testing.assert_allclose(bound(log_w)[0], log_w[0], rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in BOUNDS if name != "miwae"])
def test_of_one_sample_is_that_sample(name):
    log_w = np.array([[-1.0, 3.0, -90.0]], np.float32)
    np.testing.assert_allclose(BOUNDS[name][0](log_w), log_w[0], rtol=1e-6)


# Log-weights [K, B]: each column is a case.
EXTREME = np.array(
    [
        [1e4, -1e4, 0.0, 1.0, -3.0, 2.0],
        [-1e4, -1e4, -1e4, -1e4, -1e4, -1e4],
        [1e4, 0.0, 1e4 - 1.0, 1e4, -1e4, 1e4],
        [0.0, 1e-7, -1e-7, 0.0, 1e-7, 0.0],
    ],
    np.float32,
).T
WITH_ZEROS = np.array(
    [
        [0.3, -np.inf, 1.0, -0.5, 2.0, -1.0],
        [-np.inf, -np.inf, -2.0, -30.0, -np.inf, -3.0],
        [0.0, 0.0, 0.0, -np.inf, -np.inf, -np.inf],
        [-np.inf, -np.inf, -np.inf, -np.inf, -np.inf, -100.0],
    ],
    np.float32,
).T


def test_extreme_weights_give_their_bounds_and_finite_gradients(case):
    bound, _ = case
    value, gradient = bound(EXTREME)
    assert np.all(np.isfinite(value))
    assert np.all(np.isfinite(gradient))
    assert np.all(value <= EXTREME.max(axis=0) + 1e-3)
    assert np.all(value >= EXTREME.min(axis=0) - 1e-3)
    np.testing.assert_allclose(np.sum(gradient, axis=0), 1.0, rtol=1e-3)  # a shift shifts it


def test_weights_of_zero_are_counted_and_give_finite_gradients(case):
    bound, definition = case
    value, gradient = bound(WITH_ZEROS)
    assert np.all(np.isfinite(gradient))
    with np.errstate(divide="ignore", over="ignore"):
        expected = definition(WITH_ZEROS.astype(np.float64))
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_of_weights_that_are_all_zero_is_minus_infinity_with_a_finite_gradient(case):
    bound, _ = case
    value, gradient = bound(np.full((NUM_SAMPLES, NUM_EXAMPLES), -np.inf, np.float32))
    assert np.all(value == -np.inf)
    assert np.all(np.isfinite(gradient))


def test_iwae_weighs_samples_by_their_normalised_weights():
    log_w = jnp.array([[-3.0], [0.0], [1.0]])
    gradient = jax.grad(lambda w: bounds.iwae(w)[0])(log_w)
    np.testing.assert_allclose(gradient, jax.nn.softmax(log_w, axis=0), rtol=1e-6)
    assert np.argmax(gradient) == 2  # the best sample gets the most weight


@pytest.mark.parametrize("name", ORDERED)
def test_bounds_are_ordered(name):
    log_w = random_log_w((8, 50))
    values = np.array([bound(log_w) for bound in ORDERED[name]])
    assert np.all(np.diff(values, axis=0) > -1e-5)
    assert np.all(values[-1] - values[0] > 0.1)  # and differ


def test_miwae_lies_between_elbo_and_iwae_and_reaches_them():
    log_w = random_log_w((8, 50))
    assert np.all(bounds.elbo(log_w) < bounds.miwae(4)(log_w))
    assert np.all(bounds.miwae(4)(log_w) < bounds.iwae(log_w))
    np.testing.assert_allclose(bounds.miwae(8)(log_w), bounds.elbo(log_w), rtol=1e-5)
    np.testing.assert_allclose(bounds.miwae(1)(log_w), bounds.iwae(log_w), rtol=1e-5)


def test_limits_of_the_renyi_bound():
    log_w = random_log_w((8, 50))
    assert bounds.renyi(1.0) is bounds.elbo
    np.testing.assert_allclose(bounds.renyi(0.0)(log_w), bounds.iwae(log_w), rtol=1e-6)
    for near_one in (1.0 - 1e-5, 1.0 + 1e-5):
        np.testing.assert_allclose(bounds.renyi(near_one)(log_w), bounds.elbo(log_w), atol=1e-4)
    for alpha, extreme in ((-1e4, jnp.max), (1e4, jnp.min)):
        np.testing.assert_allclose(
            bounds.renyi(alpha)(log_w), extreme(log_w, axis=0), atol=np.log(8) / 9_000
        )


@pytest.mark.usefixtures("float64")
def test_the_tvo_of_many_intervals_is_the_thermodynamic_integral():
    """The integral over b in [0, 1] of the finite sample is `iwae` (Masrani et al. 2019)."""
    log_w = jnp.array([[0.2], [-2.0], [1.5], [-0.3]], jnp.float64)

    def tempered_mean(b):
        return float(jnp.sum(jax.nn.softmax(b * log_w[:, 0]) * log_w[:, 0]))

    integral, _ = scipy.integrate.quad(tempered_mean, 0.0, 1.0)
    np.testing.assert_allclose(bounds.iwae(log_w), [integral], rtol=1e-10)
    errors = [integral - float(bounds.tvo(n, first=1.0 / n)(log_w)[0]) for n in (50, 100, 200, 400)]
    assert np.all(np.array(errors) > 0)  # a lower sum
    assert errors[-1] < 0.03
    assert np.all(np.diff(errors) < 0)


def test_at_the_exact_posterior_every_bound_is_the_log_evidence_for_every_key(case):
    bound, _ = case
    log_w = log_weights(NUM_EXAMPLES, NUM_SAMPLES, exact=True).T
    np.testing.assert_allclose(bound(log_w)[0], np.full(NUM_EXAMPLES, LOG_EVIDENCE), atol=1e-4)


def test_iwae_does_not_decrease_in_the_number_of_samples_and_converges():
    log_w = log_weights(4_000, 512)
    previous = None
    gaps = []
    for num_samples in (1, 2, 8, 32, 128, 512):
        value = np.asarray(bounds.iwae(log_w[:, :num_samples].T), np.float64)
        if previous is not None:
            # Paired: the same samples serve both.
            increase = value - previous
            error = increase.std(ddof=1) / np.sqrt(len(increase))
            assert increase.mean() > -4 * error, (num_samples, increase.mean(), error)
        error = value.std(ddof=1) / np.sqrt(len(value))
        assert value.mean() < LOG_EVIDENCE + 4 * error, (num_samples, value.mean(), error)
        gaps.append(LOG_EVIDENCE - value.mean())
        previous = value
    assert gaps[0] > 0.1  # it began well below
    assert abs(gaps[-1]) < 0.05 * gaps[0]


def test_cubo_is_above_the_log_evidence_by_its_closed_form():
    """log p(x) + log E_q[(p(z|x) / q(z|x))^2] / 2, for two normal densities."""
    q = LINEAR.model.posterior(INEXACT, LINEAR.x[0])
    p = LINEAR.model.posterior(LINEAR.exact_params, LINEAR.x[0])
    # The integral of p^2 / q per dimension, by quadrature.
    log_ratio = 0.0
    for qm, qs, pm, ps in zip(
        *(np.asarray(v, np.float64) for v in (q.mean, q.log_std, p.mean, p.log_std)), strict=True
    ):

        def integrand(z, qm=qm, qs=qs, pm=pm, ps=ps):
            log_q = scipy.stats.norm.logpdf(z, qm, np.exp(qs))
            return np.exp(2 * scipy.stats.norm.logpdf(z, pm, np.exp(ps)) - log_q)

        log_ratio += np.log(scipy.integrate.quad(integrand, pm - 30, pm + 30, points=[pm])[0])
    expected = LOG_EVIDENCE + 0.5 * log_ratio
    assert expected > LOG_EVIDENCE + 0.05
    log_w = log_weights(4_000, 512)
    np.testing.assert_allclose(bounds.cubo(2.0)(log_w.reshape(-1, 1)), [expected], atol=0.01)
    # With few samples its mean is lower, as its docstring says.
    assert np.mean(bounds.cubo(2.0)(log_w[:, :2].T)) < expected - 0.02


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: bounds.renyi(math.nan),
            "alpha must be within 1e30 of 0, or -inf or inf, not nan.",
        ),
        (lambda: bounds.miwae(0), "num_groups must be at least 1, not 0."),
        (lambda: bounds.miwae(3)(jnp.zeros((4, 1))), "num_groups=3 must divide the 4 samples."),
        (lambda: bounds.ciwae(1.5), r"The beta of CIWAE must lie in \[0, 1\], not 1.5."),
        (lambda: bounds.ciwae(math.nan), r"The beta of CIWAE must lie in \[0, 1\], not nan."),
        (lambda: bounds.tvo(0), "num_intervals must be at least 1, not 0."),
        (lambda: bounds.tvo(3, 1.0), r"The first point of the TVO must lie in \(0, 1\), not 1.0."),
        (lambda: bounds.cubo(0.5), "The n of CUBO must be at least 1 and finite, not 0.5."),
    ],
)
def test_options_out_of_range_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()

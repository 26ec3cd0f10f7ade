"""A table of likelihoods x the laws that each must keep, against SciPy in double precision."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from tests.monte_carlo import assert_mean
from vae_jax.distributions import (
    Binomial,
    CategoricalLevels,
    ContinuousBernoulli,
    DiscretisedLogistic,
    DiscretisedNormal,
    Distribution,
    Laplace,
    LogisticMixture,
    LogNormal,
    NegativeBinomial,
    Poisson,
    StudentT,
    ZeroInflatedNegativeBinomial,
)

exp = np.exp


class Law(NamedTuple):
    make: Callable[..., Distribution]  # parameters, all of one shape -> distribution
    parameters: list[tuple[float, ...]]  # ordinary and extreme
    log_prob: Callable[..., Any]  # (value, *parameters) -> log-density, float64
    values: Any  # parameters -> values at which both are compared
    cdf: Callable[..., Any] | None = None  # of densities


def log_continuous_bernoulli(x, logits):
    log_normaliser = 0.0 if logits == 0 else np.log(np.expm1(logits) / logits)
    return logits * x - log_normaliser


def cdf_of_continuous_bernoulli(x, logits):
    return np.clip(x if logits == 0 else np.expm1(logits * x) / np.expm1(logits), 0.0, 1.0)


def around(centre, scale):
    return centre + scale * np.array([-40.0, -3.0, -0.5, 0.03, 0.1, 2.0, 30.0])


DENSITIES = {
    "continuous_bernoulli": Law(
        ContinuousBernoulli,
        [(a,) for a in (-80.0, -3.0, -0.61, -0.59, -1e-2, 0.0, 1e-4, 0.3, 5.0, 80.0)],
        log_continuous_bernoulli,
        lambda logits: np.linspace(0.0, 1.0, 9),
        cdf_of_continuous_bernoulli,
    ),
    "laplace": Law(
        Laplace,
        [(0.0, 0.0), (-1.5, 2.0), (3.0, -4.0), (1e4, 5.0)],
        lambda x, mean, log_scale: scipy.stats.laplace.logpdf(x, mean, exp(log_scale)),
        lambda mean, log_scale: around(mean, exp(log_scale)),
        lambda x, mean, log_scale: scipy.stats.laplace.cdf(x, mean, exp(log_scale)),
    ),
    "student_t": Law(
        StudentT,
        [(0.0, 0.0, 0.0), (-1.5, 1.0, 1.4), (3.0, -4.0, 2.8), (1.0, 0.3, 6.0), (0.0, 0.0, 18.0)],
        lambda x, mean, log_scale, log_df: scipy.stats.t.logpdf(
            x, exp(log_df), mean, exp(log_scale)
        ),
        lambda mean, log_scale, log_df: around(mean, exp(log_scale)),
        lambda x, mean, log_scale, log_df: scipy.stats.t.cdf(x, exp(log_df), mean, exp(log_scale)),
    ),
    "log_normal": Law(
        LogNormal,
        [(0.0, 0.0), (-1.5, -2.0), (4.0, 0.5)],
        lambda x, log_mean, log_std: scipy.stats.lognorm.logpdf(
            x, exp(log_std), scale=exp(log_mean)
        ),
        lambda log_mean, log_std: exp(log_mean + exp(log_std) * np.linspace(-4.0, 4.0, 9)),
        lambda x, log_mean, log_std: scipy.stats.lognorm.cdf(x, exp(log_std), scale=exp(log_mean)),
    ),
}


def log_zinb(k, log_mean, log_dispersion, zero_logits):
    log_mass = log_negative_binomial(k, log_mean, log_dispersion)
    log_mass = log_mass - np.logaddexp(0.0, zero_logits)
    return np.where(k == 0, np.logaddexp(log_mass, -np.logaddexp(0.0, -zero_logits)), log_mass)


def log_binomial(k, total, logits):
    ways = scipy.special.gammaln(total + 1) - scipy.special.gammaln(k + 1)
    ways -= scipy.special.gammaln(total - k + 1)
    return ways + k * logits - total * np.logaddexp(0.0, logits)


def log_negative_binomial(k, log_mean, log_dispersion):
    theta = exp(log_dispersion)
    return scipy.stats.nbinom.logpmf(k, theta, theta / (theta + exp(log_mean)))


def log_of_level(x, location, log_scale, levels, family=scipy.stats.logistic):
    edges = (np.arange(1, levels) - 0.5) / (levels - 1)
    lower, upper = np.append(-np.inf, edges), np.append(edges, np.inf)
    variable = family(location, exp(log_scale))
    k = np.round(x * (levels - 1)).astype(int)
    # Both tails keep their precision.
    left, less = variable.logcdf(upper[k]), variable.logcdf(lower[k])
    right, more = variable.logsf(lower[k]), variable.logsf(upper[k])
    is_right = lower[k] > location
    outer, inner = np.where(is_right, right, left), np.where(is_right, more, less)
    return outer + np.log(-np.expm1(inner - outer))


def counts(largest):
    few = np.arange(0.0, min(largest, 60) + 1)
    return np.unique(np.concatenate([few, np.round(np.geomspace(1, max(largest, 1), 200))]))


MASSES = {
    "poisson": Law(
        Poisson,
        [(-20.0,), (-1.0,), (1.2,), (4.0,), (11.0,)],
        lambda k, log_rate: scipy.stats.poisson.logpmf(k, exp(log_rate)),
        lambda log_rate: counts(exp(log_rate) + 12 * exp(log_rate / 2) + 30),
    ),
    "binomial": Law(
        lambda logits: Binomial(logits, 16),
        [(-30.0,), (-2.0,), (0.0,), (0.7,), (25.0,)],
        lambda k, logits: log_binomial(k, 16, logits),
        lambda logits: np.arange(17.0),
    ),
    "binomial of many trials": Law(
        lambda logits: Binomial(logits, 100_000),
        [(-3.0,), (0.0,), (0.3,)],
        lambda k, logits: log_binomial(k, 100_000, logits),
        lambda logits: np.arange(0.0, 100_001.0),
    ),
    "negative_binomial": Law(
        NegativeBinomial,
        [(1.0, 0.5), (-3.0, -2.0), (5.0, 3.0), (3.0, 12.0), (2.0, -3.0), (0.0, 20.0)],
        log_negative_binomial,
        lambda log_mean, log_dispersion: counts(
            exp(log_mean) * (1 + 60 * exp(-log_dispersion / 2)) + 40 + 40 * exp(log_mean / 2)
        ),
    ),
    "zinb": Law(
        ZeroInflatedNegativeBinomial,
        [(1.0, 0.5, 0.0), (2.0, 3.0, -20.0), (-3.0, -2.0, 2.0), (1.0, 1.0, 20.0)],
        log_zinb,
        lambda log_mean, log_dispersion, zero_logits: counts(600.0),
    ),
    "discretised_logistic": Law(
        DiscretisedLogistic,
        [(0.5, -2.0), (0.02, -4.0), (0.9, -5.0), (-0.3, -1.0), (0.5, 3.0)],
        lambda x, location, log_scale: log_of_level(x, location, log_scale, 256),
        lambda location, log_scale: np.arange(256) / 255,
    ),
    "discretised_normal": Law(
        DiscretisedNormal,
        [(0.5, -2.0), (0.02, -4.0), (0.9, -4.5), (-0.3, -1.0), (0.5, 2.0)],
        lambda x, location, log_scale: log_of_level(x, location, log_scale, 256, scipy.stats.norm),
        lambda location, log_scale: np.arange(256) / 255,
    ),
    "discretised_logistic of 4 levels": Law(
        lambda location, log_scale: DiscretisedLogistic(location, log_scale, 4),
        [(0.5, -2.0), (0.1, -3.0)],
        lambda x, location, log_scale: log_of_level(x, location, log_scale, 4),
        lambda location, log_scale: np.arange(4) / 3,
    ),
}
LAWS = DENSITIES | MASSES
EVERY = [(name, p) for name, law in LAWS.items() for p in law.parameters]


def of_one(law, parameters):
    """The distribution of an event of one variable."""
    return law.make(*(jnp.full((1,), p) for p in parameters))


def in_one_event(law, counts):
    """The distribution of as many variables of each parameters as `counts` says."""
    columns = zip(*law.parameters, strict=True)
    return law.make(*(jnp.asarray(np.repeat(np.float32(c), counts)) for c in columns))


def parts_of(array, counts):
    return np.split(np.asarray(array), np.cumsum(counts)[:-1])


@pytest.mark.parametrize("name", LAWS)
def test_log_probabilities_are_those_of_scipy(name):
    law = LAWS[name]
    values = [np.asarray(law.values(*p), np.float32) for p in law.parameters]
    counts = [len(v) for v in values]
    every = jax.jit(lambda d, x: d.log_prob_per_dim(x))(
        in_one_event(law, counts), np.concatenate(values)
    )
    for found, x, p in zip(parts_of(every, counts), values, law.parameters, strict=True):
        expected = law.log_prob(x.astype(np.float64), *(float(np.float32(q)) for q in p))
        is_tiny = expected < -80.0  # where masses of SciPy underflow, or SciPy cancels
        tolerances = {"discretised_logistic": 2e-4, "discretised_normal": 2e-4}
        tolerance = tolerances.get(name.split(" ")[0], 4e-6)
        np.testing.assert_allclose(
            found[~is_tiny], expected[~is_tiny], rtol=tolerance, atol=tolerance, err_msg=str(p)
        )
        np.testing.assert_allclose(found[is_tiny], expected[is_tiny], rtol=1e-3, err_msg=str(p))


@pytest.mark.parametrize(
    ("name", "parameters"), [(n, p) for n, p in EVERY if n in DENSITIES], ids=str
)
def test_densities_integrate_to_one(name, parameters):
    law = LAWS[name]
    density = jax.jit(lambda x: jnp.exp(of_one(law, parameters).log_prob(x[None])))
    quantiles = {
        "continuous_bernoulli": lambda u: u,
        "laplace": lambda u: scipy.stats.laplace.ppf(u, parameters[0], exp(parameters[-1])),
        "student_t": lambda u: scipy.stats.t.ppf(
            u, exp(parameters[-1]), parameters[0], exp(parameters[1])
        ),
        "log_normal": lambda u: scipy.stats.lognorm.ppf(
            u, exp(parameters[1]), scale=exp(parameters[0])
        ),
    }[name]
    # In pieces of equal mass, between the quantiles 0.001 and 0.999.
    edges = np.float64(quantiles(np.linspace(0.001, 0.999, 1000)))
    if name == "continuous_bernoulli":
        edges = np.concatenate([np.linspace(0.0, 1.0, 400)])
    nodes, weights = np.polynomial.legendre.leggauss(8)
    half, middle = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
    points = middle + half * nodes[None]
    mass = np.sum(half * weights[None] * np.float64(jax.vmap(jax.vmap(density))(points)))
    expected = 1.0 if name == "continuous_bernoulli" else 0.998
    np.testing.assert_allclose(mass, expected, rtol=2e-3 if parameters[0] == 1e4 else 2e-5)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [(n, p) for n, p in EVERY if n in MASSES and p[0] < 6 and p != (0.0, 20.0)],
    ids=str,
)
def test_masses_sum_to_one(name, parameters):
    law = LAWS[name]
    values = np.asarray(law.values(*parameters))
    if ("binomial" in name and name.startswith(("negative", "zinb"))) or name in (
        "poisson",
        "zinb",
    ):
        values = np.arange(0.0, 20_000.0)
    many = law.make(*(jnp.full(values.shape, p) for p in parameters))
    masses = np.exp(np.float64(many.log_prob_per_dim(jnp.asarray(values, jnp.float32))))
    np.testing.assert_allclose(masses.sum(), 1.0, atol=2e-5)


@pytest.mark.parametrize("name", LAWS)
def test_gradients_are_finite_and_those_of_the_formula(name):
    law = LAWS[name]
    values = [np.asarray(law.values(*p), np.float32) for p in law.parameters]
    values = [x[:: max(1, len(x) // 20)] for x in values]
    counts = [len(x) for x in values]

    def total(parameters, x):
        return jnp.sum(law.make(*parameters).log_prob_per_dim(x))

    columns = zip(*law.parameters, strict=True)
    arrays = tuple(jnp.asarray(np.repeat(np.float32(c), counts)) for c in columns)
    gradients = jax.jit(jax.grad(total))(arrays, np.concatenate(values))
    chex.assert_tree_all_finite(gradients)
    of_each = zip(*(parts_of(gradient, counts) for gradient in gradients), strict=True)
    for found, single, p in zip(of_each, values, law.parameters, strict=True):
        if p[-1] > 15:
            continue  # the reference is rounded by more than its differences
        at, x = [float(np.float32(q)) for q in p], single.astype(np.float64)
        for i, gradient in enumerate(found):
            step = 1e-4 * max(1.0, abs(at[i]) * 1e-3)
            sides = [
                law.log_prob(x, *(q + s * step * (j == i) for j, q in enumerate(at)))
                for s in (1, -1)
            ]
            slope = (sides[0] - sides[1]) / (2 * step)
            is_known = (np.abs(sides[0]) < 80) & (np.abs(slope) < 1e4)
            np.testing.assert_allclose(
                gradient[is_known], slope[is_known], rtol=5e-3, atol=5e-3, err_msg=str(p)
            )


COUNTS_AND_PARAMETERS = [
    (count, log_mean, log_dispersion)
    for count in (0.0, 1.0, 2.0, 7.0, 30.0, 1e3, 1e6)
    for log_mean in (-20.0, -3.0, 0.0, 2.0, 7.0, 14.0)
    for log_dispersion in (-14.0, -3.0, 0.0, 1.9, 2.2, 6.0, 14.0)
]


@pytest.mark.parametrize(
    ("dtype", "rtol", "atol"), [("float32", 1e-4, 1e-6), ("float64", 1e-9, 1e-12)]
)
def test_derivatives_of_negative_binomial_counts_are_exact(dtype, rtol, atol, float64):
    """Against 50 digits. The derivative by log theta is theta times digamma(theta + count) -
    digamma(theta) + log(theta / (theta + mean)) + 1 - (theta + count) / (theta + mean)."""
    rows = np.asarray(COUNTS_AND_PARAMETERS, dtype)
    wanted = []
    for count, log_mean, log_dispersion in rows.astype(np.float64):
        with mpmath.workdps(50):
            mean, theta = mpmath.exp(log_mean), mpmath.exp(log_dispersion)
            both = theta + mean
            errors = mpmath.digamma(theta + count) - mpmath.digamma(theta)
            errors += mpmath.log(theta / both) + 1 - (theta + count) / both
            wanted.append((float(theta * (count - mean) / both), float(theta * errors)))

    def total(log_mean, log_dispersion):
        distribution = NegativeBinomial(log_mean, log_dispersion)
        return jnp.sum(distribution.log_prob_per_dim(rows[:, 0]))

    found = jax.jit(jax.grad(total, argnums=(0, 1)))(rows[:, 1], rows[:, 2])
    assert found[0].dtype == dtype
    np.testing.assert_allclose(np.stack(found, axis=1), wanted, rtol=rtol, atol=atol)


def test_a_count_has_no_derivative():
    distribution = NegativeBinomial(jnp.zeros(3), jnp.zeros(3))
    with pytest.raises(TypeError, match="no derivative by the count"):
        jax.grad(lambda value: jnp.sum(distribution.log_prob_per_dim(value)))(jnp.ones(3))


KEY = jax.random.key(0)
NUM_SAMPLES = 20_000
SAMPLED = [name for name in LAWS if name != "binomial of many trials"]


@functools.cache
def samples_of(name):
    """The distribution of all parameters, and its samples and means for each, [NUM_SAMPLES]."""
    law = LAWS[name]
    counts = [NUM_SAMPLES] * len(law.parameters)
    distribution = in_one_event(law, counts)
    samples, means = jax.jit(lambda d: (d.sample(KEY), d.mean))(distribution)
    assert distribution.in_support(samples)
    return parts_of(np.float64(samples), counts), parts_of(np.float64(means), counts)


@pytest.mark.parametrize("name", SAMPLED)
def test_samples_have_the_distribution(name):
    """By the test of Kolmogorov and Smirnov, and by chi-square. A right one fails once in 10^4."""
    law = LAWS[name]
    for samples, parameters in zip(samples_of(name)[0], law.parameters, strict=True):
        if law.cdf is None:
            assert chi_square(law, parameters, samples) > 1e-4, parameters
        else:
            test = scipy.stats.kstest(samples, functools.partial(cdf_at, law, parameters))
            assert test.pvalue > 1e-4, parameters


def cdf_at(law, parameters, x):
    return law.cdf(x, *parameters)


def chi_square(law, parameters, samples):
    """The probability of as large a statistic by chance. Values that are rare are one class."""
    values, observed = np.unique(samples, return_counts=True)
    if values.max() <= 1.0 and np.any(values % 1.0):  # levels, which float32 rounds
        values = np.asarray(law.values(*parameters))
        observed = np.array([np.sum(np.abs(samples - value) < 1e-5) for value in values])
        assert observed.sum() == len(samples)
    expected = len(samples) * np.exp(law.log_prob(values, *parameters))
    kept = expected > 10
    expected = np.append(expected[kept], len(samples) - expected[kept].sum())
    observed = np.append(observed[kept], len(samples) - observed[kept].sum())
    if expected[-1] < 5:
        expected, observed = expected[:-1], observed[:-1]
        expected = expected * observed.sum() / expected.sum()
    return scipy.stats.chisquare(observed, expected).pvalue if len(expected) > 1 else 1.0


@pytest.mark.parametrize(
    "name", [n for n in SAMPLED if not n.startswith(("discretised", "student"))]
)
def test_the_mean_is_that_of_samples(name):
    for samples, means, parameters in zip(*samples_of(name), LAWS[name].parameters, strict=True):
        if parameters in ((4.0, 0.5), (2.0, -3.0)):
            continue  # whose means depend on a few samples
        if np.ptp(samples) == 0:  # a count that hardly ever differs from its most probable value
            np.testing.assert_allclose(means[0], samples[0], atol=1e-4)
        else:
            assert_mean(samples, float(means[0]))


@pytest.mark.parametrize("name", ["discretised_logistic", "discretised_normal"])
@pytest.mark.parametrize("index", range(5))
def test_the_mean_of_rounded_variables_is_that_of_their_levels_to_half_a_level(name, index):
    law = MASSES[name]
    parameters, levels = law.parameters[index], np.arange(256) / 255
    mean = np.exp(law.log_prob(levels, *parameters)) @ levels
    found = of_one(law, parameters).mean[0]
    np.testing.assert_allclose(found, mean, atol=0.5 / 255)


@pytest.mark.parametrize("name", ["continuous_bernoulli", "log_normal"])
def test_samples_carry_the_gradient_of_their_mean(name):
    law = LAWS[name]
    for parameters in law.parameters[:2] if name == "log_normal" else law.parameters[1:9]:
        arrays = tuple(jnp.full((20_000,), p) for p in parameters)
        keys = KEY

        def moved(parameters, of=lambda d: d.sample(keys)):
            return jnp.sum(of(law.make(*parameters)))

        samples = jax.grad(moved)(arrays)
        exact = jax.grad(lambda p: moved(p, lambda d: d.mean))(arrays)
        for one, other in zip(samples, exact, strict=True):
            assert_mean(np.asarray(one, np.float64), float(other[0]))


# 4 levels of 2 pixels with 3 channels: 4^6 images.
SHAPE, M, LEVELS = (2, 3), 3, 4


def rgb_mixture(seed=0):
    keys = jax.random.split(jax.random.key(seed), 4)
    return LogisticMixture(
        logits=jax.random.normal(keys[0], (2, M)),
        location=jax.random.uniform(keys[1], (*SHAPE, M)),
        log_scale=jax.random.normal(keys[2], (*SHAPE, M)) - 1.5,
        coupling=jax.random.normal(keys[3], (2, 3, M)),
        levels=LEVELS,
    )


def images():
    values = np.arange(LEVELS) / (LEVELS - 1)
    return np.stack(np.meshgrid(*[values] * 6, indexing="ij"), axis=-1).reshape(-1, *SHAPE)


def by_hand(d, x):
    """log p(x) [N] of images [N, 2, 3] in double precision, component after component."""
    weights = scipy.special.softmax(np.float64(d.logits), axis=-1)
    total = np.zeros(len(x))
    for pixel in range(2):
        mass = np.zeros((len(x), M))
        for m in range(M):
            location, coupling = np.float64(d.location[pixel, :, m]), d.coupling[pixel, :, m]
            red, green, blue = np.float64(x[:, pixel]).T
            of_each = (
                location[0] + 0.0 * red,
                location[1] + coupling[0] * (red - 0.5),
                location[2] + coupling[1] * (red - 0.5) + coupling[2] * (green - 0.5),
            )
            log_mass = np.zeros(len(x))
            for c, (value, centre) in enumerate(zip((red, green, blue), of_each, strict=True)):
                scale = float(d.log_scale[pixel, c, m])
                log_mass += [
                    log_of_level(np.array([v]), float(mu), scale, LEVELS)[0]
                    for v, mu in zip(value, centre, strict=True)
                ]
            mass[:, m] = weights[pixel, m] * np.exp(log_mass)
        total += np.log(mass.sum(axis=1))
    return total


def test_the_rgb_mixture_is_that_of_an_enumeration():
    d, x = rgb_mixture(), jnp.asarray(images(), jnp.float32)
    log_probs = np.float64(jax.jit(jax.vmap(d.log_prob))(x))
    np.testing.assert_allclose(np.exp(log_probs).sum(), 1.0, atol=1e-5)
    some = np.random.default_rng(0).choice(len(x), 50, replace=False)
    np.testing.assert_allclose(log_probs[some], by_hand(d, np.asarray(x)[some]), rtol=1e-4)


def test_samples_of_the_rgb_mixture_have_its_probabilities():
    d = rgb_mixture(1)
    one = jax.tree.map(lambda leaf: leaf[:1], d)
    x = jnp.asarray(images()[: LEVELS**6 : 1], jnp.float32)
    pixels = jnp.unique(x[:, :1], axis=0)
    samples = jax.jit(jax.vmap(one.sample))(jax.random.split(KEY, 20_000))
    expected = 20_000 * np.exp(np.float64(jax.vmap(one.log_prob)(pixels)))
    differences = np.abs(np.asarray(samples)[:, None] - np.asarray(pixels)[None])
    observed = np.sum(np.all(differences < 1e-5, axis=(2, 3)), axis=0)
    assert observed.sum() == 20_000
    kept = expected > 5
    expected = np.append(expected[kept], expected[~kept].sum())
    observed = np.append(observed[kept], observed[~kept].sum())
    assert scipy.stats.chisquare(observed, expected * 20_000 / expected.sum()).pvalue > 1e-4


def test_the_mixture_of_grey_pixels_is_one_of_discretised_logistics():
    keys = jax.random.split(KEY, 3)
    d = LogisticMixture(
        logits=jax.random.normal(keys[0], (5, M)),
        location=jax.random.uniform(keys[1], (5, 1, M)),
        log_scale=jax.random.normal(keys[2], (5, 1, M)) - 3.0,
        coupling=jnp.zeros((5, 0, M)),
    )
    x = jnp.round(jnp.linspace(0.0, 1.0, 5) * 255)[:, None] / 255
    components = [
        DiscretisedLogistic(d.location[..., m], d.log_scale[..., m]).log_prob_per_dim(x)[:, 0]
        for m in range(M)
    ]
    weights = jax.nn.log_softmax(d.logits)
    expected = jax.nn.logsumexp(weights + jnp.stack(components, axis=1), axis=1).sum()
    np.testing.assert_allclose(d.log_prob(x), expected, rtol=1e-5)


def test_categorical_levels_are_the_softmax_of_each_pixel():
    logits = jax.random.normal(KEY, (2, 3, 256))
    d = CategoricalLevels(logits)
    log_mass = scipy.special.log_softmax(np.float64(logits), axis=-1)
    rng = np.random.default_rng(0)
    for _ in range(5):
        levels = rng.integers(0, 256, (2, 3))
        expected = np.take_along_axis(log_mass, levels[..., None], -1).sum()
        found = d.log_prob(jnp.asarray(levels / 255, jnp.float32))
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(d.mean, np.exp(log_mass) @ (np.arange(256) / 255), rtol=1e-5)
    few = CategoricalLevels(jnp.broadcast_to(logits[0, 0, :5], (20_000, 1, 5)))
    samples = np.asarray(few.sample(KEY)).ravel() * 4
    observed = np.bincount(np.round(samples).astype(int), minlength=5)
    expected = 20_000 * scipy.special.softmax(np.float64(logits[0, 0, :5]))
    assert scipy.stats.chisquare(observed, expected).pvalue > 1e-4


# name -> (distribution, values inside its support, values outside)
SUPPORTS = {
    "continuous_bernoulli": (ContinuousBernoulli(jnp.zeros(2)), [0, 0.3, 1], [-1e-6, 1.1, np.nan]),
    "laplace": (Laplace(jnp.zeros(2), jnp.zeros(2)), [0.0, -1e30], [np.inf, np.nan]),
    "student_t": (StudentT(*[jnp.zeros(2)] * 3), [0.0, -1e30], [np.inf, np.nan]),
    "log_normal": (LogNormal(jnp.zeros(2), jnp.zeros(2)), [1e-30, 5.0], [0.0, -1.0, np.inf]),
    "poisson": (Poisson(jnp.zeros(2)), [0, 3, 1e6], [-1, 0.5, np.inf, np.nan]),
    "binomial": (Binomial(jnp.zeros(2), 16), [0, 3, 16], [-1, 0.5, 17, np.nan]),
    "negative_binomial": (NegativeBinomial(*[jnp.zeros(2)] * 2), [0, 3], [-1, 0.5, np.inf]),
    "zinb": (ZeroInflatedNegativeBinomial(*[jnp.zeros(2)] * 3), [0, 3], [-1, 0.5, np.inf]),
    "discretised_logistic": (
        DiscretisedLogistic(jnp.zeros(2), jnp.zeros(2)),
        [0, 1, 7 / 255],
        [0.5, -1 / 255, 2, 255, np.nan],
    ),
    "discretised_normal": (
        DiscretisedNormal(jnp.zeros(2), jnp.zeros(2)),
        [0, 1, 7 / 255],
        [0.5, -1 / 255, 2, 255, np.nan],
    ),
    "categorical": (CategoricalLevels(jnp.zeros((2, 16))), [0, 1, 7 / 15], [0.5, 2, np.nan]),
}


@pytest.mark.parametrize("name", SUPPORTS)
def test_one_value_outside_the_support_puts_the_event_outside(name):
    distribution, inside, outside = SUPPORTS[name]
    event = jnp.full((2,), inside[0], jnp.float32)
    for values, expected in ((inside, True), (outside, False)):
        for value in values:
            assert distribution.in_support(event.at[1].set(value)) == expected


@pytest.mark.parametrize("name", SUPPORTS)
def test_a_value_of_another_shape_than_the_event_is_refused(name):
    distribution, inside, _ = SUPPORTS[name]
    event = jnp.full((2,), inside[-1], jnp.float32)
    value, log_prob = distribution.sample_and_log_prob(KEY)
    np.testing.assert_array_equal(value, distribution.sample(KEY))
    np.testing.assert_allclose(log_prob, distribution.log_prob(value), rtol=1e-6)
    assert distribution.log_prob(event).shape == ()
    with pytest.raises(ValueError, match="has no density at a value of the shape"):
        distribution.log_prob(event[:1])

"""ELBO surgery against quadrature over a mixture, and at its limits; latent units by definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.diagnostics import aggregate
from vae_jax.distributions import FullNormal, Normal, normal_mixture, standard_normal
from vae_jax.distributions.flows import Flow, Planar

PRIOR = standard_normal((2,))
MEANS = np.array([[0.0, 0.5], [1.0, -0.5], [-1.2, 0.3], [0.4, 1.5], [2.0, 1.8]])
LOG_STDS = np.log([[0.6, 0.3], [0.5, 0.8], [0.4, 0.5], [0.3, 0.3], [0.5, 0.6]])


def posteriors(repetitions=1):
    """The same mixture, whatever the repetitions, of 5 posteriors each."""
    return Normal(
        mean=jnp.tile(jnp.asarray(MEANS, jnp.float32), (repetitions, 1)),
        log_std=jnp.tile(jnp.asarray(LOG_STDS, jnp.float32), (repetitions, 1)),
    )


@pytest.fixture(scope="module")
def found():
    return aggregate.surgery(posteriors(600), PRIOR, jax.random.key(0))


@pytest.fixture(scope="module")
def exact():
    """The terms of a mixture of 5, on a grid, with densities written out."""
    axis = np.linspace(-7.0, 7.0, 701)
    cell = (axis[1] - axis[0]) ** 2
    z = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)

    def log_normal(z, mean, std):
        return -0.5 * ((z - mean) / std) ** 2 - np.log(std) - 0.5 * np.log(2 * np.pi)

    each = np.stack(
        [log_normal(z, m, np.exp(s)).sum(axis=-1) for m, s in zip(MEANS, LOG_STDS, strict=True)]
    )
    log_q = np.log(np.exp(each).mean(axis=0))
    log_p = log_normal(z, 0.0, 1.0).sum(axis=-1)
    information = (np.exp(each) * (each - log_q)).sum(axis=(1, 2)).mean() * cell
    marginal = (np.exp(log_q) * (log_q - log_p)).sum() * cell
    kl = (np.exp(each) * (each - log_p)).sum(axis=(1, 2)).mean() * cell
    dimensions = []
    for j in range(2):
        density = np.exp(log_normal(axis[:, None], MEANS[:, j], np.exp(LOG_STDS[:, j]))).mean(1)
        ratio = np.log(density) - log_normal(axis, 0.0, 1.0)
        dimensions.append((density * ratio).sum() * (axis[1] - axis[0]))
    return information, marginal, kl, np.array(dimensions)


def test_the_terms_are_those_of_quadrature(found, exact):
    information, marginal, kl, dimensions = exact
    assert information > 0.5
    assert marginal > 0.2
    np.testing.assert_allclose(found.kl, kl, rtol=1e-5)
    assert abs(found.mutual_information - information) < 4 * found.mutual_information_error
    assert abs(found.marginal_kl - marginal) < 4 * found.marginal_kl_error
    assert found.mutual_information_error < 0.03
    assert found.marginal_kl_error < 0.03
    np.testing.assert_allclose(found.dimension_kl, dimensions, atol=0.05)
    correlation = marginal - dimensions.sum()
    assert correlation > 0.1
    np.testing.assert_allclose(found.total_correlation, correlation, atol=0.05)


def test_the_terms_add_up(found):
    assert found.num_examples == 3_000
    np.testing.assert_allclose(found.mutual_information + found.marginal_kl, found.sampled_kl)
    np.testing.assert_allclose(
        found.total_correlation + found.dimension_kl.sum(), found.marginal_kl
    )
    noise = np.hypot(found.mutual_information_error, found.marginal_kl_error)
    assert abs(found.sampled_kl - found.kl) < 4 * noise


def test_equal_posteriors_carry_nothing_and_close_ones_less_than_log_n():
    key = jax.random.key(0)
    prior = standard_normal((1,))
    equal = Normal(mean=jnp.full((500, 1), 0.7), log_std=jnp.full((500, 1), -0.4))
    found = aggregate.surgery(equal, prior, key)
    np.testing.assert_allclose(found.mutual_information, 0.0, atol=1e-5)
    assert abs(found.marginal_kl - found.kl) < 4 * found.marginal_kl_error
    # Each sample's share is at most log N.
    close = Normal(mean=jnp.arange(8.0)[:, None], log_std=jnp.zeros((8, 1)))
    assert aggregate.surgery(close, prior, key).mutual_information < np.log(8)


def test_the_chunk_changes_nothing(found):
    other = aggregate.surgery(posteriors(600), PRIOR, jax.random.key(0), samples_at_once=77)
    np.testing.assert_allclose(other.marginal_kl, found.marginal_kl, rtol=1e-5)


def test_units_by_definition():
    q = posteriors()
    collapsed = Normal(
        mean=jnp.concatenate([q.mean, jnp.full((5, 1), 0.001)], axis=1),
        log_std=jnp.concatenate([q.log_std, jnp.zeros((5, 1))], axis=1),
    )
    units = aggregate.units(collapsed, standard_normal((3,)))
    variances = np.exp(2 * LOG_STDS)
    kl = 0.5 * (variances + MEANS**2 - 1) - LOG_STDS
    np.testing.assert_allclose(units.kl[:2], kl.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(units.kl[2], 5e-7, rtol=0.1)
    np.testing.assert_allclose(units.mean_variance[:2], MEANS.var(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(units.active, [True, True, False])
    np.testing.assert_allclose(units.aggregate_mean[:2], MEANS.mean(axis=0), rtol=1e-5)
    # The second moment of a mixture.
    second = (variances + MEANS**2).mean(axis=0)
    np.testing.assert_allclose(
        units.aggregate_std[:2] ** 2, second - MEANS.mean(axis=0) ** 2, rtol=1e-5
    )


def units_of(kl):
    kl = np.asarray(kl, float)
    return aggregate.Units(kl, np.full(len(kl), 0.5), np.zeros(len(kl)), np.ones(len(kl)))


@pytest.mark.parametrize(
    ("kl", "carrying"),
    [
        ([2.0, 0.0, 1.0], [0, 2]),
        ([97.9, 2.0, 0.1], [0, 1]),
        ([98.0, 1.0, 1.0], [0]),  # exactly the share
        ([0.01, 5.0, 0.01, 5.0], [1, 3]),
        ([0.0, 0.0], []),
        ([1.0, -1e-9], [0]),
        ([3.0], [0]),
    ],
)
def test_the_fewest_dimensions_that_have_98_percent_of_the_kl_carry_it(kl, carrying):
    np.testing.assert_array_equal(np.flatnonzero(units_of(kl).carrying), carrying)


@pytest.mark.parametrize(("num_latents", "num_carrying"), [(10, 10), (49, 49), (50, 49), (100, 98)])
def test_of_equal_dimensions_98_percent_carry(num_latents, num_carrying):
    for kl in (0.1, 1.0 / 3.0):
        assert units_of(np.full(num_latents, kl)).carrying.sum() == num_carrying


def test_active_dimensions_may_carry_nothing():
    """20 informative dimensions of 1 nat, and 18 just above the threshold of activity.

    Posterior means of variance v under posteriors of variance 1 - v have a KL of -log(1 - v) / 2.
    """
    rng = np.random.default_rng(0)
    variance = np.array([1.0 - np.exp(-2.0)] * 20 + [0.011] * 18 + [0.001] * 2)
    noise = rng.normal(size=(1000, 40))
    noise = (noise - noise.mean(axis=0)) / noise.std(axis=0)
    q = Normal(
        mean=jnp.asarray(noise * np.sqrt(variance), jnp.float32),
        log_std=jnp.broadcast_to(
            jnp.asarray(0.5 * np.log(1.0 - variance), jnp.float32), (1000, 40)
        ),
    )
    units = aggregate.units(q, standard_normal((40,)))
    np.testing.assert_allclose(units.kl, -0.5 * np.log(1.0 - variance), rtol=1e-3, atol=1e-6)
    assert units.active.sum() == 38
    np.testing.assert_array_equal(np.flatnonzero(units.carrying), range(20))


@pytest.mark.slow
def test_standard_errors_are_the_spread_over_keys():
    q = posteriors(40)
    found = [aggregate.surgery(q, PRIOR, key) for key in jax.random.split(jax.random.key(1), 30)]
    for name in ("mutual_information", "marginal_kl"):
        spread = np.std([getattr(each, name) for each in found], ddof=1)
        stated = np.mean([getattr(each, f"{name}_error") for each in found])
        assert 0.6 < spread / stated < 1.4  # by chance within 1 +- 0.13, 68 %


def full_normals(repetitions=1):
    q = posteriors(repetitions)
    return FullNormal(q.mean, q.log_std, jnp.zeros((len(q.mean), 2, 2)))


def flows(repetitions=1):
    q = posteriors(repetitions)
    return Flow(q.mean, q.log_std, ())


def mixtures(repetitions=1):
    """Posteriors of two equal components, half of them each."""
    q = posteriors(repetitions)
    twice = [jnp.repeat(leaf[:, None], 2, axis=1) for leaf in (q.mean, q.log_std)]
    return normal_mixture(jnp.zeros((len(q.mean), 2)), *twice)


@pytest.mark.parametrize("family", [full_normals, mixtures, flows])
def test_families_that_contain_the_diagonal_normal_agree_with_it(found, family):
    """Within the errors, since their samples are others."""
    other = aggregate.surgery(family(600), PRIOR, jax.random.key(1))
    for name in ("mutual_information", "marginal_kl"):
        error = np.hypot(getattr(found, f"{name}_error"), getattr(other, f"{name}_error"))
        assert abs(getattr(found, name) - getattr(other, name)) < 4 * error
    units, known = aggregate.units(family(), PRIOR), aggregate.units(posteriors(), PRIOR)
    np.testing.assert_array_equal(units.active, known.active)
    np.testing.assert_allclose(units.mean_variance, known.mean_variance, rtol=0.2)
    if family is flows:
        assert (other.dimension_kl, other.total_correlation, units.kl) == (None, None, None)
        assert units.carrying is None
        assert other.kl == other.sampled_kl
        return
    np.testing.assert_allclose(other.dimension_kl, found.dimension_kl, atol=0.06)
    np.testing.assert_allclose(other.total_correlation, found.total_correlation, atol=0.06)
    if family is full_normals:
        np.testing.assert_allclose(units.kl, known.kl, rtol=1e-5)
        np.testing.assert_allclose(other.kl, found.kl, rtol=1e-5)
    else:
        sampled = aggregate.units(family(600), PRIOR, key=jax.random.key(2))
        np.testing.assert_allclose(sampled.kl, known.kl, atol=0.08)


def test_a_mixture_as_the_prior_is_that_of_quadrature():
    """The prior is the aggregate posterior itself, so that the marginal KL is zero."""
    prior = normal_mixture(jnp.zeros(5), *jax.tree.leaves(posteriors()))
    found = aggregate.surgery(posteriors(100), prior, jax.random.key(0))
    np.testing.assert_allclose(found.marginal_kl, 0.0, atol=1e-5)
    np.testing.assert_allclose(found.kl, found.mutual_information, rtol=1e-5)
    assert (found.dimension_kl, found.total_correlation) == (None, None)
    # The KL of a dimension, on a grid.
    axis = np.linspace(-8.0, 8.0, 4001)[:, None]
    density = np.exp(-0.5 * ((axis - MEANS[:, 0]) / np.exp(LOG_STDS[:, 0])) ** 2 - LOG_STDS[:, 0])
    density /= np.sqrt(2 * np.pi)
    ratio = np.log(density) - np.log(density.mean(axis=1, keepdims=True))
    exact = (density * ratio).sum(axis=0).mean() * (axis[1, 0] - axis[0, 0])
    units = aggregate.units(posteriors(600), prior)
    assert abs(units.kl[0] - exact) < 4 * 0.8 / np.sqrt(3000)


def test_surgery_of_a_flow_from_what_the_encoder_gives():
    """Shared parts are not among the codes; without a density there is one sentence."""
    q = posteriors(100)
    key = jax.random.key(0)
    codes = jnp.concatenate([q.mean, q.log_std], axis=1)
    found = aggregate.surgery(
        codes, PRIOR, key, posterior_of=lambda code: Flow(code[:2], code[2:], ())
    )
    other = aggregate.surgery(flows(100), PRIOR, key)
    np.testing.assert_allclose(found.marginal_kl, other.marginal_kl, rtol=1e-4)
    planar = Planar(jnp.ones(2), jnp.ones(2), jnp.zeros(()))
    with pytest.raises(TypeError, match="no log-density at a given value"):
        aggregate.surgery(
            codes, PRIOR, key, posterior_of=lambda code: Flow(code[:2], code[2:], (planar,))
        )

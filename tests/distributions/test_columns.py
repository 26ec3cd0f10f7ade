"""Columns of several types: masses sum to one, densities integrate, and no column rules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from vae_jax.distributions import Codes, Columns, Normal, Ordinal, Positive
from vae_jax.models import heads
from vae_jax.models.heads import ColumnType

TYPES = (
    ColumnType("real", 1, 5.0, 2.0),
    ColumnType("categorical", 3),
    ColumnType("positive", 1, 1.0, 0.5),
    ColumnType("ordinal", 4),
    ColumnType("count", 1, 1.2, 0.7),
    ColumnType("binary"),
    ColumnType("categorical", 2),
    ColumnType("ordinal", 2),
)
HEAD = heads.columns(TYPES)
NUM_OUTPUTS = HEAD.output_shape((8,))[0]
ROW = jnp.array([4.0, 2.0, 3.0, 1.0, 4.0, 1.0, 0.0, 1.0])


def columns(seed=0, scale=1.0):
    params, _ = HEAD.init(jax.random.key(0), ROW)
    outputs = scale * jax.random.normal(jax.random.key(seed), (NUM_OUTPUTS,))
    return HEAD.apply(params, outputs, (8,))


def log_prob_at(distribution, place, value):
    return np.float64(distribution.log_prob_per_dim(ROW.at[place].set(value))[place])


def test_the_masses_of_each_discrete_column_sum_to_one():
    for seed in range(3):
        distribution = columns(seed)
        for place, number in ((1, 3), (3, 4), (5, 2), (6, 2), (7, 2), (4, 400)):
            total = sum(np.exp(log_prob_at(distribution, place, k)) for k in range(number))
            np.testing.assert_allclose(total, 1.0, atol=2e-5)


def test_the_densities_of_each_continuous_column_integrate_to_one_in_their_units():
    distribution = columns(1)
    log_prob = jax.jit(distribution.log_prob_per_dim)
    for place, low, high in ((0, -60.0, 70.0), (2, 1e-4, 400.0)):
        found, _ = integrate.quad(
            lambda v, place=place: np.exp(float(log_prob(ROW.at[place].set(v))[place])),
            low, high, limit=400, points=[5.0],
        )  # fmt: skip
        np.testing.assert_allclose(found, 1.0, atol=1e-3)


def test_the_log_probabilities_are_those_of_scipy():
    distribution = columns(2)
    real, positive, count, categorical, ordinal, binary = distribution.groups
    found = np.asarray(distribution.log_prob_per_dim(ROW))
    mean, std = np.asarray(real.mean)[0], 2.0 * np.exp(np.asarray(real.base.log_std)[0])
    np.testing.assert_allclose(found[0], stats.norm(mean, std).logpdf(4.0), rtol=1e-5)
    log_mean, log_std = np.asarray(positive.log_mean)[0], np.asarray(positive.log_std)[0]
    wanted = stats.lognorm(np.exp(log_std), scale=np.exp(log_mean)).logpdf(3.0)
    np.testing.assert_allclose(found[2], wanted, rtol=1e-5)
    theta, mean = np.exp(np.asarray(count.log_dispersion)[0]), np.asarray(count.mean)[0]
    wanted = stats.nbinom(theta, theta / (theta + mean)).logpmf(4)
    np.testing.assert_allclose(found[4], wanted, rtol=1e-4)
    logits = np.asarray(categorical.logits)
    np.testing.assert_allclose(found[1], logits[0, 2] - special.logsumexp(logits[0]), rtol=1e-5)
    np.testing.assert_allclose(found[6], logits[1, 0] - special.logsumexp(logits[1, :2]), rtol=1e-5)
    ends = np.asarray(ordinal.thresholds)[0] - np.asarray(ordinal.location)[0]
    wanted = np.log(special.expit(ends[1]) - special.expit(ends[0]))
    np.testing.assert_allclose(found[3], wanted, rtol=1e-4)
    np.testing.assert_allclose(found[5], special.log_expit(np.asarray(binary.logits)[0]), rtol=1e-5)
    np.testing.assert_allclose(distribution.log_prob(ROW), found.sum(), rtol=1e-5)


def test_samples_have_the_probabilities_of_their_columns():
    """20,000 rows: frequencies within 5 standard errors, and means of the numbers likewise."""
    distribution = columns(3, 0.5)
    keys = jax.random.split(jax.random.key(0), 20_000)
    rows = np.array(jax.jit(jax.vmap(distribution.sample))(keys))
    assert bool(jax.vmap(distribution.in_support)(jnp.asarray(rows)).all())
    for place, number in ((1, 3), (3, 4), (5, 2), (6, 2), (7, 2)):
        for k in range(number):
            p = np.exp(log_prob_at(distribution, place, k))
            error = np.sqrt(p * (1 - p) / len(rows))
            assert abs((rows[:, place] == k).mean() - p) < 5 * error + 1e-4
    real, positive, count, *_ = distribution.groups
    rows[:, 2] = np.log(rows[:, 2])
    for place, mean in ((0, real.mean[0]), (2, positive.log_mean[0]), (4, count.mean[0])):
        error = rows[:, place].std() / np.sqrt(len(rows))
        assert abs(rows[:, place].mean() - float(mean)) < 5 * error
    np.testing.assert_allclose(positive.mean, np.exp(positive.log_mean), rtol=1e-6)


def test_estimates_are_means_medians_and_the_most_probable():
    logits = jnp.array([[0.0, 1.0, -1.0], [3.0, 0.0, 9.0]])
    assert np.asarray(Codes(logits, (3, 2)).mean).tolist() == [1.0, 0.0]
    ordinal = Ordinal(jnp.array([0.0, 10.0]), jnp.array([[-1.0, 1.0], [0.0, 1.0]]), (3, 2))
    assert np.asarray(ordinal.mean).tolist() == [1.0, 1.0]
    probabilities = np.asarray(ordinal.expected)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-6)
    assert probabilities[1, 2] == 0.0
    both = Columns((Codes(logits, (3, 2)), Normal(jnp.array([7.0]), jnp.zeros(1))), ((2, 0), (1,)))
    assert np.asarray(both.mean).tolist() == [0.0, 7.0, 1.0]
    averaged = (jnp.array([[0.5, 0.3, 0.2], [0.1, 0.9, 0.0]]), jnp.array([2.0]))
    assert np.asarray(both.estimate(averaged)).tolist() == [1.0, 2.0, 0.0]


def test_the_probabilities_of_categories_do_not_leave_their_sizes():
    codes = Codes(jnp.zeros((2, 4)), (4, 2))
    np.testing.assert_allclose(codes.expected, [[0.25] * 4, [0.5, 0.5, 0.0, 0.0]])
    gradient = jax.grad(lambda x: Codes(x, (4, 2)).log_prob(jnp.array([3.0, 1.0])))(
        jnp.ones((2, 4))
    )
    np.testing.assert_allclose(gradient, [[-0.25, -0.25, -0.25, 0.75], [-0.5, 0.5, 0.0, 0.0]])
    assert not codes.in_support(jnp.array([3.0, 2.0]))
    assert not codes.in_support(jnp.array([0.5, 0.0]))


def test_ordered_categories_far_from_the_location_keep_finite_log_probabilities():
    for location in (-300.0, 300.0):
        ordinal = Ordinal(jnp.array([location]), jnp.array([[-1.0, 1.0]]), (3,))
        for code in range(3):
            value, slope = jax.value_and_grad(
                lambda at, code=code: Ordinal(at, jnp.array([[-1.0, 1.0]]), (3,)).log_prob(
                    jnp.array([float(code)])
                )
            )(ordinal.location)
            assert np.isfinite([value, *slope]).all()


@pytest.mark.parametrize("place", [0, 2])
def test_a_column_in_other_units_changes_no_gradient(place):
    """A column times 1e4, with its units: the log-density is less by log 1e4."""
    of = TYPES[place]
    factor = 1e4
    if of.kind == "real":
        other = of._replace(shift=of.shift * factor, scale=of.scale * factor)
    else:
        other = of._replace(shift=of.shift + np.log(factor))
    head = heads.columns([*TYPES[:place], other, *TYPES[place + 1 :]])
    outputs = jax.random.normal(jax.random.key(0), (NUM_OUTPUTS,))
    params, _ = HEAD.init(jax.random.key(0), ROW)

    def log_prob(head, row):
        return jax.value_and_grad(lambda out: head.apply(params, out, (8,)).log_prob(row))(outputs)

    value, gradient = log_prob(HEAD, ROW)
    scaled, of_scaled = log_prob(head, ROW.at[place].multiply(factor))
    np.testing.assert_allclose(scaled, value - np.log(factor), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(of_scaled, gradient, rtol=1e-3, atol=1e-3)
    features = heads.features(TYPES).of(ROW)
    of_other = heads.features([*TYPES[:place], other, *TYPES[place + 1 :]]).of
    np.testing.assert_allclose(of_other(ROW.at[place].multiply(factor)), features, atol=1e-4)


@pytest.mark.parametrize("far", [-1e3, 1e3])
def test_far_outputs_are_finite_with_finite_gradients(far):
    params, _ = HEAD.init(jax.random.key(0), ROW)

    def log_prob(outputs):
        return HEAD.apply(params, outputs, (8,)).log_prob(ROW)

    value, gradient = jax.value_and_grad(log_prob)(jnp.full(NUM_OUTPUTS, far))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert np.isfinite(HEAD.apply(params, jnp.full(NUM_OUTPUTS, far), (8,)).mean).all()


def test_an_untrained_head_gives_each_ordered_category_the_same_probability():
    params, bias = HEAD.init(jax.random.key(0), ROW)
    untrained = HEAD.apply(params, bias, (8,))
    np.testing.assert_allclose(untrained.groups[4].expected[0], [0.25] * 4, atol=1e-6)
    np.testing.assert_allclose(untrained.groups[4].expected[1, :2], [0.5] * 2, atol=1e-6)
    np.testing.assert_allclose(untrained.groups[0].mean, [5.0])


WITH_ZEROS = (
    ColumnType("positive", 1, 1.0, 0.5, True),
    ColumnType("real", 1, 5.0, 2.0),
    ColumnType("positive", 1, 0.2, 0.3),
    ColumnType("positive", 1, 2.0, 1.5, True),
)


def with_zeros(seed=0, types=WITH_ZEROS):
    head = heads.columns(types)
    outputs = 0.7 * jax.random.normal(jax.random.key(seed), head.output_shape((4,)))
    return head.apply({}, outputs, (4,))


def test_the_probability_of_zero_and_the_density_above_it_make_one():
    """By SciPy, and by quadrature over log x."""
    distribution = with_zeros()
    log_prob = jax.jit(distribution.log_prob_per_dim)
    row = jnp.array([1.0, 4.0, 2.0, 1.0])
    group = distribution.groups[-1]
    for index, place in enumerate((0, 3)):
        at_zero = float(log_prob(row.at[place].set(0.0))[place])
        np.testing.assert_allclose(at_zero, special.log_expit(group.zero_logits[index]), rtol=1e-5)
        log_mean, std = float(group.log_mean[index]), float(np.exp(group.log_std[index]))
        logs = np.linspace(log_mean - 9 * std, log_mean + 9 * std, 2001)
        values = jnp.asarray(np.exp(logs), jnp.float32)
        found = jax.vmap(lambda v, place=place: log_prob(row.at[place].set(v))[place])(values)
        share = special.expit(-np.float64(group.zero_logits[index]))
        wanted = np.log(share) + stats.lognorm(std, scale=np.exp(log_mean)).logpdf(values)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-3)
        density = integrate.trapezoid(np.exp(np.float64(found) + logs), logs)
        np.testing.assert_allclose(np.exp(at_zero) + density, 1.0, atol=1e-4)
    assert not distribution.in_support(row.at[2].set(0.0))  # a column without zeros
    assert not distribution.in_support(row.at[0].set(-1.0))
    assert distribution.in_support(row.at[0].set(0.0))


def test_samples_are_zero_as_often_as_is_said_and_else_log_normal():
    distribution = with_zeros(1)
    keys = jax.random.split(jax.random.key(0), 20_000)
    rows = np.asarray(jax.jit(jax.vmap(distribution.sample))(keys))
    group = distribution.groups[-1]
    for index, place in enumerate((0, 3)):
        p, is_zero = special.expit(np.float64(group.zero_logits[index])), rows[:, place] == 0
        assert abs(is_zero.mean() - p) < 5 * np.sqrt(p * (1 - p) / len(rows))
        logs = np.log(rows[~is_zero, place])
        error = logs.std() / np.sqrt(len(logs))
        assert abs(logs.mean() - float(group.log_mean[index])) < 5 * error
    assert (rows[:, 2] > 0).all()


def test_the_estimate_is_the_share_above_zero_times_their_median():
    """The distribution alone, and an average over two values of z."""
    logs, logits = jnp.array([1.0, 2.0]), jnp.array([-1.0, 3.0])
    one = Positive(logs, jnp.zeros(2), logits)
    share = special.expit(-np.asarray(logits))
    np.testing.assert_allclose(one.mean, share * np.exp(np.asarray(logs)), rtol=1e-5)
    other = Positive(logs + 1.0, jnp.zeros(2), logits - 2.0)
    shares = np.stack([share, special.expit(2.0 - np.asarray(logits))])
    each = np.stack([np.asarray(logs), np.asarray(logs) + 1.0])
    wanted = shares.mean(axis=0) * np.exp((shares * each).sum(axis=0) / shares.sum(axis=0))
    np.testing.assert_allclose(one.estimate((one.expected + other.expected) / 2), wanted, rtol=1e-5)
    never = Positive(jnp.array([3.0]), jnp.zeros(1), jnp.array([1e4]))
    assert never.mean[0] == 0.0


def test_gradients_at_zero_and_units_of_columns_with_zeros():
    """A zero moves the logit alone; units move log x and the shift."""
    head = heads.columns(WITH_ZEROS)
    outputs = 0.5 * jax.random.normal(jax.random.key(3), head.output_shape((4,)))
    row = jnp.array([0.0, 4.0, 2.0, 3.0])

    def log_prob(types, row):
        def of(outputs):
            return heads.columns(types).apply({}, outputs, (4,)).log_prob(row)

        return jax.value_and_grad(of)(outputs)

    value, gradient = log_prob(WITH_ZEROS, row)
    first, log_std, logit = 4, 6, 8  # outputs of column 0, behind those of columns 1 and 2
    assert gradient[first] == gradient[log_std] == 0.0
    np.testing.assert_allclose(gradient[logit], special.expit(-outputs[logit]), rtol=1e-5)
    other = WITH_ZEROS[3]._replace(shift=2.0 + np.log(1e4))
    scaled, of_scaled = log_prob((*WITH_ZEROS[:3], other), row.at[3].multiply(1e4))
    np.testing.assert_allclose(scaled, value - np.log(1e4), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(of_scaled, gradient, rtol=1e-3, atol=1e-3)
    for far in (-1e3, 1e3):
        assert np.isfinite(jax.grad(lambda out: head.apply({}, out, (4,)).log_prob(row))(
            jnp.full_like(outputs, far)
        )).all()  # fmt: skip
    found = heads.features(WITH_ZEROS)
    wanted = [0, 0, -0.5, (np.log(2) - 0.2) / 0.3, (np.log(3) - 2.0) / 1.5, 1]
    np.testing.assert_allclose(found.of(row), wanted, rtol=1e-5)
    assert found.owners.tolist() == [0, 0, 1, 2, 3, 3]


def test_features_are_units_one_hot_and_levels():
    found = heads.features(TYPES)
    values = np.asarray(found.of(ROW))
    wanted = [-0.5, 0, 0, 1, (np.log(3) - 1) / 0.5, 1, 0, 0, (np.log(5) - 1.2) / 0.7, 1, 1, 0, 1]
    np.testing.assert_allclose(values, wanted, atol=1e-6)
    assert found.owners.tolist() == [0, 1, 1, 1, 2, 3, 3, 3, 4, 5, 6, 6, 7]


def test_types_that_are_none_are_refused():
    for types in (
        [],
        [("text",)],
        [("categorical", 1)],
        [("real", 1, 0.0, 0.0)],
        [("count", 1, 0.0, 1.0, True)],
    ):
        with pytest.raises(ValueError, match="column"):
            heads.columns(types)
    with pytest.raises(ValueError, match="There are 8 columns"):
        HEAD.apply({}, jnp.zeros(NUM_OUTPUTS), (7,))

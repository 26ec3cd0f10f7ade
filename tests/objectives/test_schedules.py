import re
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from vae_jax.objectives import schedules

ENDS = [(0.0, 1.0), (0.1, 0.7), (4.0, 0.3)]


def values(schedule, num_steps):
    """[num_steps], under jit of a traced integer step."""
    return np.asarray(jax.jit(jax.vmap(schedule))(jnp.arange(num_steps)))


def test_constant_is_that_number_at_every_step():
    np.testing.assert_array_equal(values(schedules.constant(0.3), 4), np.full(4, 0.3, np.float32))


@pytest.mark.parametrize(("start", "end"), ENDS)
def test_linear_is_the_line_and_then_its_end(start, end):
    fraction = np.minimum(np.arange(60) / 50, 1.0)
    actual = values(schedules.linear(start, end, 50), 60)
    np.testing.assert_allclose(actual, start + (end - start) * fraction, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("start", "end"), ENDS)
@pytest.mark.parametrize("steepness", [1.0, 10.0, 30.0])
def test_sigmoid_is_the_logistic_function_made_to_meet_both_ends(start, end, steepness):
    fraction = np.minimum(np.arange(60) / 50, 1.0)
    first, last = expit(-0.5 * steepness), expit(0.5 * steepness)
    rise = (expit(steepness * (fraction - 0.5)) - first) / (last - first)
    actual = values(schedules.sigmoid(start, end, 50, steepness), 60)
    np.testing.assert_allclose(actual, start + (end - start) * rise, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("start", "end"), ENDS)
@pytest.mark.parametrize(("num_steps", "num_cycles"), [(40, 4), (22, 6), (7, 3), (300, 1)])
@pytest.mark.parametrize("rising", [0.3, 1.0])
def test_cyclical_rises_and_stays_over_and_over(start, end, num_steps, num_cycles, rising):
    """In exact fractions: rounding must not take the first step of a cycle for the end of one."""
    done = [Fraction(step * num_cycles, num_steps) % 1 for step in range(num_steps)]
    rise = np.array([min(float(part) / rising, 1.0) for part in done] + [1.0] * 5)
    actual = values(schedules.cyclical(start, end, num_steps, num_cycles, rising), num_steps + 5)
    np.testing.assert_allclose(actual, start + (end - start) * rise, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("start", "end"), ENDS)
@pytest.mark.parametrize(
    "make",
    [
        schedules.sigmoid,
        lambda *args: schedules.sigmoid(*args, steepness=9.5),
        lambda *args: schedules.cyclical(*args, num_cycles=1),
        lambda *args: schedules.cyclical(*args, num_cycles=3, rising=1.0),
    ],
    ids=["sigmoid", "rounded_sigmoid", "one_cycle", "cycles"],
)
def test_both_ends_are_exact_also_where_the_compiler_rounds(make, start, end):
    schedule = make(start, end, 1000)
    for evaluate in (schedule, jax.jit(schedule)):
        for step, expected in ((0, start), (1000, end), (5000, end)):
            assert evaluate(jnp.int32(step)) == np.float32(expected)


@pytest.mark.parametrize("make", [schedules.linear, schedules.sigmoid])
def test_linear_and_sigmoid_never_turn_and_never_overshoot(make):
    rising, falling = values(make(0.0, 1.0, 50), 60), values(make(1.0, 0.0, 50), 60)
    assert np.all(np.diff(rising[:51]) > 0)
    assert np.all(np.diff(falling[:51]) < 0)
    for actual in (rising, falling):
        assert actual.min() >= 0.0
        assert actual.max() <= 1.0


def test_a_number_stands_for_itself_and_a_schedule_stays_one():
    for number in (0.3, 2, jnp.asarray(0.3)):
        value = jax.jit(schedules.as_schedule(number))(jnp.int32(17))
        assert value == np.float32(number)
        assert value.dtype == jnp.float32
    schedule = schedules.linear(0.0, 1.0, 10)
    assert schedules.as_schedule(schedule) is schedule


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: schedules.sigmoid(0.0, 1.0, 0), "num_steps must be at least 1, not 0."),
        (lambda: schedules.sigmoid(0.0, 1.0, 9, 0.0), "steepness must be positive, not 0.0."),
        (lambda: schedules.cyclical(0.0, 1.0, -1), "num_steps must be at least 1, not -1."),
        (lambda: schedules.cyclical(0.0, 1.0, 9, 0), "num_cycles must be at least 1, not 0."),
        (
            lambda: schedules.cyclical(0.0, 1.0, 9, rising=0.0),
            "rising must lie in (0, 1], not 0.0.",
        ),
        (
            lambda: schedules.cyclical(0.0, 1.0, 9, rising=1.1),
            "rising must lie in (0, 1], not 1.1.",
        ),
    ],
)
def test_bad_schedules_are_refused_in_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        make()

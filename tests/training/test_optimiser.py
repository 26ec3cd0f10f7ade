import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vae_jax.training import adam, warmup_length


def run(optimiser, num_steps=30):
    """Updates of six parameters by gradients of 1e-12, where eps rules, to 1e3."""
    params = jnp.linspace(-1.0, 1.0, 6)
    state, updates = optimiser.init(params), []
    for key in jax.random.split(jax.random.key(0), num_steps):
        gradient = jax.random.normal(key, (6,)) * jnp.logspace(-12, 3, 6)
        update, state = optimiser.update(gradient, state, params)
        params += update
        updates.append(update)
    return np.array(updates)


@pytest.mark.parametrize(
    "coefficients",
    [{"b1": 0.5}, {"b2": 0.9}, {"eps": 1e-3}, {"b1": 0.0, "b2": 0.0, "eps": 1.0}],
)
def test_its_coefficients_are_those_of_optax(coefficients):
    rate = lambda step: 0.1 * optax.cosine_decay_schedule(1.0, 50)(step)  # noqa: E731
    found = run(adam(0.1, 50, **coefficients))
    np.testing.assert_allclose(found, run(optax.adam(rate, **coefficients)), rtol=2e-4, atol=5e-7)
    assert np.abs(found - run(adam(0.1, 50))).max() > 1e-3


def test_the_defaults_are_those_of_the_paper_to_the_bit():
    given = run(adam(0.1, 50, b1=0.9, b2=0.999, eps=1e-8))
    np.testing.assert_array_equal(run(adam(0.1, 50)), given)


def test_coefficients_may_be_arrays_of_a_sweep():
    def updates(b1):
        return run(adam(0.1, 50, b1=b1))

    np.testing.assert_allclose(updates(jnp.float32(0.5)), updates(0.5), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("coefficients", "message"),
    [
        ({"b1": 1.0}, r"b1 must lie in \[0, 1\), not 1.0"),
        ({"b1": -0.1}, r"b1 must lie in \[0, 1\), not -0.1"),
        ({"b2": 1.0}, r"b2 must lie in \[0, 1\), not 1.0"),
        ({"b2": float("nan")}, r"b2 must lie in \[0, 1\), not nan"),
        ({"eps": 0.0}, "eps must be positive, not 0.0"),
        ({"eps": -1e-8}, "eps must be positive, not -1e-08"),
    ],
)
def test_coefficients_out_of_range_are_refused(coefficients, message):
    with pytest.raises(ValueError, match=message):
        adam(0.1, 50, **coefficients)


@pytest.mark.parametrize(
    ("warmup_steps", "total_steps", "expected"),
    [
        (100, 19_250, 100),
        (100, 1_000, 100),
        (100, 200, 100),
        (100, 199, 99),
        (100, 36, 18),
        (100, 2, 1),
        (100, 1, 0),
        (0, 36, 0),
        (5, 36, 5),
    ],
)
def test_the_warm_up_is_at_most_half_of_the_training(warmup_steps, total_steps, expected):
    found = warmup_length(warmup_steps, total_steps)
    assert found == expected
    adam(0.1, total_steps, warmup_steps=found)  # which takes every length that the rule gives


def test_a_warm_up_of_impossible_numbers_is_refused():
    with pytest.raises(ValueError, match="warmup_steps must not be negative, not -1"):
        warmup_length(-1, 10)
    with pytest.raises(ValueError, match="total_steps must be at least 1, not 0"):
        warmup_length(100, 0)

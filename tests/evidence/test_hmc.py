"""Hamiltonian Monte Carlo: conservation, reversibility and convergence.

That it leaves its target alone is in the group `evidence` of vae_jax.verify.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.monte_carlo import assert_mean
from vae_jax.evidence import hmc


def oscillator(z):
    return -0.5 * jnp.sum(z**2 * jnp.array([1.0, 4.0]))


def energy(z, momentum):
    return 0.5 * jnp.sum(momentum**2) - oscillator(z)


@pytest.mark.usefixtures("float64")
def test_leapfrog_conserves_the_energy_of_an_oscillator_to_second_order():
    """Over one time unit, whatever the number of steps; halving the step quarters the error."""
    z, momentum = jnp.array([1.0, -0.5]), jnp.array([0.3, 0.8])
    errors = []
    for num_steps in (20, 40, 80):
        end = hmc.leapfrog(oscillator, z, momentum, 1.0 / num_steps, num_steps)
        errors.append(abs(float(energy(*end) - energy(z, momentum))))
    assert errors[0] < 1e-2
    np.testing.assert_allclose(np.array(errors[:-1]) / errors[1:], 4.0, rtol=0.05)


@pytest.mark.usefixtures("float64")
def test_leapfrog_follows_the_exact_motion_of_an_oscillator():
    z, momentum = jnp.array([1.0, -0.5]), jnp.array([0.3, 0.8])
    end, _ = hmc.leapfrog(oscillator, z, momentum, 1e-3, 1000)
    frequency = np.array([1.0, 2.0])
    exact = z * np.cos(frequency) + momentum / frequency * np.sin(frequency)
    np.testing.assert_allclose(end, exact, atol=1e-5)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("num_steps", [1, 7])
def test_leapfrog_is_reversible_and_preserves_volume(num_steps):
    state = jnp.array([1.0, -0.5, 0.3, 0.8])

    def flow(state):
        return jnp.concatenate(hmc.leapfrog(oscillator, state[:2], state[2:], 0.4, num_steps))

    flip = jnp.array([1.0, 1.0, -1.0, -1.0])
    np.testing.assert_allclose(flip * flow(flip * flow(state)), state, atol=1e-12)
    np.testing.assert_allclose(jnp.linalg.det(jax.jacobian(flow)(state)), 1.0, rtol=1e-12)


def correlated(z):
    precision = jnp.array([[2.0, -1.2], [-1.2, 1.0]])
    return -0.5 * z @ precision @ z


def test_the_acceptance_is_the_probability_that_a_transition_moves():
    covariance = np.linalg.inv([[2.0, -1.2], [-1.2, 1.0]])
    z = np.random.default_rng(0).multivariate_normal([0, 0], covariance, 20_000).astype(np.float32)

    def transition(z, key):
        return hmc.transition(correlated, z, key, 0.9, num_steps=3)

    moved = jax.jit(jax.vmap(transition))(z, jax.random.split(jax.random.key(0), len(z)))
    assert_mean(np.any(moved.z != z, axis=1) - np.asarray(moved.acceptance), 0.0)
    assert 0.1 < np.mean(moved.acceptance) < 0.9


def test_transitions_move_other_samples_to_the_target():
    def chain(key):
        def step(z, key):
            return hmc.transition(correlated, z, key, 0.3, num_steps=5).z, None

        return jax.lax.scan(step, jnp.array([4.0, -4.0]), jax.random.split(key, 100))[0]

    z = jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(0), 4_000))
    covariance = np.linalg.inv([[2.0, -1.2], [-1.2, 1.0]])
    assert_mean(z[:, :, None] * z[:, None, :], covariance)


def test_a_proposal_that_is_not_finite_is_rejected():
    moved = hmc.transition(lambda z: -jnp.sum(z**4), jnp.ones(2), jax.random.key(0), 1e9, 5)
    np.testing.assert_array_equal(moved.z, jnp.ones(2))
    assert moved.acceptance == 0.0

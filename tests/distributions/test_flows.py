"""Flows: Jacobians, inverses, densities and samples of each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from numpyro.distributions.flows import InverseAutoregressiveTransform

from tests.monte_carlo import assert_mean
from vae_jax.distributions import Normal
from vae_jax.distributions.flows import (
    Flow,
    Inverse,
    Planar,
    Sylvester,
    householder,
    masks_of,
    orthogonal,
    spline,
    spline_inverse,
)
from vae_jax.models import flows

FAMILIES = {
    "planar": flows.planar(3),
    "planar, shared": flows.planar(3, amortised=False),
    "sylvester, orthogonal": flows.sylvester(2, "orthogonal", 2),
    "sylvester, householder": flows.sylvester(2, "householder", 3),
    "sylvester, triangular": flows.sylvester(2, "triangular"),
    "sylvester, shared": flows.sylvester(2, "orthogonal", 2, amortised=False),
    "iaf": flows.inverse_autoregressive(2, (8,), 3),
    "iaf, shared": flows.inverse_autoregressive(2, (8, 8), 0),
    "coupling": flows.affine_coupling(3, (8,), 3),
    "spline": flows.spline_coupling(2, (8,), 3, num_bins=4),
    "spline, shared": flows.spline_coupling(2, (8,), 0, num_bins=4),
}


def bijections_of(name, dim, seed=0, scale=1.0):
    """Bijections with random numbers everywhere, also where they start at zero."""
    family = FAMILIES[name]
    params_key, noise_key, outputs_key = jax.random.split(jax.random.key(seed), 3)
    params = family.init(params_key, dim)
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(noise_key, max(len(leaves), 1))
    leaves = [
        leaf + 0.5 * scale * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=False)
    ]
    outputs = scale * jax.random.normal(outputs_key, (family.num_outputs(dim),))
    return family.apply(jax.tree.unflatten(structure, leaves), outputs, dim)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("dim", [2, 5])
def test_log_determinants_are_those_of_the_jacobian_and_inverses_invert(name, dim, float64):
    value = jax.random.normal(jax.random.key(1), (dim,))
    for bijection in bijections_of(name, dim):
        image, log_det = bijection.forward(value)
        jacobian = jax.jacfwd(lambda v, f=bijection: f.forward(v)[0])(value)
        np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], rtol=1e-9, atol=1e-9)
        found, log_det_there = bijection.inverse(image)
        np.testing.assert_allclose(found, value, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(log_det_there, log_det, rtol=1e-9, atol=1e-9)
        back, log_det_back = Inverse(bijection).forward(image)
        np.testing.assert_allclose(back, value, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(log_det_back, -log_det, rtol=1e-9, atol=1e-9)
        value = image


@pytest.mark.parametrize("name", [name for name in FAMILIES if FAMILIES[name].has_inverse])
def test_gradients_of_an_inverse_are_those_of_the_inverse_jacobian(name, float64):
    value = jax.random.normal(jax.random.key(2), (3,))
    for bijection in bijections_of(name, 3):
        image, _ = bijection.forward(value)
        forward = jax.jacfwd(lambda v, f=bijection: f.forward(v)[0])(value)
        backward = jax.jacrev(lambda y, f=bijection: f.inverse(y)[0])(image)
        np.testing.assert_allclose(forward @ backward, np.eye(3), atol=1e-8)


@pytest.mark.parametrize("name", FAMILIES)
def test_densities_integrate_to_one_and_are_those_of_the_samples(name, float64):
    """In two dimensions, on a grid: the integral, and the counts of samples in its squares."""
    bijections = bijections_of(name, 2, scale=0.4)
    q = Flow(jnp.array([0.3, -0.2]), jnp.array([-0.2, 0.1]), bijections)
    z, log_q = jax.jit(jax.vmap(q.sample_and_log_prob))(jax.random.split(jax.random.key(3), 50_000))
    low, high = np.floor(np.asarray(z).min(axis=0)) - 3.0, np.ceil(np.asarray(z).max(axis=0)) + 3.0
    edges = [np.linspace(*ends, 801) for ends in zip(low, high, strict=True)]
    middles = [0.5 * (e[1:] + e[:-1]) for e in edges]
    grid = jnp.stack(jnp.meshgrid(*map(jnp.asarray, middles), indexing="ij"), axis=-1)

    def log_prob(value):
        """By the numerical inverses, which planar and Sylvester flows have, too."""
        noise = (value - q.shift) * jnp.exp(-q.log_scale)
        log_det = jnp.sum(q.log_scale)
        for bijection in bijections[::-1]:
            noise, change = bijection.inverse(noise)
            log_det = log_det + change
        return jnp.sum(jax.scipy.stats.norm.logpdf(noise)) - log_det

    density = np.exp(np.asarray(jax.lax.map(jax.vmap(log_prob), grid)))
    area = np.prod([e[1] - e[0] for e in edges])
    np.testing.assert_allclose(density.sum() * area, 1.0, atol=2e-3)
    np.testing.assert_allclose(log_q[:20], jax.vmap(log_prob)(z[:20]), rtol=1e-7, atol=1e-7)
    if FAMILIES[name].has_inverse:
        np.testing.assert_allclose(log_q[:20], jax.vmap(q.log_prob)(z[:20]), rtol=1e-8, atol=1e-8)
    # Squares of 50 x 50 cells: a chi-square test of all that expect ten samples or more.
    expected = (density * area).reshape(16, 50, 16, 50).sum(axis=(1, 3)) * len(z)
    counts, _, _ = np.histogram2d(*np.asarray(z).T, bins=[e[::50] for e in edges])
    enough = expected >= 10.0
    statistic = np.sum((counts[enough] - expected[enough]) ** 2 / expected[enough])
    assert scipy.stats.chi2.sf(statistic, enough.sum() - 1) > 1e-4


@pytest.mark.parametrize("name", FAMILIES)
def test_numbers_of_zero_or_a_fresh_start_give_a_normal_distribution(name):
    family, dim = FAMILIES[name], 4
    params = family.init(jax.random.key(0), dim)
    if "shared" in name and not family.has_inverse:
        params = jax.tree.map(jnp.zeros_like, params)
    outputs = jnp.zeros(family.num_outputs(dim))
    shift, log_scale = jnp.arange(4.0), jnp.linspace(-0.5, 0.5, 4)
    q = Flow(shift, log_scale, family.apply(params, outputs, dim))
    z, log_q = q.sample_and_log_prob(jax.random.key(1))
    np.testing.assert_allclose(log_q, Normal(shift, log_scale).log_prob(z), rtol=1e-5)
    np.testing.assert_allclose(q.centre, shift, atol=1e-6)

    def log_prob_of_sample(outputs):
        bijections = family.apply(params, outputs, dim)
        return Flow(shift, log_scale, bijections).sample_and_log_prob(jax.random.key(1))[1]

    assert np.all(np.isfinite(jax.grad(log_prob_of_sample)(outputs)))


@pytest.mark.parametrize("name", ["planar", "sylvester, orthogonal"])
def test_flows_without_a_differentiable_inverse_refuse_a_given_value(name):
    q = Flow(jnp.zeros(2), jnp.zeros(2), bijections_of(name, 2))
    with pytest.raises(TypeError, match="no log-density at a given value, only at its own samples"):
        q.log_prob(jnp.zeros(2))


@pytest.mark.parametrize("seed", range(3))
def test_an_autoregressive_network_sees_what_comes_before_alone(seed):
    hidden = [(7,), (5, 9), (1,)][seed]
    first, *others = masks_of(4, hidden)
    reach = first
    for mask in others:
        reach = reach @ mask
    for outputs in ((reach > 0)[:, ::2], (reach > 0)[:, 1::2]):
        assert not np.any(outputs[np.tril_indices(4)])  # input i reaches outputs behind it alone
        if seed == 0:
            np.testing.assert_array_equal(outputs, np.triu(np.ones((4, 4)), 1) > 0)


def test_planar_and_sylvester_maps_are_those_of_their_equations(float64):
    u, w, b, v = jnp.array([1.0, -0.4]), jnp.array([0.6, 0.9]), jnp.asarray(0.2), jnp.ones(2)
    along = jnp.log1p(jnp.exp(w @ u + jnp.log(jnp.e - 1.0))) - 1.0
    moved = u + (along - w @ u) * w / (w @ w)
    np.testing.assert_allclose(
        Planar(u, w, b).forward(v)[0], v + moved * jnp.tanh(w @ v + b), rtol=1e-12
    )
    matrices = jax.random.normal(jax.random.key(0), (2, 2, 2))
    r, s = (np.triu(m, 1) + np.diag(np.tanh(np.diag(m))) for m in np.asarray(matrices))
    q, bias = (
        np.asarray(orthogonal(jax.random.normal(jax.random.key(1), (3, 2)))),
        np.array([0.1, 0.2]),
    )
    np.testing.assert_allclose(q.T @ q, np.eye(2), atol=1e-12)
    value = np.array([0.3, -1.0, 0.7])
    expected = value + q @ r @ np.tanh(s @ q.T @ value + bias)
    sylvester = Sylvester(jnp.asarray(q), *matrices, jnp.asarray(bias))
    np.testing.assert_allclose(sylvester.forward(jnp.asarray(value))[0], expected, rtol=1e-12)
    vectors = jax.random.normal(jax.random.key(2), (3, 4))
    basis = householder(vectors)
    np.testing.assert_allclose(basis @ basis.T, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(basis), -1.0, rtol=1e-12)


def test_householder_of_one_vector_reflects_it(float64):
    vector = jnp.array([1.0, 2.0, -2.0])
    np.testing.assert_allclose(householder(vector[None]) @ vector, -vector, atol=1e-12)


def test_splines_have_the_slopes_of_autodiff_and_rise_through_their_knots(float64):
    numbers = 2.0 * jax.random.normal(jax.random.key(0), (3 * 6 - 1,))
    values = jnp.linspace(-7.0, 7.0, 501)
    image, log_slope = jax.vmap(lambda v: spline(v, numbers))(values)
    slopes = jax.vmap(jax.grad(lambda v: spline(v, numbers)[0]))(values)
    np.testing.assert_allclose(log_slope, jnp.log(slopes), rtol=1e-8, atol=1e-8)
    assert np.all(np.diff(image) > 0.0)
    found, log_slope_there = jax.vmap(lambda y: spline_inverse(y, numbers))(image)
    np.testing.assert_allclose(found, values, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(log_slope_there, log_slope, rtol=1e-7, atol=1e-7)
    np.testing.assert_array_equal(image[jnp.abs(values) > 5.0], values[jnp.abs(values) > 5.0])


def test_importance_weights_of_an_autoregressive_flow_have_the_mean_one():
    """E[1] under importance weights of the density at samples: p / q has the mean 1."""
    bijections = bijections_of("iaf", 3, scale=0.4)
    q = Flow(jnp.zeros(3), jnp.full(3, 0.5), bijections)
    z, log_q = jax.vmap(q.sample_and_log_prob)(jax.random.split(jax.random.key(4), 50_000))
    log_p = jax.vmap(Normal(jnp.zeros(3), jnp.zeros(3)).log_prob)(z)
    assert_mean(jnp.exp(log_p - log_q), 1.0)


def test_numpyro_has_the_same_autoregressive_inverse():
    """NumPyro's inverse autoregressive transform with our conditioner."""
    (bijection, *_) = bijections_of("iaf", 4)
    value = jax.random.normal(jax.random.key(6), (4,))
    theirs = InverseAutoregressiveTransform(
        lambda v: bijection._numbers(v), log_scale_min_clip=-50.0, log_scale_max_clip=50.0
    )
    image = theirs(value)
    np.testing.assert_allclose(bijection.forward(value)[0], image, rtol=1e-5)
    log_det = theirs.log_abs_det_jacobian(value, image)
    np.testing.assert_allclose(bijection.forward(value)[1], log_det, rtol=1e-5)

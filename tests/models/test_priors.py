"""Priors against exact truth: Gaussian mixtures, enumeration, densities on a grid."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scipy.special import logsumexp

from tests.monte_carlo import assert_mean
from vae_jax.models import Batch, draw_batch, flows, given, heads, latents, priors, vae
from vae_jax.networks import mlp

D, L, STD = 3, 2, 0.6


def linear_model(prior, condition_shape=None):
    """A linear VAE with a prior, and parameters of random weights."""
    model = vae(
        (D,),
        L,
        encoder=mlp(()),
        decoder=mlp(()),
        likelihood=heads.normal_fixed_scale(STD),
        prior=prior,
        condition_shape=condition_shape,
    )
    params = model.init(jax.random.key(0), jnp.zeros(D))
    return model, jax.tree.map(lambda leaf: leaf.astype(jnp.result_type(float)), params)


def exact_mixture(params, weights, means, variances):
    """log p(x) and log p(z|x) of a linear decoder and a Gaussian mixture as p(z).

    Given a component, x ~ N(W m + b, W V W' + STD^2 I), and z|x is normal (Bishop 2006, eq. 2.113
    to 2.117).
    """
    output = params["decoder"]["output"]
    w, b = np.asarray(output["kernel"]).T, np.asarray(output["bias"])

    def of_component(mean, variance):
        covariance = w @ np.diag(variance) @ w.T + STD**2 * np.eye(D)
        evidence = scipy.stats.multivariate_normal(w @ mean + b, covariance)
        precision = np.diag(1.0 / variance) + w.T @ w / STD**2
        posterior_covariance = np.linalg.inv(precision)

        def posterior(x):
            shift = mean / variance + w.T @ (x - b) / STD**2
            return scipy.stats.multivariate_normal(
                posterior_covariance @ shift, posterior_covariance
            )

        return evidence, posterior

    components = [of_component(*both) for both in zip(means, variances, strict=True)]

    def log_evidence(x):
        return logsumexp([np.log(w) + e.logpdf(x) for w, (e, _) in zip(weights, components)])  # noqa: B905

    def log_posterior(z, x):
        terms = [
            np.log(w) + e.logpdf(x) + p(x).logpdf(z)
            for w, (e, p) in zip(weights, components, strict=True)
        ]
        return logsumexp(terms) - log_evidence(x)

    return log_evidence, log_posterior


def assert_exact(model, params, exact):
    """log p(x|z) + log p(z) - log p(z|x) = log p(x) for every z."""
    log_evidence, log_posterior = exact
    rng = np.random.default_rng(1)
    for x, z in zip(rng.normal(size=(4, D)), 2.0 * rng.normal(size=(4, L)), strict=True):
        joint = model.likelihood(params, jnp.asarray(z)).log_prob(jnp.asarray(x))
        joint += model.prior(params).log_prob(jnp.asarray(z))
        np.testing.assert_allclose(joint - log_posterior(z, x), log_evidence(x), rtol=1e-10)


def test_a_mixture_prior_has_the_evidence_and_the_posterior_of_a_gaussian_mixture(float64):
    model, params = linear_model(priors.mixture(L, 3))
    flat = params["prior"]["components"]
    params["prior"]["components"] = flat + 0.5 * jax.random.normal(jax.random.key(1), flat.shape)
    logits, both = np.split(np.asarray(params["prior"]["components"]), [3])
    means, log_stds = both.reshape(2, 3, L)
    weights = np.exp(logits - logsumexp(logits))
    assert_exact(model, params, exact_mixture(params, weights, means, np.exp(2.0 * log_stds)))


def test_a_vamp_prior_of_a_linear_encoder_is_a_gaussian_mixture(float64):
    pseudo_inputs = jax.random.normal(jax.random.key(2), (4, D))
    model, params = linear_model(priors.vamp(pseudo_inputs))
    output = params["encoder"]["output"]
    encoded = np.asarray(params["prior"]["pseudo_inputs"] @ output["kernel"] + output["bias"][None])
    means, log_stds = np.split(encoded, 2, axis=1)
    exact = exact_mixture(params, np.full(4, 0.25), means, np.exp(2.0 * log_stds))
    assert_exact(model, params, exact)


def test_pseudo_inputs_are_learned_within_their_bounds():
    start = jnp.array([[-1.0, 0.5, 3.0], [0.2, 0.4, 0.6]])
    bounded, params = linear_model(priors.vamp(start, bounds=(0.0, 1.0)))
    inside, _ = linear_model(priors.vamp(jnp.clip(start, 0.0, 1.0)))
    z = jnp.array([0.3, -0.8])
    clipped = {**params, "prior": {"pseudo_inputs": jnp.clip(start, 0.0, 1.0)}}
    expected = inside.prior(clipped).log_prob(z)
    np.testing.assert_allclose(bounded.prior(params).log_prob(z), expected, rtol=1e-6)
    gradient = jax.grad(lambda params: bounded.prior(params).log_prob(z))(params)
    assert np.all(np.asarray(gradient["prior"]["pseudo_inputs"][1]) != 0.0)
    assert np.any(np.asarray(gradient["encoder"]["output"]["kernel"]) != 0.0)


def test_pseudo_inputs_are_encoded_once_for_a_batch():
    """The compiled program has one product of K pseudo-inputs, and none of B times as many."""
    model, params = linear_model(priors.vamp(jnp.ones((7, D))))
    keys = jax.random.split(jax.random.key(0), (2, 5))
    text = jax.jit(lambda params, x: draw_batch(model, params, x, keys).log_w)
    jaxpr = str(jax.make_jaxpr(text)(params, jnp.zeros((5, D))))
    assert "f32[7,4]" in jaxpr
    assert "f32[5,7,4]" not in jaxpr
    assert "f32[10,7,4]" not in jaxpr


STORED = jnp.array([[0, 51, 255], [255, 102, 0], [204, 204, 51]], jnp.uint8)


def divided(stored):
    return stored.astype(jnp.float32) / 255.0


def exemplar_model():
    return linear_model(priors.exemplar(divided(STORED), divided))


def test_an_exemplar_prior_is_the_mixture_around_the_means_of_its_examples(float64):
    model, params = exemplar_model()
    params["prior"]["log_std"] = jnp.asarray(-0.7)
    output = params["encoder"]["output"]
    exemplars = np.asarray(params["prior"]["exemplars"], np.float64)
    encoded = exemplars @ np.asarray(output["kernel"]) + np.asarray(output["bias"])
    means = np.split(encoded, 2, axis=1)[0]
    exact = exact_mixture(params, np.full(3, 1 / 3), means, np.full((3, L), np.exp(-1.4)))
    assert_exact(model, params, exact)


def test_an_exemplar_prior_leaves_an_example_out_of_its_own_prior():
    model, params = exemplar_model()
    z = jnp.array([0.4, -0.1])
    everything, _ = linear_model(priors.exemplar(divided(STORED)))
    np.testing.assert_allclose(
        model.prior(params).log_prob(z), everything.prior(params).log_prob(z), rtol=1e-6
    )
    for n in range(3):
        others = jnp.delete(divided(STORED), n, axis=0)
        without, _ = linear_model(priors.exemplar(others))
        left = {**params, "prior": {**params["prior"], "exemplars": others}}
        found = model.prior_without(params, STORED[n]).log_prob(z)
        np.testing.assert_allclose(found, without.prior(left).log_prob(z), rtol=1e-6)
        assert abs(found - model.prior(params).log_prob(z)) > 1e-3
    unknown = jnp.array([1, 2, 3], jnp.uint8)
    np.testing.assert_allclose(
        model.prior_without(params, unknown).log_prob(z), model.prior(params).log_prob(z), rtol=1e-6
    )


def test_a_draw_leaves_each_example_out_of_its_own_prior():
    model, params = exemplar_model()
    keys = jax.random.split(jax.random.key(0), (2, 3))
    x = divided(STORED)
    found = draw_batch(model, params, x, keys, left_out=STORED)
    for b in range(3):
        prior = model.prior_without(params, STORED[b])
        expected = jax.vmap(prior.log_prob)(found.z[:, b])
        np.testing.assert_allclose(found.log_prior[:, b], expected, rtol=1e-5)
    plain = vae((D,), L)
    params = plain.init(jax.random.key(0), jnp.zeros(D))
    with pytest.raises(TypeError, match="the prior of this model holds no examples"):
        draw_batch(plain, params, jnp.zeros((3, D)), keys, left_out=STORED)


def test_exemplars_have_no_gradient():
    model, params = exemplar_model()
    gradient = jax.grad(lambda params: model.prior(params).log_prob(jnp.zeros(L)))(params)
    np.testing.assert_array_equal(gradient["prior"]["exemplars"], 0.0)
    assert np.any(np.asarray(gradient["encoder"]["output"]["kernel"]) != 0.0)


@pytest.mark.parametrize(
    "family",
    [
        flows.planar(2, amortised=False),
        flows.sylvester(1, "orthogonal", 2, amortised=False),
        flows.inverse_autoregressive(2, (8,), 0),
        flows.affine_coupling(2, (8,), 0),
        flows.spline_coupling(2, (8,), 0, num_bins=4),
    ],
    ids=["planar", "sylvester", "iaf", "coupling", "spline"],
)
def test_a_flow_prior_integrates_to_one_and_its_samples_have_its_moments(family):
    model, params = linear_model(priors.flow(L, family))
    leaves, structure = jax.tree.flatten(params["prior"])
    keys = jax.random.split(jax.random.key(3), len(leaves))
    leaves = [
        leaf + 0.3 * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    prior = model.prior({**params, "prior": jax.tree.unflatten(structure, leaves)})
    axis = jnp.linspace(-9.0, 9.0, 361)
    grid = jnp.stack(jnp.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, L)
    density = np.exp(np.asarray(jax.jit(jax.vmap(prior.log_prob))(grid), np.float64))
    mass = density * 0.05**2
    np.testing.assert_allclose(mass.sum(), 1.0, atol=2e-3)
    z = jax.jit(jax.vmap(prior.sample))(jax.random.split(jax.random.key(4), 40_000))
    mean = mass @ np.asarray(grid) / mass.sum()
    second = mass @ np.asarray(grid) ** 2 / mass.sum()
    # The sum over the grid has an error of its own, which is far below that of the samples.
    assert np.all(np.abs(np.asarray(z).mean(0) - mean) < 5.0 * np.asarray(z).std(0) / 200.0)
    squares = np.asarray(z) ** 2
    assert np.all(np.abs(squares.mean(0) - second) < 5.0 * squares.std(0) / 200.0)


@pytest.mark.parametrize("event_shape", [(4,), (3, 3)])
def test_an_autoregressive_prior_sums_to_one_and_samples_what_it_says(event_shape):
    prior = priors.autoregressive(event_shape, (12,))
    params = prior.init(jax.random.key(0), jnp.zeros(1))
    params = jax.tree.map(
        lambda leaf: leaf + 0.8 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), params
    )
    p = prior.apply(params, None, None)
    if len(event_shape) == 1:
        every = np.array(list(itertools.product([0.0, 1.0], repeat=4)), np.float32)
    else:
        every = np.eye(3, dtype=np.float32)[list(itertools.product(range(3), repeat=3))]
    assert p.event_shape == event_shape
    probabilities = np.exp(np.asarray(jax.vmap(p.log_prob)(jnp.asarray(every)), np.float64))
    np.testing.assert_allclose(probabilities.sum(), 1.0, rtol=1e-5)
    assert probabilities.std() > 0.3 * probabilities.mean()
    keys = jax.random.split(jax.random.key(1), 20_000)
    z, log_p = jax.jit(jax.vmap(p.sample_and_log_prob))(keys)
    flat, of_every = np.asarray(z).reshape(len(keys), -1), every.reshape(len(every), -1)
    index = np.argmin(np.abs(flat[:, None] - of_every[None]).sum(axis=2), axis=1)
    np.testing.assert_array_equal(of_every[index], flat)
    counts = np.bincount(index, minlength=len(every))
    expected = probabilities / probabilities.sum() * len(keys)
    assert scipy.stats.chisquare(counts, expected).pvalue > 1e-4
    np.testing.assert_allclose(np.exp(log_p), probabilities[index], rtol=1e-4)


CONDITIONAL = {
    "mixture": lambda: priors.mixture(L, 3, condition_size=2),
    "flow": lambda: priors.flow(L, flows.affine_coupling(2, (8,), 2)),
    "vamp": lambda: priors.vamp(jnp.linspace(0.0, 1.0, 2 * D).reshape(2, D)),
    "exemplar": lambda: priors.exemplar(jnp.linspace(0.0, 1.0, 2 * D).reshape(2, D)),
}


@pytest.mark.parametrize("name", CONDITIONAL)
def test_priors_use_the_condition_of_their_model(name):
    model, params = linear_model(CONDITIONAL[name](), condition_shape=(2,))
    params = jax.tree.map(
        lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), params
    )
    z, conditions = jnp.array([0.5, -0.5]), jnp.array([[0.0, 1.0], [2.0, -1.0]])
    found = [given(model, c).prior(params).log_prob(z) for c in conditions]
    assert abs(found[0] - found[1]) > 1e-3
    keys = jax.random.split(jax.random.key(0), (3, 2))
    batch = Batch(jnp.ones((2, D)), conditions)
    drawn = draw_batch(model, params, batch, keys)
    for b, c in enumerate(conditions):
        expected = jax.vmap(given(model, c).prior(params).log_prob)(drawn.z[:, b])
        np.testing.assert_allclose(drawn.log_prior[:, b], expected, rtol=1e-4)
    # E[p(z) / q(z)] = 1 under a q that is wider than both.
    wide = jax.vmap(lambda key: 4.0 * jax.random.normal(key, (L,)))(
        jax.random.split(jax.random.key(1), 100_000)
    )
    log_q = jnp.sum(jax.scipy.stats.norm.logpdf(wide, scale=4.0), axis=1)
    log_p = jax.vmap(given(model, conditions[0]).prior(params).log_prob)(wide)
    assert_mean(jnp.exp(log_p - log_q), 1.0)


def test_an_autoregressive_prior_of_a_conditional_model_uses_its_condition():
    model = vae(
        (D,),
        3,
        latents=latents.bernoulli(),
        prior=priors.autoregressive((3,), (8,), condition_size=2),
        condition_shape=(2,),
    )
    params = model.init(jax.random.key(0), jnp.full(D, 0.5))
    params["prior"] = jax.tree.map(
        lambda leaf: leaf + 0.5 * jax.random.normal(jax.random.key(1), leaf.shape), params["prior"]
    )
    z, conditions = jnp.array([1.0, 0.0, 1.0]), jnp.array([[0.0, 0.0], [1.0, -2.0]])
    found = [given(model, c).prior(params).log_prob(z) for c in conditions]
    assert abs(found[0] - found[1]) > 1e-3

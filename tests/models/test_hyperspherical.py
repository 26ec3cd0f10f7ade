"""The hyperspherical VAE with a linear decoder, whose posterior is known."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vae_jax as vj
from tests.config_of import config_of
from tests.monte_carlo import assert_mean
from vae_jax import data
from vae_jax.diagnostics import inference_gap
from vae_jax.distributions import VonMisesFisher, points_of, uniform_on_sphere
from vae_jax.errors import BadInputError
from vae_jax.evidence import annealed, hmc, quadrature, short_run
from vae_jax.models import (
    ModelSpec,
    draw,
    draw_batch,
    flows,
    heads,
    hierarchy,
    latents,
    priors,
    refined,
    two_stage,
    vae,
)
from vae_jax.networks import mlp
from vae_jax.objectives import bounds, estimators

D, STD, SCALE = 6, 0.5, 1.5


def linear(dim, **options):
    """x = W z + b + noise, with W'W = SCALE^2 I: p(z|x) has the direction of W'(x - b)."""
    model = vae(
        (D,),
        dim,
        encoder=mlp(()),
        decoder=mlp(()),
        likelihood=heads.normal_fixed_scale(STD),
        latents=latents.sphere(),
        **options,
    )
    weights = SCALE * np.linalg.qr(np.random.default_rng(0).normal(size=(D, dim)))[0]
    mean = np.linspace(-0.5, 0.5, D)
    params = model.init(jax.random.key(1), jnp.zeros(D))
    kernel = jnp.asarray(np.concatenate([weights, np.zeros((D, 1))], axis=1), jnp.float32)
    to_axis = np.eye(dim)[0]  # the head adds it
    bias = jnp.asarray(np.concatenate([-mean @ weights - to_axis, [1.0]]), jnp.float32)
    params["encoder"] = {"output": {"kernel": kernel, "bias": bias}}
    params["decoder"] = {
        "output": {
            "kernel": jnp.asarray(weights.T, jnp.float32),
            "bias": jnp.asarray(mean, jnp.float32),
        }
    }
    return model, params, weights, mean


def examples(weights, mean, number, seed=3):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(number, weights.shape[1]))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    x = z @ weights.T + mean + STD * rng.normal(size=(number, D))
    return jnp.asarray(x, jnp.float32)


def exact(weights, mean, x):
    """log p(x) and p(z|x) in closed form."""
    natural = jnp.asarray((np.asarray(x) - mean) @ weights / STD**2, jnp.float32)
    k = jnp.linalg.norm(natural)
    posterior = VonMisesFisher(natural / k, k)
    square = np.sum((np.asarray(x) - mean) ** 2) + SCALE**2
    log_normal = -0.5 * square / STD**2 - D * np.log(STD) - 0.5 * D * np.log(2 * np.pi)
    log_ratio = k - posterior.log_prob(posterior.mean_direction)  # log Z(k)
    at = posterior.mean_direction
    return float(log_normal + log_ratio + uniform_on_sphere(at.size).log_prob(at)), posterior


@pytest.mark.parametrize("dim", [2, 5])
def test_with_the_exact_posterior_every_sample_has_the_weight_of_the_evidence(dim):
    model, params, weights, mean = linear(dim)
    for x in examples(weights, mean, 3):
        log_evidence, posterior = exact(weights, mean, x)
        number = np.log(np.expm1(float(posterior.concentration) / dim))  # L softplus(r) = k
        of_x = params["encoder"]["output"]
        whole = {"output": {**of_x, "bias": of_x["bias"].at[-1].set(number)}}
        with_k = {**params, "encoder": whole}
        keys = jax.random.split(jax.random.key(0), 50)
        log_w = draw(model, with_k, x, keys).log_w
        np.testing.assert_allclose(log_w, log_evidence, rtol=2e-5, atol=2e-4)
        np.testing.assert_allclose(
            model.posterior(with_k, x).mean_direction, posterior.mean_direction, atol=1e-5
        )


@pytest.mark.parametrize("dim", [2, 5])
def test_importance_weights_have_the_mean_of_the_evidence(dim):
    model, params, weights, mean = linear(dim)
    x = examples(weights, mean, 1)[0]
    keys = jax.random.split(jax.random.key(5), 50_000)
    log_w = jax.jit(lambda keys: draw(model, params, x, keys).log_w)(keys)
    assert_mean(jnp.exp(log_w - exact(weights, mean, x)[0]), 1.0)


def test_quadrature_over_the_circle_is_the_evidence():
    model, params, weights, mean = linear(2)
    for x in examples(weights, mean, 4):
        found = jax.jit(partial(quadrature.integrate, model))(params, x)
        log_evidence, posterior = exact(weights, mean, x)
        np.testing.assert_allclose(found.log_evidence, log_evidence, rtol=1e-5)
        assert found.error < 1e-3
        np.testing.assert_allclose(jnp.linalg.norm(found.z, axis=1), 1.0, atol=1e-6)
        expected = jax.vmap(posterior.log_prob)(found.z)
        is_likely = expected > -5.0
        # log p(z|x) there is that of a grid: its shape is compared, and the sum above the constant.
        difference = (found.log_posterior - expected)[is_likely]
        np.testing.assert_allclose(difference, difference[0], atol=1e-3)
    # Without data it is uniform, and its box is the whole circle.
    flat = {**params, "decoder": jax.tree.map(jnp.zeros_like, params["decoder"])}
    whole = quadrature.integrate(model, flat, jnp.zeros(D))
    at_zero = float(heads.normal_fixed_scale(STD).apply({}, jnp.zeros(D), (D,)).log_prob(x * 0))
    np.testing.assert_allclose(whole.log_evidence, at_zero, rtol=1e-5)


@pytest.mark.parametrize("start", [pytest.param("prior", marks=pytest.mark.slow), "posterior"])
def test_annealing_along_great_circles_brackets_the_evidence(start):
    model, params, weights, mean = linear(5)
    x, schedule = examples(weights, mean, 20), annealed.linear_schedule(40)
    sizes = annealed.tune_step_sizes(
        model, params, x[:10], jax.random.key(0), schedule, start=start
    )
    sample = annealed.make_annealed_sampler(model, schedule, sizes, num_chains=8, start=start)
    truth = np.array([exact(weights, mean, one)[0] for one in x])
    forward = sample(params, x, jax.random.key(1))
    assert_mean(np.exp(forward.log_w - truth[:, None]).mean(axis=1), 1.0)
    z = jnp.stack(
        [
            exact(weights, mean, one)[1].sample(key)
            for one, key in zip(x, jax.random.split(jax.random.key(2), len(x)), strict=True)
        ]
    )
    backward = sample(params, x, jax.random.key(3), z)
    assert_mean(np.exp(truth[:, None] - backward.log_w).mean(axis=1), 1.0)
    assert 0.3 < np.mean(forward.acceptance) < 1.0


def test_transitions_on_the_sphere_leave_a_distribution_alone_and_reach_it_from_elsewhere():
    q = VonMisesFisher(jnp.array([0.6, 0.0, 0.8, 0.0]), jnp.asarray(4.0))

    def moved(z, key, num_steps):
        def step(z, key):
            return hmc.transition(q.log_prob, z, key, 0.5, 4, on_sphere=True).z, None

        return jax.lax.scan(step, z, jax.random.split(key, num_steps))[0]

    keys = jax.random.split(jax.random.key(0), (2, 10_000))
    start = jax.vmap(q.sample)(keys[0])
    for first, num_steps in (
        (start, 3),
        (jnp.tile(jnp.array([[-0.6, 0.0, -0.8, 0.0]]), (10_000, 1)), 60),
    ):
        z = jax.jit(jax.vmap(partial(moved, num_steps=num_steps)))(first, keys[1])
        np.testing.assert_allclose(jnp.linalg.norm(z, axis=1), 1.0, atol=1e-5)
        assert_mean(z, q.mean)
        assert_mean(jnp.square(z - q.mean[None]), jnp.square(q.std))


@pytest.mark.usefixtures("float64")
def test_the_leapfrog_on_the_sphere_is_reversible_and_follows_great_circles():
    q = VonMisesFisher(jnp.array([0.6, 0.8, 0.0]), jnp.asarray(3.0))
    z, momentum = jnp.array([1.0, 0.0, 0.0]), jnp.array([0.0, 0.3, 0.9])
    end, momentum_there = hmc.leapfrog_on_sphere(q.log_prob, z, momentum, 0.2, 7)
    back, momentum_back = hmc.leapfrog_on_sphere(q.log_prob, end, -momentum_there, 0.2, 7)
    np.testing.assert_allclose(back, z, atol=1e-12)
    np.testing.assert_allclose(-momentum_back, momentum, atol=1e-12)
    np.testing.assert_allclose(momentum_there @ end, 0.0, atol=1e-12)
    flat = uniform_on_sphere(3)
    end, _ = hmc.leapfrog_on_sphere(flat.log_prob, z, momentum, 0.2, 5)
    speed = np.hypot(0.3, 0.9)
    expected = np.cos(speed) * z + np.sin(speed) / speed * momentum
    np.testing.assert_allclose(end, expected, atol=1e-12)


@pytest.mark.slow
def test_gradient_estimators_have_one_mean():
    model, params, weights, mean = linear(3)
    x = examples(weights, mean, 1)

    def gradient(estimator, key):
        def loss(encoder):
            whole = {**params, "encoder": encoder}
            draw_fn = partial(draw_batch, model, whole, x, jax.random.split(key, (2, 1)))
            return -jnp.mean(estimator(bounds.elbo, draw_fn)[0])

        found = jax.grad(loss)(params["encoder"])
        return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(found)])

    keys = jax.random.split(jax.random.key(1), 20_000)
    pathwise, *others = (
        jax.jit(jax.vmap(partial(gradient, estimator)))(keys)
        for estimator in (
            estimators.pathwise,
            estimators.sticking_the_landing,
            estimators.score_function,
        )
    )
    for other in others:
        assert_mean(pathwise - other, jnp.zeros(pathwise.shape[1]))


@pytest.mark.slow
def test_the_best_posterior_and_gradient_steps_end_at_the_exact_one():
    model, params, weights, mean = linear(3)
    x = examples(weights, mean, 1)[0]
    log_evidence, posterior = exact(weights, mean, x)
    best = jax.jit(partial(inference_gap.best_posterior, model, num_samples=32))(
        params, x, jax.random.key(0)
    )
    np.testing.assert_allclose(best.mean_direction, posterior.mean_direction, atol=0.02)
    np.testing.assert_allclose(best.concentration, posterior.concentration, rtol=0.05)
    steps = refined(model, 200, rate=0.05, num_samples=64, clip_norm=1.0)
    found = jax.jit(steps.posterior)(params, x)
    np.testing.assert_allclose(found.mean_direction, posterior.mean_direction, atol=0.1)
    value = inference_gap.elbo_of(model, params, x, found, jax.random.key(1), 20_000)
    np.testing.assert_allclose(value, log_evidence, atol=0.05)
    through = jax.grad(lambda params: jnp.sum(steps.posterior(params, x).mean_direction))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(through))


def test_a_vamp_prior_on_the_sphere_is_the_mixture_of_its_components():
    pseudo = jnp.asarray(np.random.default_rng(1).normal(size=(4, D)), jnp.float32)
    model, params, *_ = linear(3, prior=priors.vamp(pseudo))
    params["prior"] = {"pseudo_inputs": pseudo}
    components = [model.posterior(params, one) for one in pseudo]
    z = model.prior(params).sample(jax.random.key(0))
    expected = jax.nn.logsumexp(jnp.stack([q.log_prob(z) for q in components])) - np.log(4)
    np.testing.assert_allclose(model.prior(params).log_prob(z), expected, rtol=1e-5)


@pytest.mark.slow
def test_short_runs_stay_on_the_sphere():
    model, params, weights, mean = linear(3)
    x = examples(weights, mean, 5)
    z = short_run.short_run_hmc(model, params, x, jax.random.key(0), num_steps=5).z
    np.testing.assert_allclose(np.linalg.norm(z, axis=-1), 1.0, atol=1e-5)


def test_an_encoder_that_says_nothing_has_a_direction():
    q = heads.von_mises_fisher().apply({}, jnp.zeros(4), (3,))
    np.testing.assert_array_equal(q.mean_direction, [1.0, 0.0, 0.0])
    slopes = jax.jacobian(
        lambda outputs: heads.von_mises_fisher().apply({}, outputs, (3,)).mean_direction
    )
    np.testing.assert_array_equal(slopes(jnp.zeros(4)), np.diag([0.0, 1.0, 1.0]) @ np.eye(3, 4))
    assert np.isfinite(slopes(jnp.array([-1.0, 0.0, 0.0, 0.0]))).all()


def test_what_a_sphere_cannot_have_is_refused_in_one_sentence():
    for flags, message in (
        (("--prior=mixture",), "latents on a sphere, where prior=mixture is no density"),
        (("--prior=flow",), "latents on a sphere, where prior=flow is no density"),
        (("--layers=5,3",), "latents on a sphere, for which layers=5,3 is not"),
        (("--latent_dim=1",), "lies on a sphere, and latent_dim=1: use at least 2 latents"),
    ):
        with pytest.raises(BadInputError, match=message):
            config_of("--posterior=vmf", *flags)
    with pytest.raises(ValueError, match="A hierarchy has no latents on spheres"):
        hierarchy((D,), (3, 2), latents=latents.sphere())
    first, _, _, _ = linear(3)
    both = two_stage(first, vae((3,), 2, likelihood=heads.normal_learned_scale()))
    params = both.init(jax.random.key(0), jnp.zeros(D))
    with pytest.raises(BadInputError, match="must not be on a sphere"):
        both.posterior(params, jnp.zeros(D))
    for prior in (priors.mixture(3), priors.flow(3, flows.inverse_autoregressive(1, (4,), 0))):
        wrong, params, *_ = linear(3, prior=prior)
        with pytest.raises(BadInputError, match="must both be on a sphere, or neither"):
            wrong.prior(params)
    model, params, weights, mean = linear(3)
    with pytest.raises(ValueError, match="start='normal' is not for latents on a sphere"):
        annealed.tune_step_sizes(
            model,
            params,
            examples(weights, mean, 1),
            jax.random.key(0),
            annealed.linear_schedule(3),
            start="normal",
        )


@pytest.mark.slow
def test_lines_between_codes_are_great_circles(tmp_path):
    rng = np.random.default_rng(0)
    dataset = data.from_arrays(rng.normal(size=(60, 4)).astype(np.float32), kind="real")
    config = vj.Config(
        posterior="vmf", latent_dim=3, hidden=(8,), network="mlp", epochs=1, batch_size=20
    )
    run = vj.fit(dataclasses.replace(config, nll_samples=5), dataset, tmp_path / "r", listeners=[])
    x = run.as_evaluated(dataset.test.x[:2])
    steps = run.interpolate(x[:1], x[1:], steps=5)
    ends = points_of(run.encode(x))
    middle = ends[0] + ends[1]
    expected = run.decode((middle / jnp.linalg.norm(middle))[None])[0]
    np.testing.assert_allclose(steps[0, 2], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(steps[0, 0], run.decode(ends[:1])[0], rtol=1e-4, atol=1e-5)
    spec = ModelSpec((4,), 3, posterior="vmf")
    assert isinstance(
        spec.build().prior(spec.build().init(jax.random.key(0), x[0])), VonMisesFisher
    )

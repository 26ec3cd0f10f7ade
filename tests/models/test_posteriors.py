"""Families of q(z|x) on models whose evidence and posterior are known in closed form."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.monte_carlo import assert_mean
from vae_jax.diagnostics import inference_gap
from vae_jax.distributions import has_closed_form_kl, standard_normal
from vae_jax.errors import BadInputError
from vae_jax.evidence import linear_gaussian
from vae_jax.models import ModelSpec, draw, draw_batch, flows, heads, kl_form, latents, vae
from vae_jax.models.posteriors import POSTERIORS
from vae_jax.networks import mlp
from vae_jax.objectives import bounds, closed_form_elbo, estimators, maximise
from vae_jax.training import adam, make_trainer

D, L, STD = 5, 3, 0.7
_WEIGHTS = 0.8 * jax.random.normal(jax.random.key(0), (D, L))
TRUTH = linear_gaussian.LinearGaussian(_WEIGHTS, jnp.linspace(-0.5, 0.5, D), jnp.asarray(STD))
SPEC = ModelSpec(
    (D,),
    L,
    "mlp",
    (),
    likelihood="gaussian",
    likelihood_std=STD,
    num_flows=2,
    flow_hidden=(8,),
    flow_context=4,
    sylvester_columns=2,
)


def x_of_truth(num_examples, seed=1):
    z_key, x_key = jax.random.split(jax.random.key(seed))
    z = jax.random.normal(z_key, (num_examples, L))
    noise = STD * jax.random.normal(x_key, (num_examples, D))
    return z @ TRUTH.weights.T + TRUTH.mean[None] + noise


def with_the_true_decoder(model, scale=0.3, seed=2):
    """Parameters with the decoder of the truth, and small random numbers everywhere else."""
    params = model.init(jax.random.key(seed), jnp.zeros(D))
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    leaves = [
        leaf + scale * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    params = jax.tree.unflatten(structure, leaves)
    params["decoder"] = {"output": {"kernel": TRUTH.weights.T, "bias": TRUTH.mean}}
    return params


def near_the_prior(params):
    """An encoder that says little: q(z|x) is wider than p(z|x), and importance weights bounded."""
    return {**params, "encoder": jax.tree.map(lambda leaf: 0.1 * leaf, params["encoder"])}


@pytest.mark.parametrize("name", POSTERIORS)
def test_a_posterior_can_do_what_its_row_says(name):
    row = POSTERIORS[name]
    model = dataclasses.replace(SPEC, posterior=name).build()
    params = with_the_true_decoder(model, scale=0.1)
    x = x_of_truth(1)[0]
    q, prior = model.posterior(params, x), model.prior(params)
    assert q.is_reparameterised
    assert has_closed_form_kl(q, prior) == row.has_closed_kl
    assert (kl_form(q, prior) == "closed form") == row.has_closed_kl
    z, log_q = q.sample_and_log_prob(jax.random.key(0))
    if row.has_log_prob:
        np.testing.assert_allclose(q.log_prob(z), log_q, rtol=1e-3, atol=1e-3)
    else:
        with pytest.raises(TypeError, match="no log-density at a given value"):
            q.log_prob(z)
    one = dataclasses.replace(SPEC, latent_dim=1, posterior=name)
    if row.least_dim == 1:
        assert one.build().init(jax.random.key(0), x)["encoder"]
    else:
        with pytest.raises(BadInputError, match="needs at least 2 latents, and there is 1"):
            one.build()


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        (name, shared)
        for name, row in POSTERIORS.items()
        for shared in sorted({False, row.is_flow})
        if not row.on_sphere
    ],
)
def test_importance_weights_have_the_mean_of_the_evidence(name, shared):
    model = dataclasses.replace(SPEC, posterior=name, shared_flows=shared).build()
    params = near_the_prior(with_the_true_decoder(model, scale=0.1))
    x = x_of_truth(1)[0]
    keys = jax.random.split(jax.random.key(5), 100_000)
    log_w = jax.jit(lambda keys: draw(model, params, x, keys).log_w)(keys)
    assert_mean(jnp.exp(log_w - linear_gaussian.log_evidence(TRUTH, x)), 1.0)


@pytest.mark.parametrize("name", ["full", "low_rank", "mixture", "iaf", "coupling", "spline"])
def test_routes_and_the_sampled_kl_change_no_value(name):
    model = dataclasses.replace(SPEC, posterior=name).build()
    params, x = near_the_prior(with_the_true_decoder(model, scale=0.1)), x_of_truth(4)
    keys = jax.random.split(jax.random.key(0), (2, 4))
    whole = draw_batch(model, params, x, keys)
    for routes in ({"path": False}, {"score": False}, {"theta": False}):
        closed = draw_batch(model, params, x, keys, **routes)
        np.testing.assert_allclose(closed.log_w, whole.log_w, rtol=1e-3)


# The estimators of the ELBO's gradient with respect to the encoder that hold for each family.
@pytest.mark.parametrize("name", ["full", "low_rank", "mixture", "iaf", "coupling", "spline"])
def test_gradient_estimators_have_one_mean(name):
    """Pathwise, STL, score-function: their means are one gradient, within standard errors."""
    model = dataclasses.replace(SPEC, posterior=name, num_flows=1).build()
    params, x = with_the_true_decoder(model, scale=0.1), x_of_truth(1)

    def gradient(estimator, key):
        def loss(encoder):
            whole = {**params, **encoder}
            draw_fn = partial(draw_batch, model, whole, x, jax.random.split(key, (2, 1)))
            return -jnp.mean(estimator(bounds.elbo, draw_fn)[0])

        found = jax.grad(loss)({name: params[name] for name in ("encoder", "posterior")})
        return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(found)])

    keys = jax.random.split(jax.random.key(1), 20_000)
    of_each = {
        estimator: jax.jit(jax.vmap(partial(gradient, estimator)))(keys)
        for estimator in (
            estimators.pathwise,
            estimators.sticking_the_landing,
            estimators.score_function,
        )
    }
    pathwise, *others = of_each.values()
    for other in others:
        assert_mean(pathwise - other, jnp.zeros(pathwise.shape[1]))


def exact_full():
    """The full-covariance model with p(z|x) itself as its encoder."""
    model = dataclasses.replace(SPEC, posterior="full").build()
    params = with_the_true_decoder(model, scale=0.0)
    _, covariance = linear_gaussian.posterior(TRUTH, jnp.zeros(D))
    factor = jnp.linalg.cholesky(covariance)
    to_mean = covariance @ TRUTH.weights.T / STD**2
    kernel = jnp.zeros((D, L * (L + 2))).at[:, :L].set(to_mean.T)
    log_diagonal = jnp.log(jnp.diagonal(factor))
    bias = jnp.concatenate([-to_mean @ TRUTH.mean, log_diagonal, jnp.ravel(factor)])
    return model, {**params, "encoder": {"output": {"kernel": kernel, "bias": bias}}}


def test_log_w_is_the_evidence_for_every_sample_of_the_exact_full_posterior():
    model, params = exact_full()
    x = x_of_truth(3)
    log_w = draw_batch(model, params, x, jax.random.split(jax.random.key(0), (50, 3))).log_w
    exact = jax.vmap(partial(linear_gaussian.log_evidence, TRUTH))(x)
    np.testing.assert_allclose(log_w, jnp.broadcast_to(exact, (50, 3)), rtol=1e-4)


@pytest.mark.parametrize(
    "objective",
    [
        maximise(bounds.elbo, estimators.sticking_the_landing),
        maximise(bounds.iwae, estimators.doubly_reparameterised),
    ],
    ids=["STL", "DReG"],
)
def test_stl_and_dreg_have_no_gradient_at_the_exact_full_posterior(objective):
    model, params = exact_full()
    x = x_of_truth(3)

    def loss(encoder, objective):
        whole = {**params, "encoder": encoder}
        draw_fn = partial(draw_batch, model, whole, x, jax.random.split(jax.random.key(1), (4, 3)))
        return objective.loss((), jnp.int32(0), jax.random.key(2), draw_fn)[0]

    of_pathwise = jax.grad(loss)(params["encoder"], maximise(bounds.elbo))
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(of_pathwise)) > 0.05
    gradient = jax.grad(loss)(params["encoder"], objective)
    for leaf in jax.tree.leaves(gradient):
        np.testing.assert_allclose(leaf, 0.0, atol=2e-5)


def trained_elbo(posterior, estimator, **options):
    """The mean ELBO of a trained encoder, from 20,000 samples of each of 8 examples."""
    spec = dataclasses.replace(SPEC, posterior=posterior, **options)
    model, x = spec.build(), x_of_truth(8, seed=7)
    params = near_the_prior(with_the_true_decoder(model, scale=0.01))
    kept = {name: params[name] for name in ("decoder", "likelihood", "prior")}
    inference_only = optax.multi_transform(
        {"train": adam(0.02, 20_000, warmup_steps=10), "keep": optax.set_to_zero()},
        lambda params: {name: "keep" if name in kept else "train" for name in params},
    )
    objective = maximise(bounds.elbo, estimator)
    trainer = make_trainer(model, objective, inference_only, num_samples=32)
    state = trainer.init(jax.random.key(0), jnp.zeros(D))._replace(params=params)

    @jax.jit
    def run(state):
        return jax.lax.scan(lambda state, _: trainer.step(state, x), state, length=20_000)[0]

    params = run(state).average_params
    np.testing.assert_allclose(params["decoder"]["output"]["kernel"], TRUTH.weights.T, rtol=1e-5)
    keys = jax.random.split(jax.random.key(3), (8, 20_000))
    elbos = jax.vmap(lambda one, keys: jnp.mean(draw(model, params, one, keys).log_w))
    exact = jax.vmap(partial(linear_gaussian.log_evidence, TRUTH))(x)
    return jax.jit(elbos)(x, keys), exact


@pytest.mark.slow
@pytest.mark.parametrize(
    ("posterior", "options"),
    [
        ("full", {}),
        ("low_rank", {"posterior_rank": L}),
        ("iaf", {"num_flows": 1, "flow_hidden": (), "shared_flows": True}),
    ],
)
def test_families_with_any_covariance_reach_the_evidence(posterior, options):
    """Probabilistic PCA with a correlated posterior: ELBO = log p(x) within 1e-3 nats."""
    elbos, exact = trained_elbo(posterior, estimators.sticking_the_landing, **options)
    np.testing.assert_allclose(elbos, exact, atol=1e-3)


@pytest.mark.slow
def test_the_diagonal_family_ends_at_its_known_gap():
    elbos, exact = trained_elbo("diagonal", estimators.pathwise)
    gap = float(linear_gaussian.best_diagonal(TRUTH, jnp.zeros(D))[2])
    assert gap > 0.1
    np.testing.assert_allclose(np.mean(exact - elbos), gap, atol=0.01)


def test_the_best_posterior_of_a_family_is_the_exact_one_where_the_family_has_it():
    model = dataclasses.replace(SPEC, posterior="full").build()
    params, x = with_the_true_decoder(model, scale=0.1), x_of_truth(1)[0]
    best = jax.jit(partial(inference_gap.best_posterior, model, num_samples=32))(
        params, x, jax.random.key(0)
    )
    mean, covariance = linear_gaussian.posterior(TRUTH, x)
    np.testing.assert_allclose(best.mean, mean, atol=0.03)
    np.testing.assert_allclose(best.covariance, covariance, atol=0.03)
    value = inference_gap.elbo_of(model, params, x, best, jax.random.key(1), 20_000)
    np.testing.assert_allclose(value, linear_gaussian.log_evidence(TRUTH, x), atol=0.02)


def test_the_best_posterior_of_a_flow_leaves_its_networks_alone():
    model = dataclasses.replace(SPEC, posterior="iaf").build()
    params, x = with_the_true_decoder(model, scale=0.1), x_of_truth(1)[0]
    best = jax.jit(partial(inference_gap.best_posterior, model, num_steps=200))(
        params, x, jax.random.key(0)
    )
    start = model.posterior(params, x)
    jax.tree.map(
        np.testing.assert_array_equal,
        best.bijections[0].conditioner,
        start.bijections[0].conditioner,
    )
    assert np.abs(best.bijections[0].context - start.bijections[0].context).max() > 0.01
    elbos = [
        float(inference_gap.elbo_of(model, params, x, q, jax.random.key(1), 5000))
        for q in (start, best)
    ]
    assert elbos[0] + 0.1 < elbos[1] < float(linear_gaussian.log_evidence(TRUTH, x)) + 0.02


def test_heads_refuse_numbers_that_are_not_positive():
    for make in (
        heads.low_rank_normal,
        heads.mixture_of_normals,
        flows.planar,
        flows.sylvester,
        flows.inverse_autoregressive,
        flows.affine_coupling,
        flows.spline_coupling,
    ):
        with pytest.raises(ValueError, match="must be positive, not 0"):
            make(0)
    with pytest.raises(ValueError, match="context_size must not be negative, it is -1"):
        flows.inverse_autoregressive(2, (8,), -1)
    with pytest.raises(ValueError, match="basis='cube' must be one of orthogonal"):
        flows.sylvester(2, "cube")


def test_a_full_covariance_start_is_near_the_prior():
    model = vae((D,), L, encoder=mlp(()), latents=latents.normal(heads.full_normal()))
    params = model.init(jax.random.key(0), jnp.full(D, 0.5))
    q = model.posterior(params, jnp.zeros(D))
    np.testing.assert_allclose(q.covariance, np.eye(L), atol=1e-6)
    draw_fn = partial(
        draw_batch, model, params, jnp.zeros((2, D)), jax.random.split(jax.random.key(0), (1, 2))
    )
    _, (_, metrics) = closed_form_elbo().loss((), jnp.int32(0), jax.random.key(0), draw_fn)
    np.testing.assert_allclose(metrics["kl"], 0.0, atol=1e-6)
    assert has_closed_form_kl(q, standard_normal((L,)))

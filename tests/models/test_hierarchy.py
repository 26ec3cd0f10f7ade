"""Hierarchies: linear ones against the joint normal distribution, discrete ones by enumeration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.linear_hierarchy import exact_params, linear_hierarchy, model_of, perturbed
from tests.monte_carlo import assert_mean
from vae_jax import evidence
from vae_jax.errors import BadInputError
from vae_jax.models import draw_batch, hierarchy, kl_form, kl_term, latents, priors
from vae_jax.models.hierarchy import INFERENCES
from vae_jax.networks import mlp
from vae_jax.objectives import bounds, closed_form_elbo, estimators, maximise

TRUTH = linear_hierarchy()
X = TRUTH.simulate(4)


def drawn(model, params, x, num_samples, seed=0, **routes):
    keys = jax.random.split(jax.random.key(seed), (num_samples, len(x)))
    return jax.jit(lambda params, keys: draw_batch(model, params, x, keys, **routes))(params, keys)


@pytest.mark.parametrize("inference", INFERENCES)
def test_every_weight_is_the_evidence_at_the_exact_posterior(float64, inference):
    model, params = model_of(TRUTH, inference), exact_params(TRUTH, inference)
    sample = drawn(model, params, jnp.asarray(X), 20)
    expected = np.broadcast_to(TRUTH.log_evidence(X), (20, 4))
    np.testing.assert_allclose(sample.log_w, expected, rtol=1e-10)
    ratio = sample.log_posterior - sample.log_prior
    np.testing.assert_allclose(sample.log_likelihood - ratio, expected, rtol=1e-10)


@pytest.mark.parametrize("inference", INFERENCES)
def test_the_mean_weight_is_the_evidence_of_any_encoder(inference):
    model, params = model_of(TRUTH, inference), perturbed(exact_params(TRUTH, inference))
    log_w = np.asarray(drawn(model, params, jnp.asarray(X, jnp.float32), 20_000).log_w, np.float64)
    ratios = np.exp(log_w - TRUTH.log_evidence(X)[None])
    assert ratios.std(axis=0).min() > 0.05
    for of_one in ratios.T:
        assert_mean(of_one, 1.0)


@pytest.mark.parametrize("inference", INFERENCES)
def test_the_kl_term_by_layer_has_the_mean_of_the_sampled_ratio_and_less_variance(inference):
    model, params = model_of(TRUTH, inference), perturbed(exact_params(TRUTH, inference))
    sample = drawn(model, params, jnp.asarray(X[:1], jnp.float32), 20_000)
    q = model.posterior(params, jnp.asarray(X[0], jnp.float32))
    by_layer, ratio = (np.asarray(of)[:, 0] for of in (
        sample.layer_kl.sum(axis=-1), sample.log_posterior - sample.log_prior
    ))  # fmt: skip
    assert sample.layer_kl.shape == (20_000, 1, 2)
    assert_mean(by_layer - ratio, 0.0)
    np.testing.assert_allclose(kl_term(sample), by_layer.mean(keepdims=True), rtol=1e-4)
    form = kl_form(q, model.prior(params))
    if inference == "bottom_up":
        assert form == "sampled"
        np.testing.assert_allclose(by_layer, ratio, rtol=1e-3, atol=1e-3)
    else:
        assert form == "by layer"
        assert by_layer.std() < 0.7 * ratio.std()
        # The KL of the first layer that is drawn has a closed form and no noise at all.
        assert np.ptp(np.asarray(sample.layer_kl)[:, 0, 1]) == 0.0


@pytest.mark.parametrize("inference", INFERENCES)
@pytest.mark.parametrize(
    "estimator", [estimators.sticking_the_landing, estimators.doubly_reparameterised]
)
def test_without_score_the_encoder_has_no_gradient_at_the_exact_posterior(
    float64, inference, estimator
):
    """For every sample, and although a ladder has parameters of p(z_1|z_2) in q, too."""
    model, params = model_of(TRUTH, inference), exact_params(TRUTH, inference)
    keys = jax.random.split(jax.random.key(0), (3, len(X)))

    def bound(encoder):
        def draw_fn(**routes):
            of = {**params, "encoder": encoder}
            return draw_batch(model, of, jnp.asarray(X), keys, **routes)

        return jnp.sum(estimator(bounds.iwae, draw_fn)[0])

    gradient = jax.jit(jax.grad(bound))(params["encoder"])
    jax.tree.map(lambda leaf: np.testing.assert_allclose(leaf, 0.0, atol=1e-8), gradient)


@pytest.mark.slow
@pytest.mark.parametrize("inference", INFERENCES)
@pytest.mark.parametrize(
    ("bound", "estimator"),
    [
        (bounds.elbo, estimators.sticking_the_landing),
        (bounds.iwae, estimators.doubly_reparameterised),
        (bounds.elbo, estimators.score_function),
    ],
    ids=["stl", "dreg", "score_function"],
)
def test_estimators_are_unbiased_for_all_parameters(inference, bound, estimator):
    """Their mean is that of the pathwise gradient; a ladder shares parameters between p and q."""
    model, params = model_of(TRUTH, inference), perturbed(exact_params(TRUTH, inference), 0.05)
    params, x = jax.tree.map(jnp.float32, params), jnp.asarray(X[:2], jnp.float32)

    def gradients(estimator, key):
        def loss(params, key):
            keys = jax.random.split(key, (3, 2))

            def draw_fn(**routes):
                return draw_batch(model, params, x, keys, **routes)

            return jnp.sum(estimator(bound, draw_fn)[0])

        each = jax.vmap(jax.grad(loss), (None, 0))
        return jax.jit(lambda keys: each(params, keys))(jax.random.split(key, 20_000))

    found = gradients(estimator, jax.random.key(1))
    expected = gradients(estimators.pathwise, jax.random.key(2))
    jax.tree.map(lambda one, other: assert_mean(np.asarray(one) - np.asarray(other), 0.0),
                 found, expected)  # fmt: skip


@pytest.mark.parametrize("inference", INFERENCES)
def test_objectives_report_the_same_elbo(inference):
    model, params = model_of(TRUTH, inference), perturbed(exact_params(TRUTH, inference))
    params, x = jax.tree.map(jnp.float32, params), jnp.asarray(X, jnp.float32)
    keys = jax.random.split(jax.random.key(0), (4, len(X)))

    def draw_fn(**routes):
        return draw_batch(model, params, x, keys, **routes)

    found = [
        objective.loss((), 0, jax.random.key(0), draw_fn)[1][1]["elbo"]
        for objective in (closed_form_elbo(), maximise(bounds.elbo))
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)
    loss, _ = closed_form_elbo().loss((), 0, jax.random.key(0), draw_fn)
    np.testing.assert_allclose(loss, -found[0], rtol=1e-6)


@pytest.mark.parametrize("inference", ["bottom_up", "independent"])
def test_two_discrete_layers_against_enumeration(inference):
    model = hierarchy(
        (4,), (3, 2), inference=inference, encoder=mlp((5,)), decoder=mlp((5,)), between=mlp(()),
        latents=latents.bernoulli(),
    )  # fmt: skip
    params = model.init(jax.random.key(3), jnp.full(4, 0.5))
    params = jax.tree.map(lambda leaf: 3.0 * leaf, params)
    x = jnp.array([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0]])
    bits = [jnp.array(list(itertools.product([0.0, 1.0], repeat=n))) for n in (3, 2)]
    pairs = [(z1, z2) for z1 in bits[0] for z2 in bits[1]]
    prior = model.prior(params)
    joint = np.array(
        [
            [model.likelihood(params, z).log_prob(one) + prior.log_prob(z) for z in pairs]
            for one in x
        ],
        np.float64,
    )
    assert np.exp([prior.log_prob(z) for z in pairs]).sum() == pytest.approx(1.0, rel=1e-5)
    sample = drawn(model, params, x, 40_000)
    for log_w, exact in zip(np.asarray(sample.log_w, np.float64).T, joint, strict=True):
        assert_mean(np.exp(log_w - np.logaddexp.reduce(exact)), 1.0)
    for index in range(2):  # E_q[log w] over all z is the bound, with the KL term by layer
        q = model.posterior(params, x[index])
        log_q = np.array([q.log_prob(z) for z in pairs], np.float64)
        assert np.exp(log_q).sum() == pytest.approx(1.0, rel=1e-5)
        elbo = np.sum(np.exp(log_q) * (joint[index] - log_q))
        assert_mean(np.asarray(sample.log_likelihood - sample.sampled_kl)[:, index], elbo)


def test_a_vamp_prior_at_the_top_is_the_mean_of_q_of_its_pseudo_inputs():
    pseudo_inputs = jax.random.uniform(jax.random.key(1), (3, 4))
    for inference in ("top_down", "independent"):
        model = hierarchy((4,), (3, 2), inference=inference, prior=priors.vamp(pseudo_inputs))
        params = model.init(jax.random.key(0), jnp.full(4, 0.5))
        z = model.prior(params).sample(jax.random.key(2))
        found = model.prior(params).log_prob_by_layer(z)[1]
        tops = [model.posterior(params, u).first.log_prob(z[1]) for u in pseudo_inputs]
        expected = np.logaddexp.reduce(np.array(tops)) - np.log(3)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("inference", INFERENCES)
def test_the_decoder_sees_all_layers_with_skip_and_the_first_one_without(inference):
    for skip in (False, True):
        model = hierarchy((4,), (3, 2), inference=inference, skip=skip)
        params = model.init(jax.random.key(0), jnp.full(4, 0.5))

        def mean(top, model=model, params=params):
            return model.likelihood(params, (jnp.ones(3), top)).mean

        assert (np.abs(jax.jacobian(mean)(jnp.ones(2))).max() > 0) == skip


@pytest.mark.parametrize(
    ("layers", "size"), [((3, 2), "small"), pytest.param((20, 10), "large", marks=pytest.mark.slow)]
)
def test_annealing_and_its_reverse_bracket_the_evidence(layers, size):
    """AIS over the tuple from q(z|x), and BDMC from exact samples."""
    truth = linear_hierarchy(*layers, d=layers[0] + 4, seed=1)
    model = model_of(truth, "independent")
    moved = perturbed(exact_params(truth, "independent"), 0.1 if size == "small" else 0.03)
    params = jax.tree.map(jnp.float32, moved)
    x, z = evidence.annealed.simulate(model, params, jax.random.key(0), 4)
    temperatures = 150 if size == "small" else 600
    schedule = evidence.annealed.sigmoid_schedule(temperatures)
    sizes = evidence.annealed.tune_step_sizes(
        model, params, x, jax.random.key(1), evidence.annealed.linear_schedule(50)
    )
    sample = evidence.annealed.make_annealed_sampler(model, schedule, sizes, num_chains=16)
    exact = truth.log_evidence(x)[:, None]
    forward = sample(params, x, jax.random.key(2)).log_w - exact
    backward = sample(params, x, jax.random.key(3), z).log_w - exact
    for ratios in (np.exp(forward), np.exp(-backward)):
        assert 0.01 < ratios.std() < 1.5
        assert_mean(ratios.ravel(), 1.0)
    assert forward.mean() < 0.0 < backward.mean()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"latent_dims": (3,)}, "at least two layers"),
        ({"latent_dims": (3, 0)}, "positive sizes"),
        ({"latent_dims": (3, 2), "inference": "sideways"}, "one of"),
    ],
)
def test_impossible_hierarchies_are_refused(options, what):
    with pytest.raises(ValueError, match=what):
        hierarchy((4,), **options)


def test_wrong_inputs_get_one_sentence():
    model = hierarchy((4,), (3, 2), prior=priors.vamp(jnp.zeros((2, 4))))
    params = model.init(jax.random.key(0), jnp.full(4, 0.5))
    with pytest.raises(BadInputError, match="bottom_up has only given the layers below"):
        model.prior(params)
    with pytest.raises(BadInputError, match="a tuple of 2 arrays"):
        model.likelihood(params, jnp.zeros(5))
    with pytest.raises(BadInputError, match=r"z_2 has the shape \(3,\)"):
        model.likelihood(params, (jnp.zeros(3), jnp.zeros(3)))
    ladder = hierarchy((4,), (3, 2), inference="top_down", latents=latents.bernoulli())
    params = ladder.init(jax.random.key(0), jnp.full(4, 0.5))
    with pytest.raises(ValueError, match="multiplies normal densities"):
        ladder.posterior(params, jnp.zeros(4)).sample(jax.random.key(0))

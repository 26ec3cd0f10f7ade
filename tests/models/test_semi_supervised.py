"""Partly known labels: the sum over classes is enumeration, and the evidence is exact."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from vae_jax import evidence, objectives
from vae_jax.distributions import Categorical, Label, unknown
from vae_jax.errors import BadInputError
from vae_jax.models import Batch, draw_batch, given, heads, semi_supervised, vae
from vae_jax.networks import mlp
from vae_jax.objectives import estimators

D, L, C, N, STD = 4, 2, 3, 6, 0.5
P = np.array([0.5, 0.3, 0.2])
RNG = np.random.default_rng(0)
INNER = vae(
    (D,), L, encoder=mlp(()), decoder=mlp(()), likelihood=heads.normal_fixed_scale(STD),
    condition_shape=(C,),
)  # fmt: skip
MODEL = semi_supervised(INNER, C, (D,), classifier=mlp((5,)), class_probabilities=P)
LABELS = np.array([0, -1, 2, -1, 1, -1])
KNOWN = jnp.asarray(np.where(LABELS[:, None] < 0, np.nan, np.eye(C)[LABELS]), jnp.float32)
X = jnp.asarray(0.5 * RNG.normal(size=(N, D)), jnp.float32)
KEYS = jax.random.split(jax.random.key(3), (2, N))


def parameters():
    params = MODEL.init(jax.random.key(0), X[0])
    kernel = params["decoder"]["output"]["kernel"]
    params["decoder"]["output"]["kernel"] = 0.7 * jnp.sign(kernel) + 0.3 * kernel
    return params


PARAMS = parameters()


def test_the_sum_is_the_enumeration_of_the_classes():
    """U(x) and L(x, y) of Kingma et al. 2014, eq. 6 and 7, class by class with p(x|y)."""
    found = draw_batch(MODEL, PARAMS, Batch(X, KNOWN), KEYS, summed=True)
    bound = found.log_likelihood - found.sampled_kl
    for n in range(N):
        q = special.softmax(np.float64(MODEL.posterior(PARAMS, X[n]).first.logits))
        for k in range(2):
            each = jax.random.split(KEYS[k, n], C)
            of_class = [_elbo(n, y, each[y]) for y in range(C)]
            if LABELS[n] >= 0:
                wanted = of_class[LABELS[n]] + np.log(P[LABELS[n]])
            else:
                wanted = np.sum(q * (np.array(of_class) + np.log(P) - np.log(q)))
            np.testing.assert_allclose(bound[k, n], wanted, rtol=1e-5)
    np.testing.assert_allclose(found.layer_kl.sum(-1), found.sampled_kl, rtol=1e-6)


def _elbo(n, y, key):
    """The ELBO of log p(x|y) with one sample of this key."""
    model = given(INNER, jnp.eye(C)[y])
    q, p = model.posterior(PARAMS, X[n]), model.prior(PARAMS)
    z = q.sample(key)
    kl = jnp.sum(q.kl_per_dim(p))
    return float(model.likelihood(PARAMS, z).log_prob(X[n]) - kl)


def exact(n, label):
    """log p(x), or log p(x, y) of a label, of the linear model."""
    kernel = np.float64(PARAMS["decoder"]["output"]["kernel"])
    bias = np.float64(PARAMS["decoder"]["output"]["bias"])
    covariance = kernel[:L].T @ kernel[:L] + STD**2 * np.eye(D)
    of_class = [
        np.log(P[y]) + stats.multivariate_normal(kernel[L + y] + bias, covariance).logpdf(X[n])
        for y in range(C)
    ]
    return special.logsumexp(of_class) if label < 0 else of_class[label]


def test_the_evidence_of_examples_with_and_without_labels():
    """With q(z|x, y) = p(z) and equal q(y|x), whose weights are bounded."""
    zeros = {name: jax.tree.map(jnp.zeros_like, PARAMS[name]) for name in ("encoder", "classifier")}
    params = {**PARAMS, **zeros}
    estimate = evidence.make_importance_sampler(MODEL, 20_000)
    found = estimate(params, Batch(X, KNOWN), jax.random.key(0))
    wanted = [exact(n, LABELS[n]) for n in range(N)]
    np.testing.assert_allclose(found.log_evidence, wanted, atol=0.1)
    assert (found.elbo < np.array(wanted) + 0.05).all()
    without = estimate(params, X, jax.random.key(0))
    np.testing.assert_allclose(without.log_evidence, [exact(n, -1) for n in range(N)], atol=0.1)


def test_with_all_labels_it_is_the_conditional_model_and_a_classifier():
    labels = jnp.eye(C)[np.array([0, 1, 2, 0, 1, 2])]
    batch = Batch(X, labels)

    @jax.jit
    def of_m2(params):
        draw_fn = partial(draw_batch, MODEL, params, batch, KEYS[:1])
        loss, (_, metrics) = objectives.m2(0.25).loss((), 0, KEYS[0, 0], draw_fn)
        return loss, metrics["reconstruction"], metrics["kl_1"], metrics["log_q_of_labels"]

    @jax.jit
    def by_hand(params):
        def one(x, y, key):
            own = jax.random.split(key, C)[jnp.argmax(y)]
            model = given(INNER, y)
            q = model.posterior(params, x)
            logits = MODEL.posterior(params, x).first.logits
            kl = jnp.sum(q.kl_per_dim(model.prior(params)))
            log_likelihood = model.likelihood(params, q.sample(own)).log_prob(x)
            return log_likelihood, kl, jnp.sum(y * jax.nn.log_softmax(logits))

        return [jnp.mean(of) for of in jax.vmap(one)(X, labels, KEYS[0])]

    loss, *found = of_m2(PARAMS)
    wanted = by_hand(PARAMS)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=3e-7)  # to the rounding of the means
    log_p = np.log(P)[np.array([0, 1, 2, 0, 1, 2])].mean()
    value = -(wanted[0] - wanted[1] + log_p) - 0.25 * wanted[2]
    np.testing.assert_allclose(loss, value, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["score_function", "vimco"])
def test_estimators_that_draw_the_class_have_the_gradient_of_the_sum(name):
    """Means over 20,000 draws within 5 standard errors of the exact sum's gradient."""
    estimator = getattr(estimators, name)
    batch, number = Batch(X[:2], KNOWN[:2]), 4

    def gradient(key, estimator):
        keys = jax.random.split(key, (number, 2))

        def loss(params):
            draw_fn = partial(draw_batch, MODEL, params, batch, keys)
            objective = objectives.m2(0.1, labelled_share=0.5, estimator=estimator)
            return objective.loss((), 0, key, draw_fn)[0]

        return jax.grad(loss)(PARAMS)["classifier"]["output"]["bias"]

    def mean_of(estimator, number):
        keys = jax.random.split(jax.random.key(1), number)
        found = np.float64(jax.jit(jax.vmap(lambda key: gradient(key, estimator)))(keys))
        return found.mean(axis=0), found.std(axis=0) / np.sqrt(number)

    exact_mean, exact_error = mean_of(estimators.pathwise, 5_000)
    mean, error = mean_of(estimator, 20_000)
    assert (np.abs(mean - exact_mean) < 5 * np.hypot(error, exact_error) + 1e-5).all()
    assert (exact_error * np.sqrt(5_000) < error * np.sqrt(20_000)).all()  # less variance


def test_relaxed_classes_train_a_model():
    batch = Batch(X, KNOWN)
    objective = objectives.m2(estimator=estimators.concrete(0.5))

    @jax.jit
    def gradient(params):
        def loss(params):
            draw_fn = partial(draw_batch, MODEL, params, batch, KEYS)
            return objective.loss((), 0, KEYS[0, 0], draw_fn)[0]

        return jax.grad(loss)(params)

    for leaf in jax.tree.leaves(gradient(PARAMS)["classifier"]):
        assert np.isfinite(leaf).all()
        assert np.any(np.asarray(leaf) != 0)


def test_repeated_labelled_examples_count_once():
    """The loss of a batch with repeats is that of the batch without, in the mean of the noise."""
    few = Batch(X[:4], KNOWN[:4])
    rows = np.array([0, 1, 2, 3, 0, 2])  # those with labels twice
    many = jax.tree.map(lambda leaf: leaf[rows], few)

    def loss(batch, keys, **options):
        draw_fn = partial(draw_batch, MODEL, PARAMS, batch, keys, theta=True)
        return objectives.m2(0.3, **options).loss((), 0, KEYS[0, 0], draw_fn)[0]

    keys = jax.random.split(jax.random.key(0), (3, 4))
    once = loss(few, keys, labelled_share=0.5)
    twice = loss(many, keys[:, rows], labelled_share=4 / 6, repeats=2.0)
    np.testing.assert_allclose(once, twice, rtol=1e-5)


def test_a_label_is_a_point_or_a_classifier():
    logits = jnp.array([0.2, -1.0, 0.7])
    prior = Categorical(jnp.log(jnp.asarray(P, jnp.float32)))
    q = special.softmax(np.float64(logits))
    known, missing = Label(logits, jnp.eye(3)[1]), Label(logits, unknown(3))
    np.testing.assert_allclose(known.kl_divergence(prior), -np.log(P[1]), rtol=1e-5)
    wanted = np.sum(q * (np.log(q) - np.log(P)))
    np.testing.assert_allclose(missing.kl_divergence(prior), wanted, rtol=1e-5)
    np.testing.assert_array_equal(known.sample(jax.random.key(0)), [0, 1, 0])
    np.testing.assert_allclose(known.log_prob_of_label, np.log(q[1]), rtol=1e-5)
    assert float(known.log_prob(jnp.eye(3)[1])) == 0.0
    assert float(missing.log_prob_of_label) == 0.0
    keys = jax.random.split(jax.random.key(0), 20_000)
    counts = np.asarray(jax.vmap(missing.sample)(keys)).mean(axis=0)
    assert (np.abs(counts - q) < 5 * np.sqrt(q * (1 - q) / 20_000)).all()
    gradient = jax.grad(lambda logits: Label(logits, unknown(3)).kl_divergence(prior))(logits)
    assert np.isfinite(gradient).all()


def test_what_is_no_label_or_no_sum_is_refused():
    with pytest.raises(BadInputError, match=r"c has the shape \(2,\), but one label"):
        MODEL.posterior(PARAMS, X[0], jnp.zeros(2))
    with pytest.raises(ValueError, match="at least 2 classes of positive probabilities"):
        semi_supervised(INNER, C, (D,), class_probabilities=[0.5, 0.5, 0.0])
    with pytest.raises(TypeError, match="summed=True is for models that can sum"):
        draw_batch(given(INNER, jnp.eye(C)[0]), PARAMS, X, KEYS, summed=True)
    with pytest.raises(TypeError, match="summed=True is for models that can sum"):
        draw_batch(MODEL, PARAMS, Batch(X, KNOWN), KEYS, summed=True, path=False)
    for options in ({"labelled_share": 0.0}, {"repeats": 0.0}, {"label_weight": -1.0}):
        with pytest.raises(ValueError, match="must"):
            objectives.m2(**options)

"""Several modalities against two views of a linear-Gaussian model, whose posteriors are known."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vae_jax import evidence, objectives
from vae_jax.distributions import (
    JointNormal,
    Normal,
    NormalMixture,
    kl_divergence,
    modalities,
    product_of_experts,
)
from vae_jax.errors import BadInputError
from vae_jax.models import Batch, Modality, draw_batch, heads, multimodal
from vae_jax.networks import mlp

# Views with orthogonal directions, so that all posteriors are diagonal.
WEIGHTS = {
    "left": jnp.array([[1.2, 0.0], [0.0, 0.8], [0.5, 0.0]]),
    "right": jnp.array([[0.0, 1.5], [0.9, 0.0]]),
}
STD = {"left": 0.5, "right": 0.8}
SHAPES = {name: (len(w),) for name, w in WEIGHTS.items()}
N = 4


def expert(name):
    """The exact q(z|x_m) times the prior: precision and the map from x to the mean."""
    w = np.float64(WEIGHTS[name])
    precision = 1 + np.diag(w.T @ w) / STD[name] ** 2
    return precision, w / STD[name] ** 2 / precision[None]


def linear(joining, exact_experts=True):
    """A model whose expert of a view is its likelihood, N(mean, 1 / (precision - 1)), for the
    product with the prior, or its posterior for the other joinings."""
    views = {
        name: Modality(SHAPES[name], heads.normal_fixed_scale(STD[name]), mlp(()), mlp(()))
        for name in WEIGHTS
    }
    model = multimodal(views, 2, joining=joining, joint_encoder=mlp(()))
    zeros = modalities({n: jnp.zeros(s) for n, s in SHAPES.items()}, **SHAPES)
    params = model.init(jax.random.key(0), zeros)
    for name, w in WEIGHTS.items():
        precision, kernel = expert(name)
        if joining in ("product", "mixture_of_products", "joint"):
            likelihood = precision - 1
            kernel = kernel * precision[None] / likelihood[None]
            precision = likelihood
        params["encoder"][name] = {"output": _affine(kernel, precision)}
        params["decoder"][name] = {"output": {"kernel": w.T, "bias": jnp.zeros(len(w))}}
    if joining == "joint":
        both = [expert(name) for name in sorted(WEIGHTS)]
        precision = sum(p for p, _ in both) - 1
        kernel = np.concatenate([k * p[None] / precision[None] for p, k in both])
        params["joint"] = {"output": _affine(kernel, precision)}
    return model, params


def _affine(kernel, precision):
    return {
        "kernel": jnp.asarray(np.concatenate([kernel, np.zeros_like(kernel)], 1), jnp.float32),
        "bias": jnp.asarray(
            np.concatenate([np.zeros(len(precision)), -0.5 * np.log(precision)]), jnp.float32
        ),
    }


X = {
    name: jnp.asarray(np.random.default_rng(1).normal(size=(N, len(w))), jnp.float32)
    for name, w in WEIGHTS.items()
}


def exact_log_prob(names):
    """log p of the views with these names, [N]."""
    w = np.concatenate([np.float64(WEIGHTS[name]) for name in names])
    noise = np.concatenate([np.full(len(WEIGHTS[name]), STD[name] ** 2) for name in names])
    x = np.concatenate([np.float64(X[name]) for name in names], axis=1)
    return stats.multivariate_normal(np.zeros(len(w)), w @ w.T + np.diag(noise)).logpdf(x)


def given(*names):
    return Batch(modalities({n: X[n] if n in names else None for n in SHAPES}, **SHAPES))


@pytest.mark.parametrize("names", [("left",), ("right",), ("left", "right")])
@pytest.mark.parametrize("joining", ["product", "joint"])
def test_the_product_of_exact_experts_is_the_posterior_of_every_subset(joining, names):
    """log_w is log p(x) of what is there for every sample: q is the exact posterior."""
    model, params = linear(joining)
    keys = jax.random.split(jax.random.key(0), (5, N))
    found = jax.jit(partial(draw_batch, model))(params, given(*names), keys)
    wanted = np.broadcast_to(exact_log_prob(names), (5, N))
    np.testing.assert_allclose(found.log_w, wanted, atol=2e-5)


@pytest.mark.parametrize("joining", ["mixture", "mixture_of_products"])
@pytest.mark.parametrize("names", [("right",), ("left", "right")])
def test_mixtures_of_experts_have_the_evidence_by_importance_sampling(joining, names):
    model, params = linear(joining)
    estimate = evidence.make_importance_sampler(model, 20_000)
    found = estimate(params, given(*names), jax.random.key(0))
    wanted = exact_log_prob(names)
    np.testing.assert_allclose(found.log_evidence, wanted, atol=0.05)
    assert (found.elbo < wanted + 1e-3).all()
    q = model.posterior(params, given(*names)[0].x)
    assert isinstance(q, NormalMixture)
    weights = np.asarray(jax.nn.softmax(q.logits))
    number = {"mixture": len(names), "mixture_of_products": 2 ** len(names) - 1}[joining]
    np.testing.assert_allclose(np.sort(weights)[-number:], 1 / number, rtol=1e-6)
    assert np.sort(weights)[:-number].sum() == 0.0
    if names == ("right",):  # one expert alone is the exact posterior
        np.testing.assert_allclose(found.elbo, wanted, atol=2e-3)


def test_the_likelihood_of_one_view_given_the_other():
    """log p(x_1|x_2) = log p(x_1, x_2) - log p(x_2), of exact posteriors with one sample."""
    model, params = linear("product")
    estimate = evidence.make_importance_sampler(model, 1)
    both, right = (
        estimate(params, given(*names), jax.random.key(0)).log_evidence
        for names in (("left", "right"), ("right",))
    )
    wanted = exact_log_prob(("left", "right")) - exact_log_prob(("right",))
    np.testing.assert_allclose(both - right, wanted, atol=5e-5)


def test_cross_generation_is_the_conditional_mean():
    """E[left|right] = W_left E[z|right], the decoder at the mean of q(z|right)."""
    model, params = linear("product")
    batch = given("right")
    for n in range(N):
        mean = model.posterior(params, batch[n].x).mean
        found = model.likelihood(params, mean).mean["left"]
        joint = np.concatenate([np.float64(WEIGHTS[name]) for name in ("left", "right")])
        covariance = joint @ joint.T + np.diag([STD["left"] ** 2] * 3 + [STD["right"] ** 2] * 2)
        gain = covariance[:3, 3:] @ np.linalg.inv(covariance[3:, 3:])
        np.testing.assert_allclose(found, gain @ np.float64(X["right"][n]), atol=1e-5)


def test_nothing_depends_on_what_stands_for_a_missing_view():
    model, params = linear("mixture_of_products")
    one = given("left")
    other = jax.tree.map(lambda leaf: leaf, one.x)
    other["right"] = other["right"]._replace(value=other["right"].value + 7.0)
    keys = jax.random.split(jax.random.key(0), (2, N))

    @jax.jit
    def gradient(params, x):
        loss = lambda p: jnp.mean(draw_batch(model, p, Batch(x), keys).log_w)  # noqa: E731
        return jax.value_and_grad(loss)(params)

    jax.tree.map(np.testing.assert_array_equal, gradient(params, one.x), gradient(params, other))


def test_jmvae_adds_the_divergences_to_the_experts():
    model, params = linear("joint")
    keys = jax.random.split(jax.random.key(0), (1, N))
    draw_fn = partial(draw_batch, model, params, given("left", "right"), keys)
    loss, (_, metrics) = objectives.jmvae(0.3).loss((), 0, keys[0, 0], draw_fn)
    q = jax.vmap(partial(model.posterior, params))(given("left", "right").x)
    assert isinstance(q, JointNormal)
    wanted = np.mean(
        [
            float(kl_divergence(Normal(q.mean[n], q.log_std[n]), Normal(*(
                leaf[n, m] for leaf in (q.experts.mean, q.experts.log_std)
            )))) for n in range(N) for m in range(2)
        ]
    ) * 2  # fmt: skip
    np.testing.assert_allclose(metrics["kl_to_experts"], wanted, rtol=1e-5)
    np.testing.assert_allclose(loss, -metrics["elbo"] + 0.3 * wanted, rtol=1e-5)
    np.testing.assert_allclose(metrics["elbo"], exact_log_prob(("left", "right")).mean(), atol=1.0)
    product, product_params = linear("product")
    draw_fn = partial(draw_batch, product, product_params, given("left"), keys)
    with pytest.raises(TypeError, match="JMVAE needs a joint posterior"):
        objectives.jmvae().loss((), 0, keys[0, 0], draw_fn)


def test_the_product_of_no_experts_is_the_prior():
    experts = Normal(jnp.ones((2, 3)), jnp.zeros((2, 3)))
    none = product_of_experts(experts, jnp.zeros(2))
    np.testing.assert_array_equal(none.mean, 0.0)
    np.testing.assert_array_equal(none.std, 1.0)
    both = product_of_experts(experts, jnp.ones(2))
    np.testing.assert_allclose(both.mean, 2 / 3, rtol=1e-6)
    np.testing.assert_allclose(both.std, 3**-0.5, rtol=1e-6)


def test_views_that_do_not_fit_are_refused():
    model, params = linear("product")
    with pytest.raises(BadInputError, match="is a dict of left, right, not of left"):
        model.posterior(params, {"left": X["left"][0]})
    with pytest.raises(ValueError, match="must have one number of examples, not left 4, right 3"):
        modalities({"left": X["left"], "right": X["right"][:3]}, **SHAPES)
    with pytest.raises(ValueError, match="at least one of which must be there, not none"):
        modalities({"left": None}, **SHAPES)
    with pytest.raises(ValueError, match=r"left has the shape \(4, 2\), and one example of it"):
        modalities({"left": X["left"][:, :2]}, **SHAPES)
    with pytest.raises(ValueError, match="at least 2 modalities"):
        multimodal({"one": Modality((3,))}, 2)
    with pytest.raises(ValueError, match="a joining of product"):
        multimodal({name: Modality((3,)) for name in "ab"}, 2, joining="sum")

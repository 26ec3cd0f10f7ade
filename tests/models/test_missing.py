"""Missing values against probabilistic PCA with holes, and masks that say something."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import special, stats

from tests.exact import LATENT_DIM, NUM_DIMS, STD, linear_vae
from vae_jax import evidence, objectives, training
from vae_jax.distributions import Observed, PartlyObserved, observed
from vae_jax.errors import BadInputError
from vae_jax.models import (
    Batch,
    as_observed,
    draw_batch,
    heads,
    hierarchy,
    masked_inputs,
    not_at_random,
    partly_observed,
    vae,
)
from vae_jax.networks import mlp
from vae_jax.objectives import bounds

MASKS = jnp.asarray(
    [[1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 1], [0, 0, 0, 1, 1, 0], [0, 1, 0, 0, 0, 0], [0] * 6],
    jnp.float32,
)


def with_holes(**options):
    """Probabilistic PCA of five examples, of whose values some are missing."""
    linear = linear_vae()
    model = vae(
        (NUM_DIMS,), LATENT_DIM, encoder=mlp(()), decoder=mlp(()),
        likelihood=heads.normal_fixed_scale(STD), missing=True, **options,
    )  # fmt: skip
    # The encoder of whole examples, for whom a missing value is the mean: too narrow, not exact.
    kernel = linear.exact_params["encoder"]["output"]["kernel"]
    bias = linear.exact_params["encoder"]["output"]["bias"]
    offset = jnp.zeros_like(bias).at[:LATENT_DIM].set(linear.truth.mean @ kernel[:, :LATENT_DIM])
    of_mask = linear.truth.mean[:, None] * kernel
    wide = jnp.concatenate([jnp.zeros(LATENT_DIM), jnp.full(LATENT_DIM, 0.15)])
    kernel = jnp.concatenate([kernel, -of_mask - wide[None]])
    encoder = {"kernel": kernel, "bias": bias + offset + 7 * wide}
    params = {**linear.exact_params, "encoder": {"output": encoder}}
    return model, params, linear, Observed(linear.x, MASKS)


def exact(linear, x, mask):
    """log p(x_o), and the mean and covariance of x_m given x_o (Gaussian conditioning)."""
    weights, mean = np.float64(linear.truth.weights), np.float64(linear.truth.mean)
    covariance = weights @ weights.T + STD**2 * np.eye(NUM_DIMS)
    o, m = np.flatnonzero(mask), np.flatnonzero(mask == 0)
    if not len(o):
        return 0.0, mean, covariance
    gain = covariance[np.ix_(m, o)] @ np.linalg.inv(covariance[np.ix_(o, o)])
    log_evidence = stats.multivariate_normal(mean[o], covariance[np.ix_(o, o)]).logpdf(x[o])
    conditional = covariance[np.ix_(m, m)] - gain @ covariance[np.ix_(o, m)]
    return log_evidence, mean[m] + gain @ (x[o] - mean[o]), conditional


def test_the_bound_on_the_observed_values_converges_to_their_evidence():
    model, params, linear, x = with_holes()
    estimate = evidence.make_importance_sampler(model, 5_000)
    found = estimate(params, Batch(x), jax.random.key(0))
    wanted = [exact(linear, np.float64(v), m)[0] for v, m in zip(x.value, MASKS, strict=True)]
    np.testing.assert_allclose(found.log_evidence, wanted, atol=0.05)
    assert (found.elbo < np.array(wanted) + 1e-3).all()


def test_imputations_are_the_conditional_distribution():
    """Means within 5 standard errors of the weighted samples, covariances within 0.12."""
    model, params, linear, x = with_holes()
    impute = evidence.make_imputer(model, 4_000, num_imputations=4_000)
    found = impute(params, x, jax.random.key(1))
    assert found.value.shape == (5, NUM_DIMS)
    assert found.samples.shape == (4_000, 5, NUM_DIMS)
    np.testing.assert_array_equal(found.value[0], x.value[0])
    for row in range(5):
        mask = np.asarray(MASKS[row])
        missing = np.flatnonzero(mask == 0)
        assert (found.samples[:, row][:, mask > 0] == np.asarray(x.value[row])[mask > 0]).all()
        if len(missing):
            _, mean, covariance = exact(linear, np.float64(x.value[row]), mask)
            error = np.sqrt(np.diag(covariance) / found.effective_sample_size[row])
            assert (np.abs(found.value[row, missing] - mean) < 5 * error).all()
            drawn = found.samples[:, row][:, missing]
            error = np.sqrt(
                np.diag(covariance) * (1 / 4_000 + 1 / found.effective_sample_size[row])
            )
            assert (np.abs(drawn.mean(axis=0) - mean) < 5 * error).all()
            scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
            cov = np.atleast_2d(np.cov(drawn.T))
            assert (np.abs(cov - covariance) / scale < 0.12).all()
    assert (found.effective_sample_size > 100).all()
    assert (found.effective_sample_size <= 4_000.5).all()


def test_nothing_depends_on_what_stands_for_a_missing_value():
    model, params, _, x = with_holes()
    other = Observed(jnp.where(MASKS > 0, x.value, 1e3), MASKS > 0)
    keys = jax.random.split(jax.random.key(0), (3, 5))

    def loss(params, x):
        return jnp.mean(bounds.iwae(draw_batch(model, params, Batch(x), keys).log_w))

    one, other_one = (jax.jit(jax.value_and_grad(loss))(params, of) for of in (x, other))
    jax.tree.map(np.testing.assert_array_equal, one, other_one)


def test_a_model_of_whole_examples_is_the_same_with_a_mask_of_ones():
    linear = linear_vae()
    keys = jax.random.split(jax.random.key(0), (2, 5))
    whole = draw_batch(linear.model, linear.exact_params, linear.x, keys)
    model, _, _, _ = with_holes()
    kernel = linear.exact_params["encoder"]["output"]["kernel"]
    encoder = {
        "kernel": jnp.concatenate([kernel, jnp.zeros_like(kernel)]),
        "bias": linear.exact_params["encoder"]["output"]["bias"],
    }
    params = {**linear.exact_params, "encoder": {"output": encoder}}
    found = draw_batch(model, params, Batch(as_observed(linear.x)), keys)
    np.testing.assert_allclose(found.log_w, whole.log_w, rtol=1e-5, atol=1e-5)


def test_a_hierarchy_has_missing_values_too():
    model = hierarchy(
        (NUM_DIMS,), (3, 2), likelihood=heads.normal_fixed_scale(STD), missing=True,
        encoder=mlp((7,)), decoder=mlp((7,)), between=mlp((5,)),
    )  # fmt: skip
    _, _, _, x = with_holes()
    params = model.init(jax.random.key(0), x.value[0])
    keys = jax.random.split(jax.random.key(0), (2, 5))
    found = draw_batch(model, params, Batch(x), keys)
    z1 = found.z[0]
    means = jax.vmap(jax.vmap(lambda z, w: model.likelihood(params, (z, w)).mean))(z1, found.z[1])
    wanted = stats.norm(np.asarray(means), STD).logpdf(np.asarray(x.value)) * np.asarray(MASKS)
    np.testing.assert_allclose(found.log_likelihood, wanted.sum(-1), rtol=2e-5, atol=1e-4)


def test_the_encoder_sees_values_where_they_are_and_the_mask():
    read = masked_inputs(lambda x: jnp.concatenate([x[:1], x[:1] ** 2, x[1:]]), np.array([0, 0, 1]))
    found = read(observed(jnp.array([jnp.nan, 3.0]), fill=7.0))
    np.testing.assert_array_equal(found, [0.0, 0.0, 3.0, 0.0, 1.0])
    np.testing.assert_array_equal(masked_inputs()(jnp.array([2.0])), [2.0, 1.0])


def test_what_is_no_observed_example_is_refused():
    model, params, _, x = with_holes()
    keys = jax.random.split(jax.random.key(0), (1, 5))
    with pytest.raises(BadInputError, match="an example of this model is an Observed"):
        draw_batch(model, params, x.value, keys)
    with pytest.raises(BadInputError, match=r"x.mask has the shape \(5,\)"):
        draw_batch(model, params, Batch(Observed(x.value, MASKS[:, 0])), keys)
    with pytest.raises(BadInputError, match="outside the support"):
        draw_batch(model, params, Batch(Observed(x.value * jnp.nan, MASKS)), keys)
    mixture = partly_observed(heads.logistic_mixture(2))
    outputs = jnp.zeros(mixture.output_shape((2, 2, 3)))
    with pytest.raises(ValueError, match="no log-probability of single values"):
        mixture.apply({}, outputs, (2, 2, 3))
    with pytest.raises(ValueError, match="is no event"):
        PartlyObserved(heads.bernoulli().apply({}, jnp.zeros(3), (3,))).log_prob(
            Observed(jnp.zeros(3), jnp.ones(2))
        )


# ---- Missing not at random: x = W z + m + noise, where a value is observed with probability
# sigmoid(offset + slope x).
OFFSET, SLOPE = jnp.array([0.5, 0.3]), jnp.array([-1.0, 1.5])
W, MEAN, NOISE = jnp.array([[0.9], [-0.7]]), jnp.array([0.4, -0.2]), 0.6


def masked_by_itself(inner=None):
    inner = inner or vae(
        (2,), 1, encoder=mlp(()), decoder=mlp(()), missing=True,
        likelihood=heads.normal_fixed_scale(NOISE),
    )  # fmt: skip
    model = not_at_random(inner, (2,), "self_masking")
    params = model.init(jax.random.key(0), jnp.zeros(2))
    params["decoder"] = {"output": {"kernel": W.T, "bias": MEAN}}
    params["missing"] = {"slope": SLOPE, "offset": OFFSET}
    return inner, model, params


NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def exact_not_at_random(x, mask):
    """p(x_o, mask) of values x [N, 2] by quadrature over z, and over a missing value given z."""
    product = np.ones((len(x), len(NODES)))
    for d in range(2):
        offset, slope = float(OFFSET[d]), float(SLOPE[d])
        mean = float(MEAN[d]) + float(W[d, 0]) * NODES
        if mask[d]:
            value = np.asarray(x)[:, d, None]
            product *= stats.norm.pdf(value, mean, NOISE) * special.expit(offset + slope * value)
        else:
            values = mean[:, None] + NOISE * NODES
            product *= special.expit(-offset - slope * values) @ WEIGHTS
    return product @ WEIGHTS


@pytest.mark.parametrize("mask", [(1, 1), (1, 0), (0, 1), (0, 0)])
def test_the_evidence_of_values_and_mask_is_that_of_quadrature(mask):
    """Within 4 standard errors of the mean weight of 100,000 samples."""
    _, model, params = masked_by_itself()
    x = Observed(jnp.array([0.8, -1.1]), jnp.asarray(mask, jnp.float32))
    log_w = np.float64(evidence.log_weights(model, params, x, jax.random.key(0), 50_000))
    wanted = exact_not_at_random(np.float64(x.value)[None], mask)[0]
    w = np.exp(log_w)
    assert abs(w.mean() - wanted) < 4 * w.std() / np.sqrt(len(w)) + 1e-5


def test_the_masks_of_the_quadrature_sum_to_one():
    """The oracle itself: over the four masks and a grid of values."""
    grid = np.linspace(-7, 7, 141)
    step = grid[1] - grid[0]
    pairs = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    same = np.stack([grid, grid], axis=-1)
    total = exact_not_at_random(same[:1], (0, 0))[0]
    total += sum(exact_not_at_random(same, mask).sum() * step for mask in ((1, 0), (0, 1)))
    total += exact_not_at_random(pairs, (1, 1)).sum() * step**2
    np.testing.assert_allclose(total, 1.0, atol=1e-6)


@pytest.mark.parametrize("missingness", ["linear", "network"])
def test_a_mask_that_depends_on_all_values_has_the_log_probability_of_its_logits(missingness):
    inner = masked_by_itself()[0]
    model = not_at_random(inner, (2,), missingness)
    params = model.init(jax.random.key(3), jnp.zeros(2))
    z, drawn = jnp.array([0.3]), jnp.array([1.0, 2.0])
    likelihood = model.likelihood(params, (z, drawn))
    x = Observed(jnp.array([5.0, 9.0]), jnp.array([1.0, 0.0]))
    logits = np.asarray(likelihood.missing(jnp.array([5.0, 2.0])))  # the observed, and the drawn
    log_mask = -np.log1p(np.exp(-logits[0])) - np.log1p(np.exp(logits[1]))
    mean = np.asarray(likelihood.base.mean)
    wanted = stats.norm(mean[0], NOISE).logpdf(5.0) + log_mask
    np.testing.assert_allclose(likelihood.log_prob(x), wanted, rtol=1e-5)


@pytest.mark.slow
def test_not_miwae_is_unbiased_where_miwae_is_not():
    """Values above zero of the second column are mostly missing: the mean that the decoder learns
    is right with the model of the mask, and too small without."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4_000, 1))
    x = z @ np.asarray(W).T + np.asarray(MEAN) + NOISE * rng.normal(size=(4_000, 2))
    slope, offset = np.array([0.0, -3.0]), np.array([20.0, 0.0])
    there = rng.random(x.shape) < special.expit(offset + slope * x)
    batch = Observed(jnp.asarray(x, jnp.float32), jnp.asarray(there, jnp.float32))

    def known_mask():
        return {"slope": jnp.float32(slope), "offset": jnp.float32(offset)}

    inner, _, _ = masked_by_itself()
    known = not_at_random(inner, (2,), "self_masking")
    means = {}
    for name, model in (("miwae", inner), ("not-miwae", known)):
        trainer = training.make_trainer(
            model, objectives.maximise(bounds.iwae), optax.adam(5e-3), num_samples=20
        )
        state = trainer.init(jax.random.key(0), Batch(jax.tree.map(lambda leaf: leaf[0], batch)))
        start = dict(state.params)
        if name == "not-miwae":
            start["missing"] = known_mask()
        state = state._replace(params=start)
        epoch = training.make_epoch(trainer, 200)
        for _ in range(30):
            state, _ = epoch(state, Batch(batch))
            if name == "not-miwae":
                state = state._replace(params={**state.params, "missing": known_mask()})
        means[name] = float(state.average_params["decoder"]["output"]["bias"][1])
    assert abs(means["not-miwae"] - float(MEAN[1])) < 0.08, means
    assert means["miwae"] < float(MEAN[1]) - 0.2, means

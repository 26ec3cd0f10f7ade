"""Training of linear-Gaussian hierarchies: their maximum in closed form, and the collapse there."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.linear_hierarchy import LAYER_STD, STD, exact_params, linear_hierarchy, model_of
from vae_jax.evidence import make_importance_sampler
from vae_jax.models.hierarchy import INFERENCES
from vae_jax.objectives import closed_form_elbo
from vae_jax.training import adam, make_epoch, make_trainer

NUM_EPOCHS, NUM_EXAMPLES = 1500, 64
TRUTH = linear_hierarchy()


def data_with(variances):
    """Examples [N, 5] whose mean is that of p(x|z_1 = 0) and whose covariance has exactly these
    variances along the columns of w, and STD^2 elsewhere."""
    basis = np.linalg.qr(np.hstack([TRUTH.w, np.random.default_rng(1).normal(size=(5, 2))]))[0]
    noise = np.random.default_rng(2).normal(size=(NUM_EXAMPLES, 5))
    noise -= noise.mean(axis=0)
    white = noise @ np.linalg.inv(np.linalg.cholesky(noise.T @ noise / NUM_EXAMPLES)).T
    scale = np.sqrt([*variances, STD**2, STD**2])
    return TRUTH.m + (white * scale) @ basis.T


def maximum(variances):
    """(mean log p(x) at its maximum over a and b, singular values of a there).

    Along a column of w, of length g, x has the variance g^2 (alpha^2 + LAYER_STD^2) + STD^2, where
    z_2 may add alpha^2 in two of the three directions. Where the data vary less than without it,
    alpha is zero: the upper layer has collapsed.
    """
    gain = np.square(TRUTH.w).sum(axis=0)
    alpha_squared = np.maximum(0.0, (np.array(variances) - STD**2) / gain - LAYER_STD**2)
    alpha_squared[np.argsort(alpha_squared)[:-2]] = 0.0
    of_model = np.concatenate([gain * (alpha_squared + LAYER_STD**2) + STD**2, [STD**2] * 2])
    of_data = np.array([*variances, STD**2, STD**2])
    terms = np.log(2 * np.pi * of_model) + of_data / of_model
    return -0.5 * terms.sum(), np.sqrt(alpha_squared)


def trained(inference, x):
    """A hierarchy that learns everything but p(x|z_1) and the noise of p(z_1|z_2)."""
    model, exact = model_of(TRUTH, inference), exact_params(TRUTH, inference)
    exact = jax.tree.map(jnp.float32, exact)

    def restricted(params):
        of_layer, of_truth = (each["layers"]["networks"][0]["output"] for each in (params, exact))
        is_mean = jnp.arange(6) < 3
        network = {
            "kernel": jnp.where(is_mean[None], of_layer["kernel"], 0.0),
            "bias": jnp.where(is_mean, of_layer["bias"], of_truth["bias"]),
        }
        layers = {**params["layers"], "networks": [{"output": network}]}
        return {**params, "layers": layers, "decoder": exact["decoder"]}

    functions = {
        name: functools.partial(lambda function, params, *of: function(restricted(params), *of), of)
        for name, of in model._asdict().items()
        if name in ("posterior", "prior", "likelihood")
    }
    model = model._replace(**functions)
    optimiser = adam(0.02, NUM_EPOCHS, warmup_steps=20)
    trainer = make_trainer(
        model, closed_form_elbo(), optimiser, num_samples=16, clip_norm=10.0, average_decay=0.98
    )
    state = jax.jit(trainer.init)(jax.random.key(0), x[0])
    run_epoch = make_epoch(trainer, batch_size=NUM_EXAMPLES)
    for _ in range(NUM_EPOCHS):
        state, _ = run_epoch(state, x)
    return model, restricted(state.average_params)


@pytest.mark.slow
@pytest.mark.parametrize("inference", INFERENCES)
@pytest.mark.parametrize(
    "variances",
    [pytest.param((4.0, 2.0, 0.5), id="in use"), pytest.param((0.6, 0.5, 0.4), id="collapsed")],
)
def test_training_reaches_the_maximum_and_the_upper_layer_collapses_where_it_is_there(
    inference, variances
):
    x = jnp.asarray(data_with(variances), jnp.float32)
    best, singular_values = maximum(variances)
    model, params = trained(inference, x)
    estimate = make_importance_sampler(model, 500, examples_at_once=64, samples_at_once=100)
    scores = estimate(params, np.asarray(x), jax.random.key(1))
    np.testing.assert_allclose(scores.log_evidence.mean(), best, rtol=0, atol=0.01)
    # Each inference contains the posterior of the maximum.
    np.testing.assert_allclose(scores.elbo.mean(), best, rtol=0, atol=0.03)
    a = np.asarray(params["layers"]["networks"][0]["output"]["kernel"])[:, :3]
    found = np.linalg.svd(a, compute_uv=False)
    expected = np.sort(singular_values)[::-1][:2]
    np.testing.assert_allclose(found, expected, atol=0.12)
    of_upper = np.array([model.posterior(params, one).at_centre().of_each[1].mean for one in x])
    if not singular_values.any():  # what the upper layer says does not depend on x
        assert of_upper.std(axis=0).max() < 0.15
    else:
        assert of_upper.std(axis=0).max() > 0.5

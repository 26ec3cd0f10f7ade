"""The two-stage VAE of linear models, whose evidence is that of a normal distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import vae_jax as vj
from tests.exact import linear_vae
from tests.monte_carlo import assert_mean
from vae_jax import data, evidence
from vae_jax.config import Config
from vae_jax.evidence.linear_gaussian import LinearGaussian, as_vae
from vae_jax.models import draw_batch, two_stage

FIRST = linear_vae()
TOP = LinearGaussian(jnp.array([[0.9], [-0.6]]), jnp.array([0.4, -0.3]), jnp.asarray(0.5))
SECOND, TOP_PARAMS = as_vae(TOP)
MODEL = two_stage(FIRST.model, SECOND)
PARAMS = {"first": FIRST.exact_params, "second": TOP_PARAMS}


def exact(x):
    """log p(x): z ~ N(m, W W' + s^2 I) of the second stage, through the decoder of the first."""
    w, b, std = (np.asarray(leaf, np.float64) for leaf in FIRST.truth)
    top = np.asarray(TOP.weights, np.float64)
    of_codes = top @ top.T + 0.25 * np.eye(2)
    covariance = w @ of_codes @ w.T + std**2 * np.eye(len(b))
    mean = w @ np.asarray(TOP.mean, np.float64) + b
    return scipy.stats.multivariate_normal(mean, covariance).logpdf(np.asarray(x))


def test_the_mean_weight_is_the_evidence_of_both_stages():
    keys = jax.random.split(jax.random.key(0), (20_000, len(FIRST.x)))
    log_w = jax.jit(lambda params: draw_batch(MODEL, params, FIRST.x, keys).log_w)(PARAMS)
    ratios = np.exp(np.asarray(log_w, np.float64) - exact(FIRST.x)[None])
    for of_one in ratios.T:
        assert of_one.std() / np.sqrt(len(of_one)) < 0.1
        assert_mean(of_one, 1.0)


def test_samples_are_those_of_the_evidence():
    x, z = evidence.annealed.simulate(MODEL, PARAMS, jax.random.key(1), 4_000)
    assert [one.shape for one in z] == [(4_000, 2), (4_000, 1)]
    whitened = np.asarray(x) - np.asarray(FIRST.truth.weights @ TOP.mean + FIRST.truth.mean)[None]
    covariance = np.asarray(FIRST.truth.weights) @ (
        np.asarray(TOP.weights @ TOP.weights.T) + 0.25 * np.eye(2)
    ) @ np.asarray(FIRST.truth.weights).T + 0.49 * np.eye(6)
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), whitened.T).T
    assert np.abs(whitened.mean(axis=0)).max() < 4.5 / np.sqrt(4_000)
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(6), atol=4.5 * np.sqrt(2 / 4_000))


def test_annealing_and_its_reverse_bracket_the_evidence():
    schedule = evidence.annealed.sigmoid_schedule(60)
    sizes = evidence.annealed.tune_step_sizes(
        MODEL, PARAMS, FIRST.x, jax.random.key(0), evidence.annealed.linear_schedule(50)
    )
    sample = evidence.annealed.make_annealed_sampler(MODEL, schedule, sizes, num_chains=64)
    log_w = sample(PARAMS, FIRST.x, jax.random.key(1)).log_w
    found = np.logaddexp.reduce(log_w, axis=1) - np.log(64)
    np.testing.assert_allclose(found, exact(FIRST.x), atol=0.25)


@pytest.mark.slow
def test_a_second_run_on_the_codes_of_a_first_one(tmp_path):
    """Codes in two clumps, which the normal prior of the first stage does not know."""
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(2_000, 2)) * 0.3 + rng.choice([-1.5, 1.5], (2_000, 1))
    config = Config(
        network="mlp", hidden=(32,), latent_dim=2, epochs=60, batch_size=100, nll_samples=100,
        learning_rate=5e-3,
    )  # fmt: skip
    second = vj.fit(config, data.from_arrays(codes, kind="real"), tmp_path / "top", listeners=[])
    model = two_stage(FIRST.model, second.model)
    params = {"first": FIRST.exact_params, "second": second.params}
    w, b, std = FIRST.truth
    z = jnp.asarray(codes[:200], jnp.float32)
    x = z @ w.T + b[None] + std * jax.random.normal(jax.random.key(0), (200, 6))
    both = [
        evidence.make_importance_sampler(each, 500)(of, x, jax.random.key(1)).log_evidence.mean()
        for each, of in ((FIRST.model, FIRST.exact_params), (model, params))
    ]
    assert both[1] > both[0] + 0.2

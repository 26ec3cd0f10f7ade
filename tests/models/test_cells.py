"""A latent library size and dispersions by batch, against SciPy and quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vae_jax import evidence
from vae_jax.models import (
    Batch,
    ModelSpec,
    Sized,
    dispersion_by_condition,
    given,
    heads,
    latent_size,
    vae,
)
from vae_jax.networks import mlp

D, B = 4, 2
MOMENTS = ((2.0, 0.3), (3.0, 0.5))
X = jnp.array([3.0, 0.0, 7.0, 1.0])


def inner(head=None):
    return vae(
        (D,), 1, encoder=mlp((6,)), decoder=mlp((6,)), condition_shape=(B,), size_factors=True,
        likelihood=head or heads.negative_binomial(proportions=True), encoder_inputs=jnp.log1p,
    )  # fmt: skip


def test_dispersions_are_those_of_the_gene_and_the_batch():
    model = dispersion_by_condition(inner(), B, (D,))
    params = model.init(jax.random.key(0), X)
    table = jnp.asarray(np.random.default_rng(0).normal(size=(B, D)), jnp.float32)
    params = {**params, "dispersion": table}
    z = jnp.array([0.4])
    for batch in range(B):
        c = Sized(jnp.asarray(30.0), jnp.eye(B)[batch])
        likelihood = given(model, c).likelihood(params, z)
        mean = np.float64(likelihood.mean)
        theta = np.exp(np.float64(params["likelihood"]["log_dispersion"] + table[batch]))
        wanted = stats.nbinom(theta, theta / (theta + mean)).logpmf(np.asarray(X))
        np.testing.assert_allclose(likelihood.log_prob_per_dim(X), wanted, rtol=2e-4)
        np.testing.assert_allclose(mean.sum(), 30.0, rtol=1e-5)


@pytest.mark.parametrize("moments", [MOMENTS, MOMENTS[:1]])
def test_the_evidence_with_a_latent_size_is_that_of_quadrature(moments):
    """Over z and log l, with 60 x 60 points; importance sampling within 4 standard errors."""
    model = latent_size(inner(heads.poisson(proportions=True)), moments, (D,))
    params = model.init(jax.random.key(1), X)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    for batch in range(B):
        c = jnp.eye(B)[batch]
        mean, std = moments[batch if len(moments) > 1 else 0]
        of_c = given(model, c)

        def log_likelihood(z, log_size, of_c=of_c):
            return of_c.likelihood(params, (z[None], log_size[None])).log_prob(X)

        grid = jax.vmap(jax.vmap(log_likelihood, (None, 0)), (0, None))
        values = np.float64(grid(jnp.float32(nodes), jnp.float32(mean + std * nodes)))
        wanted = np.sum(np.exp(values) * weights[:, None] * weights)
        log_w = evidence.log_weights(of_c, params, X, jax.random.key(0), 40_000)
        w = np.exp(np.float64(log_w))
        assert abs(w.mean() - wanted) < 4 * w.std() / 200


def test_dropout_of_the_encoder_stays_beside_a_latent_size():
    spec = ModelSpec(
        event_shape=(D,), latent_dim=2, network="mlp", hidden=(50,), likelihood="poisson",
        size_factors=True, latent_size=True, dropout=0.5,
    )  # fmt: skip
    model = spec.build()
    params = model.init(jax.random.key(0), X)
    found = [model.posterior_with_dropout(jax.random.key(k), params, X).first.mean for k in (0, 1)]
    assert np.any(np.asarray(found[0]) != np.asarray(found[1]))


def test_a_specification_builds_them():
    spec = ModelSpec(
        event_shape=(D,), latent_dim=2, network="mlp", hidden=(5,), likelihood="zinb",
        condition_shape=(B,), size_factors=True, latent_size=True, size_moments=MOMENTS,
        dispersion="condition",
    )  # fmt: skip
    model = spec.build()
    params = model.init(jax.random.key(0), X)
    assert params["dispersion"].shape == (B, D)
    one = Batch(X[None], jnp.eye(B)[:1])
    found = evidence.make_importance_sampler(model, 10)(params, one, jax.random.key(0))
    assert np.isfinite(found.log_evidence).all()
    with pytest.raises(ValueError, match="needs a condition"):
        ModelSpec(event_shape=(D,), likelihood="zinb", dispersion="condition")
    with pytest.raises(ValueError, match="pairs of a mean and a positive std"):
        latent_size(inner(), ((0.0, 0.0),), (D,))

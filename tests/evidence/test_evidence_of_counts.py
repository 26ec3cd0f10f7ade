"""Evidence of models with likelihoods other than the normal and the Bernoulli, against truth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from vae_jax.evidence import linear_gaussian, make_importance_sampler, quadrature
from vae_jax.evidence.linear_gaussian import LinearGaussian
from vae_jax.models import Batch, Sized, draw_batch, given, heads, mean_elbo, vae
from vae_jax.networks import mlp

WEIGHTS = np.array([[0.8, -0.5], [0.3, 0.9], [-0.6, 0.4]])  # [D, L]
BIAS = np.array([1.0, 0.2, -0.5])
DISPERSION = np.array([0.7, 2.0, 5.0])
ZERO_LOGITS = np.array([-1.0, 0.5, -2.0])
COUNTS = np.array([[0.0, 3.0, 1.0], [6.0, 0.0, 0.0], [2.0, 2.0, 4.0]])
SIZES = np.array([4.0, 9.0, 1.5])


def negative_binomial(mean, count):
    return scipy.stats.nbinom.pmf(count, DISPERSION, DISPERSION / (DISPERSION + mean))


def zinb(mean, count):
    zero = 1.0 / (1.0 + np.exp(-ZERO_LOGITS))
    return zero * (count == 0) + (1.0 - zero) * negative_binomial(mean, count)


MASSES = {
    "poisson": (heads.poisson, lambda mean, count: scipy.stats.poisson.pmf(count, mean)),
    "negative_binomial": (heads.negative_binomial, negative_binomial),
    "zinb": (heads.zero_inflated_negative_binomial, zinb),
}


def model(name, num_latents, size_factors):
    """A linear decoder of log means, or of proportions, and its parameters."""
    head = MASSES[name][0](proportions=size_factors)
    made = vae(
        (3,),
        num_latents,
        encoder=mlp(()),
        decoder=mlp(()),
        likelihood=head,
        size_factors=size_factors,
        encoder_inputs=jnp.log1p,
    )
    params = made.init(jax.random.key(0), jnp.ones(3))
    kernel, bias = jnp.asarray(WEIGHTS[:, :num_latents].T), jnp.asarray(BIAS)
    if name == "zinb":
        kernel = jnp.concatenate([kernel, jnp.zeros_like(kernel)], axis=1)
        bias = jnp.concatenate([bias, jnp.asarray(ZERO_LOGITS)])
    params["decoder"]["output"] = {"kernel": kernel, "bias": bias}
    if name != "poisson":
        params["likelihood"]["log_dispersion"] = jnp.log(jnp.asarray(DISPERSION))
    return made, params


def truth(name, num_latents, count, size):
    """log p(x) by SciPy's mass functions and its adaptive quadrature over z."""

    def joint(*z):
        outputs = WEIGHTS[:, :num_latents] @ np.array(z) + BIAS
        mean = np.exp(outputs)
        if size is not None:
            mean = size * mean / mean.sum()
        return np.prod(MASSES[name][1](mean, count)) * np.prod(scipy.stats.norm.pdf(z))

    box = [(-9.0, 9.0)] * num_latents
    return np.log(scipy.integrate.nquad(joint, box, opts={"limit": 100, "epsabs": 1e-12})[0])


@pytest.mark.parametrize(
    ("name", "num_latents", "sized"),
    [
        ("poisson", 1, False),
        pytest.param("poisson", 2, True, marks=pytest.mark.slow),
        ("negative_binomial", 1, True),
        pytest.param("negative_binomial", 2, False, marks=pytest.mark.slow),
        pytest.param("zinb", 1, False, marks=pytest.mark.slow),
        ("zinb", 1, True),
    ],
)
def test_the_evidence_of_counts_is_that_of_quadrature(name, num_latents, sized):
    made, params = model(name, num_latents, sized)
    rows = slice(0, 1 if num_latents == 2 else 3)
    counts, sizes = COUNTS[rows], SIZES[rows]
    exact = np.array(
        [
            truth(name, num_latents, count, size if sized else None)
            for count, size in zip(counts, sizes, strict=True)
        ]
    )
    c = Sized(jnp.asarray(sizes, jnp.float32)) if sized else None
    batch = Batch(jnp.asarray(counts, jnp.float32), c)
    integrated = [
        quadrature.integrate(given(made, one.c), params, one.x).log_evidence for one in batch
    ]
    np.testing.assert_allclose(integrated, exact, atol=2e-5)
    found = make_importance_sampler(made, 20_000)(params, batch, jax.random.key(1))
    # The posterior of an untrained encoder is near the prior: relative std of weights below 3.
    np.testing.assert_allclose(found.log_evidence, exact, atol=4 * 3 / np.sqrt(20_000))
    assert (found.elbo < exact).all()


def test_factor_analysis_has_the_evidence_and_the_elbo_of_its_closed_forms():
    weights = jnp.asarray([[1.0, 0.0], [0.5, 0.8], [0.0, -0.7], [0.3, 0.4]])
    std = jnp.asarray([0.6, 0.2, 1.1, 0.4])
    factors = LinearGaussian(weights, jnp.linspace(-1.0, 1.0, 4), std)
    made, params = linear_gaussian.as_vae(factors)
    z = jax.random.normal(jax.random.key(0), (6, 2))
    noise = jax.random.normal(jax.random.key(1), (6, 4))
    x = z @ weights.T + factors.mean[None] + std[None] * noise
    exact = jax.vmap(lambda x: linear_gaussian.log_evidence(factors, x))(x)
    integrated = jax.jit(jax.vmap(lambda x: quadrature.integrate(made, params, x).log_evidence))(x)
    np.testing.assert_allclose(integrated, exact, atol=2e-4)
    gap = linear_gaussian.best_diagonal(factors, x[0])[2]
    keys = jax.random.split(jax.random.key(2), (20_000, 6))
    elbos = jax.jit(lambda: mean_elbo(draw_batch(made, params, x, keys))[0])()
    np.testing.assert_allclose(elbos, exact - gap, atol=0.05)

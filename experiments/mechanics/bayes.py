"""Step 1: p(x) and p(z|x), by sums over a grid, and Bayes' theorem."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import multivariate_normal

from experiments.mechanics import drawings, rules
from experiments.mechanics.drawings import Plane
from experiments.mechanics.lesson import STANDARD_ERRORS, Check, Result, Subject, t_statistic
from experiments.mechanics.linear import linear_vae
from vae_jax.evidence import linear_gaussian
from vae_jax.figures import Figure
from vae_jax.models import Model, Params

TEXT = """\
Bayes' theorem

The evidence p(x) and the posterior p(z|x) of a VAE are intractable: both need an integral over
all latents. For two latent variables a sum over a grid does it.

    p(x) = integral of p(x|z) p(z) dz          p(z|x) p(x) = p(x|z) p(z)   (Bayes' theorem)
"""
_NUM_SAMPLES, _SAMPLES_AT_ONCE = 200_000, 2000
_PIXELS = 121  # points along a side of a picture


def run(subject: Subject, key: jax.Array) -> Result:
    """The evidence and posterior of the first test image by three rules and by sampling."""
    model, params, x = subject.model, subject.params, subject.x[0]
    sample_key, linear_key = jax.random.split(key)
    with jax.enable_x64(True):
        posterior, _ = jax.device_get(rules.measure(model, *rules.double((params, x))))
    weights, z = sampled_weights(model, params, x, posterior.log_evidence, sample_key)
    # The weighted mean of the latents is the mean of p(z|x).
    deviations = weights[:, None] * (z - posterior.mean[None])
    of_mean = max(t_statistic(column, 0.0) for column in deviations.T)
    checks = [
        Check(
            "integral of p(z|x) dz = 1",
            "p(x): 97^2 points, integral: 110^2",
            abs(np.expm1(posterior.log_normaliser - posterior.log_evidence)),
            1e-6,
        ),
        Check(
            "p(z|x) p(x) = p(x|z) p(z)",
            "linear-Gaussian, 1000 closed forms",
            bayes_residual(linear_key),
            1e-6,
        ),
        Check(
            "p(x) = E_p(z)[p(x|z)]",
            f"{_NUM_SAMPLES:,} samples of p(z), std. errors",
            t_statistic(weights, 1.0),
            STANDARD_ERRORS,
        ),
        Check(
            "E[z|x] = E_p(z)[z p(x|z)] / p(x)",
            "the same samples, standard errors",
            of_mean,
            STANDARD_ERRORS,
        ),
    ]
    mean = weights.mean()
    estimate = posterior.log_evidence + np.log(mean)
    error = weights.std() / mean / np.sqrt(len(weights))
    lines = [
        f"log p(x) of test image 0 by a grid      {posterior.log_evidence:12.6f} nats",
        f"  the grid with every second point is off by{posterior.error:10.1e}",
        f"  by midpoints                            {posterior.log_normaliser:12.6f}",
        f"  by {_NUM_SAMPLES:,} samples of p(z)            {estimate:12.6f} +- {error:.6f}",
        f"E[z|x] by the midpoints                   ({posterior.mean[0]:.4f}, "
        f"{posterior.mean[1]:.4f})",
        "  by the samples                         ({:.4f}, {:.4f})".format(
            *(weights @ z / weights.sum())
        ),
    ]
    numbers = {
        "log_evidence": posterior.log_evidence,
        "log_normaliser": posterior.log_normaliser,
        "sampled_log_evidence": estimate,
        "posterior_mean": posterior.mean,
    }
    return Result(lines, checks, {"1_bayes": _draw(subject, posterior)}, numbers)


def sampled_weights(
    model: Model, params: Params, x: jax.Array, log_evidence: float, key: jax.Array
) -> tuple[np.ndarray, np.ndarray]:
    """p(x|z) / p(x) [N] at samples z [N, L] of the prior: 1 in the mean."""

    @jax.jit
    @jax.default_matmul_precision("highest")
    def draw(params, x, key):
        def one(key):
            z = model.prior(params).sample(key)
            return model.likelihood(params, z).log_prob(x), z

        return jax.lax.map(one, jax.random.split(key, _NUM_SAMPLES), batch_size=_SAMPLES_AT_ONCE)

    values, z = jax.device_get(draw(params, x, key))
    return np.exp(values.astype(np.float64) - log_evidence), z.astype(np.float64)


def bayes_residual(key: jax.Array) -> float:
    """The largest |p(z|x) p(x) / (p(x|z) p(z)) - 1| on a model with closed forms of all four."""
    with jax.enable_x64(True):
        model_key, z_key = jax.random.split(key)
        linear = linear_vae(model_key)
        mean, covariance = linear_gaussian.posterior(linear.truth, linear.x)
        z = 2.0 * jax.random.normal(z_key, (1000, mean.size))
        log_posterior = jax.vmap(multivariate_normal.logpdf, (0, None, None))(z, mean, covariance)
        log_evidence = linear_gaussian.log_evidence(linear.truth, linear.x)
        log_joint = rules.log_joint(linear.model, linear.params, linear.x, z)
        return float(jnp.max(jnp.abs(jnp.expm1(log_posterior + log_evidence - log_joint))))


def plane(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, jax.Array]:
    """The points z1 [n] and z2 [n] of a picture, and their pairs z [n * n, 2]."""
    z1, z2 = np.linspace(low, high, _PIXELS).T
    z = np.stack(np.meshgrid(z1, z2, indexing="ij"), axis=-1).reshape(-1, 2)
    return z1, z2, jnp.asarray(z, jnp.float32)


@partial(jax.jit, static_argnums=0)
def log_densities(
    model: Model, params: Params, x: jax.Array, z: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """log p(x|z) and log p(z) at z [n * n, 2] of a picture. Returns [n, n] each."""
    log_prior = jax.vmap(model.prior(params).log_prob)(z)
    log_likelihood = rules.log_likelihood(model, params, x, z)
    return log_likelihood.reshape(_PIXELS, _PIXELS), log_prior.reshape(_PIXELS, _PIXELS)


def _draw(subject: Subject, posterior: rules.Posterior) -> Figure:
    model, params, x = subject.model, subject.params, subject.x[0]
    half = 5.0 * posterior.std
    z1, z2, z = plane(posterior.mean - half, posterior.mean + half)
    near, prior_near = log_densities(model, params, x, z)
    reach = np.full(2, max(3.5, *np.abs(posterior.mean) + half))
    wide1, wide2, z = plane(-reach, reach)
    wide, prior_wide = log_densities(model, params, x, z)
    return drawings.bayes_theorem(
        x,
        Plane(wide1, wide2, np.exp(prior_wide)),
        Plane(wide1, wide2, wide),
        Plane(z1, z2, np.exp(near + prior_near - posterior.log_evidence)),
    )

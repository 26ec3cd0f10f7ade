"""Exact truth for the linear-Gaussian VAE: probabilistic PCA, and factor analysis.

z ~ N(0, I_L), x | z ~ N(W z + m, diag(s)^2), where s is one number (probabilistic PCA, Tipping &
Bishop 1999) or one for each dimension (factor analysis). Every bound and estimator of this project
is checked against these closed forms.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vae_jax.distributions.normal import HALF_LOG_TWO_PI
from vae_jax.models import Model, Params, heads, vae
from vae_jax.networks import mlp


class LinearGaussian(NamedTuple):
    """The parameters of p(z) p(x|z)."""

    weights: jax.Array  # [D, L], W
    mean: jax.Array  # [D], m
    std: jax.Array  # [] or [D], s


def as_vae(truth: LinearGaussian, *, learned_scale: bool = False) -> tuple[Model, Params]:
    """The same model as a `vae` whose networks are single linear layers, with its parameters.

    For every x the encoder of these parameters is the best diagonal normal q(z|x) (see
    `best_diagonal`), which is p(z|x) itself where the columns of W are orthogonal. For another
    encoder, replace `params["encoder"]["output"]` = {"kernel" [D, 2 L], "bias" [2 L]}, whose
    outputs are the mean and the log standard deviation of q.

    Args:
      truth: the parameters of p(z) p(x|z).
      learned_scale: whether s is a parameter of the model, which begins at `truth.std`, as an s for
        each dimension always is. Otherwise it is fixed, and `truth.std` must be a known number, not
        one that `jax.jit` traces.
    """
    num_dims, latent_dim = truth.weights.shape
    fixed = heads.normal_fixed_scale
    if truth.std.ndim:
        likelihood = heads.normal_scale_per_dim()
    else:
        likelihood = heads.normal_learned_scale() if learned_scale else fixed(float(truth.std))
    model = vae((num_dims,), latent_dim, encoder=mlp(()), decoder=mlp(()), likelihood=likelihood)
    params = {
        "encoder": {"output": _best_encoder(truth)},
        "posterior": {},
        "prior": {},
        "decoder": {"output": {"kernel": truth.weights.T, "bias": truth.mean}},
        "likelihood": _scale_parameters(truth, learned_scale),
    }
    return model, params


@jax.default_matmul_precision("highest")
def log_evidence(model: LinearGaussian, x: jax.Array) -> jax.Array:
    """log p(x) = log N(x; m, C), C = W W' + diag(s)^2 (Tipping & Bishop 1999, eq. 5).

    x: [D]. Returns [] nats.
    """
    num_dims = x.shape[0]
    noise = jnp.diag(jnp.broadcast_to(model.std**2, (num_dims,)))
    covariance = model.weights @ model.weights.T + noise
    factor = jnp.linalg.cholesky(covariance)
    whitened = jax.scipy.linalg.solve_triangular(factor, x - model.mean, lower=True)
    log_determinant_half = jnp.sum(jnp.log(jnp.diagonal(factor)))
    return -0.5 * jnp.sum(whitened**2) - log_determinant_half - num_dims * HALF_LOG_TWO_PI


@jax.default_matmul_precision("highest")
def posterior(model: LinearGaussian, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """p(z|x) = N(P^-1 W' S^-1 (x - m), P^-1), P = W' S^-1 W + I, S = diag(s)^2 (eq. 9).

    x: [D]. Returns its mean [L] and covariance [L, L].
    """
    precision, scaled = _posterior_precision(model)
    mean = jnp.linalg.solve(precision, scaled.T @ (x - model.mean))
    return mean, jnp.linalg.inv(precision)


@jax.default_matmul_precision("highest")
def maximum_log_evidence(x: jax.Array, latent_dim: int) -> tuple[jax.Array, jax.Array]:
    """The maximum of the mean log-evidence over W, m and s (Tipping & Bishop 1999, eq. 8).

    With the eigenvalues l_1 >= ... >= l_D of the covariance of the data, the best s^2 is the mean
    of the D - L smallest, and the maximum per example is
    -1/2 [sum_{i<=L} log l_i + (D - L) log s^2 + D log(2 pi) + D].

    Args:
      x: [N, D] data.
      latent_dim: L < D.

    Returns:
      The maximum, [] nats per example, and the s at which it is attained, [].
    """
    num_dims = x.shape[1]
    centred = x - jnp.mean(x, axis=0, keepdims=True)
    eigenvalues = jnp.linalg.eigvalsh(centred.T @ centred / x.shape[0])[::-1]
    variance = jnp.mean(eigenvalues[latent_dim:])
    maximum = -0.5 * (
        jnp.sum(jnp.log(eigenvalues[:latent_dim]))
        + (num_dims - latent_dim) * jnp.log(variance)
        + num_dims
    )
    return maximum - num_dims * HALF_LOG_TWO_PI, jnp.sqrt(variance)


@jax.default_matmul_precision("highest")
def elbo(model: LinearGaussian, x: jax.Array, mean: jax.Array, covariance: jax.Array) -> jax.Array:
    """The exact ELBO of q(z|x) = N(mean, covariance): log p(x) - KL(q(z|x) || p(z|x)).

    x: [D]; mean: [L]; covariance: [L, L]. Returns [] nats.
    """
    return log_evidence(model, x) - normal_kl(mean, covariance, *posterior(model, x))


@jax.default_matmul_precision("highest")
def best_diagonal(model: LinearGaussian, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The diagonal normal closest to p(z|x), and its distance, the approximation gap.

    It has the mean of p(z|x) and the inverse of the diagonal of its precision as variances (Bishop
    2006, section 10.1.2); KL(q || p) is then half of sum_l log precision_ll - log det precision.

    Returns:
      The mean [L], the variances [L], and the gap, [] nats, the same for all x.
    """
    mean, covariance = posterior(model, x)
    precision = jnp.linalg.inv(covariance)
    diagonal = jnp.diagonal(precision)
    gap = 0.5 * (jnp.sum(jnp.log(diagonal)) - jnp.linalg.slogdet(precision)[1])
    return mean, 1.0 / diagonal, gap


@jax.default_matmul_precision("highest")
def normal_kl(
    mean: jax.Array, covariance: jax.Array, other_mean: jax.Array, other_covariance: jax.Array
) -> jax.Array:
    """KL(N(mean, covariance) || N(other_mean, other_covariance)), [L] and [L, L] each. [] nats."""
    difference = other_mean - mean
    trace = jnp.trace(jnp.linalg.solve(other_covariance, covariance))
    squared = difference @ jnp.linalg.solve(other_covariance, difference)
    log_ratio = jnp.linalg.slogdet(other_covariance)[1] - jnp.linalg.slogdet(covariance)[1]
    return 0.5 * (trace + squared - mean.size + log_ratio)


@jax.default_matmul_precision("highest")
def _best_encoder(truth: LinearGaussian) -> Params:
    """The layer x -> [mean, log_std] of `best_diagonal`: the mean is P^-1 W' S^-1 (x - m)."""
    precision, scaled = _posterior_precision(truth)
    to_mean = jnp.linalg.solve(precision, scaled.T).T  # [D, L]
    log_std = -0.5 * jnp.log(jnp.diagonal(precision))
    return {
        "kernel": jnp.concatenate([to_mean, jnp.zeros_like(to_mean)], axis=1),
        "bias": jnp.concatenate([-truth.mean @ to_mean, log_std]),
    }


@jax.default_matmul_precision("highest")
def _posterior_precision(model: LinearGaussian) -> tuple[jax.Array, jax.Array]:
    """The precision of p(z|x), [L, L], and S^-1 W, [D, L]."""
    num_dims, latent_dim = model.weights.shape
    scaled = model.weights / jnp.broadcast_to(model.std**2, (num_dims,))[:, None]
    return scaled.T @ model.weights + jnp.eye(latent_dim), scaled


def _scale_parameters(truth: LinearGaussian, learned_scale: bool) -> Params:
    """The parameters of the likelihood's head."""
    if truth.std.ndim:
        return {"log_scale": jnp.log(truth.std)}
    return {"log_std": jnp.log(truth.std)} if learned_scale else {}

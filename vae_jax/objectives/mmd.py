"""Maximum mean discrepancy between aggregate posterior and prior: InfoVAE and WAE-MMD."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from vae_jax.objectives.objective import (
    Objective,
    elbo_metrics,
    elbo_terms,
    require_batch,
    stateless,
)
from vae_jax.objectives.schedules import require_weight

# (squared distances, number of latents) -> the kernel, elementwise.
Kernel = Callable[[jax.Array, int], jax.Array]


def rbf(scale: float = 1.0) -> Kernel:
    """The Gaussian kernel exp(-|a - b|^2 / (2 L scale^2)), with the scale in units of sqrt(L).

    The root mean square distance of two samples of the standard normal prior is sqrt(2 L).

    Raises:
      ValueError: the scale is not positive.
    """
    if not scale > 0:
        raise ValueError(f"The scale of a kernel must be positive, not {scale}.")
    return lambda squared_distance, num_latents: jnp.exp(
        -0.5 * squared_distance / (num_latents * scale**2)
    )


def imq(scales: Sequence[float] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)) -> Kernel:
    """The inverse multiquadratic, the mean over scales s of C / (C + |a - b|^2), C = 2 L s.

    The kernel is that of Tolstikhin et al. 2018, section 4. The default scales are those of the
    authors' code, which uses the sum over scales in place of the mean.

    Raises:
      ValueError: there is no scale, or one is not positive.
    """
    if not scales or not all(scale > 0 for scale in scales):
        raise ValueError(f"The scales of a kernel must be positive, not {scales}.")

    def kernel(squared_distance, num_latents):
        constants = [2.0 * num_latents * scale for scale in scales]
        return sum(c / (c + squared_distance) for c in constants) / len(constants)

    return kernel


def mmd(kernel: Kernel, a: jax.Array, b: jax.Array) -> jax.Array:
    """The squared MMD by its unbiased estimator (Gretton et al. 2012, eq. 3).

    E k(a, a') + E k(b, b') - 2 E k(a, b), each mean over pairs of different samples.

    Args:
      kernel: kernel, such as `rbf()`.
      a: [n, L] samples of one distribution, n >= 2.
      b: [m, L] samples of the other, m >= 2.

    Returns:
      The estimate, [], which may be negative.
    """

    def mean_within(a):
        n, num_latents = a.shape
        values = kernel(_squared_distances(a, a), num_latents)
        return jnp.sum(jnp.where(jnp.eye(n, dtype=bool), 0.0, values)) / (n * (n - 1))

    across = jnp.mean(kernel(_squared_distances(a, b), a.shape[1]))
    return mean_within(a) + mean_within(b) - 2.0 * across


def info_vae(
    mmd_weight: float = 1000.0, kl_weight: float = 0.1, kernel: Kernel | None = None
) -> Objective:
    """InfoVAE: reconstruction - kl_weight * KL - mmd_weight * MMD^2 (Zhao et al. 2019, eq. 6).

    In the notation of the paper, kl_weight is 1 - alpha and mmd_weight is alpha + lambda - 1.

    Args:
      mmd_weight: weight of the discrepancy, not negative.
      kl_weight: weight of the KL term, not negative.
      kernel: kernel of the discrepancy; None for `rbf()`.

    Raises:
      ValueError: a weight is negative or not finite; or (when called) the batch is one example.
    """
    used = kernel or rbf()
    for name, weight in (("mmd_weight", mmd_weight), ("kl_weight", kl_weight)):
        require_weight(name, weight)

    def loss(step, key, draw_fn):
        del step
        terms, draw = elbo_terms(draw_fn)
        require_batch(draw, "The MMD")
        prior_keys = jax.random.split(key, draw.log_prior.shape)
        sample = jax.vmap(lambda prior, key: prior.sample(key), (None if draw.c is None else 0, 0))
        prior_z = jax.vmap(sample, (None, 0))(draw.prior, prior_keys)
        # One sample of each example at a time: samples of one posterior are not independent.
        distance = jnp.mean(jax.vmap(lambda a, b: mmd(used, a, b))(draw.z, prior_z))
        metrics = {**elbo_metrics(terms, draw), "mmd": distance}
        penalty = kl_weight * metrics["kl"] + mmd_weight * distance
        return penalty - metrics["reconstruction"], metrics

    return stateless(loss)


def wae_mmd(mmd_weight: float = 1000.0, kernel: Kernel | None = None) -> Objective:
    """WAE-MMD: reconstruction - mmd_weight * MMD^2 (Tolstikhin et al. 2018, algorithm 2).

    The encoder is stochastic. The objective is `info_vae` without its KL term.

    Args:
      mmd_weight: weight of the discrepancy, not negative.
      kernel: kernel of the discrepancy; None for `imq()`.

    Raises:
      ValueError: the same as for `info_vae`.
    """
    return info_vae(mmd_weight, kl_weight=0.0, kernel=kernel or imq())


def _squared_distances(a: jax.Array, b: jax.Array) -> jax.Array:
    """[n, L], [m, L] -> [n, m]."""
    product = jnp.dot(a, b.T, precision=jax.lax.Precision.HIGHEST)
    sums = jnp.sum(a**2, axis=1)[:, None] + jnp.sum(b**2, axis=1)[None]
    return jnp.maximum(sums - 2.0 * product, 0.0)  # which rounding may leave slightly negative

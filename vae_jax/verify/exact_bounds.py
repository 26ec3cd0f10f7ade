"""The exact means of bounds: the formulas of the papers, integrated over all noise."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.evidence import enumeration, rainforth
from vae_jax.models import Model, Params
from vae_jax.objectives import bounds
from vae_jax.verify.cases import all_tuples

NUM_SAMPLES = 4  # K
_NUM_NODES = 12  # points of the integral over each of the K samples


def bound_pairs() -> dict[str, tuple[bounds.Bound, bounds.Bound]]:
    """name -> (the bound of the library, its formula in the paper)."""
    elbo, iwae = partial(jnp.mean, axis=0), partial(_log_mean_power, power=1.0)
    return {
        "elbo": (bounds.elbo, elbo),
        "iwae": (bounds.iwae, iwae),
        "renyi:0.5": (bounds.renyi(0.5), partial(_log_mean_power, power=0.5)),
        "miwae:2": (bounds.miwae(2), lambda log_w: 0.5 * (iwae(log_w[:2]) + iwae(log_w[2:]))),
        "ciwae:0.3": (bounds.ciwae(0.3), lambda log_w: 0.3 * elbo(log_w) + 0.7 * iwae(log_w)),
        "tvo:3": (bounds.tvo(3), _tvo),
        "cubo:2": (bounds.cubo(2.0), partial(_log_mean_power, power=2.0)),
    }


def exact_of_normal(bound: bounds.Bound, params: Params, x: jax.Array) -> jax.Array:
    """The mean of a bound with K samples for one x [1], by Gauss-Hermite quadrature.

    The log-weights come from their formula, so that the gradient is exact, too.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NUM_NODES)
    noise = jnp.asarray(all_tuples(nodes, NUM_SAMPLES).T, jnp.float32)  # [K, P]
    probabilities = np.prod(all_tuples(weights / weights.sum(), NUM_SAMPLES), axis=1)
    mean = params["encoder"]["weights"][0, 0] * x[0] + params["encoder"]["bias"][0]
    variance = rainforth.POSTERIOR_VARIANCE
    z = mean + variance**0.5 * noise
    log_w = -0.5 * (
        (x[0] - z) ** 2 + (z - params["prior"]["mean"][0]) ** 2 - (z - mean) ** 2 / variance
    )
    log_w += 0.5 * np.log(variance / (2.0 * np.pi))
    return jnp.sum(bound(log_w) * jnp.asarray(probabilities, jnp.float32))


def exact_of_bits(bound: bounds.Bound, model: Model, params: Params, x: jax.Array) -> jax.Array:
    """The mean of a bound with two samples for one x [4], by enumeration of all pairs."""
    z, log_joint = enumeration.log_joint(model, params, x)
    log_q = jax.vmap(model.posterior(params, x).log_prob)(z)
    pairs = all_tuples(np.arange(len(z)), 2).T
    return jnp.sum(jnp.exp(jnp.sum(log_q[pairs], axis=0)) * bound((log_joint - log_q)[pairs]))


def _log_mean_power(log_w: jax.Array, power: float) -> jax.Array:
    return jnp.log(jnp.mean(jnp.exp(power * log_w), axis=0)) / power


def _tvo(log_w: jax.Array) -> jax.Array:
    """The TVO with three intervals."""
    points = [0.0, 0.03, 0.03**0.5, 1.0]
    means = [
        jnp.sum(jnp.exp(b * log_w) * log_w, axis=0) / jnp.sum(jnp.exp(b * log_w), axis=0)
        for b in points[:-1]
    ]
    return sum(width * mean for width, mean in zip(np.diff(points), means, strict=True))

"""The linear-Gaussian model of Rainforth et al. 2018, section 4, and its exact truth.

z ~ N(mu, I), x | z ~ N(z, I), q(z|x) = N(A x + b, 2/3 I), with D dimensions each and the parameters
A, b (encoder) and mu. The true posterior is N((x + mu) / 2, I / 2), so q is never exact, and
importance weights have a variance even at the optimum.
"""

import math

import jax
import jax.numpy as jnp

from vae_jax.distributions import Normal
from vae_jax.distributions.normal import HALF_LOG_TWO_PI
from vae_jax.models import Model, Params

POSTERIOR_VARIANCE = 2.0 / 3.0


def model() -> Model:
    """The model, with params {"encoder": {"weights" [D, D], "bias" [D]}, "prior": {"mean" [D]}}.

    The initial parameters are A = 0, b = 0, and mu the mean of the examples.
    """

    def init(key, x):
        del key
        encoder = {"weights": jnp.zeros((x.size, x.size)), "bias": jnp.zeros(x.size)}
        return {"encoder": encoder, "prior": {"mean": x}}

    def unit_normal(mean):
        return Normal(mean=mean, log_std=jnp.zeros_like(mean))

    def posterior(params, x):
        mean = _posterior_mean(params, x)
        return Normal(mean=mean, log_std=jnp.full_like(mean, 0.5 * math.log(POSTERIOR_VARIANCE)))

    return Model(
        init=init,
        posterior=posterior,
        prior=lambda params: unit_normal(params["prior"]["mean"]),
        likelihood=lambda params, z: unit_normal(z),
    )


def examples(key: jax.Array, num_examples: int, num_dims: int) -> jax.Array:
    """Draws mu ~ N(0, I), and x [N, D] from the model: x ~ N(mu, 2 I)."""
    mean_key, x_key = jax.random.split(key)
    mean = jax.random.normal(mean_key, (1, num_dims))
    return mean + math.sqrt(2.0) * jax.random.normal(x_key, (num_examples, num_dims))


def optimum(x: jax.Array) -> Params:
    """The maximum of both ELBO and p(x) for x [N, D]: A = I/2, b = mu/2, mu = mean of x."""
    mean = jnp.mean(x, axis=0)
    encoder = {"weights": 0.5 * jnp.eye(mean.size), "bias": 0.5 * mean}
    return {"encoder": encoder, "prior": {"mean": mean}}


def perturb(key: jax.Array, params: Params, std: float = 0.01) -> Params:
    """Params near an optimum: noise N(0, std^2) is added to every parameter."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    noisy = [
        leaf + std * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(structure, noisy)


@jax.default_matmul_precision("highest")
def elbo(params: Params, x: jax.Array) -> jax.Array:
    """The exact ELBO of one example, which is the mean of every bound with one sample.

    With m = A x + b and s^2 = 2/3 it is -(|x - m|^2 + D s^2) / 2 - (|m - mu|^2 + D s^2) / 2
    + D (1 + log s^2) / 2, plus the constants of the three normal densities.

    x: [D]. Returns [] nats.
    """
    mean, variance = _posterior_mean(params, x), POSTERIOR_VARIANCE
    log_likelihood = -0.5 * (jnp.sum(jnp.square(x - mean)) + x.size * variance)
    log_prior = -0.5 * (jnp.sum(jnp.square(mean - params["prior"]["mean"])) + x.size * variance)
    entropy = 0.5 * x.size * (1.0 + math.log(variance))
    return log_likelihood + log_prior + entropy - x.size * HALF_LOG_TWO_PI


def log_evidence(params: Params, x: jax.Array) -> jax.Array:
    """log p(x) = log N(x; mu, 2 I) of one example. x: [D]. Returns [] nats.

    Its gradient is (x - mu) / 2 in mu and zero in the encoder. The gradients of importance-weighted
    bounds tend to it as K -> infinity.
    """
    squared = jnp.sum(jnp.square(x - params["prior"]["mean"]))
    return -0.25 * squared - x.size * (0.5 * math.log(2.0) + HALF_LOG_TWO_PI)


def _posterior_mean(params: Params, x: jax.Array) -> jax.Array:
    return params["encoder"]["weights"] @ x + params["encoder"]["bias"]

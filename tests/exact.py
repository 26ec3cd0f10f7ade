"""The linear-Gaussian VAE: the library's own model code, with exact truth known."""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vae_jax.distributions import Normal, kl_divergence
from vae_jax.evidence.linear_gaussian import LinearGaussian, as_vae
from vae_jax.models import Model

NUM_DIMS, LATENT_DIM, STD = 6, 2, 0.7

# For what is large and runs once: it takes half the time to compile.
jit_once = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


class LinearVae(NamedTuple):
    model: Model
    truth: LinearGaussian
    exact_params: dict  # the encoder is the exact posterior
    x: jax.Array  # [B, D], drawn from the model


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class AnyNormal(Normal):
    """A normal distribution for which no closed form of a KL divergence is known."""


def with_sampled_kl(model):
    """The model with a prior of another class, so that its KL term is sampled."""

    def prior(params):
        p = model.prior(params)
        return AnyNormal(p.mean, p.log_std)

    return model._replace(prior=prior)


def linear_vae(seed: int = 0, num_examples: int = 5) -> LinearVae:
    """A linear VAE whose weights have orthogonal columns, so that p(z|x) has a diagonal
    covariance and the diagonal encoder can be exact."""
    truth, x = _truth_and_examples(seed, num_examples)
    model, params = as_vae(truth)
    return LinearVae(model, truth, params, x)


@partial(jax.jit, static_argnums=1)
def _truth_and_examples(seed, num_examples):
    basis_key, mean_key, z_key, noise_key = jax.random.split(jax.random.key(seed), 4)
    basis, _ = jnp.linalg.qr(jax.random.normal(basis_key, (NUM_DIMS, LATENT_DIM)))
    weights = basis * jnp.array([1.5, 0.8])[None]
    mean = jax.random.normal(mean_key, (NUM_DIMS,))
    truth = LinearGaussian(weights, mean, jnp.asarray(STD))
    z = jax.random.normal(z_key, (num_examples, LATENT_DIM))
    noise = jax.random.normal(noise_key, (num_examples, NUM_DIMS))
    return truth, z @ weights.T + mean[None] + STD * noise


def large_linear_vae(latent_dim: int) -> tuple[Model, dict, LinearGaussian]:
    """A linear VAE of twice as many pixels as latents, whose posterior is not diagonal, with its
    parameters and their truth."""
    num_dims = 2 * latent_dim
    weights = jax.random.normal(jax.random.key(1), (latent_dim, num_dims)) / jnp.sqrt(latent_dim)
    truth = LinearGaussian(weights.T, jnp.zeros(num_dims), jnp.asarray(0.5))
    model, params = as_vae(truth)
    untrained = model.init(jax.random.key(0), jnp.zeros(num_dims))
    return model, {**params, "encoder": untrained["encoder"]}, truth


@jax.jit
def random_encoder(params: dict, seed: int) -> dict:
    """The same decoder with another encoder: q is not the posterior, but a little wider, so that
    importance weights have a variance."""
    encoder = params["encoder"]["output"]
    kernel_key, bias_key = jax.random.split(jax.random.key(seed))
    wider = jnp.repeat(jnp.array([0.0, 0.3]), LATENT_DIM)
    bias_noise = 0.2 * jax.random.normal(bias_key, encoder["bias"].shape)
    kernel_noise = 0.04 * jax.random.normal(kernel_key, encoder["kernel"].shape)
    noisy = {
        "kernel": encoder["kernel"] + kernel_noise,
        "bias": encoder["bias"] + wider + bias_noise,
    }
    return {**params, "encoder": {"output": noisy}}


@partial(jax.jit, static_argnums=0)
def exact_elbo(model: Model, params: dict, x: jax.Array) -> jax.Array:
    """The ELBO of one example without sampling: for a quadratic log-likelihood the mean over
    q = N(mean, std^2) is the mean over the 2 L points mean +- sqrt(L) std_l e_l."""
    q: Normal = model.posterior(params, x)
    offsets = jnp.sqrt(q.mean.size) * jnp.diag(jnp.exp(q.log_std))
    points = jnp.concatenate([q.mean[None] + offsets, q.mean[None] - offsets])
    log_likelihood = jax.vmap(lambda z: model.likelihood(params, z).log_prob(x))(points)
    return jnp.mean(log_likelihood) - kl_divergence(q, model.prior(params))

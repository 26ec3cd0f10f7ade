"""The least KL term for a reconstruction: the rate-distortion curve of a linear-Gaussian VAE.

With p(x|z) of fixed std s, reconstruction is minus a squared error over 2 s^2, and the KL term of
linear encoders depends on the second moments of the data alone. So the curve is that of a Gaussian
of the same covariance, by reverse water-filling (Cover & Thomas 2006, theorem 10.3.3).
"""

from typing import NamedTuple

import jax
import numpy as np

from tests.exact import LATENT_DIM, NUM_DIMS, STD, exact_elbo, linear_vae
from vae_jax.distributions import kl_divergence
from vae_jax.objectives import Objective
from vae_jax.training import adam, make_trainer

LINEAR = linear_vae(num_examples=100)


class Point(NamedTuple):
    reconstruction: float  # nats
    kl: float  # nats
    slope: float  # d KL / d reconstruction along the curve


def point_on_the_curve(water_level: float) -> Point:
    """The point at which the error is `water_level` in each direction that the latents explain."""
    covariance = np.cov(np.asarray(LINEAR.x, np.float64), rowvar=False, bias=True)
    eigenvalues = np.linalg.eigvalsh(covariance)[::-1]
    explained = eigenvalues[:LATENT_DIM]
    error = np.minimum(explained, water_level).sum() + eigenvalues[LATENT_DIM:].sum()
    return Point(
        reconstruction=-0.5 * error / STD**2 - 0.5 * NUM_DIMS * np.log(2.0 * np.pi * STD**2),
        kl=0.5 * np.log(np.maximum(explained / water_level, 1.0)).sum(),
        slope=STD**2 / water_level,
    )


def trained(objective: Objective, num_steps: int):
    """The state after training, with the exact reconstruction and KL term of its parameters."""
    trainer = make_trainer(
        LINEAR.model, objective, adam(0.02, num_steps), num_samples=4, average_decay=0.99
    )
    state = trainer.init(jax.random.key(0), LINEAR.x.mean(axis=0))

    def step(state, _):
        return trainer.step(state, LINEAR.x)[0], None

    state, _ = jax.jit(lambda state: jax.lax.scan(step, state, length=num_steps))(state)

    def exact_terms(params, x):
        posterior, prior = LINEAR.model.posterior(params, x), LINEAR.model.prior(params)
        kl = kl_divergence(posterior, prior)
        return exact_elbo(LINEAR.model, params, x) + kl, kl

    params = state.average_params
    reconstruction, kl = jax.jit(jax.vmap(exact_terms, (None, 0)))(params, LINEAR.x)
    return state, float(reconstruction.mean()), float(kl.mean())

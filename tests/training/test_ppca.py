import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.exact import LATENT_DIM, NUM_DIMS
from vae_jax.evidence import linear_gaussian, make_importance_sampler
from vae_jax.objectives import closed_form_elbo
from vae_jax.training import adam, make_epoch, make_trainer


@pytest.mark.slow
def test_training_a_linear_vae_reaches_the_closed_form_maximum():
    """A linear VAE is probabilistic PCA, and at its best the ELBO is tight (Lucas et al. 2019)."""
    weights_key, z_key, noise_key, init_key = jax.random.split(jax.random.key(0), 4)
    weights = jax.random.normal(weights_key, (NUM_DIMS, LATENT_DIM))
    x = jax.random.normal(z_key, (500, LATENT_DIM)) @ weights.T
    x += 0.5 * jax.random.normal(noise_key, x.shape)
    maximum, std = linear_gaussian.maximum_log_evidence(x, LATENT_DIM)

    truth = linear_gaussian.LinearGaussian(weights, jnp.zeros(NUM_DIMS), jnp.asarray(0.5))
    model, _ = linear_gaussian.as_vae(truth, learned_scale=True)
    num_epochs = 1_500
    trainer = make_trainer(
        model,
        closed_form_elbo(),
        adam(0.02, num_epochs),
        num_samples=8,
        clip_norm=10.0,
        average_decay=0.99,
    )
    state = trainer.init(init_key, jnp.mean(x, axis=0))
    run_epoch = make_epoch(trainer, batch_size=500)
    for _ in range(num_epochs):
        state, _ = run_epoch(state, x)

    estimate = make_importance_sampler(model, 2_000, examples_at_once=500, samples_at_once=100)
    scores = estimate(state.average_params, np.asarray(x), jax.random.key(1))
    np.testing.assert_allclose(scores.elbo.mean(), maximum, rtol=0, atol=5e-3)
    np.testing.assert_allclose(scores.log_evidence.mean(), maximum, rtol=0, atol=5e-3)
    np.testing.assert_allclose(
        jnp.exp(state.average_params["likelihood"]["log_std"]), std, rtol=0.01
    )

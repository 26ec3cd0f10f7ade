import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vae_jax
from tests.monte_carlo import assert_mean
from vae_jax.distributions import Normal
from vae_jax.errors import BadInputError
from vae_jax.models import ModelSpec
from vae_jax.trained import load
from vae_jax.training import checkpoint
from vae_jax.training.checkpoint import CheckpointError

SPEC = ModelSpec((4, 3, 1), latent_dim=2, network="mlp", hidden=(5,), activation="tanh")


def black_and_white(key, shape):
    return jax.random.bernoulli(key, 0.5, shape).astype(jnp.float32)


def save_run(folder, spec, described=None):
    """A run folder with a checkpoint of a model; described: the spec as its metadata give it."""
    params = spec.build().init(jax.random.key(0), jnp.full((4, 3, 1), 0.3))
    state = {"average_params": params, "params": jax.tree.map(jnp.zeros_like, params)}
    metadata = {"epoch": 7, "model": described or dataclasses.asdict(spec)}
    checkpoint.save(folder / "checkpoints", 7, state, metadata)
    return params


@pytest.fixture
def run_folder(tmp_path):
    return tmp_path, save_run(tmp_path, SPEC)


def test_a_run_folder_gives_the_model_with_its_averaged_parameters(run_folder):
    folder, params = run_folder
    trained = load(folder)
    jax.tree.map(np.testing.assert_array_equal, trained.params, params)
    assert trained.metadata["epoch"] == 7
    x = black_and_white(jax.random.key(1), (6, 4, 3, 1))
    z = jax.random.normal(jax.random.key(2), (6, 2))
    model = SPEC.build()
    encoded = trained.encode(x)
    for i in range(6):
        q = model.posterior(params, x[i])
        np.testing.assert_allclose(encoded.mean[i], q.mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(encoded.log_std[i], q.log_std, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            trained.decode(z)[i], model.likelihood(params, z[i]).mean, rtol=1e-5
        )


def test_samples_come_from_the_prior_of_the_model(run_folder):
    """Not from N(0, I) whatever the prior is."""
    trained = load(run_folder[0])
    far = Normal(jnp.array([50.0, -50.0]), jnp.full((2,), -8.0))
    moved = trained._replace(model=trained.model._replace(prior=lambda params: far))
    expected = trained.decode(far.mean[None])
    samples = moved.sample(jax.random.key(0), 5)
    assert samples.shape == (5, 4, 3, 1)
    np.testing.assert_allclose(samples, jnp.repeat(expected, 5, axis=0), atol=1e-3)
    assert not np.allclose(trained.sample(jax.random.key(0), 5), samples, atol=1e-2)


def test_reconstructions_decode_posterior_samples(run_folder):
    trained = load(run_folder[0])
    sharp = trained.model._replace(
        posterior=lambda params, x: Normal(jnp.sum(x) * jnp.ones(2), jnp.full((2,), -12.0))
    )
    x = black_and_white(jax.random.key(1), (6, 4, 3, 1))
    reconstructed = trained._replace(model=sharp).reconstruct(jax.random.key(0), x)
    z = jnp.sum(x, axis=(1, 2, 3))[:, None] * jnp.ones((1, 2))
    np.testing.assert_allclose(reconstructed, trained.decode(z), atol=1e-3)


def test_samples_and_reconstructions_differ_from_row_to_row_and_key_to_key(run_folder):
    trained = load(run_folder[0])
    x = jnp.ones((4, 4, 3, 1))  # four times the same image
    for generate in (trained.reconstruct, lambda key, x: trained.sample(key, len(x))):
        first, other = (np.asarray(generate(jax.random.key(seed), x)) for seed in (0, 1))
        rows = np.concatenate([first, other]).reshape(8, -1)
        assert len(np.unique(rows.round(6), axis=0)) == 8


def test_a_run_from_before_there_were_other_latents_has_normal_ones(tmp_path):
    described = dataclasses.asdict(SPEC)
    del described["latents"], described["num_categories"]
    params = save_run(tmp_path, SPEC, described)
    trained = load(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, trained.params, params)
    assert isinstance(trained.model.prior(params), Normal)


@pytest.mark.parametrize(
    ("name", "values"), [("bernoulli", [0.0, 1.0]), ("categorical", np.eye(3))]
)
def test_a_run_with_discrete_latents_decodes_draws_of_them(tmp_path, name, values):
    spec = dataclasses.replace(SPEC, latents=name, num_categories=3)
    params = save_run(tmp_path, spec)
    trained = load(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, trained.params, params)

    x = black_and_white(jax.random.key(1), (4, 3, 1))
    many = jnp.repeat(x[None], 2_000, axis=0)
    q = spec.build().posterior(params, x)
    np.testing.assert_allclose(trained.encode(many).mean[7], q.mean, rtol=1e-5)

    every_z = jnp.array(list(itertools.product(values, repeat=2)))
    every_image = trained.decode(every_z).reshape(len(every_z), -1)
    for images, density in (
        (trained.sample(jax.random.key(2), 2_000), trained.model.prior(params)),
        (trained.reconstruct(jax.random.key(3), many), q),
    ):
        distances = jnp.abs(images.reshape(len(many), 1, -1) - every_image[None]).max(axis=-1)
        is_image = np.asarray(distances < 1e-5)
        assert np.all(is_image.sum(axis=1) == 1)
        assert_mean(is_image, jnp.exp(jax.vmap(density.log_prob)(every_z)))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 3, 1), r"x has the shape \(4, 3, 1\), one example, but .* \(N, 4, 3, 1\).*x\[None\]"),
        ((6, 4, 3), r"x has the shape \(6, 4, 3\), but a batch .* \(N, 4, 3, 1\)"),
        ((6, 1, 4, 3), r"x has the shape \(6, 1, 4, 3\), but a batch .* \(N, 4, 3, 1\)"),
    ],
)
def test_examples_of_another_shape_are_refused(run_folder, shape, message):
    trained = load(run_folder[0])
    for use in (trained.encode, lambda x: trained.reconstruct(jax.random.key(0), x)):
        with pytest.raises(BadInputError, match=message):
            use(jnp.zeros(shape))


def test_latents_of_another_shape_are_refused(run_folder):
    trained = load(run_folder[0])
    with pytest.raises(BadInputError, match=r"z has the shape \(2,\), one latent code, .*\(N, 2\)"):
        trained.decode(jnp.zeros(2))
    with pytest.raises(BadInputError, match=r"z has the shape \(6, 3\), .* codes .* \(N, 2\)"):
        trained.decode(jnp.zeros((6, 3)))


def test_images_that_the_likelihood_is_not_for_are_refused(run_folder):
    trained = load(run_folder[0])
    white = black_and_white(jax.random.key(1), (6, 4, 3, 1))
    for wrong in (255.0 * white, white.at[4, 0, 0, 0].set(0.5), white.at[4].set(jnp.nan)):
        for use in (trained.encode, lambda x: trained.reconstruct(jax.random.key(0), x)):
            with pytest.raises(BadInputError, match=r"x\[\d\] .* the Bernoulli likelihood: zeros"):
                use(wrong)
    unnormalised = dataclasses.replace(SPEC, likelihood="bernoulli_unnormalised").build()
    grey = trained._replace(model=unnormalised)
    np.testing.assert_array_equal(grey.encode(white).mean, trained.encode(white).mean)
    assert not np.allclose(grey.encode(0.5 * white).mean, trained.encode(white).mean)


def test_pixels_as_stored_are_refused():
    """Raw bytes would be taken for 255 times white."""
    model = SPEC.build()
    params = model.init(jax.random.key(0), jnp.full((4, 3, 1), 0.3))
    with pytest.raises(TypeError, match="x must be floats, .* not uint8"):
        vae_jax.elbo(model, params, jnp.ones((4, 3, 1), jnp.uint8), jax.random.key(0))


def test_a_checkpoint_of_another_version_is_refused(tmp_path):
    metadata = {"epoch": 1, "model": {"event_shape": [4], "depth": 12}}
    checkpoint.save(tmp_path / "checkpoints", 1, {"average_params": {}}, metadata)
    with pytest.raises(CheckpointError, match="of another version of vae_jax .*depth"):
        load(tmp_path)


def test_a_folder_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="There is no checkpoint in"):
        load(tmp_path)

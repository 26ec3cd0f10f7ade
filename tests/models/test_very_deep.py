"""The very deep VAE: its one pass against its chain, its blocks against linen, its memory."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.monte_carlo import assert_mean
from vae_jax.errors import BadInputError
from vae_jax.evidence import quadrature
from vae_jax.models import ModelSpec, draw_batch, very_deep
from vae_jax.networks import top_down
from vae_jax.objectives import bounds, closed_form_elbo, estimators

# Two layers of one size, which are a loop, between others.
OPTIONS = {"width": 6, "bottleneck": 2, "num_blocks": 1}
MODEL = very_deep((4, 4, 1), (4, 2, 2, 1), (1, 2, 2, 3), **OPTIONS)
X = (jax.random.uniform(jax.random.key(5), (3, 4, 4, 1)) < 0.5).astype(jnp.float32)


def noisy(params, scale=0.3):
    """Parameters without the zeros at which a model starts."""
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(9), len(leaves))
    pairs = zip(leaves, keys, strict=True)
    added = [leaf + scale * jax.random.normal(key, leaf.shape) for leaf, key in pairs]
    return jax.tree.unflatten(structure, added)


PARAMS = noisy(MODEL.init(jax.random.key(0), jnp.full((4, 4, 1), 0.4)))


def negative_elbo(model, params, keys):
    drawn = draw_batch(model, params, X, keys)
    return jnp.mean(drawn.sampled_kl) - jnp.mean(drawn.log_likelihood), drawn


KEYS = jax.random.split(jax.random.key(1), (2, len(X)))


def test_one_pass_along_the_path_is_the_chain_with_its_gradient():
    def run(model):
        function = functools.partial(negative_elbo, model, keys=KEYS)
        return jax.jit(jax.value_and_grad(function, has_aux=True))(PARAMS)

    (_, joint), gradient = run(MODEL)
    (_, generic), other = run(MODEL._replace(joint=None))
    for name in ("z", "log_likelihood", "log_prior", "log_posterior", "layer_kl"):
        pairs = [jax.tree.leaves(getattr(drawn, name)) for drawn in (joint, generic)]
        for one, two in zip(*pairs, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4)
    leaves = zip(jax.tree.leaves(gradient), jax.tree.leaves(other), strict=True)
    for one, two in leaves:
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-3 * float(jnp.abs(two).max()))
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(gradient))


@pytest.mark.slow
def test_a_layer_depends_on_those_above_it_alone():
    z = MODEL.prior(PARAMS).sample(jax.random.key(2))

    def log_probs(z):
        return MODEL.prior(PARAMS).log_prob_by_layer(z)

    by_layer = jax.jacobian(log_probs)(z)
    depends = [[bool(jnp.any(of_z[layer] != 0)) for of_z in by_layer] for layer in range(4)]
    assert depends == [[above >= layer for above in range(4)] for layer in range(4)]


def test_blocks_are_those_of_linen():
    """p of the top layer, whose block is the first on the path, by another library."""
    path = top_down((4, 4, 1), (4, 4, 1), (4,), (2,), width=6, bottleneck=2, num_blocks=1)
    params = noisy(path.init(jax.random.key(0), 0.0))
    of_layer = jax.tree.map(lambda leaf: leaf[0], path.of_layers(params, range(1)))
    h = path.start(params)
    found, of_p, of_q = path.open(of_layer, 0, h, path.encode(params, X[0]))

    def convolved(of_convolution, x):
        kernel, bias = of_convolution["kernel"], of_convolution["bias"]
        layer = nn.Conv(kernel.shape[-1], kernel.shape[:2], padding="SAME")
        return layer.apply({"params": {"kernel": kernel, "bias": bias}}, x)

    def block(of_block, x):
        for of_convolution in of_block:
            x = convolved(of_convolution, jax.nn.gelu(x))
        return x

    of_encoder = params["encoder"]
    features = convolved(of_encoder["stem"], X[0])
    of_level = jax.tree.map(lambda leaf: leaf[0], of_encoder["levels"][0])
    features = features + block(of_level, features)
    expected_q = block(of_layer["q"], jnp.concatenate([h, features], axis=-1))
    expected_p, added = jnp.split(block(of_layer["p"], h), [4], axis=-1)
    z = jnp.ones((4, 4, 2))
    above = h + added + convolved(of_layer["z"], z)
    expected = above + block(of_layer["behind"], above)
    outputs = convolved(params["decoder"]["last"], expected) + params["decoder"]["output_bias"]
    closed = path.close(of_layer, found, z)
    for one, two in (
        (of_q, expected_q),
        (of_p, expected_p),
        (closed, expected),
        (path.leave(params, 0, closed), outputs),
    ):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


def test_between_sizes_pixels_are_averaged_and_copied():
    path = top_down((4, 4, 1), (4, 4, 1), (2, 1), (1, 1), width=2, num_blocks=1)
    params = path.init(jax.random.key(0), 0.0)
    h = jnp.arange(2.0).reshape(1, 1, 2)
    np.testing.assert_array_equal(path.leave(params, 1, h), jnp.broadcast_to(h, (2, 2, 2)))
    # Without residual blocks, the features of the top are the mean of those below.
    without = jax.tree.map(jnp.zeros_like, params["encoder"]["levels"])
    params = {**params, "encoder": {**params["encoder"], "levels": without}}
    features = path.encode(params, X[0])
    np.testing.assert_allclose(features[1][0, 0], features[2].mean(axis=(0, 1)), rtol=1e-6)


def test_patches_of_pixels_are_channels_of_the_path():
    """A kernel that copies a channel of x to the same channel of the outputs changes no pixel."""
    path = top_down((4, 6, 1), (4, 6, 2), (2,), (1,), width=4, num_blocks=1, patch_size=2)
    params = path.init(jax.random.key(0), 0.0)
    x = jnp.arange(24.0).reshape(4, 6, 1)
    stem = jnp.zeros((3, 3, 4, 4)).at[1, 1].set(jnp.eye(4))
    without = jax.tree.map(jnp.zeros_like, params["encoder"]["levels"])
    encoder = {**params["encoder"], "levels": without}
    encoder["stem"] = {**encoder["stem"], "kernel": stem}
    features = path.encode({**params, "encoder": encoder}, x)[2]
    assert features.shape == (2, 3, 4)
    np.testing.assert_array_equal(features[1, 2], x[2:, 4:, 0].ravel())
    # Outputs are two numbers for each pixel of a patch, pixel by pixel.
    last = jnp.zeros((1, 1, 4, 8)).at[0, 0, jnp.arange(4), 2 * jnp.arange(4) + 1].set(1.0)
    decoder = {**params["decoder"], "last": {**params["decoder"]["last"], "kernel": last}}
    outputs = path.leave({**params, "decoder": decoder}, 0, features)
    np.testing.assert_array_equal(outputs, jnp.concatenate([jnp.zeros_like(x), x], axis=-1))


def test_an_untrained_model_has_standard_priors_and_starts_at_the_mean_of_the_data():
    params = MODEL.init(jax.random.key(0), jnp.full((4, 4, 1), 0.4))
    z = MODEL.prior(params).sample(jax.random.key(1))
    for layer in MODEL.prior(params).layers(z):
        np.testing.assert_array_equal(layer.mean, 0.0)
        np.testing.assert_array_equal(layer.log_std, 0.0)
    zeros = jax.tree.map(jnp.zeros_like, params["decoder"]["last"])
    params = {**params, "decoder": {**params["decoder"], "last": zeros}}
    np.testing.assert_allclose(MODEL.likelihood(params, z).mean, 0.4, rtol=1e-5)


@pytest.mark.slow
def test_the_evidence_of_one_latent_in_each_of_two_layers_is_that_of_quadrature():
    model = very_deep((2, 2, 1), (1, 1), (1, 1), **OPTIONS)
    params = noisy(model.init(jax.random.key(0), jnp.full((2, 2, 1), 0.5)))
    x = jnp.array([1.0, 0.0, 1.0, 1.0]).reshape(2, 2, 1)
    exact = float(quadrature.integrate(model, params, x).log_evidence)
    keys = jax.random.split(jax.random.key(3), (20_000, 1))
    drawn = jax.jit(lambda keys: draw_batch(model, params, x[None], keys))(keys)
    weights = np.exp(np.asarray(drawn.log_w, np.float64)[:, 0] - exact)
    assert weights.std() > 0.01
    assert_mean(weights, 1.0)


@pytest.mark.slow
def test_computing_anew_gives_the_same_numbers_and_bfloat16_close_ones():
    def run(**options):
        model = very_deep((4, 4, 1), (4, 2, 2, 1), (1, 2, 2, 3), **OPTIONS, **options)
        function = functools.partial(negative_elbo, model, keys=KEYS)
        (value, drawn), gradient = jax.jit(jax.value_and_grad(function, has_aux=True))(PARAMS)
        return value, drawn, gradient

    value, drawn, gradient = run()
    other, _, other_gradient = run(remat=True)
    np.testing.assert_allclose(other, value, rtol=1e-6)
    for one, two in zip(jax.tree.leaves(other_gradient), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-3 * float(jnp.abs(two).max()))
    _, half, half_gradient = run(dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves((half_gradient, half.log_w))} == {
        jnp.dtype("float32")
    }
    error = np.abs(half.log_likelihood - drawn.log_likelihood)
    assert 0 < error.max() < 0.05 * np.abs(drawn.log_likelihood).max()


@pytest.mark.slow
def test_the_gradient_of_24_layers_keeps_little_in_memory():
    """At most twice the results of all convolutions. Where most is computed anew it is two fifths
    of that, nearly all of it for one layer: a further layer takes a seventh of its results."""
    width, bottleneck, channels, size, batch = 32, 2, 4, 32, 8
    shape = (size, size, 3)

    def bytes_of(number, **options):
        model = very_deep(shape, (size,) * number, (channels,) * number, width=width,
                          bottleneck=bottleneck, num_blocks=1, **options)  # fmt: skip
        params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(shape))
        x = jax.ShapeDtypeStruct((batch, *shape), jnp.float32)
        keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), (1, batch)))

        def loss(params, x, keys):
            drawn = draw_batch(model, params, x, keys)
            return jnp.mean(drawn.sampled_kl) - jnp.mean(drawn.log_likelihood)

        program = jax.jit(jax.grad(loss)).lower(params, x, keys).compile()
        return program.memory_analysis().temp_size_in_bytes

    middle = 3 * (width // bottleneck)
    of_layer = (
        4 * batch * size**2 * (3 * middle + (2 * channels + width) + 2 * channels + 2 * width)
    )
    of_encoder = 4 * batch * size**2 * (width + middle + width)
    kept, anew = bytes_of(24), bytes_of(24, remat=True)
    assert kept < 2 * (24 * of_layer + of_encoder)
    assert anew < 0.4 * kept
    assert bytes_of(36, remat=True) - anew < 12 * of_layer / 7


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bound", "estimator"),
    [
        (bounds.elbo, estimators.sticking_the_landing),
        (bounds.iwae, estimators.doubly_reparameterised),
    ],
    ids=["stl", "dreg"],
)
def test_estimators_without_score_are_unbiased_for_parameters_that_p_and_q_share(bound, estimator):
    """Bauer & Mnih 2021: the mean of the pathwise gradient, for all parameters of the path."""
    model = very_deep((2, 2, 1), (2, 1), (1, 1), width=2, bottleneck=1, num_blocks=1)
    params = noisy(model.init(jax.random.key(0), jnp.full((2, 2, 1), 0.5)), 0.4)
    x = X[:1, :2, :2]

    def gradients(estimator, key):
        def loss(params, key):
            keys = jax.random.split(key, (3, 1))
            return jnp.sum(
                estimator(bound, functools.partial(draw_batch, model, params, x, keys))[0]
            )

        each = jax.vmap(jax.grad(loss), (None, 0))
        return jax.jit(lambda keys: each(params, keys))(jax.random.split(key, 10_000))

    found = gradients(estimator, jax.random.key(1))
    expected = gradients(estimators.pathwise, jax.random.key(2))
    differ = 0.0
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert_mean(np.asarray(one) - np.asarray(two), 0.0)
        differ = max(differ, float(np.abs(np.std(one) - np.std(two))))
    assert differ > 0


@pytest.mark.slow
def test_the_elbo_of_training_has_its_kl_by_layer():
    def draw_fn(**routes):
        return draw_batch(MODEL, PARAMS, X, KEYS, **routes)

    _, (_, metrics) = closed_form_elbo().loss((), 0, jax.random.key(0), draw_fn)
    value, drawn = negative_elbo(MODEL, PARAMS, KEYS)
    np.testing.assert_allclose(metrics["elbo"], -value, rtol=1e-5)
    for layer in range(4):
        expected = jnp.mean(drawn.layer_kl[..., layer])
        np.testing.assert_allclose(metrics[f"kl_{layer + 1}"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (((4, 4, 1), (3, 1), (1, 1)), "3 must divide 4, the size below it"),
        (((4, 4, 1), (2, 4), (1, 1)), "4 must divide 2"),
        (((4, 6, 1), (1,), (1,)), "for images of 4 x 6 pixels"),
        (((4, 4, 1), (4, 2), (1, 1), {"patch_size": 2}), "with patch_size=2: 4 must divide 2"),
        (((4, 4, 1), (1,), (1,), {"patch_size": 3}), "patch_size=3 must divide both sides"),
        (((4, 4, 1), (2, 1), (1,)), "a positive number of latents for each layer"),
        (((4, 4, 1), (2, 1), (1, 0)), "a positive number of latents for each layer"),
        (((16,), (2, 1), (1, 1)), "is for images"),
    ],
)
def test_impossible_paths_are_refused(arguments, what):
    with pytest.raises(ValueError, match=what):
        very_deep(*arguments[:3], **dict(*arguments[3:]))


def test_wrong_latents_get_one_sentence():
    with pytest.raises(BadInputError, match="a tuple of 4 arrays"):
        MODEL.likelihood(PARAMS, (jnp.zeros((4, 4, 1)),))
    z = MODEL.prior(PARAMS).sample(jax.random.key(0))
    with pytest.raises(BadInputError, match="z_2 has the shape"):
        MODEL.likelihood(PARAMS, (z[0], jnp.zeros(3), *z[2:]))


def test_names_that_a_very_deep_model_cannot_have_are_refused_and_so_are_keys_of_dropout():
    given = {"event_shape": (4, 4, 1), "layers": (1, 1), "layer_sizes": (2, 1), "channels": (4,)}
    for wrong in ({"layers": (1,)}, {"condition_shape": (3,)}, {"prior": "vamp"}):
        with pytest.raises(ValueError, match="need as many layers, no condition, no missing"):
            ModelSpec(**{**given, **wrong})
    keys = jax.random.split(jax.random.key(0), len(X))
    with pytest.raises(TypeError, match="this model has no dropout"):
        draw_batch(MODEL, PARAMS, X, KEYS, dropout_keys=keys)

"""Compression: every kind of model and data comes back to the bit, at the rate of its bound."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax import compression, evidence
from vae_jax.errors import BadInputError
from vae_jax.models import ModelSpec
from vae_jax.trained import TrainedVAE

RNG = np.random.default_rng(0)


def trained(event_shape, *, scale=0.1, held=None, **options):
    """A model as a run has it, with random parameters around those at the start."""
    spec = ModelSpec(event_shape=event_shape, **{"network": "mlp", "hidden": (16,), **options})
    model = spec.build(held)
    params = model.init(jax.random.key(0), jnp.full(event_shape, 0.4))
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [
        leaf + scale * jax.random.normal(key, leaf.shape)
        if jnp.issubdtype(leaf.dtype, jnp.floating)
        else leaf
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    metadata = {"model": spec.__dict__ | {}, "event_shape": list(event_shape)}
    return TrainedVAE(model, jax.tree.unflatten(structure, noisy), metadata)


def from_the_model(vae, number, seed=2):
    """Examples x ~ p(x), of which the ELBO is the rate that a model can reach."""

    def draw(key):
        z_key, x_key = jax.random.split(key)
        z = vae.model.prior(vae.params).sample(z_key)
        return vae.model.likelihood(vae.params, z).sample(x_key)

    keys = jax.random.split(jax.random.key(seed), number)
    return np.asarray(jax.jit(jax.vmap(draw))(keys))


def with_adversaries(x, low, high):
    """The same with constant examples and noise before, between and behind."""
    noise = RNG.integers(low, high + 1, (3, *x.shape[1:]))
    if high > 1:
        noise = noise if x.max() > 1 else noise / high
    top = 1.0 if high == 255 else high
    constants = np.stack([np.full(x.shape[1:], value) for value in (0.0, top)])
    parts = [constants, x, noise]
    return np.concatenate(parts).astype(np.float32)


def bits_of(vae, x, num_samples=64):
    """-ELBO in bits, of each example."""
    estimate = evidence.make_importance_sampler(vae.model, num_samples)
    return -np.asarray(estimate(vae.params, x, jax.random.key(5)).elbo) / np.log(2.0)


BITS, GREY, COUNTS = (3, 3, 1), (2, 2, 3), (6,)
CASES = {
    "normal": (BITS, {}),
    "full": (BITS, {"posterior": "full"}),
    "low rank": (BITS, {"posterior": "low_rank", "posterior_rank": 2}),
    "mixture as posterior": (BITS, {"posterior": "mixture", "posterior_components": 3}),
    "mixture as prior": (BITS, {"prior": "mixture", "prior_components": 3}),
    "vamp": (BITS, {"prior": "vamp", "prior_components": 4}),
    "exemplar": (BITS, {"prior": "exemplar", "prior_components": 4}),
    "bernoulli latents": (BITS, {"latents": "bernoulli"}),
    "autoregressive bits": (BITS, {"latents": "bernoulli", "prior": "autoregressive"}),
    "categorical latents": (BITS, {"latents": "categorical", "num_categories": 3}),
    "autoregressive categories": (
        BITS,
        {"latents": "categorical", "num_categories": 3, "prior": "transformer", "prior_width": 8},
    ),
    "vq": (BITS, {"latents": "vq", "num_codes": 6, "code_dim": 4}),
    "residual vq, pixelcnn": (
        BITS,
        {
            **{"latents": "vq", "num_codes": 6, "code_dim": 4, "residual_codes": 2},
            **{"prior": "pixelcnn", "prior_width": 8, "prior_layers": 2},
        },
    ),
    "fsq, transformer": (
        BITS,
        {"latents": "fsq", "prior": "transformer", "prior_width": 8, "prior_layers": 1},
    ),
    "lfq": (BITS, {"latents": "lfq", "code_bits": 3}),
    "pixels one after the other": (
        BITS,
        {"pixels": "pixelcnn", "pixel_width": 6, "pixel_layers": 2, "causal_kernel": 3},
    ),
    "top-down": (
        BITS,
        {"layers": (3, 2), "layer_hidden": (8,), "inference": "top_down"},
    ),
    "independent, skip": (
        BITS,
        {"layers": (3, 2), "layer_hidden": (8,), "inference": "independent", "skip": True},
    ),
    "bottom-up, skip": (BITS, {"layers": (3, 2), "layer_hidden": (8,), "skip": True}),
    "bit-swap": (BITS, {"layers": (4, 3, 2), "layer_hidden": (8,)}),
    "very deep": (
        (8, 8, 1),
        {
            **{"network": "resnet", "hidden": (300, 300), "channels": (8,), "num_blocks": 1},
            **{"layers": (2, 2), "layer_sizes": (4, 2), "inference": "top_down"},
        },
    ),
    "discretised logistic": (GREY, {"likelihood": "discretised_logistic"}),
    "discretised normal": (GREY, {"likelihood": "discretised_gaussian"}),
    "levels": (GREY, {"likelihood": "categorical"}),
    "logistic mixture": (GREY, {"likelihood": "logistic_mixture", "num_logistics": 3}),
    "pixels of a logistic mixture": (
        GREY,
        {
            **{"likelihood": "logistic_mixture", "num_logistics": 2, "pixels": "pixelcnn"},
            **{"pixel_width": 6, "pixel_layers": 2, "causal_kernel": 3},
        },
    ),
    "poisson": (COUNTS, {"likelihood": "poisson"}),
    "negative binomial": (COUNTS, {"likelihood": "negative_binomial"}),
    "zero-inflated": (COUNTS, {"likelihood": "zinb"}),
    "binomial": (COUNTS, {"likelihood": "binomial", "num_trials": 9}),
}


# Some of each kind; the others are slow tests.
FAST = (
    *("normal", "mixture as prior", "bernoulli latents", "residual vq, pixelcnn", "lfq"),
    *("independent, skip", "bit-swap", "logistic mixture", "levels", "negative binomial"),
)


@pytest.mark.parametrize(
    "name", [pytest.param(of, marks=() if of in FAST else pytest.mark.slow) for of in CASES]
)
def test_examples_come_back_to_the_bit_at_the_rate_of_the_bound(name):
    shape, options = CASES[name]
    held = None
    if options.get("prior") in ("vamp", "exemplar"):
        held = RNG.random((4, *shape)).astype(np.float32)
    vae = trained(shape, latent_dim=3, held=held, **options) if "layers" not in options else (
        trained(shape, **options)
    )  # fmt: skip
    drawn = from_the_model(vae, 100)
    high = {GREY: 255, COUNTS: 9}.get(shape, 1)
    x = with_adversaries(drawn, 0, high)
    found = compression.compress(vae, x)
    # Levels of pixels are divided by 255 here and there, which may round in two ways.
    levels = 255.0 if high == 255 else 1.0
    decoded = compression.decompress(vae, found.data)
    np.testing.assert_array_equal(np.rint(decoded * levels), np.rint(x * levels))
    assert np.abs(decoded - x).max() < 1e-7
    # The rate is compared on examples of the model alone: the ELBO of the others has heavy tails.
    alone = compression.compress(vae, drawn)
    bound = bits_of(vae, drawn)
    # One sample of each posterior, and rounding to words: within five standard errors.
    noise = 5.0 * bound.std() / np.sqrt(len(drawn)) + 0.01 * bound.mean() + 64 / len(drawn)
    rate = alone.num_bits / len(drawn)
    assert rate <= bound.mean() + noise
    # A level of the tails of a normal may be less probable than any symbol of the coder.
    assert rate >= bound.mean() - noise or name == "discretised normal"
    assert len(found.data) * 8 == pytest.approx(
        found.num_bits + found.start_bits + found.header_bits
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "likelihood", "high"),
    [
        ((28, 28, 1), "bernoulli", 1),
        ((6, 6, 3), "discretised_logistic", 255),
        ((50,), "negative_binomial", 60),
    ],
)
def test_a_thousand_examples_of_each_kind(shape, likelihood, high):
    """Examples of the model, constants and noise, in any order."""
    vae = trained(shape, latent_dim=10, likelihood=likelihood)
    x = with_adversaries(from_the_model(vae, 1000), 0, high)
    levels = 255.0 if high == 255 else 1.0
    decoded = compression.decompress(vae, compression.compress(vae, x).data)
    np.testing.assert_array_equal(np.rint(decoded * levels), np.rint(x * levels))
    shuffled = RNG.permutation(x)
    decoded = compression.decompress(vae, compression.compress(vae, shuffled).data)
    np.testing.assert_array_equal(np.rint(decoded * levels), np.rint(shuffled * levels))


def test_the_start_of_bit_swap_is_two_layers_and_that_of_others_all():
    swapped = trained(BITS, layers=(4, 3, 2), layer_hidden=(8,))
    whole = trained(BITS, layers=(4, 3, 2), layer_hidden=(8,), skip=True)
    x = from_the_model(swapped, 5)
    starts = [compression.compress(vae, x).start_bits for vae in (swapped, whole)]
    assert 16 * 7 <= starts[0] < starts[1]
    assert starts[1] >= 16 * 9


def test_counts_beyond_the_table_are_coded_too():
    vae = trained(COUNTS, latent_dim=2, likelihood="negative_binomial")
    x = RNG.integers(0, 20, (9, 6)).astype(np.float32)
    x[1, 2], x[4, 0], x[8, 5] = 4096.0, 1_000_000.0, 16_777_215.0
    found = compression.compress(vae, x)
    np.testing.assert_array_equal(compression.decompress(vae, found.data), x)


def test_counts_that_float32_rounds_are_refused():
    vae = trained(COUNTS, latent_dim=2, likelihood="negative_binomial")
    x = np.zeros((2, 6), np.float32)
    x[1, 3] = 2.0**24
    with pytest.raises(BadInputError, match="a count of 16,777,216, and counts from"):
        compression.compress(vae, x)


def test_garbled_counts_beyond_the_table_are_one_sentence():
    vae = trained(COUNTS, latent_dim=2, likelihood="negative_binomial")
    x = np.full((3, 6), 5000.0, np.float32)
    archive = compression.Archive.from_bytes(compression.compress(vae, x).data)
    for at in range(0, len(archive.words), 3):
        words = archive.words.copy()
        words[at] ^= 1 << 13
        with pytest.raises(BadInputError, match="do not come out here as they went in"):
            compression.decompress(vae, compression.Archive(archive.header, words).to_bytes())


def test_the_bits_of_the_grid_and_the_seed_are_free():
    vae = trained(BITS, latent_dim=3)
    x = from_the_model(vae, 60)
    sizes = {}
    for bits in (8, 16, 20):
        found = compression.compress(vae, x, latent_bits=bits, seed=bits)
        np.testing.assert_array_equal(compression.decompress(vae, found.data), x)
        sizes[bits] = found.start_bits
    assert sizes[8] < sizes[16] <= sizes[20]


def test_no_examples_and_one_example():
    vae = trained(BITS, latent_dim=3)
    for number in (0, 1):
        x = from_the_model(vae, 3)[:number]
        data = compression.compress(vae, x).data
        np.testing.assert_array_equal(compression.decompress(vae, data), x)


@pytest.fixture(scope="module")
def small():
    vae = trained(BITS, latent_dim=3)
    return vae, compression.compress(vae, from_the_model(vae, 20)).data


def test_another_model_is_refused_by_name(small):
    vae, data = small
    other = vae._replace(params=jax.tree.map(lambda leaf: leaf + 1e-6, vae.params))
    with pytest.raises(BadInputError, match=compression.fingerprint(vae)):
        compression.decompress(other, data)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda data: data[:-1], "is cut off: it has"),
        (lambda data: data[:24], "is cut off: it ends"),
        (lambda data: data + b"\0", "is damaged: it has"),
        (lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], "its checksum"),
        (lambda data: b"\x89PNG" + data, "no compressed file"),
        (lambda data: b"", "no compressed file"),
    ],
)
def test_files_that_are_cut_off_damaged_or_of_another_kind_are_refused(small, change, match):
    vae, data = small
    with pytest.raises(BadInputError, match=match):
        compression.decompress(vae, change(data), name="x.vae")


def test_rounding_errors_of_another_device_are_noticed(small):
    """Other words under a right checksum are what such errors lead to."""
    vae, data = small
    archive = compression.Archive.from_bytes(data)
    words = archive.words.copy()
    words[1] ^= 1 << 7
    with pytest.raises(BadInputError, match="do not come out here as they went in"):
        compression.decompress(vae, compression.Archive(archive.header, words).to_bytes())
    header = archive.header | {"checksum": zlib.crc32(b"others")}
    with pytest.raises(BadInputError, match="rounding errors"):
        compression.decompress(vae, compression.Archive(header, archive.words).to_bytes())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"likelihood": "gaussian"}, "Normal likelihood gives no probability of each value"),
        ({"likelihood": "bernoulli_unnormalised"}, "gives no probability of each value"),
        ({"posterior": "iaf"}, "A Flow of latents has no distribution function"),
        ({"posterior": "uha"}, "has no distribution function"),
        ({"prior": "flow"}, "A Flow of latents"),
        ({"condition_shape": (2,)}, "has a condition"),
        ({"layers": (3, 2), "prior": "mixture"}, "diagonal normal ones"),
    ],
)
def test_models_that_cannot_compress_are_refused_before_any_work(options, match):
    vae = trained(BITS, **({} if "layers" in options else {"latent_dim": 3}), **options)
    if "condition_shape" in options:
        vae.metadata["condition_shape"] = (2,)
    with pytest.raises(BadInputError, match=match):
        compression.require_compressible(vae)


def test_other_shapes_and_values_are_refused(small):
    vae, _ = small
    with pytest.raises(BadInputError, match="the shape"):
        compression.compress(vae, np.zeros((4, 2, 2, 1)))
    with pytest.raises(BadInputError, match="outside the support"):
        compression.compress(vae, np.full((4, *BITS), 0.5))
    with pytest.raises(BadInputError, match="latent_bits=9 must be even"):
        compression.compress(vae, np.zeros((4, *BITS)), latent_bits=9)


def test_other_programs_sizes():
    x = RNG.integers(0, 256, (3, 8, 8, 1))
    sizes = compression.other_sizes(x, are_bits=False)
    assert sizes["raw"] == 192
    assert 150 < sizes["png"] < 400
    assert 150 < sizes["zstd"] < 250
    bits = compression.other_sizes(x > 127, are_bits=True)
    assert bits["raw"] == 24
    assert bits["png"] < 150
    assert compression.other_sizes(RNG.integers(0, 300, (4, 5)), are_bits=False)["png"] is None

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.exact import linear_vae, random_encoder
from vae_jax.diagnostics import aggregate, inference_gap
from vae_jax.evidence import (
    EXAMPLES_AT_ONCE,
    annealed,
    chunks,
    enumeration,
    importance,
    log_weights,
    make_importance_sampler,
    quadrature,
    rate_distortion,
)
from vae_jax.models import ModelSpec, draw_batch, latents, vae
from vae_jax.networks import mlp

LINEAR = linear_vae(num_examples=7)
PARAMS = random_encoder(LINEAR.exact_params, 0)
KEY = jax.random.key(0)


def shapes_of(event_shape, likelihood="bernoulli"):
    """A model, and its parameters by shape alone."""
    model = ModelSpec(event_shape, 3, hidden=(4,), likelihood=likelihood).build()
    x = jax.ShapeDtypeStruct(event_shape, jnp.float32)
    return model, jax.eval_shape(model.init, KEY, x)


@pytest.mark.parametrize(
    ("event_shape", "likelihood", "num_samples", "chunk"),
    [
        # Images of 28 x 28 and 32 x 32 pixels have had these numbers since the first release.
        ((28, 28, 1), "bernoulli", 5000, (100, 50)),
        ((28, 28, 1), "gaussian", 5000, (100, 50)),
        ((28, 28, 1), "bernoulli", 1, (100, 50)),
        ((32, 32, 3), "bernoulli", 5000, (100, 50)),
        ((32, 32, 3), "gaussian_learned", 5000, (100, 50)),
        # 2^28 bytes are 341 images of 786,432 bytes, and 170 of means and standard deviations.
        ((256, 256, 3), "bernoulli", 5000, (100, 3)),
        ((256, 256, 3), "gaussian", 5000, (100, 1)),
        ((256, 256, 3), "bernoulli", 1, (100, 3)),
        # 42 images of 6,291,456 bytes, 5 of 50,331,648, and less than one of 300,000,000.
        ((1024, 512, 3), "bernoulli", 5000, (25, 1)),
        ((2048, 2048, 3), "bernoulli", 1, (5, 1)),
        ((5000, 5000, 3), "bernoulli", 5000, (1, 1)),
    ],
)
def test_a_chunk_of_importance_sampling_by_the_size_of_the_event(
    event_shape, likelihood, num_samples, chunk
):
    found = importance.chunk_of(*shapes_of(event_shape, likelihood), num_samples)
    assert found == chunk
    assert EXAMPLES_AT_ONCE % found.examples == 0  # parts then begin with a chunk


def test_sizes_that_are_given_win():
    large = shapes_of((256, 256, 3))
    assert importance.chunk_of(*large, 5000, 40, 70) == (40, 70)
    assert importance.chunk_of(*large, 5000, 10) == (10, 34)
    assert importance.chunk_of(*large, 5000, None, 70) == (4, 70)


class Mixture(NamedTuple):
    """A likelihood of ten numbers a pixel."""

    logits: jax.Array

    def sample(self, key):
        return jax.random.uniform(key, self.logits.shape[:-1])


def test_what_counts_is_the_widest_of_event_and_parameters():
    model, params = shapes_of((64, 64, 3))
    plain = chunks.decodings_at_once(model, params)
    assert plain == 2**28 // (64 * 64 * 3 * 4)
    wide = model._replace(likelihood=lambda params, z: Mixture(jnp.zeros((64, 64, 3, 10))))
    assert chunks.decodings_at_once(wide, params) == plain // 10
    narrow = model._replace(
        likelihood=lambda params, z: Mixture(jnp.zeros((64, 64, 3, 0)))  # all is in the event
    )
    assert chunks.decodings_at_once(narrow, params) == plain
    assert chunks.at_once(2**40) == 1


def test_a_map_in_chunks_is_the_map():
    square = lambda pair: (pair[0] ** 2, pair[1])  # noqa: E731
    inputs = (jnp.arange(7.0), jnp.arange(14).reshape(7, 2))
    for most in (1, 3, 7, 100):
        squares, rest = chunks.map_in_chunks(square, inputs, most)
        np.testing.assert_array_equal(squares, np.arange(7.0) ** 2)
        np.testing.assert_array_equal(rest, inputs[1])


@pytest.fixture
def three_events(monkeypatch):
    """Memory for three events of the linear model, each with mean and log standard deviation."""
    monkeypatch.setattr(chunks, "BYTES_AT_ONCE", 3 * 2 * 4 * LINEAR.x.shape[1])


def estimates():
    """Each of the functions that hold several examples or samples, with its own choice of chunk."""
    model, x = LINEAR.model, LINEAR.x
    schedule = annealed.linear_schedule(3)
    sizes = annealed.StepSizes(np.array([0.0, 1.0]), np.array([0.1, 0.1]))
    anneal = annealed.make_annealed_sampler(model, schedule, sizes, num_chains=2, num_leapfrog=2)
    posteriors = jax.vmap(functools.partial(model.posterior, PARAMS))(x)
    line = vae((6,), 1, encoder=mlp(()), decoder=mlp(()))
    switches = vae((6,), 3, encoder=mlp(()), decoder=mlp(()), latents=latents.bernoulli())
    white = jnp.ones(6)
    return {
        "importance": make_importance_sampler(model, 5)(PARAMS, np.asarray(x), KEY),
        "log_weights": log_weights(model, PARAMS, x[0], KEY, 10),
        "annealed": anneal(PARAMS, x, KEY),
        "step_sizes": annealed.tune_step_sizes(
            model, PARAMS, x, KEY, schedule, num_chains=2, num_leapfrog=2
        ),
        "rate_distortion": rate_distortion(
            model, PARAMS, x, KEY, schedule, sizes, num_chains=2, num_leapfrog=2
        ),
        "quadrature": quadrature.integrate(
            line, line.init(KEY, 0.4 * white), white, points_per_axis=101
        )[:2],
        "enumeration": enumeration.log_joint(switches, switches.init(KEY, 0.4 * white), white),
        "surgery": aggregate.surgery(posteriors, model.prior(PARAMS), KEY),
        "elbo_of": inference_gap.elbo_of(
            model, PARAMS, x[0], model.posterior(PARAMS, x[0]), KEY, num_samples=10
        ),
    }


@pytest.mark.slow
def test_small_chunks_give_the_same_estimates(request):
    whole = estimates()
    request.getfixturevalue("three_events")
    for name, found in estimates().items():
        jax.tree.map(
            lambda a, b, name=name: np.testing.assert_allclose(
                a, b, rtol=2e-5, atol=2e-5, err_msg=name
            ),
            found,
            whole[name],
        )


@pytest.mark.usefixtures("three_events")
def test_importance_sampling_takes_the_chunk_of_the_rule(monkeypatch):
    seen = set()

    def spy(model, params, x, noise_keys, **options):
        seen.add(noise_keys.shape)  # [K, B]
        return draw_batch(model, params, x, noise_keys, **options)

    monkeypatch.setattr(importance, "draw_batch", spy)
    make_importance_sampler(LINEAR.model, 5)(PARAMS, np.asarray(LINEAR.x), KEY)
    assert seen == {(1, 2)}
    seen.clear()
    sample = make_importance_sampler(LINEAR.model, 5, examples_at_once=3, samples_at_once=2)
    sample(PARAMS, np.asarray(LINEAR.x), KEY)
    assert seen == {(2, 3), (1, 3)}


def memory(function, *inputs):
    """Bytes of the temporary arrays of a compiled function."""
    compiled = jax.jit(lambda *inputs: function(*inputs)).lower(*inputs).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("name", ["log_weights", "quadrature", "elbo_of"])
def test_the_memory_of_a_large_event_is_a_small_multiple_of_the_rule(name, monkeypatch):
    """Ten times more is taken where the rule is ten times larger."""
    spec = ModelSpec((64, 64, 3), 1, hidden=(4,))
    model, x = spec.build(), jnp.zeros((64, 64, 3))
    params = model.init(KEY, x)
    function = {
        "log_weights": lambda x: log_weights(model, params, x, KEY, 500),
        "quadrature": lambda x: quadrature.integrate(model, params, x).log_evidence,
        "elbo_of": lambda x: inference_gap.elbo_of(
            model, params, x, model.posterior(params, x), KEY, num_samples=1000
        ),
    }[name]
    found = []
    for num_bytes in (2**20, 10 * 2**20):
        monkeypatch.setattr(chunks, "BYTES_AT_ONCE", num_bytes)
        found.append(memory(function, x))
    assert found[0] < 8 * 2**20
    assert found[1] > 4 * found[0]

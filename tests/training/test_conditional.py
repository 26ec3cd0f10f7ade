"""Training of conditional models on examples with conditions, also of examples that are pytrees."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import conditional
from tests.conditional import CONDITIONS, views
from vae_jax import data, training
from vae_jax.models import Batch, draw_batch, mean_elbo
from vae_jax.objectives import closed_form_elbo
from vae_jax.training import streamed, sweep
from vae_jax.training.sweep import Plan

BATCH_SIZE = 4
MODELS = {"array": conditional.model, "pytree": conditional.model_of_views}


@functools.cache
def subject(kind):
    """A trainer, its first states of two lanes, and 48 examples, not one order of which repeats."""
    model, _ = MODELS[kind]()
    parts = [conditional.examples(jax.random.key(i)) for i in range(4)]
    x = jnp.concatenate([part.x for part in parts])
    examples = Batch(x if kind == "array" else views(x), jnp.concatenate([CONDITIONS] * 4))
    trainer = training.make_trainer(model, closed_form_elbo(), training.adam(1e-2, 100))
    keys = jax.random.split(jax.random.key(9), 2)
    return trainer, keys, examples


def states(kind):
    trainer, keys, examples = subject(kind)
    return sweep.init(trainer, keys, examples[0], {})


@functools.cache
def alone(kind):
    trainer, _, examples = subject(kind)
    epoch = training.make_epoch(trainer, BATCH_SIZE)
    return [epoch(sweep.lane_of(states(kind), lane), examples) for lane in (0, 1)]


def same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, arrays(found), arrays(expected))


def arrays(tree):
    keys = jax.dtypes.prng_key
    return [
        np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, keys) else leaf)
        for leaf in jax.tree.leaves(tree)
    ]


@pytest.mark.parametrize("kind", MODELS)
def test_lanes_and_blocks_have_the_numbers_of_a_run_alone(kind):
    trainer, _, examples = subject(kind)
    how = Plan(1, "lanes", 1)
    epoch, lanes, on_device = sweep.compile_epoch(
        sweep.make_swept_epoch(trainer, BATCH_SIZE, how), states(kind), examples
    )
    swept = epoch(lanes, on_device)
    on_host = jax.tree.map(np.asarray, examples)
    run_epoch, lanes = streamed.compile_streamed_epoch(
        trainer,
        BATCH_SIZE,
        on_host,
        functools.partial(data.stream, on_host),
        how,
        states(kind),
        bytes_at_once=1,  # so that a block has two steps
    )
    blocks = run_epoch(lanes)
    for lane, expected in enumerate(alone(kind)):
        same(sweep.lane_of(swept, lane), expected)
        same(sweep.lane_of(blocks, lane), expected)


def test_devices_share_a_batch_with_its_conditions():
    trainer, _, examples = subject("array")
    how = Plan(2, "batch", 1)
    first = sweep.stack([sweep.lane_of(states("array"), 0)], how)
    epoch, lanes, on_device = sweep.compile_epoch(
        sweep.make_swept_epoch(trainer, BATCH_SIZE, how), first, examples
    )
    found = sweep.lane_of(epoch(lanes, on_device)[0], 0)
    expected = alone("array")[0][0]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found.params, expected.params
    )


def test_a_pytree_trains_to_the_numbers_of_its_array():
    for found, expected in zip(alone("pytree"), alone("array"), strict=True):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
            found[0].params,
            expected[0].params,
        )


def test_memory_counts_the_conditions():
    trainer, _, examples = subject("array")
    state = sweep.lane_of(states("array"), 0)
    with_them = sweep.memory_of(trainer, BATCH_SIZE, state, examples).data
    assert with_them == 48 * 4 * (conditional.D + conditional.C)


def test_training_learns_what_the_condition_says():
    """The mean ELBO on the training examples comes to that of the model that they are from.

    By linear networks without conditions it could not: the conditions move the means of x by more
    than their standard deviation.
    """
    model, best = conditional.model()
    _, _, examples = subject("array")
    trainer = training.make_trainer(model, closed_form_elbo(), training.adam(3e-2, 2000))
    epoch = training.make_epoch(trainer, len(examples))
    state = jax.jit(trainer.init)(jax.random.key(0), examples[0])
    for _ in range(2000):
        state, _ = epoch(state, examples)
    keys = jax.random.split(jax.random.key(0), (200, len(examples)))
    of = jax.jit(lambda params: mean_elbo(draw_batch(model, params, examples, keys))[0].mean())
    assert of(state.average_params) > of(best) - 0.05

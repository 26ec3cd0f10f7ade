"""An epoch of data that are read in blocks has the numbers of one whose data are on the device."""

import functools
import math
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.training.lanes import (
    BATCH_SIZE,
    EPOCHS,
    KEYS,
    MEAN,
    MODEL,
    PIXELS,
    SETTINGS,
    TRAINER,
    arrays,
    recipe,
    run_alone,
    start_alone,
)
from vae_jax import data
from vae_jax.training import divergence, make_epoch, make_swept_trainer, streamed, sweep
from vae_jax.training.streamed import (
    StreamedEpoch,
    block_length,
    compile_streamed_epoch,
    rows_of_lanes,
)
from vae_jax.training.sweep import Plan
from vae_jax.training.trainer import TrainState, epoch_order_key

ON_HOST = np.asarray(PIXELS)
LANES = len(KEYS)
NUM_STEPS = len(ON_HOST) // BATCH_SIZE  # 8, and five images are left out


class Streamed(NamedTuple):
    run_epoch: StreamedEpoch
    states: TrainState
    info: Any
    rows: list[np.ndarray]  # asked for, epoch by epoch
    blocks: list[int]  # their steps, of all epochs
    shardings: Any  # of states


def start(lanes, settings=SETTINGS):
    of_lanes = (sweep.lane_of((KEYS, settings), lane) for lane in range(lanes))
    return sweep.stack([start_alone(key, MEAN, own) for key, own in of_lanes])


def stream_epochs(how, steps_at_once, lanes=LANES):
    """Trains as `train` of lanes does, and notes what was read."""
    rows, blocks = [], []

    def read(asked, steps):
        rows.append(asked)
        for block in data.stream(ON_HOST, asked, steps):
            blocks.append(len(block))
            yield block

    step_bytes = lanes * ON_HOST[:BATCH_SIZE].nbytes
    run_epoch, states = compile_streamed_epoch(
        TRAINER,
        BATCH_SIZE,
        ON_HOST,
        read,
        how,
        start(lanes),
        bytes_at_once=steps_at_once * step_bytes,
    )
    shardings = jax.tree.map(lambda leaf: leaf.sharding, states)
    for _ in range(EPOCHS):
        states, info = run_epoch(states)
    return Streamed(run_epoch, states, info, rows, blocks, shardings)


@pytest.fixture(scope="module")
def unequal():
    return stream_epochs(Plan(2, "lanes", 1), 3)


def assert_lanes_are(solo, found):
    for lane, (state, report) in enumerate(solo):
        own = sweep.lane_of((found.states, found.info), lane)
        jax.tree.map(np.testing.assert_array_equal, arrays(own[0]), arrays(state))
        jax.tree.map(np.testing.assert_array_equal, own[1], report)


@pytest.mark.slow
def test_blocks_of_unequal_length_on_two_devices_are_solo_runs_to_the_bit(solo, unequal):
    assert unequal.blocks == [3, 3, 2] * EPOCHS
    assert len(unequal.states.step.sharding.device_set) == 2
    assert_lanes_are(solo, unequal)


@pytest.mark.parametrize(
    ("num_devices", "steps_at_once", "blocks"),
    [
        pytest.param(1, NUM_STEPS, [NUM_STEPS], marks=pytest.mark.slow),
        (2, 4, [4, 4]),
        pytest.param(1, 3, [3, 3, 2], marks=pytest.mark.slow),
        pytest.param(2, 1, [2, 2, 2, 2], marks=pytest.mark.slow),
    ],
)
def test_lanes_one_after_the_other_are_solo_runs_to_the_bit(
    solo, num_devices, steps_at_once, blocks
):
    found = stream_epochs(Plan(num_devices, "lanes", 1), steps_at_once)
    assert found.blocks == blocks * EPOCHS
    assert len(found.states.step.sharding.device_set) == num_devices
    assert_lanes_are(solo, found)


@pytest.mark.parametrize(
    ("how", "lanes"),
    [
        (Plan(2, "lanes", 2), LANES),
        pytest.param(Plan(2, "batch", 1), 1, marks=pytest.mark.slow),
    ],
)
def test_lanes_at_once_and_divided_batches_are_solo_runs_up_to_rounding(solo, how, lanes):
    found = stream_epochs(how, 4, lanes)
    assert found.blocks == [4, 4] * EPOCHS
    for lane, (state, report) in enumerate(solo[:lanes]):
        own, info = sweep.lane_of((found.states, found.info), lane)
        np.testing.assert_array_equal(jax.random.key_data(own.key), jax.random.key_data(state.key))
        assert int(own.step) == EPOCHS * NUM_STEPS
        jax.tree.map(
            lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5),
            (own.params, own.average_params, info.metrics),
            (state.params, state.average_params, report.metrics),
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("binarise", "pixels"),
    [(data.grey, ON_HOST), (data.threshold, ON_HOST), (data.dynamic, ON_HOST / np.float32(255))],
    ids=["grey", "threshold", "floats"],
)
def test_every_binarisation_has_the_same_bits_streamed(binarise, pixels):
    """Also where XLA could fuse it with what brings the pixels."""
    trainer = make_swept_trainer(MODEL, recipe, binarise=binarise)
    read = functools.partial(data.stream, pixels)
    run_epoch, states = compile_streamed_epoch(
        trainer,
        BATCH_SIZE,
        pixels,
        read,
        Plan(1, "lanes", 1),
        start(1),
        bytes_at_once=4 * pixels[:BATCH_SIZE].nbytes,
    )
    found = run_epoch(states)
    state, report = make_epoch(trainer, BATCH_SIZE)(sweep.lane_of(start(1), 0), jnp.array(pixels))
    own = sweep.lane_of(found, 0)
    jax.tree.map(np.testing.assert_array_equal, arrays(own[0]), arrays(state))
    jax.tree.map(np.testing.assert_array_equal, own[1], report)


def test_what_is_asked_for_is_the_order_of_each_lane_and_epoch(unequal):
    assert len(unequal.rows) == EPOCHS
    for epoch, rows in enumerate(unequal.rows):
        assert rows.shape == (NUM_STEPS, LANES, BATCH_SIZE)
        for lane in range(LANES):
            key = epoch_order_key(sweep.lane_of(unequal.states, lane), epoch)
            order = jax.random.permutation(key, len(ON_HOST))
            np.testing.assert_array_equal(rows[:, lane].ravel(), order[: NUM_STEPS * BATCH_SIZE])


def test_a_lane_that_diverges_is_named_as_by_itself_and_leaves_the_others(unequal):
    bad = {**SETTINGS, "learning_rate": SETTINGS["learning_rate"].copy()}
    bad["learning_rate"][1] = 1e30
    states = start(LANES, bad)
    alone = [run_alone(sweep.lane_of(states, lane), PIXELS) for lane in range(LANES)]
    states, info = unequal.run_epoch(jax.device_put(states, unequal.shardings))
    where = [divergence(sweep.lane_of(info, lane)) for lane in range(LANES)]
    assert where == [divergence(report) for _, report in alone]
    assert where[1] is not None
    assert where[0] is where[2] is where[3] is None
    assert_lanes_are(alone, unequal._replace(states=states, info=info))


def test_later_epochs_trace_nothing_and_donate_their_states(unequal):
    states = jax.device_put(start(LANES), unequal.shardings)
    leaf = states.params["decoder"]["output"]["kernel"]
    with jax.no_tracing():
        unequal.run_epoch(states)
    assert leaf.is_deleted()


def test_the_number_of_blocks_changes_no_program():
    lengths = iter([[3, 3, 2], [2, 2, 2, 2]])

    def read(rows, _):
        yield from np.split(ON_HOST[rows], np.cumsum(next(lengths))[:-1])

    step_bytes = LANES * ON_HOST[:BATCH_SIZE].nbytes
    run_epoch, states = compile_streamed_epoch(
        *(TRAINER, BATCH_SIZE, ON_HOST, read, Plan(2, "lanes", 1), start(LANES)),
        bytes_at_once=3 * step_bytes,
    )
    states, _ = run_epoch(states)
    with jax.no_tracing():
        run_epoch(states)


def slow_step(*arguments):
    """A step of some 30 ms."""
    state, metrics = TRAINER.step(*arguments)
    matrix = jnp.full((300, 300), metrics["loss"])
    matrix = jax.lax.fori_loop(0, 30, lambda _, matrix: jnp.minimum(matrix @ matrix, 1), matrix)
    return state, metrics | {"work": jnp.mean(matrix)}


def test_reading_runs_on_while_one_block_is_trained_but_not_two(monkeypatch):
    reports, done = [], []  # of the blocks so far; which are done, whenever the next is asked for

    def noting(*arguments, **options):
        def lower(*shapes):
            program = over_lanes(*arguments, **options).lower(*shapes).compile()

            def run(*values):
                states, report = program(*values)
                reports.append(report)
                return states, report

            return SimpleNamespace(compile=lambda: run)

        return SimpleNamespace(lower=lower)

    def read(rows, steps):
        for first in range(0, NUM_STEPS, steps):
            done.append([report.parameter_norm.is_ready() for report in reports])
            yield ON_HOST[rows[first : first + steps]]

    over_lanes = streamed.over_lanes
    monkeypatch.setattr(streamed, "over_lanes", noting)
    run_epoch, states = compile_streamed_epoch(
        TRAINER._replace(step=slow_step),
        BATCH_SIZE,
        ON_HOST,
        read,
        Plan(1, "lanes", 1),
        start(1),
        bytes_at_once=2 * ON_HOST[:BATCH_SIZE].nbytes,
    )
    run_epoch(states)
    assert [len(blocks) for blocks in done] == [0, 1, 2, 3]
    assert all(all(blocks[:-1]) for blocks in done)
    assert not all(all(blocks) for blocks in done)


@pytest.mark.parametrize(("num_devices", "lanes"), [(1, 1), (1, LANES), (2, LANES)])
def test_devices_order_their_own_lanes(num_devices, lanes):
    program = rows_of_lanes(len(ON_HOST), BATCH_SIZE, Plan(num_devices, "lanes", 1))
    program = program.lower(start(lanes)).compile().as_text()
    assert "sort" in program
    for collective in ("all-gather", "all-reduce", "all-to-all", "collective-", "reduce-scatter"):
        assert collective not in program


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match="batch_size=86 is larger than the data, 85 examples"):
        compile_streamed_epoch(TRAINER, 86, ON_HOST, None, Plan(1, "lanes", 1), start(1))


def test_blocks_cover_the_epoch_and_none_is_of_a_single_step():
    for num_steps in range(1, 120):
        for most in range(130):
            length = block_length(num_steps, most)
            last = num_steps % length or length
            assert 1 <= last <= length <= num_steps
            assert last > 1 or num_steps == 1
            # No longer than asked for, but where shorter ones would leave a single step.
            if length > max(2, most):
                assert all(num_steps % n == 1 for n in range(max(2, most), length))
            assert length <= max(2, most) + 5
            assert math.ceil(num_steps / length) <= math.ceil(num_steps / max(2, most))

"""Many runs in one program: a lane is what the run would have been by itself."""

import jax
import numpy as np
import pytest

from tests.training.lanes import (
    BATCH_SIZE,
    KEYS,
    MEAN,
    PIXELS,
    SETTINGS,
    TRAINER,
    arrays,
    by_itself,
    train,
)
from vae_jax.training import divergence, sweep
from vae_jax.training.sweep import Memory, Plan


@pytest.mark.parametrize("num_devices", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_lanes_one_after_the_other_are_solo_runs_to_the_bit(solo, num_devices):
    states = sweep.init(TRAINER, KEYS, MEAN, SETTINGS)
    run_epoch = sweep.make_swept_epoch(TRAINER, BATCH_SIZE, Plan(num_devices, "lanes", 1))
    states, info = train(run_epoch, states)
    assert len(states.step.sharding.device_set) == num_devices
    for lane, (state, report) in enumerate(solo):
        found = sweep.lane_of((states, info), lane)
        jax.tree.map(np.testing.assert_array_equal, arrays(found[0]), arrays(state))
        jax.tree.map(np.testing.assert_array_equal, found[1], report)


@pytest.mark.parametrize(
    "how",
    [
        Plan(1, "lanes", 4),
        pytest.param(Plan(1, "lanes", 3), marks=pytest.mark.slow),
        pytest.param(Plan(2, "lanes", 2), marks=pytest.mark.slow),
    ],
)
def test_lanes_at_once_are_solo_runs_up_to_rounding(solo, how):
    states = sweep.init(TRAINER, KEYS, MEAN, SETTINGS)
    states, _ = train(sweep.make_swept_epoch(TRAINER, BATCH_SIZE, how), states)
    for lane, (state, _) in enumerate(solo):
        found = sweep.lane_of(states, lane)
        np.testing.assert_array_equal(
            jax.random.key_data(found.key), jax.random.key_data(state.key)
        )
        jax.tree.map(
            lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5),
            (found.params, found.average_params),
            (state.params, state.average_params),
        )


def test_every_setting_and_the_key_change_the_parameters(solo):
    base = {name: values[:1].repeat(4) for name, values in SETTINGS.items()}
    same = by_itself(0, base)[0].params
    jax.tree.map(np.testing.assert_array_equal, same, solo[0][0].params)
    for name, value in (
        ("learning_rate", 2e-2),
        ("beta", 3.0),
        ("clip_norm", 0.1),
        ("weight_decay", 0.5),
    ):
        other = by_itself(0, {**base, name: np.full(4, value, np.float32)})[0].params
        assert not np.array_equal(
            other["decoder"]["output"]["bias"], same["decoder"]["output"]["bias"]
        )
    averaged = by_itself(0, {**base, "average_decay": np.zeros(4, np.float32)})[0]
    jax.tree.map(np.testing.assert_array_equal, averaged.average_params, averaged.params)
    jax.tree.map(np.testing.assert_array_equal, averaged.params, same)


@pytest.mark.parametrize("num_devices", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_lane_that_diverges_leaves_the_others_as_they_are(solo, num_devices):
    bad = {**SETTINGS, "learning_rate": SETTINGS["learning_rate"].copy()}
    bad["learning_rate"][1] = 1e30
    states = sweep.init(TRAINER, KEYS, MEAN, bad)
    how = Plan(num_devices, "lanes", 1)
    states, info = train(sweep.make_swept_epoch(TRAINER, BATCH_SIZE, how), states)
    assert divergence(sweep.lane_of(info, 1)) is not None
    for lane in (0, 2, 3):
        assert divergence(sweep.lane_of(info, lane)) is None
        found = sweep.lane_of(states, lane)
        jax.tree.map(np.testing.assert_array_equal, arrays(found), arrays(solo[lane][0]))


def test_stacking_undoes_taking_lanes(solo):
    states = [state for state, _ in solo]
    again = [sweep.lane_of(sweep.stack(states), lane) for lane in range(4)]
    jax.tree.map(
        np.testing.assert_array_equal, [arrays(s) for s in again], [arrays(s) for s in states]
    )


def never():
    raise AssertionError("the CPU asks for no memory")


def test_plans():
    assert sweep.plan(8, 20, never) == Plan(2, "lanes", 1)
    assert sweep.plan(7, 20, never) == Plan(2, "lanes", 1)  # the last turn is of one
    assert sweep.plan(8, 20, never, num_devices=1, lanes_at_once=3) == Plan(1, "lanes", 3)
    assert sweep.plan(8, 20, never, lanes_at_once=100) == Plan(2, "lanes", 4)
    assert sweep.plan(1, 20, never) == Plan(1, "batch", 1)
    # The remaining run of a sweep must keep its bits.
    assert sweep.plan(1, 20, never, axis="lanes") == Plan(1, "lanes", 1)
    assert sweep.plan(1, 20, never, num_devices=2) == Plan(2, "batch", 1)
    with pytest.raises(ValueError, match="num_devices=3 must be between 1 and 2"):
        sweep.plan(9, 20, never, num_devices=3)
    with pytest.raises(ValueError, match="num_devices=2 must divide the 7 runs"):
        sweep.plan(7, 20, never, num_devices=2)
    with pytest.raises(ValueError, match="num_devices=2 must divide the batch of 15"):
        sweep.plan(1, 15, never, num_devices=2)


@pytest.mark.parametrize(
    ("num_lanes", "possible", "number"),
    [(1, [1, 2], 1), (3, [1, 2], 2), (17, range(1, 17), 9), (16, range(1, 17), 16), (1, [2, 4], 2)],
)
def test_lanes_take_as_few_turns_as_they_can_on_no_more_devices_than_that_needs(
    num_lanes, possible, number
):
    assert sweep.devices_for(num_lanes, possible) == number


def test_lanes_that_devices_do_not_divide_keep_their_bits(solo):
    how = Plan(2, "lanes", 1)
    lanes = [sweep.lane_of(sweep.init(TRAINER, KEYS, MEAN, SETTINGS), lane) for lane in range(3)]
    states = sweep.stack(lanes, how)
    assert states.step.shape == (4,)
    states, _ = train(sweep.make_swept_epoch(TRAINER, BATCH_SIZE, how), states)
    for lane in range(3):
        jax.tree.map(
            np.testing.assert_array_equal,
            arrays(sweep.lane_of(states, lane)),
            arrays(solo[lane][0]),
        )
    assert sweep.stack(lanes, Plan(2, "batch", 1)).step.shape == (3,)


class Accelerator:
    platform = "gpu"
    process_index = 0

    def memory_stats(self):
        return {"bytes_limit": 1000}


def test_accelerators_train_as_many_lanes_at_once_as_fit(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: [Accelerator()] * 2)
    monkeypatch.setattr(jax, "local_devices", lambda: [Accelerator()] * 2)
    # 800 bytes, of which 8 states on each device take 160, and those at work the rest.
    for data, work, at_once in ((0, 80, 8), (0, 100, 6), (340, 100, 3), (0, 10_000, 1)):
        how = sweep.plan(16, 20, lambda data=data, work=work: Memory(data, 10, work))
        assert how == Plan(2, "lanes", at_once)
    assert sweep.plan(1, 20, never) == Plan(2, "batch", 1)
    assert sweep.plan(1, 15, never) == Plan(1, "batch", 1)


@pytest.mark.slow
def test_a_batch_divided_among_devices_gives_the_numbers_of_one(solo):
    states = sweep.init(TRAINER, KEYS[:1], MEAN, {n: v[:1] for n, v in SETTINGS.items()})
    run_epoch = sweep.make_swept_epoch(TRAINER, BATCH_SIZE, Plan(2, "batch", 1))
    program = run_epoch.lower(states, PIXELS).compile().as_text()
    assert "all-reduce" in program
    # Every product of a step is that of half a batch.
    assert f"f32[{BATCH_SIZE // 2},16]" in program
    assert f"f32[{BATCH_SIZE},16]" not in program
    states, info = train(run_epoch, states)
    state, report = solo[0]
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one[0], other, rtol=1e-4, atol=1e-5),
        (states.params, states.average_params, info.metrics),
        (state.params, state.average_params, report.metrics),
    )


@pytest.mark.parametrize("at_once", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_memory_is_that_of_the_swept_program(at_once):
    states = sweep.init(TRAINER, KEYS, MEAN, SETTINGS)
    one = jax.eval_shape(lambda states: sweep.lane_of(states, 0), states)
    needed = sweep.memory_of(TRAINER, BATCH_SIZE, one, PIXELS)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(states)) // len(KEYS)
    assert needed.data == PIXELS.nbytes
    assert size <= needed.state < 1.1 * size
    run_epoch = sweep.make_swept_epoch(TRAINER, BATCH_SIZE, Plan(1, "lanes", at_once))
    found = run_epoch.lower(states, PIXELS).compile().memory_analysis()
    found = found.argument_size_in_bytes + found.temp_size_in_bytes
    estimate = needed.data + 2 * len(KEYS) * needed.state + at_once * needed.work
    assert 0.6 * estimate < found < 1.1 * estimate  # and a plan leaves a fifth of a device

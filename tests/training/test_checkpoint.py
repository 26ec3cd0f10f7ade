import errno
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.exact import linear_vae
from vae_jax.objectives import closed_form_elbo
from vae_jax.training import adam, checkpoint, make_epoch, make_trainer
from vae_jax.training.checkpoint import CheckpointError

LINEAR = linear_vae(num_examples=20)
METADATA = {"epoch": 3, "model": {"event_shape": [6]}}


def trainer():
    return make_trainer(LINEAR.model, closed_form_elbo(), adam(0.01, 40), clip_norm=10.0)


def initial_state(seed=0):
    return trainer().init(jax.random.key(seed), LINEAR.x[0])


def as_numpy(state):
    return jax.tree.map(np.asarray, state._replace(key=jax.random.key_data(state.key)))


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, as_numpy(a), as_numpy(b))


def save_epochs(folder, epochs):
    """Checkpoints that differ in their seed, which is the epoch."""
    for epoch in epochs:
        checkpoint.save(folder, epoch, initial_state(epoch), METADATA)


def restore(folder, report=lambda message: None):
    return checkpoint.restore(folder, lambda metadata: initial_state(), report=report)


def test_what_is_restored_is_what_was_saved(tmp_path):
    save_epochs(tmp_path, [5])
    state, metadata = restore(tmp_path)
    assert metadata == METADATA
    assert_same(state, initial_state(5))
    jax.random.normal(state.key)  # a typed key again


def test_resumed_training_equals_uninterrupted_training_to_the_bit(tmp_path):
    run_epoch = make_epoch(trainer(), batch_size=6)
    state = initial_state()
    for epoch in range(4):
        if epoch == 2:
            checkpoint.save(tmp_path, 2, state, {})
        state, _ = run_epoch(state, LINEAR.x)
    resumed, _ = restore(tmp_path)
    for _ in range(2):
        resumed, _ = run_epoch(resumed, LINEAR.x)
    assert_same(resumed, state)


def test_the_newest_two_are_kept_and_the_newest_is_restored(tmp_path):
    save_epochs(tmp_path, [1, 2, 3, 10])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["epoch-000003.npz", "epoch-000010.npz"]
    assert_same(restore(tmp_path)[0], initial_state(10))


def test_an_empty_or_missing_folder_has_nothing_to_restore(tmp_path):
    assert restore(tmp_path) is None
    assert restore(tmp_path / "missing") is None


def truncate(path):
    path.write_bytes(path.read_bytes()[:-500])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    # In the middle of the data of an array, where only its CRC can tell.
    start = content.index(b"NUMPY") + 200
    content[start] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def overwrite(path):
    path.write_bytes(b"not a checkpoint at all")


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty, overwrite])
def test_a_damaged_checkpoint_falls_back_to_the_one_before_with_a_sentence(tmp_path, damage):
    save_epochs(tmp_path, [1, 2])
    damage(tmp_path / "epoch-000002.npz")
    messages = []
    state, _ = restore(tmp_path, messages.append)
    assert_same(state, initial_state(1))
    (message,) = messages
    assert "epoch-000002.npz is damaged" in message


def test_if_all_are_damaged_that_is_an_error(tmp_path):
    save_epochs(tmp_path, [1, 2])
    for path in tmp_path.iterdir():
        truncate(path)
    with pytest.raises(CheckpointError, match="All checkpoints in .* are damaged"):
        restore(tmp_path)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    save_epochs(tmp_path, [1])
    whole = np.savez

    def savez_until_full(file, **arrays):
        whole(file, **dict(list(arrays.items())[:2]))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", savez_until_full)
    with pytest.raises(CheckpointError, match="No space left on device.* stays as it was"):
        save_epochs(tmp_path, [2])
    assert [p.name for p in tmp_path.iterdir()] == ["epoch-000001.npz"]
    assert_same(restore(tmp_path)[0], initial_state(1))


def test_what_a_kill_left_half_written_is_ignored(tmp_path):
    save_epochs(tmp_path, [1])
    (tmp_path / "epoch-000002.partial").write_bytes(b"PK half")
    assert_same(restore(tmp_path)[0], initial_state(1))
    save_epochs(tmp_path, [2])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["epoch-000001.npz", "epoch-000002.npz"]


def test_a_file_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)

        def spy(*args, name=name, original=original):
            calls.append(name)
            return original(*args)

        monkeypatch.setattr(os, name, spy)
    save_epochs(tmp_path, [1])
    assert calls == ["fsync", "replace", "fsync"]  # the file, its name, the folder


def test_a_damaged_checkpoint_does_not_take_the_place_of_a_good_one(tmp_path):
    save_epochs(tmp_path, [1, 5])
    truncate(tmp_path / "epoch-000005.npz")
    save_epochs(tmp_path, [2])  # training went on from epoch 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["epoch-000001.npz", "epoch-000002.npz"]


def test_no_bit_can_flip_unnoticed_or_end_in_a_trace(tmp_path):
    path = checkpoint.save(tmp_path, 1, {"w": jnp.arange(50.0)}, METADATA)
    content = path.read_bytes()
    for index in range(0, len(content), 3):
        flipped = bytearray(content)
        flipped[index] ^= 1 << (index % 8)
        path.write_bytes(flipped)
        messages = []
        try:
            restored, metadata = checkpoint.restore(
                tmp_path, lambda metadata: {"w": jnp.zeros(50)}, report=messages.append
            )
        except CheckpointError:
            continue
        # Not all bits of a zip file matter.
        np.testing.assert_array_equal(restored["w"], np.arange(50.0))
        assert metadata == METADATA


def test_a_checkpoint_of_another_model_names_the_first_difference(tmp_path):
    save_epochs(tmp_path, [1])
    other = {"params": {"decoder": {"output": {"bias": jnp.zeros(7)}}}}
    with pytest.raises(CheckpointError, match=r"params/decoder/output/bias is float32\[6\], not"):
        checkpoint.restore(tmp_path, lambda metadata: other)
    with pytest.raises(CheckpointError, match="momentum is missing"):
        checkpoint.restore(tmp_path, lambda metadata: {"momentum": jnp.zeros(2)})


def test_a_part_can_be_restored_by_shapes_alone(tmp_path):
    save_epochs(tmp_path, [1])
    shapes = jax.eval_shape(lambda: initial_state(1).average_params)
    state, _ = checkpoint.restore(tmp_path, lambda metadata: {"average_params": shapes})
    jax.tree.map(
        np.testing.assert_array_equal, state["average_params"], initial_state(1).average_params
    )


def test_any_numpy_can_read_it_without_pickles(tmp_path):
    path = checkpoint.save(tmp_path, 1, {"w": jnp.arange(3.0)}, METADATA)
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["w"], [0.0, 1.0, 2.0])


def test_optimiser_states_are_restored_whatever_the_optimiser(tmp_path):
    optimiser = optax.chain(optax.trace(0.9), optax.scale_by_adam(), optax.scale(-1.0))
    state = optimiser.init({"w": jnp.ones(3)})
    _, state = optimiser.update({"w": jnp.arange(3.0)}, state)
    checkpoint.save(tmp_path, 1, state, {})
    restored, _ = checkpoint.restore(tmp_path, lambda metadata: state)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, restored, state)

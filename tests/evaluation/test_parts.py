"""The parts of an evaluation on disk: computed once, to the same numbers."""

import jax
import numpy as np
import pytest

from tests.exact import linear_vae
from vae_jax import TrainedVAE
from vae_jax.errors import BadInputError, Stopped
from vae_jax.evaluation.annealing import Annealer
from vae_jax.evaluation.parts import Parts


def nobody(event):
    """A listener that does nothing."""


class Signal:
    """A stop signal that comes when it is told to."""

    requested = False

    def wait_for(self, work, until):
        return work()


def test_parts_are_computed_once_and_damage_is_named(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"values": np.arange(3.0), "count": 2}

    folder = tmp_path / "parts"
    with Parts.of(folder, {"seed": 0}, Signal(), nobody) as parts:
        first = parts.once("part", compute)
    with Parts.of(folder, {"seed": 0}, Signal(), nobody) as parts:
        second = parts.once("part", None)
    assert len(calls) == 1
    np.testing.assert_array_equal(first["values"], second["values"])
    assert first["count"] == second["count"] == 2
    path = folder / "part.npz"
    whole = path.read_bytes()
    for damaged in (b"", whole[:-30], bytes([*whole[:90], whole[90] ^ 1, *whole[91:]])):
        path.write_bytes(damaged)
        with (
            Parts.of(folder, {"seed": 0}, Signal(), nobody) as parts,
            pytest.raises(BadInputError, match="part.npz is damaged"),
        ):
            parts.once("part", compute)


def test_parts_of_other_settings_or_in_use_are_refused(tmp_path):
    folder = tmp_path / "parts"
    with (
        Parts.of(folder, {"seed": 0}, Signal(), nobody),
        pytest.raises(BadInputError, match="is in use by another process"),
        Parts.of(folder, {"seed": 0}, Signal(), nobody),
    ):
        pass
    with (
        pytest.raises(BadInputError, match="other settings \\(seed=0 there, seed=1 here\\)"),
        Parts.of(folder, {"seed": 1}, Signal(), nobody),
    ):
        pass
    (folder / "settings.json").write_text("{")
    with (
        pytest.raises(BadInputError, match="settings.json is damaged"),
        Parts.of(folder, {"seed": 0}, Signal(), nobody),
    ):
        pass


def test_a_signal_stops_after_the_part_is_saved(tmp_path):
    parts = Parts(tmp_path, Signal(), nobody)
    Signal.requested = True
    try:
        with pytest.raises(Stopped, match="the same command goes on"):
            parts.once("part", lambda: {"values": np.ones(2)})
    finally:
        Signal.requested = False
    np.testing.assert_array_equal(parts.once("part", None)["values"], 1.0)


@pytest.mark.slow
def test_the_size_of_a_chunk_changes_no_part(tmp_path):
    """Memory decides the chunk, and a resumed evaluation may have less of it."""
    linear = linear_vae(num_examples=7)
    vae = TrainedVAE(linear.model, linear.exact_params, {})
    found = []
    for examples_at_once in (2, 3):
        folder = tmp_path / str(examples_at_once)
        folder.mkdir()
        parts = Parts(folder, Signal(), nobody)
        anneal = Annealer(
            vae, "posterior", 4, 5, examples_at_once, linear.x, jax.random.key(0), parts
        )
        found.append(anneal("test", "Annealing", linear.x, jax.random.key(1)).log_w)
    assert found[0].shape == (7, 4)
    np.testing.assert_allclose(*found, rtol=1e-5)

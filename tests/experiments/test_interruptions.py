"""Kills, signals, damage and full disks: nothing on disk is lost, and numbers do not change."""

import signal
import time

import numpy as np
import pytest

from tests.experiments.test_run import checkpoint_of, metrics_of, numbers_of

pytestmark = pytest.mark.slow
EPOCHS = "--epochs=60"


@pytest.fixture(scope="module")
def uninterrupted(command):
    result = command.run("uninterrupted", EPOCHS)
    assert result.code == 0, result.err
    return command.folder / "uninterrupted"


def interrupt(command, workdir, after_epochs, number, *flags):
    """Starts the run and sends it a signal once so many epochs are done."""
    metrics = command.folder / workdir / "metrics.jsonl"
    process = command.start(workdir, EPOCHS, *flags)
    while process.poll() is None:
        if metrics.exists() and metrics.read_text().count("\n") >= after_epochs:
            process.send_signal(number)
            break
        time.sleep(0.002)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def assert_same_run(folder, expected):
    assert numbers_of(folder) == numbers_of(expected)
    first, second = checkpoint_of(folder), checkpoint_of(expected)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    rows = [{k: row[k] for k in row if "second" not in k} for row in metrics_of(folder)]
    others = [{k: row[k] for k in row if "second" not in k} for row in metrics_of(expected)]
    assert rows == others


def test_killed_runs_resume_to_the_bit(command, uninterrupted):
    """kill -9 at several moments of one run, until it ends by itself."""
    for after_epochs in (3, 11, 12, 30, 45):
        code, _, err = interrupt(command, "killed", after_epochs, signal.SIGKILL)
        assert code == -signal.SIGKILL, err
    result = command.run("killed", EPOCHS)
    assert result.code == 0, result.err
    assert "Going on after epoch" in result.out
    assert_same_run(command.folder / "killed", uninterrupted)


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")]
)
def test_signals_save_and_end_cleanly(command, uninterrupted, number, name):
    workdir = f"signal-{name}"
    code, out, err = interrupt(command, workdir, 5, number, "--checkpoint_every=1000")
    assert code == 128 + number
    assert name in err
    assert "Traceback" not in err
    assert "Stopped after epoch" in out
    result = command.run(workdir, EPOCHS, "--checkpoint_every=1000")
    assert result.code == 0, result.err
    assert_same_run(command.folder / workdir, uninterrupted)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(command, uninterrupted):
    interrupt(command, "damaged", 8, signal.SIGTERM)
    newest = max((command.folder / "damaged" / "checkpoints").glob("*.npz"))
    newest.write_bytes(newest.read_bytes()[:1000])
    result = command.run("damaged", EPOCHS)
    assert result.code == 0, result.err
    assert f"{newest} is damaged" in result.out
    assert_same_run(command.folder / "damaged", uninterrupted)


def test_a_disk_that_is_full_while_saving_ends_the_run_and_keeps_the_checkpoint(
    command, uninterrupted
):
    interrupt(command, "full", 8, signal.SIGTERM)
    folder = command.folder / "full" / "checkpoints"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    kibibytes = max(len(content) for content in before.values()) // 1024
    through = ["bash", "-c", f'ulimit -f {kibibytes}; "$@"', "-"]
    result = command.finish(command.start("full", EPOCHS, through=through))
    assert result.code == 2
    assert "could not be written (File too large)" in result.err
    assert result.err.count("\n") == 1
    assert before == {path: path.read_bytes() for path in folder.iterdir()}
    result = command.run("full", EPOCHS)
    assert result.code == 0, result.err
    assert_same_run(command.folder / "full", uninterrupted)


def test_a_run_in_use_is_refused(command):
    process = command.start("busy", "--epochs=100000")
    while not (command.folder / "busy" / "metrics.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.01)
    result = command.run("busy", "--epochs=100000")
    process.kill()
    process.communicate()
    assert result.code == 2
    assert "is in use by another process" in result.err


def test_a_divergence_is_named_and_leaves_the_last_good_checkpoint(command):
    """The learning rate is finite and far too high."""
    result = command.run("diverged", "--learning_rate=1e20", "--warmup_steps=0", "--seed=5")
    assert result.code == 1
    assert "Training diverged" in result.err
    assert "seed 5" in result.err
    assert "at step" in result.err
    assert result.err.count("\n") == 1
    assert not list((command.folder / "diverged").glob("checkpoints/*"))


def test_data_that_changed_under_the_same_name_are_refused(command):
    path = command.folder / "changing.npz"
    images = dict(np.load(command.data))
    np.savez(path, **images)
    code, _, _ = interrupt(command, "changing", 3, signal.SIGTERM, f"--dataset={path}")
    assert code == 128 + signal.SIGTERM
    images["x_train"][0, 0, 0] ^= 1
    np.savez(path, **images)
    result = command.run("changing", EPOCHS, f"--dataset={path}")
    assert result.code == 2
    assert "has other examples than those that the run" in result.err

"""Two processes that train together: the numbers of one, one folder, and one sentence of what went
wrong."""

import contextlib
import json
import re
import shutil
import signal
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from tests.experiments.run_files import arrays_of, assert_same_run, numbers_of, rows_of
from tests.ports import free_port
from vae_jax.training.trainer import epoch_order_key

ENDED = "Error: Another process of this run has ended or cannot be reached, see what it says. "
SWEEP = ("--num_seeds=2", "--sweep=beta=1,4", "--epochs=2")
LONG = "--epochs=25"

# The command, with a note of which rows each epoch of this process reads.
NOTING = """
import jax, numpy, vae_jax.data
from vae_jax.commands import command, train
train.define_flags("runs/mnist")
stream, epochs = vae_jax.data.stream, []
def noted(images, rows, steps_at_once):
    epochs.append(rows)
    numpy.save(f"FOLDER/rows-{jax.process_index()}.npy", epochs)
    return stream(images, rows, steps_at_once)
vae_jax.data.stream = noted
command.run(train.main)
"""


@contextlib.contextmanager
def together(command, workdir, *flags, own=((), ()), cwds=(".", "."), **options):
    """Starts two processes of a run, and kills what is left of them in the end.

    own: flags of each; cwds: in which they are started.
    """
    address = f"127.0.0.1:{free_port()}"
    processes = []
    try:
        for number in range(2):
            which = (f"--coordinator={address}", "--num_processes=2", f"--process_id={number}")
            processes.append(
                command.start(workdir, *flags, *which, *own[number], cwd=cwds[number], **options)
            )
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate(timeout=60)


def run_together(command, workdir, *flags, **options):
    with together(command, workdir, *flags, **options) as processes:
        return [command.finish(process) for process in processes]


def of_python(text):
    """The lines that Python printed, without those of gloo and of the libraries below JAX."""
    log = r"[IWE]\d{4} \d\d:\d\d:|\[Gloo\]"
    return "".join(line for line in text.splitlines(True) if not re.match(log, line))


def assert_lost(finished, first_is_there):
    """It ended since the other one had, with a sentence where Python can say it.

    first_is_there: whether the first process is; without it JAX may end the others from C++.
    """
    assert finished.code != 0
    if first_is_there or "JAX distributed service detected fatal errors" not in finished.err:
        assert finished.code == 1
        assert [line for line in finished.err.splitlines() if line.startswith(ENDED)]
        assert finished.err.count("Error: ") == 1
    assert "Traceback" not in finished.err


def assert_succeeded(both):
    for finished in both:
        assert finished.code == 0, finished.err
        assert of_python(finished.err) == ""


@pytest.fixture(scope="module")
def divided(command, finished):
    """The run 'finished' again, by two processes, of which each notes what it reads; one is in the
    folder 'elsewhere', from where --workdir names another folder."""
    assert finished.code == 0
    (command.folder / "elsewhere").mkdir()
    program = ("-c", NOTING.replace("FOLDER", str(command.folder)))
    both = run_together(command, ".", "--workdir=divided", cwds=(".", "elsewhere"), program=program)
    assert_succeeded(both)
    return both


@pytest.mark.slow
@pytest.mark.usefixtures("divided")
def test_a_batch_divided_among_processes_gives_the_numbers_of_one(command):
    one, two = command.folder / "finished", command.folder / "divided"
    for name, value in numbers_of(one).items():
        np.testing.assert_allclose(numbers_of(two)[name], value, rtol=1e-3, err_msg=name)
    first, second = arrays_of(one), arrays_of(two)
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_allclose(second[name], array, rtol=1e-3, atol=1e-4, err_msg=name)
    for row, other in zip(rows_of(one), rows_of(two), strict=True):
        assert row.keys() == other.keys()
        np.testing.assert_allclose(list(other.values()), list(row.values()), rtol=2e-3)
    summary = json.loads((two / "summary.json").read_text())
    assert (summary["num_processes"], summary["num_devices"]) == (2, 2)
    assert summary["streamed"] is True
    assert (one / "flags.cfg").read_text().replace(str(one), str(two)) == (
        (two / "flags.cfg").read_text().replace("divided", str(two))
    )


@pytest.mark.slow
def test_the_first_process_alone_prints_and_writes(command, divided):
    assert list((command.folder / "elsewhere").iterdir()) == []
    first, second = divided
    assert first.out.startswith("2 processes train together; this one, the first, prints")
    assert "test NLL" in first.out
    assert of_python(second.out) == "Process 1 of 2: process 0 prints and writes.\n"


@pytest.mark.slow
@pytest.mark.usefixtures("divided")
def test_each_process_reads_its_half_of_every_batch_alone(command):
    halves = [np.load(command.folder / f"rows-{number}.npy") for number in range(2)]
    assert halves[0].shape == halves[1].shape == (4, 5, 1, 10)  # epochs, steps, lanes, half a batch
    key = jax.random.wrap_key_data(arrays_of(command.folder / "divided")["key"])
    for epoch, rows in enumerate(np.concatenate(halves, axis=-1)):
        order = jax.random.permutation(epoch_order_key(SimpleNamespace(key=key), epoch), 110)
        np.testing.assert_array_equal(rows.ravel(), order[:100])


@pytest.mark.slow
def test_a_sweep_over_two_processes_is_that_of_one_to_the_bit(command):
    with np.load(command.data) as images:  # so many that both processes evaluate some
        test = np.tile(images["x_test"], (8, 1, 1))
        np.savez(command.folder / "tested.npz", x_train=images["x_train"], x_test=test)
    flags = (*SWEEP, f"--dataset={command.folder / 'tested.npz'}")
    assert command.run("lanes_of_one", *flags).code == 0
    both = run_together(command, "lanes_of_two", *flags)
    assert_succeeded(both)
    assert "4 runs on 4 cpu devices, 1 at once on each." in both[0].out
    assert "Evaluating: example 200/200" in both[0].out  # of 240
    for beta in (1, 4):
        for seed in (0, 1):
            name = f"beta={beta},seed={seed}"
            assert_same_run(
                command.folder / "lanes_of_one" / name, command.folder / "lanes_of_two" / name
            )
    # The remaining runs of an interrupted sweep need not divide among processes.
    names = sorted(path.name for path in (command.folder / "lanes_of_two").glob("beta=*"))
    for left in (names[1:], names[:1]):
        (command.folder / "lanes_of_two" / "sweep.json").unlink()
        for name in left:
            (command.folder / "lanes_of_two" / name / "summary.json").unlink()
            for path in (command.folder / "lanes_of_two" / name / "checkpoints").iterdir():
                path.unlink()
        both = run_together(command, "lanes_of_two", *flags)
        assert_succeeded(both)
        assert f"{len(left)} run{'s' * (len(left) > 1)} on " in both[0].out
        for name in left:
            assert_same_run(
                command.folder / "lanes_of_one" / name, command.folder / "lanes_of_two" / name
            )
    tables = [
        json.loads((command.folder / name / "sweep.json").read_text())["table"]
        for name in ("lanes_of_one", "lanes_of_two")
    ]
    assert [row["test_nll"] for row in tables[0]] == [row["test_nll"] for row in tables[1]]


@pytest.mark.slow
def test_runs_of_which_a_process_was_killed_or_stopped_go_on_to_the_bit(command):
    assert_succeeded(run_together(command, "undisturbed", LONG))
    metrics = command.folder / "disturbed" / "metrics.jsonl"
    for after, victim, number in (
        (3, 1, signal.SIGKILL),
        (7, 0, signal.SIGKILL),
        (11, 1, signal.SIGTERM),
    ):
        with together(command, "disturbed", LONG) as processes:
            while not metrics.exists() or metrics.read_text().count("\n") < after:
                assert [process.poll() for process in processes] == [None, None]
                time.sleep(0.01)
            processes[victim].send_signal(number)
            sent = time.monotonic()
            other = command.finish(processes[1 - victim])
            # Not only when the other has not been heard of for half a minute.
            assert time.monotonic() - sent < 20
            disturbed = command.finish(processes[victim])
        if number == signal.SIGKILL:
            assert disturbed.code == -signal.SIGKILL
            assert_lost(other, first_is_there=victim != 0)
        else:
            assert (disturbed.code, other.code) == (128 + number, 128 + number)
            assert "SIGTERM: stopping as soon as this epoch is saved" in disturbed.err
            assert of_python(other.err) == ""
            assert "Stopped after epoch" in other.out
    both = run_together(command, "disturbed", LONG)
    assert_succeeded(both)
    assert "Going on after epoch" in both[0].out
    assert_same_run(command.folder / "disturbed", command.folder / "undisturbed")


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_signal_to_one_in_an_evaluation_stops_all_after_it(command, victim):
    flags = ("--num_seeds=2", "--epochs=1", "--nll_samples=20000")
    workdir = f"evaluated{victim}"
    with together(command, workdir, *flags) as processes:
        folder = command.folder / workdir
        while not list(folder.glob("seed=0/checkpoints/*.npz")):
            assert [process.poll() for process in processes] == [None, None]
            time.sleep(0.01)
        time.sleep(0.3)
        processes[victim].send_signal(signal.SIGINT)
        both = [command.finish(process) for process in processes]
    assert [finished.code for finished in both] == [128 + signal.SIGINT] * 2
    assert "Stopped after an evaluation" in both[0].out
    assert (folder / "seed=0" / "summary.json").exists()
    assert not (folder / "seed=1" / "summary.json").exists()


@pytest.mark.slow
def test_other_flags_are_named_by_all(command):
    both = run_together(command, "unlike", own=((), ("--learning_rate=0.01", "--stream")))
    for finished in both:
        assert finished.code == 2
        assert finished.err == (
            "Error: Process 1 has other settings than process 0: --learning_rate=0.002 there, 0.01 "
            "here; --stream=false there, true here.\n"
        )
    assert not (command.folder / "unlike").exists()


@pytest.mark.slow
def test_what_the_first_alone_finds_is_said_by_all(command):
    (command.folder / "here" / "thesis").mkdir(parents=True)
    (command.folder / "here" / "thesis" / "chapter1.tex").write_text("dear reader")
    (command.folder / "there").mkdir()
    both = run_together(command, ".", "--workdir=thesis", cwds=("here", "there"))
    assert [finished.code for finished in both] == [2, 2]
    assert "holds files (chapter1.tex, ...) but no flags.cfg" in both[0].err
    assert both[0].err == both[1].err
    assert both[0].err.count("\n") == 1


def changed(images):
    images["x_test"] = images["x_test"][::-1]


def smaller(images):
    for name in ("x_train", "x_test"):
        images[name] = images[name][:, 1:, 1:]


@pytest.mark.slow
@pytest.mark.parametrize("change", [changed, smaller])
def test_other_examples_of_the_same_name_are_refused_by_all(command, change):
    images = dict(np.load(command.data))
    for name in ("original", change.__name__):
        folder = command.folder / f"{change.__name__}-{name}"
        folder.mkdir()
        np.savez(folder / "images.npz", **images)
        change(images)
    workdir = f"mixed-{change.__name__}"
    cwds = [f"{change.__name__}-{name}" for name in ("original", change.__name__)]
    both = run_together(command, workdir, "--dataset=images.npz", cwds=cwds)
    for finished in both:
        assert finished.code == 2
        assert finished.err == (
            "Error: The processes have different data under the name of npz:images: give all the "
            "same files.\n"
        )


@pytest.mark.slow
def test_what_one_process_alone_lacks_it_says_and_the_other_ends(command):
    (command.folder / "with").mkdir()
    (command.folder / "without").mkdir()
    shutil.copy(command.data, command.folder / "with" / "images.npz")
    first, second = run_together(
        command, "lacking", "--dataset=images.npz", cwds=("with", "without")
    )
    assert second.code == 2
    assert "without/images.npz" in second.err
    assert second.err.count("\n") == 1
    assert_lost(first, first_is_there=True)

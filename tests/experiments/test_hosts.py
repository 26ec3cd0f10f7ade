"""Several processes that train together: the numbers of one, one folder, and one sentence of what
went wrong."""

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

import experiments.mnist  # noqa: F401 (defines the flags)
from experiments import hosts
from experiments.errors import BadInputError
from tests.experiments.conftest import ROOT
from tests.experiments.run_files import arrays_of, assert_same_run, numbers_of, rows_of
from vae_jax.training.trainer import epoch_order_key

FLAGS = flags.FLAGS
ENDED = "Error: Another process of this run has ended or cannot be reached, see what it says. "
SWEEP = ("--num_seeds=2", "--sweep=beta=1,4", "--epochs=2")
LONG = "--epochs=25"

# The command, with a note of which rows each epoch of this process reads.
NOTING = """
import jax, numpy, vae_jax.data
from experiments import command, mnist
stream, epochs = vae_jax.data.stream, []
def noted(images, rows, steps_at_once):
    epochs.append(rows)
    numpy.save(f"FOLDER/rows-{jax.process_index()}.npy", epochs)
    return stream(images, rows, steps_at_once)
vae_jax.data.stream = noted
command.run(mnist.main)
"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


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


def assert_succeeded(both):
    for finished in both:
        assert finished.code == 0, finished.err
        assert finished.err == ""


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
    assert second.out == "Process 1 of 2: process 0 prints and writes.\n"


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
    assert "Evaluating: image 100/100" in both[0].out  # of 240
    for beta in (1, 4):
        for seed in (0, 1):
            name = f"beta={beta},seed={seed}"
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
            assert other.code == 1
            assert other.err.startswith(ENDED)
            assert other.err.count("\n") == 1
        else:
            assert (disturbed.code, other.code) == (128 + number, 128 + number)
            assert "SIGTERM: stopping as soon as this epoch is saved" in disturbed.err
            assert other.err == ""
            assert "Stopped after epoch" in other.out
    both = run_together(command, "disturbed", LONG)
    assert_succeeded(both)
    assert "Going on after epoch" in both[0].out
    assert_same_run(command.folder / "disturbed", command.folder / "undisturbed")


@pytest.mark.slow
def test_other_flags_are_named_by_all(command):
    both = run_together(command, "unlike", own=((), ("--learning_rate=0.01", "--stream")))
    for finished in both:
        assert finished.code == 2
        assert finished.err == (
            "Error: Process 1 has other flags than process 0: --learning_rate=0.002 there, 0.01 "
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
def test_other_images_of_the_same_name_are_refused_by_all(command, change):
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
            "Error: The processes have different images under the name of npz:images: give all the "
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
    assert first.code == 1
    assert first.err.startswith(ENDED)
    assert first.err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize("kind", ["file", "folder", "static"])
def test_streaming_changes_no_number(command, shards, kind):
    flags = {
        "file": (),
        "folder": (f"--dataset={shards}/",),
        "static": ("--binarisation=static", "--epochs=2"),
    }[kind]
    reference, workdir = "finished", f"streamed-{kind}"
    if kind == "static":
        reference = "static"
        assert command.run(reference, *flags).code == 0
    result = command.run(workdir, "--stream", *flags)
    assert result.code == 0, result.err
    assert result.err == ""
    assert "Training images are read while training, in blocks." in result.out
    folders = [command.folder / name for name in (reference, workdir)]
    assert_same_run(*folders)
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in folders]
    assert [summary["streamed"] for summary in summaries] == [False, True]


@pytest.mark.slow
@pytest.mark.usefixtures("finished")
def test_a_run_may_go_on_streamed(command):
    folder = command.folder / "on_streamed"
    shutil.copytree(command.folder / "finished", folder)
    (folder / "summary.json").unlink()
    max((folder / "checkpoints").glob("*.npz")).unlink()
    result = command.run("on_streamed", "--stream")
    assert result.code == 0, result.err
    assert "Going on after epoch 3 of 4." in result.out
    assert_same_run(folder, command.folder / "finished")


BAD_FLAGS = {
    "no port": ("localhost", 2, 0, "must be HOST:PORT of the first process"),
    "no host": (":1234", 2, 0, "must be HOST:PORT"),
    "no number": ("localhost:http", 2, 0, "must be HOST:PORT"),
    "port of none": ("localhost:0", 2, 0, "must be HOST:PORT"),
    "port too large": ("localhost:65536", 2, 0, "must be HOST:PORT"),
    "no count": ("localhost:1234", None, 0, "goes with --num_processes and --process_id"),
    "no number of its own": ("localhost:1234", 2, None, "goes with --num_processes and"),
    "number too large": ("localhost:1234", 2, 2, "--process_id=2 must be less than"),
    "no coordinator": (None, 2, None, "go with --coordinator=HOST:PORT"),
    "no coordinator and no count": (None, None, 0, "go with --coordinator=HOST:PORT"),
}


def connect(coordinator, num_processes, process_id):
    with flagsaver.flagsaver():
        FLAGS(["experiments.mnist", "--connect_seconds=1"])
        FLAGS.coordinator, FLAGS.num_processes = coordinator, num_processes
        FLAGS.process_id = process_id
        hosts.connect()


def test_the_environment_says_what_flags_leave_open(monkeypatch):
    def settled(**variables):
        with flagsaver.flagsaver():
            FLAGS(["experiments.mnist", "--process_id=1"])
            for name, text in variables.items():
                monkeypatch.setenv(f"JAX_{name}", text)
            hosts.settle()
            return FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id

    assert settled(NUM_PROCESSES="3", PROCESS_ID="2") == (None, None, 1)
    assert settled(COORDINATOR_ADDRESS="there:1234") == ("there:1234", 3, 1)
    with pytest.raises(BadInputError, match="The environment variable JAX_NUM_PROCESSES: .*two"):
        settled(NUM_PROCESSES="two")


@pytest.mark.parametrize("case", BAD_FLAGS)
def test_flags_that_do_not_go_together_are_refused(case):
    *given, message = BAD_FLAGS[case]
    with pytest.raises(BadInputError, match=message):
        connect(*given)


def test_a_port_in_use_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BadInputError, match=f":{port}: the port cannot be used here"):
            connect(f"127.0.0.1:{port}", 2, 0)


def test_one_process_without_flags_connects_to_none():
    connect(None, None, None)
    assert not hosts.several()
    assert hosts.share(7) == hosts.share(7, 4) == slice(0, 7)
    assert hosts.on_first(lambda: {"epoch": 3}) == {"epoch": 3}
    assert hosts.gather_bytes(b"own") == [b"own"]


def test_a_signal_that_comes_after_all_were_asked_is_for_the_next_time(monkeypatch):
    stop = SimpleNamespace(number=0)

    def gather(own):
        stop.number = signal.SIGTERM  # meanwhile
        return [np.zeros(1, int), own]

    monkeypatch.setattr(hosts, "gather", gather)
    assert hosts.heed(stop) is False
    assert stop.number == signal.SIGTERM
    assert hosts.heed(stop) is True
    stop.number = 0
    monkeypatch.setattr(hosts, "gather", lambda own: [own, np.array([signal.SIGINT])])
    assert hosts.heed(stop) is True
    assert stop.number == signal.SIGINT


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("multiple", [1, 4])
def test_the_shares_of_all_are_the_whole_and_begin_at_multiples(monkeypatch, count, multiple):
    monkeypatch.setattr(hosts, "several", lambda: count > 1)
    monkeypatch.setattr(jax, "process_count", lambda: count)
    for number in (0, 1, 5, 8, 50, 111):
        shares = []
        for index in range(count):
            monkeypatch.setattr(jax, "process_index", lambda index=index: index)
            shares.append(hosts.share(number, multiple))
        things = [thing for share in shares for thing in range(number)[share]]
        assert things == list(range(number))
        lengths = [share.stop - share.start for share in shares]
        assert max(lengths) - min(lengths) < 2 * multiple
        assert all(share.start % multiple == 0 or share.start == number for share in shares)


@pytest.mark.parametrize(
    ("which", "sentence"),
    [
        (
            ("--process_id=1", "--coordinator=127.0.0.1:{}", "--num_processes=2"),
            "cannot be reached within --connect_seconds=1",
        ),
        pytest.param(
            ("--process_id=0", "--coordinator=127.0.0.1:{}", "--num_processes=2"),
            "Not all of --num_processes=2 came within --connect_seconds=1",
            marks=pytest.mark.slow,
        ),
        pytest.param(("--coordinator=auto",), "auto finds no cluster here", marks=pytest.mark.slow),
    ],
)
def test_who_finds_no_others_says_so(command, which, sentence):
    port = free_port()
    start = time.monotonic()
    result = command.run("lonely", "--connect_seconds=1", *(flag.format(port) for flag in which))
    assert time.monotonic() - start < 40
    # Where JAX waits for the others, it ends the process in its own way.
    assert result.code in ((1, -signal.SIGABRT) if "Not all" in sentence else (2,))
    assert result.err.startswith("Error: ")
    assert sentence in result.err
    assert result.err.count("\n") == 1
    assert not (command.folder / "lonely").exists()


LOG = b"""\
a line of a library, \xff
E1124 14:30:00.000001    77 coordination_service_agent.cc:353] Polling an error was cancelled.
Additional GRPC error information from remote target coordination_service:
:UNKNOWN:Error received from peer
RPC: /tensorflow.CoordinationService/PollForError

=== Source Location Trace: ===
external/xla+/xla/pjrt/distributed/coordination/coordination_service_error_util.cc:64

a line after it
RPC: of something else
F1124 14:30:00.000002    77 literal.cc:9] Check failed: 1 == 2
    @     0x7f9609cf81b4  of a stack
F1124 14:30:00.000003    77 client.h:80] Terminating process because the JAX distributed service \
detected fatal errors.

RPC: /tensorflow.CoordinationService/PollForError
*** Check failure stack trace: ***
    @     0x7f9609cf81b4  absl::lts_20260526::log_internal::LogMessage::SendToLog()
Fatal Python error: Aborted
"""


@pytest.mark.parametrize(
    ("before", "sentence"), [(b"", "Not all came."), (b"connected\n", "One has ended.")]
)
def test_the_log_of_a_lost_connection_becomes_a_sentence_and_all_else_is_passed_on(
    before, sentence
):
    script = ROOT / "experiments" / "host_log.py"
    result = subprocess.run(
        [sys.executable, "-I", "-S", script, "Not all came.", "One has ended."],
        input=before + LOG,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert result.stdout == b""
    assert result.stderr.decode() == (
        "a line of a library, \N{REPLACEMENT CHARACTER}\n"
        "a line after it\n"
        "RPC: of something else\n"
        "F1124 14:30:00.000002    77 literal.cc:9] Check failed: 1 == 2\n"
        "    @     0x7f9609cf81b4  of a stack\n"
        f"Error: {sentence}\n"
    )


def test_a_connection_that_both_python_and_a_library_find_lost_is_said_once():
    script = ROOT / "experiments" / "host_log.py"
    result = subprocess.run(
        [sys.executable, "-I", "-S", script, "Not all came.", "One has ended."],
        input=b"connected\nlost\n" + LOG + b"lost\n",
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert result.stderr.decode().startswith("Error: One has ended.\na line of a library")
    assert result.stderr.decode().count("Error: ") == 1

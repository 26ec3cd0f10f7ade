"""What processes that train together do, as far as one can tell in a single one."""

import signal
import socket
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

import experiments.mnist  # noqa: F401 (defines the flags)
from experiments import hosts
from tests.experiments.conftest import free_port
from vae_jax.errors import BadInputError

FLAGS = flags.FLAGS

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

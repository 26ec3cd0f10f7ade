"""What processes tell each other: two real ones of different numbers of devices, and what one can
tell of a single one."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from tests.ports import free_port
from vae_jax import errors, processes
from vae_jax.processes import exchange

ROOT = Path(__file__).parent.parent.parent

PROGRAM = """
import json, sys
import jax, numpy as np
from vae_jax import errors, processes

number, port = int(sys.argv[1]), sys.argv[2]
jax.config.update("jax_num_cpu_devices", 1 + number)
processes.connect(processes.Cluster(f"127.0.0.1:{port}", 2, number, 60))
assert processes.several() and len(jax.devices()) == 3 and processes.is_first() == (number == 0)
said = []
processes.introduce(said.append)

# Different lengths; not-a-numbers, infinities, zeros with a sign, the smallest numbers.
def own(n):
    rng = np.random.default_rng(n)
    bits = rng.integers(0, 256, (3 + 5 * n, 2, 8), np.uint8)
    return [bits, bits.view(np.float64)[..., 0], bits.view(np.float32), bits[:0]]
for of_each in zip(own(0), own(1)):
    gathered = processes.gather(of_each[number])
    for found, expected in zip(gathered, of_each, strict=True):
        assert found.dtype == expected.dtype and found.shape == expected.shape
        assert found.tobytes() == expected.tobytes()
assert processes.gather_bytes(b"a" * number * 1000) == [b"", b"a" * 1000]

state = {"key": jax.random.key(number), "step": jax.numpy.int32(number),
         "mean": np.full((2, 3), np.float32(np.pi) * (1 + number))}
first = processes.of_first(state)
assert (jax.random.key_data(first["key"]) == jax.random.key_data(jax.random.key(0))).all()
assert int(first["step"]) == 0 and (np.asarray(first["mean"]) == np.float32(np.pi)).all()

called = []
def nested():
    called.append(number)
    return {"inner": processes.on_first(lambda: [number, "x"])}
assert processes.on_first(nested) == {"inner": [0, "x"]}
assert called == ([0] if number == 0 else [])

class Own(errors.CheckpointError):
    pass
def failing(error):
    def fail():
        raise error
    try:
        processes.on_first(fail)
    except Exception as caught:
        return [type(caught).__name__, str(caught), vars(caught)]
failures = [failing(error) for error in (
    errors.BadInputError("bad"), errors.CheckpointError("torn"), errors.DivergenceError("nan"),
    errors.NotAvailableError("gone", ": take another"), Own("own"))]

processes.require_same({"rate": "0.1"})
try:
    processes.require_same({"rate": "0.1", "beta": str(number)} | ({"x": "1"} if number else {}))
except errors.BadInputError as error:
    different = str(error)
share = processes.share(5)
print(json.dumps([said, failures, different, [share.start, share.stop]]))
"""


@pytest.fixture(scope="module")
def told():
    """The findings of each of two processes, with one and two devices."""
    port = str(free_port())
    both = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(number), port],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    found = []
    try:
        for process in both:
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
            found.append(json.loads(out.splitlines()[-1]))
    finally:
        for process in both:
            process.kill()
    return found


def test_processes_of_unequal_devices_gather_and_share_to_the_bit(told):
    assert [share for *_, share in told] == [[0, 3], [3, 5]]


def test_each_process_is_introduced(told):
    assert [said for said, *_ in told] == [
        ["2 processes train together; this one, the first, prints and writes."],
        ["Process 1 of 2: process 0 prints and writes."],
    ]


def test_an_error_of_the_first_arrives_in_all_as_what_it_is(told):
    for _, failures, *_ in told:
        assert failures == [
            ["BadInputError", "bad", {}],
            ["CheckpointError", "torn", {}],
            ["DivergenceError", "nan", {}],
            ["NotAvailableError", "gone: take another", {"reason": "gone"}],
            ["CheckpointError", "own", {}],
        ]


def test_other_settings_are_named_by_all(told):
    assert [different for *_, different, _ in told] == 2 * [
        "Process 1 has other settings than process 0: beta=0 there, 1 here; x=default there, 1 "
        "here."
    ]


def test_a_process_by_itself_needs_no_other():
    assert processes.share(7) == processes.share(7, 4) == slice(0, 7)
    assert processes.on_first(lambda: {"epoch": 3}) == {"epoch": 3}
    assert processes.gather_bytes(b"own") == [b"own"]
    processes.introduce(pytest.fail)
    processes.require_same({"beta": "1"})
    with pytest.raises(errors.CheckpointError, match="torn"):
        processes.on_first(lambda: (_ for _ in ()).throw(errors.CheckpointError("torn")))


def test_a_signal_that_comes_after_all_were_asked_is_for_the_next_time(monkeypatch):
    stop = SimpleNamespace(number=0)

    def gather(own):
        stop.number = signal.SIGTERM  # meanwhile
        return [np.zeros(1, int), own]

    monkeypatch.setattr(exchange, "gather", gather)
    assert processes.heed(stop) is False
    assert stop.number == signal.SIGTERM
    assert processes.heed(stop) is True
    stop.number = 0
    monkeypatch.setattr(exchange, "gather", lambda own: [own, np.array([signal.SIGINT])])
    assert processes.heed(stop) is True
    assert stop.number == signal.SIGINT


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("multiple", [1, 4])
def test_the_shares_of_all_are_the_whole_and_begin_at_multiples(monkeypatch, count, multiple):
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax, "process_count", lambda: count)
    for number in (0, 1, 5, 8, 50, 111):
        shares = []
        for index in range(count):
            monkeypatch.setattr(jax, "process_index", lambda index=index: index)
            shares.append(processes.share(number, multiple))
        things = [thing for share in shares for thing in range(number)[share]]
        assert things == list(range(number))
        lengths = [share.stop - share.start for share in shares]
        assert max(lengths) - min(lengths) < 2 * multiple
        assert all(share.start % multiple == 0 or share.start == number for share in shares)

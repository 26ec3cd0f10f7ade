"""The flags of several processes, and what is said in words of flags."""

import time

import pytest

from tests.ports import free_port
from vae_jax.commands import hosts
from vae_jax.config import Hardware


def test_the_environment_says_what_flags_leave_open(monkeypatch):
    def settled(**variables):
        for name, text in variables.items():
            monkeypatch.setenv(f"JAX_{name}", text)
        found = hosts.from_environment(Hardware(process_id=1))
        return found.coordinator, found.num_processes, found.process_id

    assert settled(NUM_PROCESSES="3", PROCESS_ID="2") == (None, None, 1)
    assert settled(COORDINATOR_ADDRESS="there:1234") == ("there:1234", 3, 1)


def test_what_does_not_go_together_is_said_with_the_dashes_of_flags(command):
    result = command.run("lonely", "--coordinator=there:1", "--num_processes=2", "--process_id=2")
    assert result.err == (
        "Error: --process_id=2 must be at least 0 and less than --num_processes=2.\n"
    )


@pytest.mark.parametrize(
    ("which", "sentence"),
    [
        (
            ("--process_id=1", "--coordinator=127.0.0.1:{}", "--num_processes=2"),
            "cannot be reached within --connect_seconds=1",
        ),
        (
            ("--process_id=0", "--coordinator=127.0.0.1:{}", "--num_processes=2"),
            "Not all of --num_processes=2 came within --connect_seconds=1: start the one with "
            "--process_id=1.",
        ),
        pytest.param(
            ("--coordinator=auto",), "--coordinator=auto finds no cluster", marks=pytest.mark.slow
        ),
    ],
)
def test_who_finds_no_others_says_so(command, which, sentence):
    port = free_port()
    start = time.monotonic()
    result = command.run("lonely", "--connect_seconds=1", *(flag.format(port) for flag in which))
    assert time.monotonic() - start < 40
    assert result.code == 2
    assert result.err.startswith("Error: ")
    assert sentence in result.err
    assert result.err.count("\n") == 1
    assert not (command.folder / "lonely").exists()

"""What is left of the log of libraries that lose a connection."""

import subprocess
import sys

import pytest

from tests.experiments.conftest import ROOT

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

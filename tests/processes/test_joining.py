"""How processes find each other, with threads in place of processes: none starts JAX together."""

import os
import socket
import threading
import time

import jax
import pytest

from tests.ports import free_port
from vae_jax import processes
from vae_jax.errors import BadInputError
from vae_jax.processes import Cluster

BAD = {
    "no port": (Cluster("localhost", 2, 0), "coordinator=localhost must be HOST:PORT of the first"),
    "no host": (Cluster(":1234", 2, 0), "coordinator=:1234 must be HOST:PORT"),
    "no number": (Cluster("localhost:http", 2, 0), "must be HOST:PORT"),
    "port of none": (Cluster("localhost:0", 2, 0), "must be HOST:PORT"),
    "port too large": (Cluster("localhost:65536", 2, 0), "must be HOST:PORT"),
    "no count": (Cluster("localhost:1234", None, 0), "needs num_processes=COUNT and process_id="),
    "no id": (Cluster("localhost:1234", 2, None), "needs num_processes=COUNT and process_id="),
    "id too large": (Cluster("localhost:1234", 2, 2), "process_id=2 must be at least 0 and less"),
    "id too small": (Cluster("localhost:1234", 2, -1), "process_id=-1 must be at least 0"),
    "no process": (Cluster("localhost:1234", 0, 0), "less than num_processes=0"),
    "no time": (Cluster("localhost:1234", 2, 0, 0), "connect_seconds=0 must be at least 1"),
    "no coordinator": (Cluster(None, 2, None), "num_processes=2 needs coordinator=HOST:PORT"),
    "no coordinator and no count": (Cluster(None, None, 0), "process_id=0 needs coordinator="),
}


@pytest.mark.parametrize("case", BAD)
def test_a_cluster_whose_values_do_not_go_together_is_refused(case):
    cluster, message = BAD[case]
    with pytest.raises(BadInputError, match=message):
        processes.connect(cluster)


def test_a_process_by_itself_connects_to_none():
    processes.connect(Cluster())
    assert not processes.several()
    assert processes.is_first()


def test_the_environment_completes_a_cluster(monkeypatch):
    for name in ("COORDINATOR_ADDRESS", "NUM_PROCESSES", "PROCESS_ID"):
        monkeypatch.delenv(f"JAX_{name}", raising=False)
    given = Cluster(process_id=1, connect_seconds=7)
    monkeypatch.setenv("JAX_NUM_PROCESSES", "3")
    monkeypatch.setenv("JAX_PROCESS_ID", "2")
    assert processes.from_environment(given) == given
    completed = Cluster("here:1", 3, 1, 7)
    assert processes.from_environment(given._replace(coordinator="here:1")) == completed
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "there:1234")
    assert processes.from_environment(given) == Cluster("there:1234", 3, 1, 7)
    assert processes.from_environment(Cluster()) == Cluster("there:1234", 3, 2)
    monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
    with pytest.raises(BadInputError, match="variable JAX_NUM_PROCESSES=two must be a whole"):
        processes.from_environment(given)


@pytest.fixture
def joined(monkeypatch):
    """connect(cluster) for all of them at once, in threads; what JAX was asked to join, or the
    error, of each."""
    asked = threading.local()
    monkeypatch.setattr(
        jax.distributed, "initialize", lambda **given: setattr(asked, "given", given)
    )

    def join(clusters, delays):
        found = [None] * len(clusters)

        def one(number):
            time.sleep(delays[number])
            try:
                processes.connect(clusters[number])
                found[number] = asked.given
            except BadInputError as error:
                found[number] = str(error)

        threads = [threading.Thread(target=one, args=(n,)) for n in range(len(clusters))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        return found

    return join


@pytest.mark.parametrize("delays", [(0, 0, 0), (0.4, 0, 0.2), (0, 0.4, 0)])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_all_join_as_soon_as_the_last_has_come(joined, host, delays):
    if host == "[::1]" and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    address = f"{host}:{free_port()}"
    start = time.monotonic()
    found = joined([Cluster(address, 3, number, 20) for number in range(3)], delays)
    assert time.monotonic() - start < 10
    for number, given in enumerate(found):
        assert given["coordinator_address"] == address
        assert (given["num_processes"], given["process_id"]) == (3, number)


def test_the_first_names_who_is_missing_and_the_other_says_so_too(joined):
    address = f"127.0.0.1:{free_port()}"
    first, other = joined([Cluster(address, 3, number, 1) for number in (0, 2)], (0, 0))
    assert first == (
        "Not all of num_processes=3 came within connect_seconds=1: start the one with process_id=1."
    )
    assert "cannot be reached within connect_seconds=1, or not all of num_processes=3" in other


def test_strangers_at_the_port_are_not_counted(joined):
    port = free_port()

    def disturb():
        for text in (b"", b"GET / HTTP/1.1\r\n"):
            while True:
                try:
                    with socket.create_connection(("127.0.0.1", port), timeout=1) as stranger:
                        stranger.sendall(text)
                    break
                except OSError:
                    time.sleep(0.01)

    stranger = threading.Thread(target=disturb)
    stranger.start()
    clusters = [Cluster(f"127.0.0.1:{port}", 2, number, 20) for number in range(2)]
    found = joined(clusters, (0, 0.5))
    stranger.join(timeout=30)
    assert [given["process_id"] for given in found] == [0, 1]


def test_a_port_in_use_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BadInputError, match=f":{port}: the port cannot be used here"):
            processes.connect(Cluster(f"127.0.0.1:{port}", 2, 0))


def test_no_scheduler_to_ask_is_said(monkeypatch):
    def initialize(**given):
        assert "coordinator_address" not in given
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(BadInputError, match="coordinator=auto finds no cluster here"):
        processes.connect(Cluster("auto"))


def test_only_what_says_that_another_process_is_lost_is_taken_for_it(monkeypatch):
    lost = ValueError("UNKNOWN: Gloo AllGather failed: Connection reset by peer")
    assert not processes.is_lost_connection(lost)
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert processes.is_lost_connection(lost)
    assert not processes.is_lost_connection(ValueError("shapes (2,) and (3,) do not match"))


def test_who_failed_among_several_ends_at_once_the_first_after_the_others(monkeypatch):
    with pytest.raises(SystemExit, match="3"):
        processes.leave(3)
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(SystemExit, match="0"):
        processes.leave(0)
    done = []
    monkeypatch.setattr(os, "_exit", done.append)
    monkeypatch.setattr(time, "sleep", lambda seconds: done.append("waits"))
    for number in (1, 0):
        monkeypatch.setattr(jax, "process_index", lambda number=number: number)
        processes.leave(3)
    assert done == [3, "waits", 3]

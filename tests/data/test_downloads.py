import hashlib
import http.server
import socket
import threading
import time
from types import SimpleNamespace

import pytest

from vae_jax.data import downloads


def url_info(content, filename="images.gz"):
    checksum = hashlib.sha256(content).hexdigest()
    return SimpleNamespace(size=len(content), checksum=checksum, filename=filename)


def test_files_are_found_by_content_not_by_name(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    (first / "images.gz").write_bytes(b"othr")  # of the right size
    (second / "renamed").write_bytes(b"mine")
    infos = {"http://a/images.gz": url_info(b"mine"), "http://a/absent": url_info(b"absent")}
    found = downloads.find_files(infos, [tmp_path / "nowhere", first, second])
    assert found == {"http://a/images.gz": second / "renamed"}


@pytest.fixture
def server_of():
    """server_of(status): the URL of a server on this machine that gives that answer."""
    servers = []

    def serve(status):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self):
                self.send_response(status)
                self.end_headers()

            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("status", [200, 403, 404, 500])
def test_any_answer_means_reachable(server_of, status):
    assert downloads.reachable(server_of(status), seconds=3)


def test_a_proxy_is_asked_in_place_of_the_host(server_of, monkeypatch):
    monkeypatch.setenv("http_proxy", server_of(200))
    assert downloads.reachable("http://known-to-the-proxy.invalid/", seconds=3)


def test_no_answer_means_unreachable():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert not downloads.reachable(f"http://127.0.0.1:{free.getsockname()[1]}/", seconds=3)
    assert not downloads.reachable("http://nowhere.invalid/", seconds=3)
    assert not downloads.reachable("no URL", seconds=3)


def test_a_hanging_resolver_is_left_behind(monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: released.wait(60))
    start = time.monotonic()
    assert not downloads.reachable("http://nowhere.invalid/", seconds=0.3)
    assert time.monotonic() - start < 1
    released.set()

"""The operator's HTTP port on loopback: health, readiness, metrics, alerts, and what it says to everything else."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from passmuster.engine.cache import Cache
from passmuster.handlers.alerts import MOST_BYTES, Receiver
from passmuster.handlers.port import Port
from passmuster.model.errors import UserError
from passmuster.sandbox.memory_cluster import MemoryCluster

EMPTY = b'{"version":"4","alerts":[]}'


class Served:
    """A port with answers that the test sets."""

    def __init__(self, folder: Path, *, alerts: bool = True) -> None:
        self.health: str | None = None
        self.readiness: str | None = None
        (folder / "token").write_text("watchword")
        cache = Cache()
        receiver = Receiver(MemoryCluster(cache), cache, folder / "token", lambda check: False) if alerts else None
        self.port = Port(
            "127.0.0.1:0",
            health=lambda: self.health,
            readiness=lambda: self.readiness,
            metrics=lambda accept: (b"passmuster_leader 1.0\n", accept or "text/plain; version=0.0.4"),
            alerts=receiver,
        )
        self.port.start()

    def connect(self) -> http.client.HTTPConnection:
        where = urlsplit(self.port.url)
        return http.client.HTTPConnection(where.hostname or "", where.port, timeout=10)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str, Any]:
        connection = self.connect()
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), answer.headers
        finally:
            connection.close()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("port"))
    yield made
    made.port.stop()


@pytest.fixture
def served(port: Served) -> Served:
    """The port of a healthy operator."""
    port.health = port.readiness = None
    return port


def _post(served: Served, body: bytes, **headers: str) -> tuple[int, str, Any]:
    return served.ask("POST", "/alerts", body, **{"Authorization": "Bearer watchword", **headers})


@pytest.mark.parametrize(("path", "member"), [("/healthz", "health"), ("/readyz", "readiness")])
def test_a_probe_is_green_or_says_what_is_wrong(served: Served, path: str, member: str) -> None:
    assert served.ask("GET", path)[:2] == (200, "ok\n")
    setattr(served, member, "the lease loop is dead")
    assert served.ask("GET", path)[:2] == (503, "the lease loop is dead\n")
    other = {"/healthz": "/readyz", "/readyz": "/healthz"}[path]
    assert served.ask("GET", other)[0] == 200


def test_metrics_are_served_in_the_text_format(served: Served) -> None:
    status, body, headers = served.ask("GET", "/metrics?x=1")
    assert (status, body) == (200, "passmuster_leader 1.0\n")
    assert headers["Content-Type"] == "text/plain; version=0.0.4"


def test_what_a_scrape_accepts_decides_what_it_is_given(served: Served) -> None:
    assert served.ask("GET", "/metrics", Accept="application/openmetrics-text")[2]["Content-Type"] == (
        "application/openmetrics-text"
    )


@pytest.mark.parametrize("path", ["/", "/alerts", "/metrics/..", "/%00", "/x" * 500])
def test_any_other_page_is_not_found_and_says_what_there_is(served: Served, path: str) -> None:
    status, body, _ = served.ask("GET", path)
    assert status == 404
    assert "/healthz" in body


def test_a_head_is_the_answer_without_its_body(served: Served) -> None:
    for path in ("/healthz", "/metrics", "/nowhere"):
        status, _, headers = served.ask("GET", path)
        told, body, its = served.ask("HEAD", path)
        assert (told, body, its["Content-Length"]) == (status, "", headers["Content-Length"])


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused(served: Served, method: str) -> None:
    assert served.ask(method, "/alerts", EMPTY)[0] == 501


def test_a_notification_is_taken(served: Served) -> None:
    assert _post(served, EMPTY)[:2] == (202, "0 policies are inspected\n")


def test_header_names_count_however_they_are_written(served: Served) -> None:
    where = urlsplit(served.port.url)
    with socket.create_connection((where.hostname, where.port or 0), timeout=10) as plain:
        plain.sendall(
            b"POST /alerts HTTP/1.1\r\nhost: x\r\nauthorization: Bearer watchword\r\ncontent-length: 27\r\n\r\n" + EMPTY
        )
        assert plain.recv(1000).startswith(b"HTTP/1.0 202")


def test_without_a_token_the_refusal_reaches_a_sender_of_a_large_body(served: Served) -> None:
    assert _post(served, b"x" * (MOST_BYTES // 2), Authorization="Bearer guess")[0] == 401


def test_a_body_beyond_the_limit_is_refused_and_the_refusal_is_seen(served: Served) -> None:
    assert _post(served, b" " * (MOST_BYTES + 1))[0] == 413


def test_a_body_without_a_length_is_refused(served: Served) -> None:
    connection = served.connect()
    connection.putrequest("POST", "/alerts")
    connection.putheader("Authorization", "Bearer watchword")
    connection.endheaders()
    assert connection.getresponse().status == 400
    connection.close()


def test_what_is_no_notification_is_refused(served: Served) -> None:
    assert _post(served, b"{}")[0] == 400


def test_without_a_token_file_there_is_no_receiver(tmp_path: Path) -> None:
    served = Served(tmp_path, alerts=False)
    try:
        status, body, _ = _post(served, EMPTY)
        assert status == 404
        assert "--alerts-token-file" in body
    finally:
        served.port.stop()


def test_a_sender_that_never_finishes_does_not_hold_up_the_probes(served: Served) -> None:
    connection = served.connect()
    connection.putrequest("POST", "/alerts")
    connection.putheader("Authorization", "Bearer watchword")
    connection.putheader("Content-Length", "100")
    connection.endheaders()
    assert served.ask("GET", "/healthz")[0] == 200
    connection.close()


def test_a_hundred_senders_at_once_are_all_answered(served: Served) -> None:
    waiting = [served.connect() for _ in range(100)]
    for connection in waiting:
        connection.connect()
        connection.request("POST", "/alerts", EMPTY, {"Authorization": "Bearer watchword"})
    assert {connection.getresponse().status for connection in waiting} <= {202, 503}
    for connection in waiting:
        connection.close()


def test_who_does_not_wait_for_the_answer_leaves_no_traceback(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    where = urlsplit(served.port.url)
    for _ in range(20):
        with socket.create_connection((where.hostname, where.port or 0), timeout=10) as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing it resets it
            plain.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    assert served.ask("GET", "/healthz")[0] == 200
    assert "Traceback" not in capsys.readouterr().err


def test_nothing_about_the_runtime_is_told(served: Served) -> None:
    headers = served.ask("GET", "/healthz")[2]
    assert headers["Server"].startswith("passmuster/")
    assert "Python" not in str(headers)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:http", "127.0.0.1:", ""])
def test_an_address_that_is_none_is_refused_with_an_example(address: str) -> None:
    with pytest.raises(UserError, match="HOST:PORT"):
        Port(address, health=lambda: None, readiness=lambda: None, metrics=lambda _: (b"", ""), alerts=None)


def test_a_port_that_is_taken_is_refused_in_words() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match="choose another port"):
            Port(address, health=lambda: None, readiness=lambda: None, metrics=lambda _: (b"", ""), alerts=None)


def test_after_the_end_nothing_listens_and_no_thread_is_left(tmp_path: Path) -> None:
    before = {*threading.enumerate()}
    served = Served(tmp_path)
    served.ask("GET", "/healthz")
    (listening,) = {one for one in threading.enumerate() if one.name == "http"} - before
    served.port.stop()
    with pytest.raises(OSError, match="refused"):
        served.ask("GET", "/healthz")
    assert not listening.is_alive()

"""Slow, silent and stuck clients: they are closed in time, and nobody else waits for them.

All against one worker with one thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from conftest import Serve
from harness.client import Connection, message
from harness.gate import Gate
from harness.server import Server
from harness.wait import until

PROBE = "apps.probe:application"
HALF_HEAD = b"GET / HTTP/1.1\r\nHost: test.example\r\nX-Ha"
HALF_BODY = message("/body?name=half", "POST", body=b"x" * 100)[:-50]
LARGE = message("/bytes?size=2000000")
SHORT = ("--head-timeout", "1", "--body-timeout", "1", "--write-timeout", "1")


@pytest.fixture
def hasty(shared: Serve) -> Server:
    return shared(PROBE, *SHORT, "--keep-alive", "1", "--body-min-rate", "0")


@pytest.fixture
def patient(shared: Serve) -> Server:
    return shared(PROBE, "--keep-alive", "60")


@contextlib.contextmanager
def crowd(server: Server, count: int, data: bytes) -> Iterator[list[Connection]]:
    """So many connections, each of which has sent this and does not read."""
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(server.connect(receive_buffer=4096)) for _ in range(count)
        ]
        for connection in connections:
            connection.send(data)
        yield connections


# timeouts


def test_a_head_that_does_not_end_is_answered_408(hasty: Server) -> None:
    with hasty.connect() as connection:
        assert connection.send(HALF_HEAD).receive().status == 408
        assert connection.is_closed()


def test_a_head_that_trickles_is_answered_408(hasty: Server) -> None:
    with hasty.connect() as connection:
        connection.send(b"GET / HTTP/1.1\r\nX: ")
        until(lambda: connection.send(b"x").readable(0.05), "an answer comes")
        assert connection.receive().status == 408


def test_a_second_head_that_does_not_end_is_answered_408(hasty: Server) -> None:
    with hasty.connect() as connection:
        assert connection.request("/").status == 200
        assert connection.send(HALF_HEAD).receive().status == 408
        assert connection.is_closed()


def test_a_silent_connection_is_closed(hasty: Server) -> None:
    with hasty.connect() as connection:
        assert connection.is_closed()


def test_a_body_that_pauses_is_answered_408_and_never_seen(hasty: Server) -> None:
    with hasty.connect() as connection:
        assert connection.send(HALF_BODY).receive().status == 408
        assert connection.is_closed()
    assert hasty.request("/events?name=half").json() == []


def test_a_chunked_body_that_pauses_is_answered_408(hasty: Server) -> None:
    head = message("/body?name=half", "POST", headers=[("Transfer-Encoding", "chunked")])
    with hasty.connect() as connection:
        assert connection.send(head + b"5\r\nhel").receive().status == 408
        assert connection.is_closed()


def test_a_body_that_trickles_is_answered_408(serve: Serve) -> None:
    server = serve(PROBE, "--body-timeout", "1", "--body-min-rate", "1000")
    with server.connect() as connection:
        connection.send(message("/body", "POST", headers=[("Content-Length", "100000")]))
        until(lambda: connection.send(b"x").readable(0.05), "an answer comes")
        assert connection.receive().status == 408


def test_a_body_that_keeps_coming_is_taken(hasty: Server) -> None:
    with hasty.connect() as connection:
        connection.send(message("/body", "POST", headers=[("Content-Length", "8")]))
        for _ in range(7):
            assert not connection.send(b"x").readable(0.3)
        assert connection.send(b"x").receive().json()["size"] == 8


def test_a_client_that_stops_reading_is_closed(hasty: Server) -> None:
    with hasty.connect(receive_buffer=4096) as connection:
        connection.send(message("/endless?name=stops"))
        until(lambda: hasty.request("/events?name=stops").json(), "the stream is closed")
    assert hasty.request("/events?name=stops").json() == ["close stops"]


def test_a_finished_response_that_nobody_reads_is_given_up(hasty: Server) -> None:
    since = hasty.mark()
    with crowd(hasty, 1, message("/bytes?size=9000000")) as [connection]:
        assert hasty.request("/").status == 200
        hasty.wait_for_log("does not read its response", since=since)
        assert len(connection.rest()) < 9_000_000


def test_a_slow_reader_that_goes_on_gets_everything(hasty: Server) -> None:
    with crowd(hasty, 1, LARGE) as [connection]:
        size = 0
        for _ in range(10):
            assert not connection.readable(0.2) or (size := size + len(connection.read_some(1000)))
        assert size + len(connection.rest()) > 2_000_000


# nobody else waits


@pytest.mark.parametrize("data", [b"", HALF_HEAD, HALF_BODY], ids=["silent", "head", "body"])
def test_a_crowd_of_slow_senders_delays_nobody(patient: Server, data: bytes) -> None:
    with crowd(patient, 2000, data):
        for _ in range(50):
            assert patient.request("/").status == 200


def test_a_crowd_of_slow_readers_delays_nobody(patient: Server) -> None:
    with crowd(patient, 60, LARGE) as slow:
        for _ in range(50):
            assert patient.request("/").status == 200
        assert all(len(connection.receive().body) == 2_000_000 for connection in slow)


def test_a_crowd_of_idle_connections_delays_nobody(patient: Server) -> None:
    with crowd(patient, 2000, message("/")) as idle:
        for connection in idle:
            assert connection.receive().status == 200
        for _ in range(50):
            assert patient.request("/").status == 200


def test_slow_senders_end_well_once_they_send_the_rest(patient: Server) -> None:
    rest = message("/body?name=half", "POST", body=b"x" * 100)[-50:]
    with crowd(patient, 100, HALF_BODY) as slow:
        for connection in reversed(slow):
            connection.send(rest)
        assert all(connection.receive().json()["size"] == 100 for connection in slow)


# while the only thread is inside the application


def test_timeouts_pass_while_the_application_is_busy(serve: Serve) -> None:
    server = serve(PROBE, *SHORT)
    gate = Gate(server.folder)
    with server.connect() as busy, server.connect() as half, server.connect() as silent:
        busy.send(message(gate.target))
        gate.wait_entered()
        assert half.send(HALF_HEAD).receive().status == 408
        assert silent.is_closed()
        gate.open()
        assert busy.receive().status == 200


def test_bad_requests_are_refused_while_the_application_is_busy(serve: Serve) -> None:
    server = serve()
    gate = Gate(server.folder)
    with server.connect() as busy:
        busy.send(message(gate.target))
        gate.wait_entered()
        assert server.send(b"GET / HTTP/1.1\r\n\r\n").status == 400
        gate.open()
        assert busy.receive().status == 200


def test_a_large_body_is_received_while_the_application_is_busy(serve: Serve) -> None:
    server = serve()
    gate = Gate(server.folder)
    with server.connect() as busy, server.connect() as upload:
        busy.send(message(gate.target))
        gate.wait_entered()
        upload.send(message("/body", "POST", body=b"u" * 8_000_000))
        gate.open()
        assert busy.receive().status == 200
        assert upload.receive().json()["size"] == 8_000_000


def test_a_response_is_written_while_the_application_is_busy(serve: Serve) -> None:
    server = serve()
    gate = Gate(server.folder)
    with crowd(server, 1, LARGE) as [reader], server.connect() as busy:
        assert reader.readable(10)
        busy.send(message(gate.target))
        gate.wait_entered()
        assert len(reader.receive().body) == 2_000_000
        gate.open()
        assert busy.receive().status == 200

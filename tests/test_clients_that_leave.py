"""Clients that go away while they are served: close() runs, and the server goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.client import message
from harness.gate import Gate
from harness.server import Server
from harness.wait import until


def closed(server: Server, name: str) -> None:
    """Waits for close(), and checks that it was called once."""
    until(lambda: server.request(f"/events?name={name}").json(), f"close() of {name}")
    assert server.request(f"/events?name={name}").json() == [f"close {name}"]


@pytest.mark.parametrize("way", ["close", "abort"])
def test_a_stream_is_closed_when_the_client_leaves(probe: Server, way: str) -> None:
    with probe.connect() as connection:
        connection.send(message(f"/endless?name=stream-{way}"))
        assert connection.read_some(1000)
        getattr(connection, way)()
    closed(probe, f"stream-{way}")


def test_a_stream_to_a_reader_that_stopped_is_closed_when_it_leaves(probe: Server) -> None:
    with probe.connect(receive_buffer=4096) as connection:
        connection.send(message("/endless?name=stopped"))
        assert connection.read_some(100)
        connection.abort()
    closed(probe, "stopped")


def test_a_client_that_leaves_before_the_first_block(probe: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path, "before")
    with probe.connect() as connection:
        connection.send(message(gate.stream_target))
        gate.wait_entered()
        connection.abort()
    gate.open()
    closed(probe, str(tmp_path / "before"))


def test_an_error_in_the_stream_closes_it_once(probe: Server) -> None:
    response = probe.request("/breaks?name=broken")
    assert not response.complete
    closed(probe, "broken")


def test_a_client_that_never_sent_anything_does_no_harm(probe: Server) -> None:
    for way in ("close", "abort"):
        getattr(probe.connect(), way)()
    assert probe.request("/").status == 200


def test_a_client_that_leaves_inside_the_head_does_no_harm(probe: Server) -> None:
    for way in ("close", "abort"):
        getattr(probe.connect().send(b"GET / HTTP/1.1\r\nHo"), way)()
    assert probe.request("/").status == 200


def test_a_client_that_leaves_its_pipelined_requests_behind(probe: Server) -> None:
    with probe.connect() as connection:
        connection.send(message("/bytes?size=100000") * 50)
        connection.abort()
    assert probe.request("/").status == 200

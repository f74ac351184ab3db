"""Connections that carry several requests, one after the other or all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Serve
from harness.client import bytewise, message
from harness.gate import Gate
from harness.server import Server


def test_a_connection_carries_many_requests(probe: Server) -> None:
    with probe.connect() as connection:
        for number in range(200):
            assert len(connection.request(f"/bytes?size={number}").body) == number


def test_pipelined_answers_come_in_order(probe: Server) -> None:
    with probe.connect() as connection:
        connection.send(b"".join(message(f"/bytes?size={n}") for n in range(100)))
        assert [len(connection.receive().body) for n in range(100)] == list(range(100))


def test_pipelined_answers_come_in_order_with_threads(serve: Serve) -> None:
    server = serve("apps.probe:application", "--threads", "4")
    slow_and_fast = [f"/pause?seconds={0.2 if n % 5 == 0 else 0}" for n in range(10)]
    with server.connect() as connection:
        for number, target in enumerate(slow_and_fast):
            connection.send(message(target) + message(f"/bytes?size={number}"))
        for number in range(10):
            assert connection.receive().body == b"paused\n"
            assert len(connection.receive().body) == number


def test_pipelined_requests_may_come_byte_by_byte(probe: Server) -> None:
    with probe.connect() as connection:
        connection.send_pieces(bytewise(message("/bytes?size=1") + message("/bytes?size=2")))
        assert [len(connection.receive().body) for _ in range(2)] == [1, 2]


def test_a_request_behind_a_running_one_waits_for_it(probe: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    with probe.connect() as connection:
        connection.send(message(gate.target) + message("/bytes?size=3"))
        gate.wait_entered()
        assert not connection.readable(0.2)
        gate.open()
        assert "pid" in connection.receive().json()
        assert connection.receive().body == b"xxx"


def test_a_bad_request_behind_good_ones_is_refused_after_their_answers(probe: Server) -> None:
    with probe.connect() as connection:
        connection.send(message("/") + message("/bytes?size=2") + b"\0\0\0\r\n\r\n" + message("/"))
        assert [connection.receive().status for _ in range(3)] == [200, 200, 400]
        assert connection.is_closed()


def test_nothing_behind_connection_close_is_served(probe: Server) -> None:
    with probe.connect() as connection:
        last = message("/body?name=last", "POST", body=b"1", headers=[("Connection", "close")])
        connection.send(last + message("/body?name=behind", "POST", body=b"2"))
        assert connection.receive().header("Connection") == "close"
        assert connection.is_closed()
    assert probe.request("/events?name=behind").json() == []


def test_an_idle_connection_is_closed_after_the_keep_alive_time(serve: Serve) -> None:
    server = serve("apps.probe:application", "--keep-alive", "1")
    with server.connect() as connection:
        assert connection.request("/").status == 200
        assert connection.is_closed()


def test_a_connection_in_use_is_not_closed_after_the_keep_alive_time(serve: Serve) -> None:
    server = serve("apps.probe:application", "--keep-alive", "1")
    with server.connect() as connection:
        assert connection.request("/pause?seconds=1.5").status == 200
        assert connection.request("/").status == 200


def test_keep_alive_zero_closes_after_each_answer(serve: Serve) -> None:
    server = serve("apps.probe:application", "--keep-alive", "0")
    with server.connect() as connection:
        assert connection.request("/").header("Connection") == "close"
        assert connection.is_closed()


@pytest.mark.parametrize("size", [0, 1, 65536, 1_000_000])
def test_an_answer_before_the_body_was_read_is_not_lost(probe: Server, size: int) -> None:
    with probe.connect() as connection:
        connection.send(message("/unread", "POST", body=b"b" * size))
        assert connection.receive().body == b"unread\n"
        assert connection.request("/").status == 200


def test_a_refusal_reaches_a_client_that_goes_on_sending(probe: Server) -> None:
    with probe.connect() as connection:
        connection.send(b"BAD\0 / HTTP/1.1\r\n\r\n")
        connection.send_pieces([b"x" * 1000] * 100)
        assert connection.receive().status == 400

"""Many WebSockets and messages leave nothing behind in the worker, as in test_leaks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conftest import Serve
from harness.server import Server
from harness.websocket import CLOSE, TEXT, WebSocket, close_payload, frame, handshake
from test_leaks import COUNT, ROUND, check_flat, held


@pytest.fixture(params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest, shared: Serve) -> Server:
    options = ("--asgi-loop", request.param, "--access-logfile", "/dev/null")
    return shared("apps.websocket_probe:application", *options)


def echo(server: Server, count: int, message: str | bytes) -> None:
    # So many that the client need not read before it has sent all.
    together = min(ROUND, 1 + 200_000 // len(message))
    with WebSocket(server.connect(), "/echo") as websocket:
        for _ in range(count // together):
            for _ in range(together):
                websocket.send(message)
            for _ in range(together):
                assert websocket.receive() == message


MESSAGES = {"short": "short", "text": "ä" * 3000, "large": b"b" * 70_000}


@pytest.mark.parametrize("kind", MESSAGES)
def test_ten_thousand_messages(server: Server, kind: str) -> None:
    echo(server, COUNT // 10, MESSAGES[kind])
    before = held(server)
    echo(server, COUNT, MESSAGES[kind])
    check_flat(server, before)


def converses(server: Server) -> None:
    with WebSocket(server.connect(), "/echo") as websocket:
        assert websocket.send("hello").receive() == "hello"
        websocket.close()


def is_closed(server: Server) -> None:
    with WebSocket(server.connect(), "/return?when=after") as websocket:
        assert websocket.receive() == "bye"
        websocket.end()


def is_failed(server: Server) -> None:
    with WebSocket(server.connect(), "/raise?when=after") as websocket:
        websocket.end()


def is_rejected(server: Server) -> None:
    assert server.send(handshake("/reject")).status == 403


def is_denied(server: Server) -> None:
    assert server.send(handshake("/deny?pieces=2")).status == 401


def vanishes(server: Server) -> None:
    with WebSocket(server.connect(), "/listen") as websocket:
        websocket.send("hello")


def resets_inside_a_frame(server: Server) -> None:
    websocket = WebSocket(server.connect(), "/listen")
    websocket.connection.send(frame(TEXT, b"whole") + frame(TEXT, b"half")[:7])
    websocket.connection.abort()


def vanishes_before_it_is_accepted(server: Server) -> None:
    with server.connect() as connection:
        connection.send(handshake("/slow"))


def breaks_the_rules(server: Server) -> None:
    with WebSocket(server.connect(), "/echo") as websocket:
        websocket.connection.send(frame(TEXT, b"\xff"))
        assert websocket.end()[0] == 1007


def reads_nothing(server: Server) -> None:
    with WebSocket(server.connect(), "/flood?size=30000"):
        pass


def leaves_with_messages_behind(server: Server) -> None:
    with WebSocket(server.connect(), "/late?gate=leaks") as websocket:
        assert websocket.receive() == "ready"
        goodbye = frame(CLOSE, close_payload(1000))
        websocket.connection.send(frame(TEXT, b"one") * 3 + goodbye)
        server.request("/open?gate=leaks")


KINDS = [
    converses,
    is_closed,
    is_failed,
    is_rejected,
    is_denied,
    vanishes,
    resets_inside_a_frame,
    vanishes_before_it_is_accepted,
    breaks_the_rules,
    reads_nothing,
    leaves_with_messages_behind,
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_websockets(server: Server, kind: Callable[[Server], None]) -> None:
    for _ in range(300):
        kind(server)
    before = held(server)
    for _ in range(1_000):
        kind(server)
    check_flat(server, before)

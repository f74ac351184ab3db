"""Ten thousand ASGI requests of each kind leave nothing behind in the worker, as in test_leaks."""

from __future__ import annotations

import pytest

from conftest import Serve
from harness.client import chunked, message
from harness.server import Server
from test_leaks import COUNT, WARM, break_many, check_flat, fail_many, held, send_many

BODY = message("/echo", "POST", body=b"b" * 2000)
LATE = message("/echo", "POST", headers=[("Content-Length", "50000")])
KINDS = {
    "hello": message("/"),
    "suspended": message("/sleep?seconds=0"),
    "stream": message("/stream?count=3&size=50"),
    "body": BODY,
    "chunked-body": message("/echo", "POST", headers=[("Transfer-Encoding", "chunked")])
    + chunked([b"one", b"two"]),
    "unread-body": message("/unread", "POST", body=b"b" * 500),
    "large": message("/stream?count=1&size=100000"),
    "after-complete": message("/after-complete"),
    "wrong": message("/wrong?how=start-twice"),
    "background": message("/background?seconds=0"),
}
BROKEN = {
    "half-body": LATE + b"x",
    "waiting": message("/wait-for-disconnect"),
    "closed-inside-the-answer": message("/stream?count=50&size=20000"),
}


@pytest.fixture(params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest, shared: Serve) -> Server:
    options = ("--asgi-loop", request.param, "--access-logfile", "/dev/null")
    return shared("apps.asgi_probe:application", *options)


@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand(server: Server, kind: str) -> None:
    send_many(server, KINDS[kind], WARM)
    before = held(server)
    send_many(server, KINDS[kind], COUNT)
    check_flat(server, before)


@pytest.mark.parametrize("target", ["/raise", "/raise?when=streamed", "/return"])
def test_two_thousand_errors(server: Server, target: str) -> None:
    fail_many(server, target, 300)
    before = held(server)
    fail_many(server, target, 2_000)
    check_flat(server, before)


@pytest.mark.parametrize("kind", BROKEN)
def test_two_thousand_clients_that_leave(server: Server, kind: str) -> None:
    break_many(server, BROKEN[kind], 300)
    before = held(server)
    break_many(server, BROKEN[kind], 2_000)
    check_flat(server, before)

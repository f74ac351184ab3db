"""What becomes of a request whose client leaves (`asgi_disconnect_grace_period`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Serve
from harness.client import message
from harness.server import Server
from harness.wait import until

SITE = """
import asyncio, contextlib

@contextlib.contextmanager
def told(what):
    print(what, "begun", flush=True)
    try:
        yield
    except asyncio.CancelledError:
        print(what, "was cancelled", flush=True)
        raise
    print(what, "has ended", flush=True)

async def start(send):
    await send({"type": "http.response.start", "status": 200, "headers": []})

async def app(scope, receive, send):
    assert scope["type"] == "http"
    path = scope["path"]
    with told(path):
        if path == "/sleeps":
            await asyncio.sleep(3600)
        if path == "/cleans":
            while (await receive())["type"] != "http.disconnect":
                pass
            await asyncio.sleep(0.3)
        if path == "/reads":
            while (await receive()).get("more_body"):
                pass
            await asyncio.sleep(3600)
        if path == "/streams":
            await start(send)
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await asyncio.sleep(3600)
        await start(send)
        body = b"fine" if path != "/tasks" else str(len(asyncio.all_tasks())).encode()
        await send({"type": "http.response.body", "body": body})
        if path == "/goes-on":
            await asyncio.sleep(0.3)
"""


@pytest.fixture
def start(serve: Serve, tmp_path: Path) -> Callable[..., Server]:
    (tmp_path / "leaving_site.py").write_text(SITE)

    def start(*options: str) -> Server:
        return serve("leaving_site:app", *options, cwd=tmp_path)

    return start


def leave(server: Server, target: str, request: bytes = b"") -> None:
    """Asks, and closes the connection when the application has begun."""
    with server.connect() as connection:
        connection.send(request or message(target))
        server.wait_for_log(f"{target} begun")


GRACE = ("--asgi-disconnect-grace-period", "0.2")
AT_ONCE = ("--asgi-disconnect-grace-period", "0")


@pytest.mark.parametrize("options", [GRACE, AT_ONCE])
@pytest.mark.parametrize("target", ["/sleeps", "/streams"])
def test_a_task_is_cancelled_when_its_client_has_been_gone_for_so_long(
    start: Callable[..., Server], options: tuple[str, ...], target: str
) -> None:
    server = start(*options)
    leave(server, target)
    server.wait_for_log(f"{target} was cancelled")
    assert server.request("/").text == "fine"


@pytest.mark.parametrize("options", [GRACE, AT_ONCE])
def test_also_one_that_has_read_its_body_bit_by_bit(
    start: Callable[..., Server], options: tuple[str, ...]
) -> None:
    server = start(*options)
    head = b"POST /reads HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with server.connect() as connection:
        connection.send(head + b"3\r\nabc\r\n")
        server.wait_for_log("/reads begun")
        connection.send(b"3\r\nabc\r\n0\r\n\r\n")
    server.wait_for_log("/reads was cancelled")


def test_one_that_ends_within_its_time_is_not(start: Callable[..., Server]) -> None:
    server = start("--asgi-disconnect-grace-period", "30")
    leave(server, "/cleans")
    server.wait_for_log("/cleans has ended")
    assert "was cancelled" not in server.log


def test_one_that_needs_longer_is(start: Callable[..., Server]) -> None:
    server = start("--asgi-disconnect-grace-period", "0.05")
    leave(server, "/cleans")
    server.wait_for_log("/cleans was cancelled")


def test_by_default_nothing_is_cancelled(start: Callable[..., Server]) -> None:
    server = start()
    leave(server, "/cleans")
    server.wait_for_log("/cleans has ended")
    assert "was cancelled" not in server.log


def test_what_goes_on_when_the_response_is_complete_is_never_cancelled(
    start: Callable[..., Server],
) -> None:
    server = start(*AT_ONCE)
    with server.connect() as connection:
        assert connection.request("/goes-on").text == "fine"
    server.wait_for_log("/goes-on has ended")
    assert "was cancelled" not in server.log


def test_a_client_that_stays_is_served(start: Callable[..., Server]) -> None:
    server = start(*AT_ONCE)
    with server.connect() as connection:
        for _ in range(3):
            assert connection.request("/").text == "fine"
    assert "was cancelled" not in server.log


def test_nothing_is_left_of_clients_that_left(start: Callable[..., Server]) -> None:
    server = start(*GRACE)
    before = server.request("/tasks").text
    connections = [server.connect() for _ in range(20)]
    for connection in connections:
        connection.send(message("/sleeps"))
    server.wait_for_log("/sleeps begun", count=20)
    for connection in connections:
        connection.close()
    server.wait_for_log("/sleeps was cancelled", count=20)
    until(lambda: server.request("/tasks").text == before, "as many tasks as before")


def test_a_client_that_leaves_is_no_error(start: Callable[..., Server]) -> None:
    server = start(*GRACE)
    leave(server, "/sleeps")
    server.wait_for_log("/sleeps was cancelled")
    assert server.request("/").text == "fine"
    assert "[ERROR]" not in server.log

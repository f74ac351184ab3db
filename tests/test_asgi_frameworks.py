"""Starlette and FastAPI on the real server, over real sockets."""

from __future__ import annotations

import json
from pathlib import Path
from signal import SIGTERM

import pytest

from conftest import Serve
from harness import processes
from harness.client import message
from harness.server import Server
from harness.wait import until
from harness.websocket import WebSocket, handshake

LOOPS = ["asyncio", "uvloop"]


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=["starlette", "stamped"])
def starlette(request: pytest.FixtureRequest, shared: Serve, loop: str) -> Server:
    return shared(f"apps.asgi_frameworks:{request.param}", "--asgi-loop", loop)


@pytest.fixture
def fastapi(shared: Serve, loop: str) -> Server:
    return shared("apps.asgi_frameworks:fastapi", "--asgi-loop", loop)


def wait_for_event(server: Server, text: str, count: int = 1) -> None:
    def found() -> bool:
        events: list[str] = server.request("/events").json()
        return events.count(text) >= count

    until(found, f"{count} × {text!r}")


def test_starlette_has_its_state_and_its_bodies(starlette: Server) -> None:
    with starlette.connect() as connection:
        assert connection.request("/").text == "hello"
        response = connection.request("/echo", "POST", body=b"x" * 100_000)
        assert response.body == b"x" * 100_000
        assert connection.request("/sync").text == "from a thread"
        assert connection.request("/none").status == 404


def test_a_starlette_upload_of_100_mb_takes_no_memory(starlette: Server) -> None:
    before = processes.peak(starlette.worker)
    head = message("/upload", "POST", headers=[("Content-Length", str(100 << 20))])
    with starlette.connect() as connection:
        connection.send(head)
        for _ in range(100):
            connection.send(bytes(1 << 20))
        assert connection.receive().json() == 100 << 20
    assert processes.peak(starlette.worker) - before < 8 * 1024


def test_a_starlette_upload_that_ends_early_is_a_client_disconnect(starlette: Server) -> None:
    with starlette.connect() as connection:
        connection.send(message("/upload", "POST", headers=[("Content-Length", "100")]) + b"x")
        starlette.request("/")
    wait_for_event(starlette, "client disconnect")


def test_an_event_stream_ends_with_its_client(starlette: Server) -> None:
    closed = starlette.request("/events").json().count("stream closed")
    with starlette.connect() as connection:
        connection.send(message("/stream"))
        got = b""
        while b"data: 5\n" not in got:
            got += connection.read_some(65536)
    wait_for_event(starlette, "stream closed", closed + 1)


def test_a_file_is_sent(starlette: Server) -> None:
    text = (Path(__file__).parent / "apps" / "asgi_frameworks.py").read_bytes()
    response = starlette.request("/file")
    assert (response.body, response.header("Content-Length")) == (text, str(len(text)))


def test_background_work_follows_the_response(starlette: Server) -> None:
    done = starlette.request("/events").json().count("background")
    assert starlette.request("/background").text == "ok"
    wait_for_event(starlette, "background", done + 1)


def test_an_error_is_starlettes_own_page_and_is_logged(starlette: Server) -> None:
    mark = starlette.mark()
    response = starlette.request("/fail")
    assert (response.status, response.text) == (500, "Internal Server Error")
    starlette.wait_for_log("LookupError: out of stock", since=mark)


def test_people_chat_in_rooms(starlette: Server) -> None:
    offer = [("Sec-WebSocket-Protocol", "superchat, chat")]
    people = [WebSocket(starlette.connect(), "/chat/blue", headers=offer) for _ in range(3)]
    other = WebSocket(starlette.connect(), "/chat/red")
    assert people[0].response.header("Sec-WebSocket-Protocol") == "chat"
    assert other.json() == {"greeting": "hello", "people": 1}
    assert [one.json()["people"] for one in people] == [1, 2, 3]
    for number, one in enumerate(people):
        one.send(f"I am {number}")
        assert [each.receive() for each in people] == [f"I am {number}"] * 3
    left = starlette.request("/events").json().count("left blue")
    people.pop().close()
    wait_for_event(starlette, "left blue", left + 1)
    people[0].send("who is here?")
    assert [each.receive() for each in people] == ["who is here?"] * 2
    assert not other.connection.readable(0)
    for one in [*people, other]:
        one.close()


def test_an_end_that_nobody_handles_is_logged_and_harms_nobody(starlette: Server) -> None:
    mark = starlette.mark()
    WebSocket(starlette.connect(), "/pull").close(1001)
    starlette.wait_for_log("WebSocketDisconnect", since=mark)
    assert starlette.request("/").text == "hello"


def test_a_framework_denies_a_websocket(starlette: Server) -> None:
    response = starlette.send(handshake("/guard"))
    assert (response.status, response.text) == (401, "members only")
    # No route is a rejection.
    assert starlette.send(handshake("/nowhere")).status == 403


def test_a_framework_is_shut_down(serve: Serve, loop: str) -> None:
    server = serve("apps.asgi_frameworks:starlette", "--asgi-loop", loop)
    server.request("/")
    server.signal(SIGTERM)
    server.expect_exit(0)
    assert "framework shut down" in server.log


def test_fastapi_checks_bodies_and_works_on(fastapi: Server) -> None:
    fields = [("Content-Type", "application/json")]
    with fastapi.connect() as connection:
        body = json.dumps({"name": "hat", "price": 9.5}).encode()
        response = connection.request("/items/7", "POST", headers=fields, body=body)
        assert response.json() == {"number": 7, "item": {"name": "hat", "price": 9.5}}
        assert connection.request("/items/x", "POST", headers=fields, body=body).status == 422
    wait_for_event(fastapi, "created hat")


def test_fastapi_takes_files(fastapi: Server) -> None:
    boundary = "----boundary"
    head = 'Content-Disposition: form-data; name="file"; filename="a.bin"'
    data = bytes(3 << 20)
    body = f"--{boundary}\r\n{head}\r\n\r\n".encode() + data + f"\r\n--{boundary}--\r\n".encode()
    fields = [("Content-Type", f"multipart/form-data; boundary={boundary}")]
    response = fastapi.request("/files", "POST", headers=fields, body=body)
    assert response.json() == {"name": "a.bin", "size": len(data)}


def test_fastapi_has_dependencies_errors_and_documentation(fastapi: Server) -> None:
    with fastapi.connect() as connection:
        assert connection.request("/depends").json() == "needed"
        response = connection.request("/refuse")
        assert (response.status, response.json()) == (418, {"detail": "short and stout"})
        assert "paths" in connection.request("/openapi.json").json()
    wait_for_event(fastapi, "torn down")


def test_fastapi_talks(fastapi: Server) -> None:
    websocket = WebSocket(fastapi.connect(), "/live/7")
    for word in ("one", "two"):
        websocket.send(json.dumps({"word": word}))
        assert websocket.json() == {"number": 7, "value": "needed", "word": word}
    websocket.close(4001)
    wait_for_event(fastapi, "left with 4001")
    # Refused by an exception, and by a parameter that is no number.
    assert fastapi.send(handshake("/live/10")).status == 403
    assert fastapi.send(handshake("/live/x")).status == 403

"""`-k tornado`: an application of tornado finds its loop, its requests and its WebSockets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM
from typing import Any

import pytest

from conftest import Serve
from harness import programs
from harness.client import Response, chunked, message
from harness.load import Load
from harness.server import Server
from harness.site import Site, deploy
from harness.wait import until
from harness.websocket import WebSocket, handshake

APP = "apps.tornado_probe:app"
TORNADO = ("-k", "tornado")
SITE = """
{before}
from tornado.web import Application, RequestHandler

class Version(RequestHandler):
    def get(self):
        self.finish("{version}")

app = Application([("/", Version)])
"""


@pytest.fixture
def server(shared: Serve) -> Server:
    """One worker for many tests."""
    return shared(APP, *TORNADO)


@pytest.fixture(scope="module")
def gunicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Gunicorn's own worker, beside ours."""
    yield from programs.gunicorn(tmp_path_factory.mktemp("gunicorn"), APP, *TORNADO)


def events(server: Server) -> list[str]:
    found: list[str] = server.request("/events").json()["events"]
    return found


# The loop.


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["worker", "stem"])
def test_the_loop_is_the_one_that_the_application_has_used(
    serve: Serve, options: tuple[str, ...]
) -> None:
    server = serve(APP, *TORNADO, *options)
    server.wait_for_log(r"Using worker: tornado \(asyncio\)")
    if not options:
        assert server.request("/who").json()["current"] is True
        assert "called back" in events(server)


def test_requests_run_together(server: Server) -> None:
    connections = [server.connect() for _ in range(100)]
    for connection in connections:
        connection.send(message("/slow?seconds=0.1"))
    assert all(connection.receive().text == "slept\n" for connection in connections)
    for connection in connections:
        connection.close()


def test_a_wsgi_application_is_served_as_by_sync(serve: Serve) -> None:
    server = serve("apps.probe:application", *TORNADO)
    assert server.request("/").text == "Hello, world!\n"
    assert server.request("/environ").json()["wsgi.multithread"] is False


def test_a_container_for_a_wsgi_application_is_not_needed(serve: Serve, tmp_path: Path) -> None:
    text = (
        "from tornado.wsgi import WSGIContainer\n"
        "from apps.probe import application\n"
        "app = WSGIContainer(application)\n"
    )
    (tmp_path / "contained.py").write_text(text)
    server = serve("contained:app", *TORNADO, "--pythonpath", str(tmp_path))
    assert server.request("/").text == "Hello, world!\n"


# Requests and responses, as gunicorn's.

HEADERS = [("X-Twice", "a"), ("X-Twice", "b"), ("Cookie", "c=1")]
FORM = [("Content-Type", "application/x-www-form-urlencoded")]
PART = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    + b"f" * 200_000
    + b"\r\n--b--\r\n"
)
MULTIPART = [("Content-Type", "multipart/form-data; boundary=b")]
CHUNKS = [("Transfer-Encoding", "chunked")]
SAME = {
    "hello": message("/"),
    "facts": message("/facts/word?a=1&a=%20&b=%C3%A9", headers=HEADERS),
    "form": message("/facts", "POST", headers=FORM, body=b"a=1&b=two"),
    "files": message("/facts", "POST", headers=MULTIPART, body=PART),
    "put": message("/facts", "PUT", body=b"x" * 100_000),
    "chunked": message("/facts", "PATCH", headers=CHUNKS) + chunked([b"one", b"two" * 9999]),
    "old": message("/facts", version="HTTP/1.0"),
    "head": message("/", "HEAD"),
    "blocks": message("/blocks?count=5"),
    "not found": message("/none"),
    "no such method": message("/", "POST", body=b""),
    "error": message("/fails/error"),
    "exception": message("/fails/now"),
    "exception inside": message("/fails/inside"),
    "streamed": message("/upload", "POST", body=b"u" * 300_000),
}


@pytest.mark.parametrize("kind", SAME)
def test_a_response_is_gunicorns(server: Server, gunicorn: Server, kind: str) -> None:
    method = SAME[kind].split(b" ")[0].decode()
    ours, theirs = (seen(one, SAME[kind], method) for one in (server, gunicorn))
    assert ours == theirs


def seen(server: Server, request: bytes, method: str) -> tuple[Any, ...]:
    with server.connect() as connection:
        response = connection.send(request).receive(method)
    wanted = ("Content-Type", "Etag", "X-Prepared", "Set-Cookie")
    fields = [response.all(name) for name in wanted]
    body: Any = response.body
    if response.header("Content-Type") == "application/json; charset=UTF-8":
        body = response.json()
        body.pop("parts", None)
    return response.status, fields, body, response.complete


def test_an_unchanged_response_is_not_sent_again(server: Server) -> None:
    first = server.request("/")
    etag = first.header("Etag")
    assert etag is not None
    again = server.request("/", headers=[("If-None-Match", etag)])
    assert (again.status, again.body) == (304, b"")


def test_a_connection_goes_on(server: Server) -> None:
    with server.connect() as connection:
        for target in ("/", "/none", "/fails/now", "/blocks?count=2", "/"):
            assert connection.request(target).complete
        connection.send(message("/slow?seconds=0.05") + message("/"))
        assert connection.receive().text == "slept\n"
        assert connection.receive().text == "Hello, world!\n"


def test_a_body_arrives_while_it_is_sent(server: Server) -> None:
    body = b"u" * 1_000_000
    found = server.request("/upload", "POST", body=body).json()
    assert found["size"] == len(body)
    assert found["parts"] > 1


def test_a_body_beyond_the_handlers_limit_is_refused(serve: Serve) -> None:
    server = serve(APP, *TORNADO)
    response = server.request("/upload?most=1000", "POST", body=b"u" * 100_000)
    assert response.status == 413
    until(lambda: "upload ended" in events(server), "the handler is told")


def test_the_body_of_a_form_is_whole(server: Server) -> None:
    body = b"b" * 500_000
    found = server.request("/facts", "PUT", body=body).json()
    assert found["body"] == hashlib.sha256(body).hexdigest()


# Clients that leave, or do not read.


def test_a_handler_is_told_that_its_client_left(serve: Serve) -> None:
    server = serve(APP, *TORNADO)
    with server.connect() as connection:
        connection.send(message("/slow?seconds=60"))
        until(lambda: not connection.readable(0.05), "it waits")
        connection.abort()
    until(lambda: "client left" in events(server), "the handler is told")
    assert "Traceback" not in server.log


def test_a_handler_waits_for_its_client(serve: Serve) -> None:
    server = serve(APP, *TORNADO)
    with server.connect(receive_buffer=4096) as connection:
        connection.send(message("/blocks?count=300&size=100000"))
        connection.readable(5)
        assert "all written" not in events(server)
        assert len(connection.receive().body) == 30_000_000
    until(lambda: "all written" in events(server), "it is through")


def test_a_handler_that_writes_to_nobody_gets_tornados_error(serve: Serve) -> None:
    server = serve(APP, *TORNADO)
    with server.connect(receive_buffer=4096) as connection:
        connection.send(message("/blocks?count=300&size=100000"))
        connection.readable(5)
        connection.abort()
    until(lambda: "stream closed" in events(server), "the handler is told")
    assert "Traceback" not in server.log


# WebSockets.


def test_messages_are_echoed(server: Server) -> None:
    with WebSocket(server.connect(), "/echo") as socket:
        assert socket.send("höllo").receive() == "höllo"
        assert socket.send(b"\x00\xff").receive() == b"\x00\xff"
        assert socket.send("x" * 100_000).receive() == "x" * 100_000
        assert socket.response.header("Set-Cookie") == "seen=1; Path=/"


def test_both_sides_may_close(serve: Serve) -> None:
    server = serve(APP, *TORNADO)
    with WebSocket(server.connect(), "/echo") as socket:
        socket.send("close")
        assert socket.end() == (4001, "as you say")
    with WebSocket(server.connect(), "/echo") as socket:
        socket.close(4002, "bye")
    until(lambda: "close 4002 bye" in events(server), "on_close is called")
    assert "Traceback" not in server.log


def test_a_subprotocol_is_agreed_on(server: Server) -> None:
    offered = [("Sec-WebSocket-Protocol", "other, chat")]
    with WebSocket(server.connect(), "/echo", headers=offered) as socket:
        assert socket.response.header("Sec-WebSocket-Protocol") == "chat"


def test_a_handler_refuses_a_handshake(server: Server) -> None:
    with server.connect() as connection:
        evil = handshake("/echo", headers=[("Origin", "http://evil.example")])
        assert connection.send(evil).receive().status == 403
    with server.connect() as connection:
        assert connection.send(handshake("/none")).receive().status == 404


def test_a_message_that_fails_closes_the_websocket(serve: Serve) -> None:
    server = serve(APP, *TORNADO)
    with WebSocket(server.connect(), "/echo") as socket:
        socket.send("fail")
        assert socket.end()[0] == 1011
    server.wait_for_log("ValueError: a message that fails")


def test_a_websocket_without_its_headers_is_a_bad_request(server: Server, gunicorn: Server) -> None:
    assert server.request("/echo").status == gunicorn.request("/echo").status


# The worker.


def test_a_request_may_take_longer_than_the_timeout(serve: Serve) -> None:
    server = serve(APP, *TORNADO, "--timeout", "1")
    assert server.request("/slow?seconds=2.5").text == "slept\n"
    assert "TIMEOUT" not in server.log


def test_a_loop_that_is_blocked_is_a_worker_that_hangs(serve: Serve) -> None:
    server = serve(APP, *TORNADO, "--timeout", "1")
    worker = server.worker
    with server.connect() as connection:
        connection.send(message("/block"))
        server.wait_for_log(rf"WORKER TIMEOUT \(pid:{worker}\)")
    server.wait_for_log("tornado_probe.py")
    server.wait_for_successor(worker)


def test_term_waits_for_requests(serve: Serve) -> None:
    server = serve(APP, *TORNADO)
    with server.connect() as connection:
        connection.send(message("/slow?seconds=0.5"))
        until(lambda: not connection.readable(0.05), "it runs")
        server.signal(SIGTERM)
        response: Response = connection.receive()
        assert (response.text, response.header("Connection")) == ("slept\n", "close")
    server.expect_exit(0)
    assert "Traceback" not in server.log


def test_a_restart_brings_new_code_and_fails_no_request(serve: Serve, tmp_path: Path) -> None:
    site = Site(tmp_path, serve, *TORNADO, app=SITE)
    deploy(site, site.start())


def test_max_requests_replaces_the_worker_and_fails_no_request(serve: Serve) -> None:
    server = serve(APP, *TORNADO, "--max-requests", "50")
    with Load(server):
        server.wait_for_log("Autorestarting worker after current request", 2)


def test_a_thousand_requests_leave_nothing_behind(serve: Serve, tmp_path: Path) -> None:
    text = SITE.replace('"{version}"', "str(len(gc.get_objects()))").replace(
        "{before}", "import gc"
    )
    site = Site(tmp_path, serve, *TORNADO, app=text)
    site.write("")
    server = serve("site_app:app", *TORNADO, cwd=tmp_path)

    def held() -> int:
        with server.connect() as connection:
            for _ in range(500):
                last = connection.request().text
        return int(last)

    held()
    before = held()
    held()
    assert held() - before < 300


def test_without_tornado_the_start_fails_and_says_what_to_do(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'tornado' else find(name, *rest)\n"
    )
    server = serve(APP, *TORNADO, launch=True, env={"PYTHONPATH": str(tmp_path)})
    server.expect_exit(1)
    assert "Error: worker_class = 'tornado' needs tornado: pip install tornado" in server.log

"""WebSockets of ASGI applications on the real server: handshakes, messages, ends; on both loops."""

from __future__ import annotations

import ast
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM
from typing import Any

import pytest

from conftest import Serve
from harness import processes
from harness.client import message
from harness.control import status
from harness.server import Server
from harness.site import MODES, Site, restart
from harness.uvicorn import Uvicorn
from harness.wait import until
from harness.websocket import (
    BINARY,
    CLOSE,
    COMPRESSED,
    PING,
    PONG,
    TEXT,
    WebSocket,
    close_payload,
    frame,
    handshake,
)

APP = "apps.websocket_probe:application"
LOOPS = ["asyncio", "uvloop"]


@pytest.fixture(params=LOOPS)
def server(request: pytest.FixtureRequest, shared: Serve) -> Server:
    return shared(APP, "--asgi-loop", request.param)


@pytest.fixture(scope="module")
def uvicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Uvicorn]:
    folder = tmp_path_factory.mktemp("uvicorn")
    server = Uvicorn(folder, APP, "--ws", "websockets-sansio")
    yield server
    server.stop()


def opened(server: Server | Uvicorn, target: str, **how: Any) -> WebSocket:
    return WebSocket(server.connect(), target, **how)


def events(server: Server | Uvicorn) -> list[Any]:
    with server.connect() as connection:
        found: list[Any] = connection.request("/events").json()
        return found


def frame_of_close(code: int, reason: str = "") -> bytes:
    """A close frame of the server."""
    payload = close_payload(code, reason)
    return bytes([CLOSE, len(payload)]) + payload


class Watch:
    """What an application notes from here on."""

    def __init__(self, server: Server | Uvicorn):
        self._server = server
        self._before = len(events(server))

    def noted(self, count: int) -> list[Any]:
        until(lambda: len(events(self._server)) >= self._before + count, f"{count} events")
        return events(self._server)[self._before :]


def let(server: Server, gate: str) -> None:
    server.request(f"/open?gate={gate}")


# The handshake.


def test_a_scope_is_uvicorns(server: Server, uvicorn: Uvicorn) -> None:
    seen = []
    for one in (server, uvicorn):
        fields = [("X-Name", "a"), ("Sec-WebSocket-Protocol", "chat, other"), ("Cookie", "c=1")]
        with opened(one, "/scope?a=%20b", headers=fields) as websocket:
            text = websocket.receive()
            assert isinstance(text, str)
            scope = ast.literal_eval(text)
            assert scope.pop("client") == websocket.connection.socket.getsockname()
            assert scope.pop("server") == ("127.0.0.1", one.port)
            scope["headers"] = [(name.lower(), value) for name, value in scope["headers"]]
            seen.append(scope)
    ours, theirs = seen
    assert ours == theirs
    assert ours["subprotocols"] == ["chat", "other"]
    assert (ours["type"], ours["scheme"]) == ("websocket", "ws")
    assert "method" not in ours


def test_a_trusted_proxy_says_that_it_is_wss(serve: Serve) -> None:
    server = serve(APP, "--root-path", "/live")
    fields = [("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "1.2.3.4")]
    with server.connect() as connection:
        connection.send(handshake("/live/scope", headers=fields))
        # The path has the root path before it, which no view has.
        assert connection.receive().status == 500
    server.wait_for_log("KeyError: '/live/live/scope'")


def test_an_answer_has_what_the_application_adds(server: Server) -> None:
    fields = [("Sec-WebSocket-Protocol", "chat")]
    with opened(server, "/accept?protocol=chat", headers=fields) as websocket:
        response = websocket.response
        assert response.reason == "Switching Protocols"
        assert response.header("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert response.header("Sec-WebSocket-Protocol") == "chat"
        assert response.header("Connection") == "Upgrade"
        assert response.header("Upgrade") == "websocket"
        assert (response.header("X-One"), response.header("x-two")) == ("1", "2")
        assert response.header("Server") == "oxicorn"
        assert response.header("Date")
        assert response.header("Content-Length") is None


def test_an_application_may_accept_before_it_asks(server: Server) -> None:
    with opened(server, "/accept-at-once") as websocket:
        assert websocket.receive() == "websocket.connect"
        websocket.send("hello")
        assert websocket.receive() == "hello"
        assert websocket.end() == (1000, "")


@pytest.mark.parametrize(
    ("change", "code", "what"),
    [
        (("Version: 13", "Version: 8"), 426, "a WebSocket version other than 13"),
        (("Sec-WebSocket-Key", "X-Key"), 400, "no valid Sec-WebSocket-Key field"),
        (("GET ", "OPTIONS "), 405, "a WebSocket handshake that is not a GET"),
    ],
)
def test_a_handshake_that_is_none_is_refused_and_logged(
    server: Server, change: tuple[str, str], code: int, what: str
) -> None:
    mark = server.mark()
    with server.connect() as connection:
        data = handshake("/echo").decode().replace(*change).encode()
        response = connection.send(data).receive()
        assert (response.status, response.text) == (code, f"{code}: {what}\n")
        assert response.all("Connection")[-1] == "close"
        if code == 426:
            assert response.all("Connection") == ["Upgrade", "close"]
            assert response.header("Sec-WebSocket-Version") == "13"
            assert response.header("Upgrade") == "websocket"
        assert connection.is_closed()
    server.wait_for_log(rf"Invalid request from ip=127.0.0.1: {what} \({code}\)", since=mark)


@pytest.mark.parametrize(
    "data",
    [
        handshake("/echo", version="HTTP/1.0"),
        handshake("/echo").replace(b"Connection: Upgrade\r\n", b""),
        handshake("/echo").replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        handshake("/echo", body=b"x"),
    ],
    ids=["http-1.0", "not-in-connection", "another-upgrade", "with-a-body"],
)
def test_what_asks_for_no_websocket_is_a_request(server: Server, data: bytes) -> None:
    with server.connect() as connection:
        assert connection.send(data).receive().json() == "http"


def test_websockets_can_be_switched_off(serve: Serve) -> None:
    server = serve(APP, "--ws", "none")
    assert server.send(handshake("/echo")).json() == "http"


def test_a_wsgi_application_sees_a_request(serve: Serve) -> None:
    server = serve("apps.probe:application")
    assert server.send(handshake("/")).status == 200


def test_a_rejection_is_403(server: Server, uvicorn: Uvicorn) -> None:
    for one in (server, uvicorn):
        watch = Watch(one)
        with one.connect() as connection:
            response = connection.send(handshake("/reject")).receive()
            assert (response.status, response.body) == (403, b"")
            assert connection.is_closed()
        assert watch.noted(2)[1] == 1006
    assert events(server)[-2].startswith("RuntimeError: Unexpected ASGI message 'websocket.accept'")


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_denial_is_a_response(server: Server, uvicorn: Uvicorn, pieces: int) -> None:
    for one in (server, uvicorn):
        watch = Watch(one)
        with one.connect() as connection:
            response = connection.send(handshake(f"/deny?pieces={pieces}")).receive()
            assert (response.status, response.text) == (401, "no" * pieces)
            assert response.header("X-Why") == "because"
            assert connection.is_closed()
        noted = watch.noted(2)
        assert noted[0].startswith("RuntimeError")
        assert noted[1] == 1006


def test_a_client_that_leaves_before_it_is_accepted_is_gone(server: Server) -> None:
    watch = Watch(server)
    with server.connect() as connection:
        connection.send(handshake("/slow"))
    assert watch.noted(1) == [["before", "websocket.disconnect", 1006]]


def test_an_application_that_does_not_accept_in_time_is_cancelled(serve: Serve) -> None:
    server = serve(APP, "--timeout", "1")
    with server.connect() as connection:
        assert connection.send(handshake("/slow")).receive().status == 504
    server.wait_for_log("Request timeout .*: GET /slow from 127.0.0.1 was cancelled")
    assert "Traceback" not in server.log


# Messages.


def test_messages_are_echoed(server: Server) -> None:
    with opened(server, "/echo") as websocket:
        for size in (0, 1, 125, 126, 1000, 65_535, 65_536, 300_000, 2_000_000):
            data = bytes(i % 251 for i in range(size))
            assert websocket.send(data).receive() == data
            text = "ä" * size
            assert websocket.send(text).receive() == text
        assert websocket.send("\U0001f984\0").receive() == "\U0001f984\0"


def test_fragments_pings_and_many_at_once(server: Server) -> None:
    with opened(server, "/echo") as websocket:
        parts = [frame(0x01, b"one "), frame(PING, b"?"), frame(0x80, b"two"), frame(TEXT, b"3")]
        websocket.connection.send(b"".join(parts * 200))
        got = [websocket.frame() for _ in range(600)]
        # Pongs may overtake messages.
        messages = [(TEXT, b"one two"), (TEXT, b"3")] * 200
        assert [it for it in got if it[0] == TEXT] == messages
        assert [it for it in got if it[0] == PONG] == [(PONG, b"?")] * 200


def test_a_message_may_come_byte_by_byte(server: Server) -> None:
    with opened(server, "/echo") as websocket:
        data = frame(TEXT, "grüße".encode()) + frame(BINARY, bytes(range(200)))
        for at in range(len(data)):
            websocket.connection.send(data[at : at + 1])
        assert websocket.receive() == "grüße"
        assert websocket.receive() == bytes(range(200))


def test_frames_may_come_with_the_handshake(server: Server) -> None:
    with server.connect() as connection:
        connection.send(handshake("/echo") + frame(TEXT, b"early"))
        assert connection.receive().status == 101
        assert connection.take(7) == b"\x81\x05early"


def test_one_that_gives_up_waiting_loses_no_message(server: Server) -> None:
    with opened(server, "/cancel") as websocket:
        for number in range(300):
            assert websocket.send(str(number)).receive() == str(number)


def test_several_tasks_may_wait_at_once_and_some_give_up(server: Server) -> None:
    with opened(server, "/ahead?count=5") as websocket:
        assert websocket.receive() == "ready"
        for number in range(5):
            websocket.send(str(number))
        assert websocket.receive() == "0 1 2 3 4"
        assert websocket.end() == (1000, "")


def test_one_task_may_send_while_another_receives(server: Server) -> None:
    with opened(server, "/both?count=300") as websocket:
        for _ in range(300):
            websocket.send("x")
        assert [websocket.receive() for _ in range(300)] == [str(n) for n in range(300)]
        assert websocket.end() == (1000, "")


OFFER = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")]


def test_messages_are_compressed_if_the_client_can(server: Server) -> None:
    with opened(server, "/echo", headers=OFFER) as websocket:
        answer = websocket.response.header("Sec-WebSocket-Extensions")
        assert answer and answer.startswith("permessage-deflate; server_no_context_takeover")
        for data in (b"a" * 1_000_000, b"abc" * 1000):
            compressor = zlib.compressobj(wbits=-15)
            packed = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
            websocket.connection.send(frame(BINARY | COMPRESSED, packed[:-4]))
            first, content = websocket.frame()
            assert first == BINARY | COMPRESSED
            assert zlib.decompressobj(-15).decompress(content + b"\0\0\xff\xff") == data
        assert websocket.send("short").frame() == (TEXT, b"short")


def test_compression_can_be_switched_off(serve: Serve) -> None:
    server = serve(APP, "--ws-per-message-deflate", "false")
    with opened(server, "/echo", headers=OFFER) as websocket:
        assert websocket.response.header("Sec-WebSocket-Extensions") is None


@pytest.mark.parametrize("flag", ["--ws-max-size", "--websocket-max-message-size"])
def test_a_message_beyond_the_limit_ends_it(serve: Serve, flag: str) -> None:
    server = serve(APP, flag, "1000")
    with opened(server, "/echo") as websocket:
        assert websocket.send(bytes(1000)).receive() == bytes(1000)
        websocket.send(bytes(1001))
        assert websocket.end() == (1009, "a message larger than the limit")
    server.wait_for_log(r"Invalid WebSocket from ip=127.0.0.1: a message larger .* \(1009\)")
    until(lambda: [1009, "a message larger than the limit"] in events(server), "the end")


# Back-pressure.


def test_a_client_that_does_not_read_holds_the_application_back(server: Server) -> None:
    watch = Watch(server)
    with opened(server, "/flood") as websocket:
        assert server.request("/").json() == "http"
        assert not websocket.connection.readable(0) or websocket.frame()[0] == BINARY
        assert server.request("/").json() == "http"
    [noted] = watch.noted(1)
    assert noted[0] == "flood"
    assert noted[1] < 1000


def test_an_application_that_does_not_ask_holds_the_client_back(server: Server) -> None:
    with opened(server, "/deaf?gate=deaf") as websocket:
        watch = Watch(server)
        assert websocket.receive() == "ready"
        websocket.connection.socket.setblocking(False)
        data = frame(BINARY, bytes(100_000))
        sent = 0
        try:
            while sent < 64 << 20:
                sent += websocket.connection.socket.send(data[sent % len(data) :])
        except BlockingIOError:
            pass
        assert sent < 64 << 20
        server.request("/open?gate=deaf")
        watch.noted(sent // len(data))


# Ends.


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (4001, "grüße"), (1001, "bye")])
def test_an_end_of_the_client_is_told_with_code_and_reason(
    server: Server, uvicorn: Uvicorn, code: int, reason: str
) -> None:
    for one in (server, uvicorn):
        watch = Watch(one)
        with opened(one, "/listen") as websocket:
            # Uvicorn says the reason again.
            said = "" if one is server else reason
            assert websocket.close(code, reason) == frame_of_close(code, said)
        assert watch.noted(1) == [[code, reason]]


def test_an_end_without_a_code_is_1005(server: Server, uvicorn: Uvicorn) -> None:
    for one in (server, uvicorn):
        watch = Watch(one)
        with opened(one, "/listen") as websocket:
            websocket.connection.send(frame(CLOSE))
            assert websocket.connection.rest() == b"\x88\x00"
        assert watch.noted(1) == [[1005, ""]]


@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_client_that_vanishes_is_1006(server: Server, how: str) -> None:
    watch = Watch(server)
    websocket = opened(server, "/listen")
    getattr(websocket.connection, how)()
    assert watch.noted(1) == [[1006, ""]]


def test_messages_before_the_end_come_before_it(server: Server) -> None:
    watch = Watch(server)
    with opened(server, "/deaf?gate=before") as websocket:
        assert websocket.receive() == "ready"
        data = [frame(TEXT, b"1"), frame(TEXT, b"2"), frame(CLOSE, close_payload(1000))]
        websocket.connection.send(b"".join(data))
        let(server, "before")
        assert websocket.connection.rest() == frame_of_close(1000)
    assert watch.noted(3) == ["1", "2", [1000, ""]]


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (4000, "enough")])
def test_an_application_closes_with_code_and_reason(
    server: Server, uvicorn: Uvicorn, code: int, reason: str
) -> None:
    seen = []
    for one in (server, uvicorn):
        watch = Watch(one)
        with opened(one, f"/close?code={code}&reason={reason}") as websocket:
            assert websocket.end() == (code, reason)
            assert websocket.connection.is_closed()
        noted = watch.noted(3)
        seen.append([noted[0].split(":")[0], noted[1].split(":")[0], *noted[2:]])
    assert seen[0] == ["RuntimeError", "RuntimeError", [code, reason]]
    assert seen[0][:2] == seen[1][:2]


def test_send_after_the_client_left_raises_an_oserror(server: Server) -> None:
    watch, mark = Watch(server), server.mark()
    with opened(server, "/late?gate=late") as websocket:
        assert websocket.receive() == "ready"
        websocket.close(1001)
    let(server, "late")
    assert watch.noted(3) == ["OSError", [1001, ""], "OSError"]
    # The last one is not handled, and is nobody's fault.
    assert server.request("/").json() == "http"
    assert "Traceback" not in server.log[mark:]


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("send-first", "RuntimeError: Expected ASGI message 'websocket.accept'"),
        ("accept-twice", "RuntimeError: Expected ASGI message 'websocket.send' or"),
        ("protocol", "ValueError"),
        ("field", "ValueError"),
        ("code", "ValueError"),
        ("nothing", "TypeError"),
        ("bytes", "TypeError"),
    ],
)
def test_a_message_that_is_wrong_raises_and_does_no_harm(
    server: Server, how: str, what: str
) -> None:
    watch = Watch(server)
    with opened(server, f"/wrong?how={how}") as websocket:
        assert websocket.receive() == "alive"
    assert watch.noted(1)[0].startswith(what)


def test_a_denial_is_completed_by_a_body_only(server: Server) -> None:
    watch = Watch(server)
    with server.connect() as connection:
        response = connection.send(handshake("/wrong?how=body")).receive()
        assert (response.status, response.text) == (400, "body")
    assert watch.noted(1)[0].startswith("RuntimeError")


def test_an_error_before_the_handshake_is_500(server: Server) -> None:
    mark = server.mark()
    with server.connect() as connection:
        assert connection.send(handshake("/raise?when=before")).receive().status == 500
        connection.rest()
        assert connection.is_closed()
    server.wait_for_log(
        r"Error handling request GET /raise\?when=before\n(.*\n)+LookupError: out of stock",
        since=mark,
    )


@pytest.mark.parametrize("when", ["after", "later"])
def test_an_error_closes_with_1011(server: Server, when: str) -> None:
    mark = server.mark()
    with opened(server, f"/raise?when={when}") as websocket:
        if when == "later":
            websocket.send("now")
        assert websocket.end() == (1011, "")
        assert websocket.connection.is_closed()
    server.wait_for_log(r"Error handling request GET /raise(.*\n)+LookupError", since=mark)


def test_a_return_closes_with_1000(server: Server) -> None:
    with opened(server, "/return?when=after") as websocket:
        assert websocket.receive() == "bye"
        assert websocket.end() == (1000, "")
        assert websocket.connection.is_closed()


def test_a_return_before_the_handshake_is_500(server: Server) -> None:
    mark = server.mark()
    with server.connect() as connection:
        assert connection.send(handshake("/return?when=before")).receive().status == 500
    server.wait_for_log(r"returned without sending handshake. \(GET /return", since=mark)


def test_work_goes_on_after_the_end(server: Server) -> None:
    watch = Watch(server)
    with opened(server, "/linger?gate=linger") as websocket:
        websocket.close()
    assert watch.noted(1) == [[1000, ""]]
    let(server, "linger")
    assert watch.noted(2)[1] == "lingered"


def test_the_end_is_seen_though_the_application_does_not_ask(serve: Serve) -> None:
    # The application itself goes on, and is cancelled when its time is over.
    server = serve(APP, "--access-logfile", "-", "--graceful-timeout", "1")
    with opened(server, "/stay") as websocket:
        assert websocket.receive() == "ready"
        assert websocket.close(1000) == frame_of_close(1000)
    server.wait_for_log(r'"GET /stay HTTP/1.1" 101')


# Life.


def test_a_silent_client_is_pinged_and_given_up(serve: Serve) -> None:
    server = serve(APP, "--ws-ping-interval", "0.2", "--ws-ping-timeout", "0.5")
    with opened(server, "/listen") as silent, opened(server, "/listen") as lively:
        first, content = lively.frame()
        assert (first, len(content)) == (PING, 4)
        lively.connection.send(frame(PONG, content))
        assert silent.frame()[0] == PING
        assert silent.end() == (1011, "keepalive ping timeout")
        assert lively.frame()[0] == PING
        until(lambda: events(server) == [[1006, ""]], "the end")
    server.wait_for_log("Closed: 127.0.0.1 does not answer pings")


def test_an_access_log_has_a_line_when_it_ends(serve: Serve) -> None:
    layout = "%(r)s %(s)s %(B)s %({sec-websocket-version}i)s %({upgrade}o)s"
    server = serve(APP, "--access-logfile", "-", "--access-logformat", layout)
    with opened(server, "/echo?") as websocket:
        websocket.send("hello").receive()
        assert "GET /echo" not in server.log
        websocket.close()
    server.wait_for_log(r"GET /echo\? HTTP/1.1 101 5 13 websocket")


def test_the_status_counts_a_websocket_until_it_ends(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "control"
    server = serve(APP, "--control-socket", str(path))

    def count(name: str) -> int:
        found: int = status(path)["workers"][0]["connections"][name]
        return found

    with opened(server, "/echo") as websocket:
        websocket.send("hello").receive()
        assert (count("application"), count("idle")) == (1, 0)
        websocket.close()
    until(lambda: count("open") == 0, "no connection")
    assert count("application") == 0


def test_an_idle_websocket_takes_little_memory(serve: Serve) -> None:
    # The application's task and its scope are part of it.
    server = serve(APP)
    sockets = [opened(server, "/listen") for _ in range(200)]
    before = processes.resident(server.worker)
    sockets += [opened(server, "/listen") for _ in range(1000)]
    taken = processes.resident(server.worker) - before
    assert taken < 8 * 1000, f"{taken} KiB for 1000"
    for websocket in sockets:
        websocket.connection.close()


# Restarts and stops.


def test_a_stop_closes_with_1012(serve: Serve) -> None:
    server = serve(APP, "--graceful-timeout", "5")
    with opened(server, "/listen") as one, opened(server, "/stay") as other:
        assert other.receive() == "ready"
        server.signal(SIGTERM)
        assert one.end() == (1012, "")
        assert other.end() == (1012, "")
        assert one.connection.is_closed()
        server.expect_exit(0)
    assert "(1012, '')" in server.log
    assert "Traceback" not in server.log


def test_clients_are_sent_away_one_after_the_other(serve: Serve) -> None:
    server = serve(APP, "--graceful-timeout", "10")
    sockets = [opened(server, "/listen") for _ in range(10)]
    server.signal(SIGTERM)
    assert sockets[0].end() == (1012, "")
    assert not sockets[-1].connection.readable(0.2)
    for websocket in sockets[1:]:
        assert websocket.end() == (1012, "")
    server.expect_exit(0)
    assert server.log.count("lifespan shutdown") == 1


SITE_APP = """
{before}
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    if scope["type"] == "websocket":
        await receive()
        await send({{"type": "websocket.accept"}})
        await send({{"type": "websocket.send", "text": "{version}"}})
        while (message := await receive())["type"] != "websocket.disconnect":
            await send({{"type": "websocket.send", "text": message["text"]}})
        print("told %s\\n" % message["code"], end="", flush=True)
        return
    headers = [(b"content-length", b"%d" % len("{version}"))]
    await send({{"type": "http.response.start", "status": 200, "headers": headers}})
    await send({{"type": "http.response.body", "body": b"{version}"}})
"""


def test_a_quick_stop_tells_the_clients(serve: Serve) -> None:
    server = serve(APP, "--graceful-timeout", "300")
    with opened(server, "/stay") as websocket:
        assert websocket.receive() == "ready"
        server.signal(SIGINT)
        assert websocket.end() == (1012, "")
        server.expect_exit(0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("loop", LOOPS)
def test_a_restart_closes_with_1012_and_the_next_version_takes_over(
    serve: Serve, tmp_path: Path, loop: str, mode: str
) -> None:
    options = ("--asgi-loop", loop, "--restart-mode", mode, "--graceful-timeout", "5")
    site = Site(tmp_path, serve, *options, app=SITE_APP)
    server = site.start("--observe-timeout", "0")
    sockets = [opened(server, "/") for _ in range(10)]
    assert {websocket.receive() for websocket in sockets} == {"one"}
    site.write("two")
    restart(server)
    for websocket in sockets:
        assert websocket.end() == (1012, "")
        assert websocket.connection.is_closed()
    with opened(server, "/") as websocket:
        assert websocket.receive() == "two"
        assert websocket.send("still here").receive() == "still here"
    assert server.log.count("told 1012") == 10
    assert "Traceback" not in server.log
    assert "killed" not in server.log


def test_a_client_that_ignores_the_end_holds_up_nobody(serve: Serve) -> None:
    server = serve(APP, "--graceful-timeout", "5")
    websocket = opened(server, "/listen")
    server.signal(SIGTERM)
    assert websocket.frame() == (CLOSE, close_payload(1012))
    server.expect_exit(0)
    assert not re.search("killed|timeout", server.log)


def test_a_worker_that_is_worn_sends_its_clients_to_its_successor(serve: Serve) -> None:
    server = serve(APP, "--max-requests", "3", "--graceful-timeout", "5")
    with opened(server, "/listen") as websocket:
        for _ in range(3):
            assert server.send(message("/")).status == 200
        assert websocket.end() == (1012, "")
    server.wait_for_log("Autorestarting worker")


def test_an_orphan_that_leaves_closes_with_1012(serve: Serve) -> None:
    server = serve(APP, "--orphan-timeout", "1", "--graceful-timeout", "5")
    with opened(server, "/listen") as websocket:
        server.signal(SIGKILL)
        assert websocket.end() == (1012, "")
    server.wait()
    until(lambda: not server.family(), "the orphan has left")

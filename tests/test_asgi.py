"""ASGI applications on the real server: messages, bodies, faults; on asyncio and on uvloop."""

from __future__ import annotations

import ast
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from conftest import Serve
from harness import processes
from harness.client import Connection, chunked, message
from harness.server import Server
from harness.wait import until

APP = "apps.asgi_probe:application"


@pytest.fixture(params=["asyncio", "uvloop"])
def server(request: pytest.FixtureRequest, shared: Serve) -> Server:
    return shared(APP, "--asgi-loop", request.param)


def scope_of(server: Server, data: bytes) -> dict[str, Any]:
    with server.connect() as connection:
        response = connection.send(data).receive()
        scope: dict[str, Any] = ast.literal_eval(response.text)
        host, port = connection.socket.getsockname()
        assert scope.pop("client") == (host, port)
        assert scope.pop("server") == (host, server.port)
        return scope


def events(server: Server) -> list[str]:
    found: list[str] = server.request("/events").json()
    return found


def wait_for_event(server: Server, text: str, count: int = 1) -> None:
    until(lambda: events(server).count(text) >= count, f"{count} × {text!r}")


# The scope.


def test_a_scope_has_what_the_specification_says(server: Server) -> None:
    fields = [("X-Twice", "a"), ("X-TWICE", "b"), ("Cookie", "c=1")]
    scope = scope_of(server, message("/scope?a=b%20c&d", headers=fields))
    assert scope.pop("headers") == [
        (b"host", b"test.example"),
        (b"x-twice", b"a"),
        (b"x-twice", b"b"),
        (b"cookie", b"c=1"),
    ]
    extensions = scope.pop("extensions")
    assert {"http.response.trailers", "http.response.pathsend"} <= set(extensions)
    assert scope.pop("state").keys() >= {"started", "shared"}
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "http",
        "root_path": "",
        "method": "GET",
        "path": "/scope",
        "raw_path": b"/scope",
        "query_string": b"a=b%20c&d",
    }


def test_requests_that_differ_have_scopes_that_differ(server: Server) -> None:
    for number in range(3):
        for version in ("1.0", "1.1"):
            target = f"/scope?{number}"
            fields = [("X-Number", str(number))]
            data = message(target, headers=fields, version=f"HTTP/{version}")
            scope = scope_of(server, data)
            assert scope["http_version"] == version
            assert scope["query_string"] == str(number).encode()
            assert (b"x-number", str(number).encode()) in scope["headers"]


def test_a_path_is_decoded_and_kept_raw(server: Server) -> None:
    response = server.request("/%C3%A9chelle")
    assert ast.literal_eval(response.text) == ("/échelle", b"/%C3%A9chelle")


def test_an_absolute_target_is_its_path(server: Server) -> None:
    scope = scope_of(server, message("http://test.example/scope?x"))
    assert (scope["path"], scope["query_string"]) == ("/scope", b"x")


def test_a_root_path_stands_before_the_path(serve: Serve) -> None:
    server = serve("apps.asgi_probe:VIEWS.get('/scope')", "--root-path", "/shop", "-k", "asgi")
    scope = scope_of(server, message("/cart"))
    assert scope["root_path"] == "/shop"
    assert (scope["path"], scope["raw_path"]) == ("/shop/cart", b"/shop/cart")


def test_a_trusted_proxy_speaks_for_its_client(serve: Serve) -> None:
    server = serve(APP, "--forwarded-allow-ips", "127.0.0.1,10.0.0.0/8")
    fields = [("X-Forwarded-For", "6.6.6.6, 1.2.3.4, 10.0.0.9"), ("X-Forwarded-Proto", "https")]
    scope = ast.literal_eval(server.request("/scope", headers=fields).text)
    assert (scope["client"], scope["scheme"]) == (("1.2.3.4", 0), "https")
    scope = ast.literal_eval(server.request("/scope").text)
    assert (scope["client"][0], scope["scheme"]) == ("127.0.0.1", "http")


def test_nobody_else_speaks_for_a_client(serve: Serve) -> None:
    server = serve(APP, "--forwarded-allow-ips", "10.0.0.1")
    fields = [("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-Proto", "https")]
    scope = ast.literal_eval(server.request("/scope", headers=fields).text)
    assert (scope["client"][0], scope["scheme"]) == ("127.0.0.1", "http")


def test_a_unix_socket_has_a_path_and_no_client(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = serve(APP, bind=f"unix:{path}")
    scope = ast.literal_eval(server.request("/scope").text)
    assert (scope["client"], scope["server"]) == (None, (str(path), None))


# Request bodies.


@pytest.mark.parametrize("size", [0, 1, 100, 32 * 1024, 300_000])
def test_a_body_comes_whole(server: Server, size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    assert server.request("/echo", "POST", body=data).body == data
    parts = [data[at : at + 1000] for at in range(0, size, 1000)]
    head = message("/echo", "POST", headers=[("Transfer-Encoding", "chunked")])
    assert server.send(head + chunked(parts), "POST").body == data


def test_a_body_is_given_while_it_comes(server: Server) -> None:
    head = message("/duplex", "POST", headers=[("Content-Length", "6")])
    with server.connect() as connection:
        connection.send(head + b"one")
        got = b""
        while not got.endswith(b"3\r\none\r\n"):
            got += connection.read_some(1000)
        connection.send(b"two")
        assert connection.rest_of_chunks().endswith(b"3\r\ntwo\r\n0\r\n\r\n")


def test_a_large_upload_stays_in_the_kernel_while_the_application_is_slow(server: Server) -> None:
    before = processes.peak(server.worker)
    head = message("/sizes?pause=0.001", "POST", headers=[("Content-Length", str(40 << 20))])
    with server.connect() as connection:
        connection.send(head)
        block = bytes(1 << 20)
        for _ in range(40):
            connection.send(block)
        total, largest, _ = connection.receive().json()
    assert total == 40 << 20
    assert largest <= 64 * 1024
    assert processes.peak(server.worker) - before < 8 * 1024


def test_a_client_that_leaves_inside_its_body_is_a_disconnect(server: Server) -> None:
    head = message("/sizes", "POST", headers=[("Content-Length", "100")])
    with server.connect() as connection:
        connection.send(head + b"0123456789")
        until(lambda: server.request("/process").json()["tasks"] >= 3, "the request runs")
    wait_for_event(server, "disconnect after 10")


def test_a_body_that_is_not_framed_well_is_a_disconnect_and_answered(server: Server) -> None:
    head = message("/sizes", "POST", headers=[("Transfer-Encoding", "chunked")])
    with server.connect() as connection:
        connection.send(head + b"3\r\nabc\r\n")
        connection.send(b"zz\r\n")
        assert connection.receive().status == 400
        assert connection.is_closed()

    def told() -> bool:
        return any(
            event in events(server) for event in ("disconnect after 0", "disconnect after 3")
        )

    until(told, "the application is told")


def test_a_body_that_is_too_long_is_answered_while_it_comes(serve: Serve) -> None:
    server = serve(APP, "--limit-request-body", "1000")
    head = message("/sizes", "POST", headers=[("Transfer-Encoding", "chunked")])
    assert server.send(head + chunked([b"x" * 600] * 2)).status == 413


def test_continue_is_sent_when_the_application_asks_for_the_body(server: Server) -> None:
    fields = [("Expect", "100-continue"), ("Content-Length", "5")]
    with server.connect() as connection:
        connection.send(message("/echo", "POST", headers=fields))
        assert connection.receive_interim() == 100
        assert connection.send(b"hello").receive().body == b"hello"
    with server.connect() as connection:
        response = connection.send(message("/unread", "POST", headers=fields)).receive()
        assert (response.interim, response.header("Connection")) == ([], "close")
        assert connection.is_closed()


def test_a_connection_goes_on_behind_a_body_that_nobody_read(server: Server) -> None:
    with server.connect() as connection:
        for size in (10, 40_000):
            response = connection.request("/unread", "POST", body=b"x" * size)
            assert (response.body, response.header("Connection")) == (b"unread", None)
        head = message("/unread", "POST", headers=[("Content-Length", "5")])
        assert connection.send(head).receive().body == b"unread"
        assert connection.send(b"hello").request("/").text == "Hello, world!"


def test_a_long_body_that_nobody_reads_ends_the_connection_with_the_answer(server: Server) -> None:
    with server.connect() as connection:
        response = connection.request("/unread", "POST", body=b"x" * (4 << 20))
        assert (response.body, response.header("Connection")) == (b"unread", "close")


def test_a_receive_that_is_given_up_loses_nothing(server: Server) -> None:
    head = message("/cancelled-receive", "POST", headers=[("Content-Length", "30")])
    with server.connect() as connection:
        connection.send(head)
        for _ in range(10):
            connection.send(b"abc")
            connection.readable(0.003)
        assert connection.receive().body == b"abc" * 10


# Responses.


def test_head_and_body_leave_together(server: Server) -> None:
    with server.connect() as connection:
        connection.send(message("/"))
        first = connection.read_some(65536)
        assert first.endswith(b"\r\n\r\nHello, world!")
        assert b"Content-Length: 13\r\n" in first


def test_a_head_does_not_wait_for_a_body_that_does_not_come(server: Server) -> None:
    with server.connect() as connection:
        connection.send(message("/headers-first"))
        first = connection.read_some(65536)
        assert first.endswith(b"\r\n\r\n")
        assert b"text/event-stream" in first
        server.request("/open?gate=headers-first")
        assert connection.rest_of_chunks() == b"9\r\ndata: 1\n\n\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("target", "method", "framing", "body"),
    [
        ("/respond?data=abc", "GET", ("3", None), "abc"),
        ("/respond?data=abc", "HEAD", ("3", None), ""),
        ("/respond?data=abc&more=def", "GET", (None, "chunked"), "abcdef"),
        ("/respond?data=abc&more=def&length=6", "GET", ("6", None), "abcdef"),
        ("/respond?data=abcdef&length=3", "GET", ("3", None), "abc"),
        ("/respond?status=204", "GET", (None, None), ""),
        ("/respond?status=204&data=x", "GET", (None, None), ""),
        ("/respond?status=304&length=9", "GET", ("9", None), ""),
        ("/respond?length=9", "HEAD", ("9", None), ""),
    ],
)
def test_a_body_is_framed_as_http_wants_it(
    server: Server, target: str, method: str, framing: tuple[str | None, str | None], body: str
) -> None:
    with server.connect() as connection:
        response = connection.request(target, method)
        found = response.header("Content-Length"), response.header("Transfer-Encoding")
        assert (found, response.text) == (framing, body)
        assert response.complete
        assert connection.request("/").text == "Hello, world!"


def test_a_body_without_length_ends_with_the_connection_on_http_1_0(server: Server) -> None:
    data = message("/respond?data=abc&more=def", version="HTTP/1.0")
    response = server.send(data)
    assert (response.text, response.header("Connection")) == ("abcdef", "close")


def test_too_short_a_body_ends_the_connection(server: Server) -> None:
    mark = server.mark()
    with server.connect() as connection:
        response = connection.request("/respond?data=abc&length=9")
        assert not response.complete
    server.wait_for_log("gave 6 bytes less than its Content-Length", since=mark)


def test_the_application_can_end_the_connection(server: Server) -> None:
    with server.connect() as connection:
        assert connection.request("/respond?data=x&close=1").header("Connection") == "close"
        assert connection.is_closed()


def test_every_status_has_its_reason(server: Server) -> None:
    for status, reason in ((200, "OK"), (404, "Not Found"), (418, "I'm a teapot")):
        response = server.request(f"/respond?status={status}")
        assert (response.status, response.reason) == (status, reason)


def test_requests_are_answered_in_their_order(server: Server) -> None:
    with server.connect() as connection:
        connection.send(message("/sleep") + message("/") + message("/sleep") + message("/none"))
        found = [connection.receive().text for _ in range(4)]
    assert found == ["slept", "Hello, world!", "slept", "no such view\n"]


def test_many_requests_are_inside_at_once(server: Server) -> None:
    connections = [server.connect() for _ in range(100)]
    for connection in connections:
        connection.send(message("/gate"))
    until(lambda: server.request("/process").json()["tasks"] >= 102, "all of them are inside")
    server.request("/open?gate=all")
    assert {connection.receive().text for connection in connections} == {"through"}
    for connection in connections:
        connection.close()


@pytest.mark.parametrize("size", [100, 3000, 70_000, 5_000_000])
def test_blocks_of_every_size_arrive(server: Server, size: int) -> None:
    response = server.request(f"/stream?count=3&size={size}")
    assert response.body == b"s" * 3 * size


def test_a_slow_reader_holds_the_application_back(server: Server) -> None:
    before = processes.peak(server.worker)
    with server.connect(receive_buffer=4096) as connection:
        connection.send(message("/stream?count=300&size=100000"))
        until(lambda: server.request("/process").json()["tasks"] >= 3, "the request runs")
        assert len(connection.receive().body) == 30_000_000
    assert processes.peak(server.worker) - before < 8 * 1024


def test_a_body_and_a_response_that_both_wait_for_the_client(server: Server) -> None:
    size = 8_000_000
    with server.connect(receive_buffer=4096) as connection:
        headers = [("Content-Length", "300000")]
        connection.send(message(f"/both-ways?size={size}", "POST", headers=headers))
        connection.send(bytes(300_000))
        assert len(connection.receive().body) == size


def test_a_client_that_leaves_inside_its_body_leaves_nobody_waiting(server: Server) -> None:
    before = server.request("/process").json()["tasks"]
    headers = [("Content-Length", "300000")]
    with server.connect(receive_buffer=4096) as connection:
        connection.send(message("/both-ways?size=80000000", "POST", headers=headers))
        connection.send(bytes(100_000))
        until(lambda: server.request("/process").json()["tasks"] > before, "the request runs")
    until(lambda: server.request("/process").json()["tasks"] == before, "the request ends")


def test_buffers_are_as_good_as_bytes(server: Server) -> None:
    response = server.request("/buffers")
    assert (response.text, response.header("x-kind")) == ("array view", "list")


def test_trailers_follow_a_chunked_body(server: Server) -> None:
    with server.connect() as connection:
        raw = connection.send(message("/trailers", headers=[("Connection", "close")])).rest()
    assert raw.endswith(b"4\r\ndata\r\n0\r\nx-sum: 4\r\nx-more: 5\r\n\r\n")


def test_early_hints_come_before_the_response(server: Server) -> None:
    response = server.request("/early-hints")
    assert (response.interim, response.text) == ([103], "late")
    assert server.send(message("/early-hints", version="HTTP/1.0")).interim == []


def test_a_path_is_sent_as_a_file(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"f" * 300_000)
    with server.connect() as connection:
        response = connection.request(f"/path?path={file}")
        assert (response.body, response.header("Content-Length")) == (b"f" * 300_000, "300000")
        assert connection.request(f"/path?path={file}", "HEAD").header("Content-Length") == "300000"
    for late in ("/path-late", "/path-late?length=300000"):
        response = server.request(f"{late}{'&' if '?' in late else '?'}path={file}")
        assert (response.body, response.complete) == (b"f" * 300_000, True)
    response = server.request("/path?path=/nonexistent")
    assert response.status == 500 or not response.complete


# The end of clients, and of applications.


def test_a_waiting_receive_is_told_that_the_client_left(server: Server) -> None:
    before = events(server).count("http.disconnect")
    for leave in (Connection.close, Connection.abort, Connection.finish_sending):
        waiting = events(server).count("waiting")
        connection = server.connect()
        connection.send(message("/wait-for-disconnect"))
        wait_for_event(server, "waiting", waiting + 1)
        leave(connection)
        before += 1
        wait_for_event(server, "http.disconnect", before)
        connection.close()


def test_a_client_that_closed_its_side_only_still_gets_its_answer(server: Server) -> None:
    with server.connect() as connection:
        connection.send(message("/wait-for-disconnect"))
        connection.finish_sending()
        assert connection.receive().text == "you had gone"


def test_looking_for_a_disconnect_leaves_nothing_behind(server: Server) -> None:
    assert int(server.request("/poll-disconnect").text) < 20
    assert "never there" not in events(server)


def test_pipelined_requests_are_no_disconnect(server: Server) -> None:
    with server.connect() as connection:
        connection.send(message("/wait-for-disconnect?limit=0.1") + message("/"))
        assert connection.receive().status == 500
        assert connection.receive().text == "Hello, world!"


def test_sending_to_a_client_that_left_is_an_os_error_and_nobodys_fault(server: Server) -> None:
    mark = server.mark()
    with server.connect() as connection:
        connection.send(message("/stream?count=100000000&size=1000"))
        connection.read_some(100)

    def told() -> bool:
        return any(event.startswith("ConnectionResetError after") for event in events(server))

    until(told, "the application is told")
    assert "Error handling" not in server.log[mark:]


def test_a_receive_after_the_response_is_a_disconnect(server: Server) -> None:
    assert server.request("/after-complete").text == "done"
    complete = (
        "Unexpected ASGI message 'http.response.body' sent, after response already completed."
    )
    wait_for_event(server, complete)
    assert "http.disconnect" in events(server)


@pytest.mark.parametrize("when", ["first", "later", "started", "exit", "later-exit"])
def test_an_application_that_raises_before_its_response_is_answered_for(
    server: Server, when: str
) -> None:
    mark = server.mark()
    with server.connect() as connection:
        response = connection.request(f"/raise?when={when}")
        # A head may have left before the error came.
        assert response.status == 500 or (when == "started" and not response.complete)
        if response.complete:
            assert connection.request("/").text == "Hello, world!"
    what = "SystemExit: 7" if "exit" in when else rf"LookupError: the shop is closed \({when}\)"
    server.wait_for_log(
        rf"Error handling request GET /raise\?when={when}\n(.*\n)+{what}", since=mark
    )


def test_an_application_that_raises_inside_its_response_cuts_it(server: Server) -> None:
    mark = server.mark()
    response = server.request("/raise?when=streamed")
    assert (response.status, response.complete, response.text) == (200, False, "begun")
    server.wait_for_log("LookupError: the shop is closed", since=mark)


def test_an_application_that_raises_behind_its_response_is_logged(server: Server) -> None:
    mark = server.mark()
    with server.connect() as connection:
        assert connection.request("/raise?when=complete").complete
        assert connection.request("/").status == 200
    server.wait_for_log(r"Error in background work of a request\n(.*\n)+LookupError", since=mark)


@pytest.mark.parametrize("when", ["first", "started", "streamed"])
def test_an_application_that_returns_too_early_is_answered_for(server: Server, when: str) -> None:
    mark = server.mark()
    response = server.request(f"/return?when={when}")
    answered = response.status == 500 and response.complete
    cut = response.status == 200 and not response.complete
    assert {"first": answered, "streamed": cut}.get(when, answered or cut)
    what = "ing|".join(("start", "complet")) + "ing"
    server.wait_for_log(f"ASGI callable returned without ({what}) response", since=mark)


@pytest.mark.parametrize(
    ("how", "error"),
    [
        (
            "body-first",
            "RuntimeError: Expected ASGI message 'http.response.start', but got "
            "'http.response.body'.",
        ),
        (
            "start-twice",
            "RuntimeError: Expected ASGI message 'http.response.body', but got "
            "'http.response.start'.",
        ),
        (
            "after-complete",
            "RuntimeError: Unexpected ASGI message 'http.response.body' sent, after response "
            "already completed.",
        ),
        (
            "websocket",
            "RuntimeError: Expected ASGI message 'http.response.start', but got "
            "'websocket.accept'.",
        ),
        ("no-type", "TypeError: a message must have a 'type' that is a str"),
        ("no-dict", "TypeError: a message must be a dict, not list"),
        ("no-status", "TypeError: http.response.start has no status"),
        ("text-body", "TypeError: bytes are needed, not str"),
        ("text-header", "TypeError: bytes are needed, not str"),
        ("bad-name", "ValueError: 'na me' is not a header name"),
        ("bad-value", "ValueError: the value of header name has control characters"),
        (
            "bad-status",
            "ValueError: the status must be three digits, a space and a reason without control "
            "characters, not '99 Unknown'",
        ),
    ],
)
def test_wrong_messages_are_errors_and_change_nothing(server: Server, how: str, error: str) -> None:
    with server.connect() as connection:
        response = connection.request(f"/wrong?how={how}")
        assert response.text == ("x" if how == "after-complete" else error)
        assert connection.request("/").text == "Hello, world!"
    assert error in events(server)


def test_receive_and_send_can_be_tasks(server: Server) -> None:
    response = server.request("/as-tasks", "POST", body=b"there")
    assert (response.text, response.complete) == ("there and back", True)


def test_context_variables_are_the_requests_own(server: Server) -> None:
    with server.connect() as connection:
        connection.send(message("/context") * 3)
        for _ in range(3):
            assert connection.receive().json() == [0, 1]


def test_a_plain_callable_runs_in_the_task_of_its_request(serve: Serve) -> None:
    server = serve("apps.asgi_probe:deferred", "--interface", "asgi")
    for _ in range(3):
        assert server.request("/outside").json() == [1, True]


def test_the_state_of_the_start_up_is_copied_for_each_request(server: Server) -> None:
    first = server.request("/state").json()
    assert server.request("/state").json() == [True, 1, first[2] + 1]


@pytest.mark.parametrize("change", ["add", "remove", "replace", "later"])
def test_what_a_request_does_to_its_scope_no_other_one_sees(serve: Serve, change: str) -> None:
    server = serve(APP)
    with server.connect() as connection:

        def ask(query: str) -> list[list[str]]:
            connection.send(message(f"/own?{query}"))
            found: list[list[str]] = connection.receive().json()
            return found

        first, _ = ask("change=")
        assert len(first) == 3
        # One that somebody keeps is not given to others, and nothing of theirs comes into it.
        assert ask("keep=yes") == [first, [first]]
        for _ in range(3):
            assert ask(f"change={change}") == [first, [first]]
        assert ask("change=") == [first, [first]]


def test_tasks_at_the_same_time_have_names_of_their_own(serve: Serve) -> None:
    server = serve(APP)
    assert server.request("/name?together=1").text.startswith("request-")
    with ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(5)]
        for connection in connections:
            connection.send(message("/name?together=6"))
        names = [connection.receive().text for connection in connections]
    assert len(set(names)) == 5


def test_an_awaitable_that_is_no_coroutine_will_do(serve: Serve) -> None:
    server = serve("apps.asgi_probe:deferred", "--interface", "asgi")
    assert server.request("/sleep").text == "slept"


def test_a_factory_makes_the_application(serve: Serve) -> None:
    assert serve("apps.asgi_probe:make()").request("/").text == "Hello, world!"


def test_requests_are_in_the_access_log(serve: Serve) -> None:
    server = serve(APP, "--access-logfile", "-")
    server.request("/respond?data=abc&more=def")
    server.wait_for_log(r'"GET /respond\?data=abc&more=def HTTP/1.1" 200 6 ')


@pytest.mark.parametrize(
    ("end", "code"), [("return", "0"), ("answer", "1"), ("wait", "1"), ("7", "7")]
)
def test_a_process_forked_by_a_view_leaves_its_parents_connection_alone(
    server: Server, end: str, code: str
) -> None:
    with server.connect() as connection:
        assert connection.request(f"/fork?end={end}").text == code
        assert connection.request("/").text == "Hello, world!"

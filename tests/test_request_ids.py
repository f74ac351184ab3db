"""Request ids: from a trusted proxy or new, for the application, the client and the log."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from conftest import Serve
from harness.client import message
from harness.server import Server
from harness.wait import until
from harness.websocket import WebSocket

PROBE = "apps.probe:application"
ON = ["--request-id-header", "X-Request-ID"]
NEW = r"[0-9a-f]{32}"


def seen(server: Server, sent: str | None = None) -> tuple[str, str]:
    """What the application saw as the id, and what the client got."""
    headers = [("x-request-id", sent)] if sent is not None else []
    response = server.request("/environ", headers=headers)
    told = response.header("X-Request-ID")
    assert told is not None
    return json.loads(response.body)["HTTP_X_REQUEST_ID"], told


def test_without_the_setting_there_are_no_ids(serve: Serve) -> None:
    server = serve()
    response = server.request("/environ", headers=[("X-Request-ID", "a b")])
    assert response.header("X-Request-ID") is None
    assert json.loads(response.body)["HTTP_X_REQUEST_ID"] == "a b"


def test_each_request_gets_an_id_that_the_client_is_told(serve: Serve) -> None:
    server = serve(PROBE, *ON)
    ids = set()
    with server.connect() as connection:
        for _ in range(20):
            response = connection.request("/environ")
            told = response.header("X-Request-ID")
            assert told == json.loads(response.body)["HTTP_X_REQUEST_ID"]
            assert re.fullmatch(NEW, told)
            ids.add(told)
    assert len(ids) == 20


def test_the_id_of_a_trusted_proxy_is_kept(serve: Serve) -> None:
    server = serve(PROBE, *ON)
    assert seen(server, "Root=1-abc.def") == ("Root=1-abc.def", "Root=1-abc.def")


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, 'quo"te', "\xe9", "a, b"])
def test_what_is_no_id_is_replaced(serve: Serve, sent: str) -> None:
    ours, told = seen(serve(PROBE, *ON), sent)
    assert ours == told
    assert re.fullmatch(NEW, ours)


def test_an_id_of_somebody_else_is_replaced(serve: Serve) -> None:
    ours, told = seen(serve(PROBE, *ON, "--forwarded-allow-ips", "10.0.0.1"), "mine")
    assert ours == told
    assert re.fullmatch(NEW, ours)


def test_bodies_and_pipelined_requests_are_not_touched(serve: Serve) -> None:
    server = serve(PROBE, *ON)
    with server.connect() as connection:
        bodies = [b"one", b"x" * 30_000, b"", b"y" * 300_000, b"last"]
        requests = (message("/body", "POST", body=body) for body in bodies)
        connection.send(b"".join(requests))
        for body in bodies:
            response = connection.receive()
            assert json.loads(response.body)["size"] == len(body)
            assert re.fullmatch(NEW, response.header("X-Request-ID") or "")


def test_an_error_page_has_the_id_as_well(serve: Serve) -> None:
    response = serve(PROBE, *ON).request("/raise")
    assert response.status == 500
    assert re.fullmatch(NEW, response.header("X-Request-ID") or "")


def test_an_application_that_answers_with_an_id_has_the_last_word(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "echo.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('x-request-id', 'own'), ('Content-Length', '0')])\n"
        "    return []\n"
    )
    server = serve("echo:app", *ON, cwd=tmp_path)
    assert server.request("/").all("X-Request-ID") == ["own"]


def test_asynchronous_applications_have_it_in_their_scope(serve: Serve) -> None:
    response = serve("apps.asgi_probe:application", *ON).request("/scope")
    told = response.header("X-Request-ID")
    assert told
    assert re.fullmatch(NEW, told)
    assert told in response.text
    assert "x-request-id" in response.text


@pytest.mark.parametrize("notation", ["text", "json"])
def test_the_access_log_has_it(serve: Serve, tmp_path: Path, notation: str) -> None:
    log = tmp_path / "access"
    how = ["--log-format", notation] if notation == "json" else []
    form = ["--access-logformat", "%({x-request-id}i)s"] if notation == "text" else []
    server = serve(PROBE, *ON, *how, *form, "--access-logfile", str(log))
    _, told = seen(server)
    until(lambda: log.exists() and "\n" in log.read_text(), "a line")
    line = log.read_text().strip()
    assert told == (json.loads(line)["request_id"] if notation == "json" else line)


def test_a_websocket_has_one_until_it_ends(serve: Serve) -> None:
    options = ["--access-logfile", "-", "--access-logformat", "%(s)s id %({X-Request-ID}i)s"]
    server = serve("apps.websocket_probe:application", *ON, *options)
    with WebSocket(server.connect(), "/echo") as socket:
        told = socket.response.header("X-Request-ID")
        assert told
        assert socket.send("a").receive() == "a"
        socket.close()
    server.wait_for_log(rf"(?m)^101 id {told}$")


def test_a_name_that_is_no_field_is_refused(serve: Serve) -> None:
    server = serve(PROBE, "--request-id-header", "X_Request_ID", launch=True)
    server.expect_exit(2)
    assert "expected the name of a field" in server.log

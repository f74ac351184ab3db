"""`protocol = uwsgi` on the real server: what applications see of a packet, how responses leave,
who may speak, and the limits. Packets themselves are in `spec/edge/uwsgi.md`, nginx in
`test_nginx.py`.
"""

from __future__ import annotations

import ast
import re
import struct
from pathlib import Path
from typing import Any

import pytest

from conftest import Serve
from harness.client import Response, bytewise, message
from harness.server import Server

ASGI = "apps.asgi_probe:application"

TELLS = """
def app(environ, start_response):
    known = {key: value for key, value in environ.items() if isinstance(value, str)}
    body = repr(known | {"body": environ["wsgi.input"].read()}).encode()
    if "hints" in environ["QUERY_STRING"]:
        environ["wsgi.early_hints"]([("Link", "</a>; rel=preload")])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return iter([body[:10], body[10:]])

async def told(scope, receive, send):
    assert scope["type"] == "http"
    scope = {key: scope[key] for key in scope if key not in ("state", "extensions", "asgi")}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": repr(scope).encode()})
"""


def packet(*more: tuple[str, str], **variables: str) -> bytes:
    """A GET for /, with these variables besides or instead."""
    always = {"REQUEST_METHOD": "GET", "REQUEST_URI": "/", "PATH_INFO": "/"}
    text = b"".join(
        struct.pack("<H", len(part)) + part.encode("latin-1")
        for pair in [*(always | variables).items(), *more]
        for part in pair
    )
    return struct.pack("<BHB", 0, len(text), 0) + text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tells.py").write_text(TELLS)
    return tmp_path


@pytest.fixture
def wsgi(serve: Serve, folder: Path) -> Server:
    return serve("tells:app", "--protocol", "uwsgi", cwd=folder)


@pytest.fixture
def asgi(serve: Serve, folder: Path) -> Server:
    return serve("tells:told", "--interface", "asgi", "--protocol", "uwsgi", cwd=folder)


def ask(server: Server, data: bytes, method: str = "GET") -> Response:
    """One answer, after which the connection is over."""
    with server.connect() as connection:
        response = connection.send(data).receive(method)
        assert connection.is_closed()
    return response


def told(server: Server, *more: tuple[str, str], **variables: str) -> dict[str, Any]:
    found: dict[str, Any] = ast.literal_eval(ask(server, packet(*more, **variables)).text)
    return found


# WSGI


def test_variables_are_environ_entries(wsgi: Server) -> None:
    seen = told(
        wsgi,
        ("wsgi.url_scheme", "https"),
        ("wsgi.input", "no stream"),
        REQUEST_URI="/caf%C3%A9?a=b",
        PATH_INFO="/café".encode().decode("latin-1"),
        QUERY_STRING="a=b",
        REMOTE_ADDR="192.0.2.7",
        REMOTE_PORT="56324",
        REMOTE_USER="alice",
        SERVER_NAME="www.example",
        SERVER_PORT="443",
        SERVER_PROTOCOL="HTTP/2.0",
        HTTPS="on",
        CONTENT_TYPE="",
        CONTENT_LENGTH="",
        HTTP_HOST="www.example",
        HTTP_X_ID="7",
    )
    expected = {
        "REQUEST_METHOD": "GET",
        "RAW_URI": "/caf%C3%A9?a=b",
        "REQUEST_URI": "/caf%C3%A9?a=b",
        "PATH_INFO": "/caf\xc3\xa9",
        "SCRIPT_NAME": "",
        "QUERY_STRING": "a=b",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "56324",
        "REMOTE_USER": "alice",
        "SERVER_NAME": "www.example",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/2.0",
        "HTTPS": "on",
        "HTTP_HOST": "www.example",
        "HTTP_X_ID": "7",
        "wsgi.url_scheme": "https",
        "body": b"",
    }
    del seen["SERVER_SOFTWARE"]
    assert seen == expected


def test_a_path_is_decoded_once(wsgi: Server) -> None:
    seen = told(wsgi, REQUEST_URI="/100%2541", PATH_INFO="/100%41")
    assert (seen["PATH_INFO"], seen["RAW_URI"]) == ("/100%41", "/100%2541")


@pytest.mark.parametrize(
    ("path", "inner"), [("/app/x", "/x"), ("/app", ""), ("/x", "/x"), ("/app/app", "/app")]
)
def test_a_script_name_is_taken_off_the_path_if_it_is_there(
    wsgi: Server, path: str, inner: str
) -> None:
    seen = told(wsgi, SCRIPT_NAME="/app", PATH_INFO=path)
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/app", inner)


def test_clients_of_one_worker_are_not_mixed_up(serve: Serve, folder: Path) -> None:
    bind = f"unix:{folder}/s"
    server = serve("tells:app", "--protocol", "uwsgi", cwd=folder, bind=bind)
    for _ in range(2):
        seen = told(server, REMOTE_ADDR="192.0.2.7", REMOTE_PORT="9", HTTPS="on")
        assert (seen["REMOTE_ADDR"], seen["REMOTE_PORT"]) == ("192.0.2.7", "9")
        assert seen["wsgi.url_scheme"] == "https"
        seen = told(server)
        assert seen["REMOTE_ADDR"] == "" and "REMOTE_PORT" not in seen
        assert seen["wsgi.url_scheme"] == "http"


def test_a_unix_socket_has_a_server_name_all_the_same(serve: Serve, folder: Path) -> None:
    server = serve("tells:app", "--protocol", "uwsgi", cwd=folder, bind=f"unix:{folder}/s")
    seen = told(server, HTTP_HOST="a.example:81")
    assert (seen["SERVER_NAME"], seen["SERVER_PORT"]) == ("a.example", "81")
    seen = told(server, HTTP_HOST="a.example:81", SERVER_NAME="b.example", SERVER_PORT="82")
    assert (seen["SERVER_NAME"], seen["SERVER_PORT"]) == ("b.example", "82")


def test_a_body_has_the_length_of_content_length(wsgi: Server) -> None:
    head = packet(REQUEST_METHOD="POST", CONTENT_LENGTH="5", CONTENT_TYPE="text/plain")
    with wsgi.connect() as connection:
        for byte in bytewise(head + b"hello"):
            connection.send(byte)
        seen = ast.literal_eval(connection.receive().text)
    assert seen["body"] == b"hello"
    assert (seen["CONTENT_LENGTH"], seen["CONTENT_TYPE"]) == ("5", "text/plain")


def test_a_response_is_of_no_chunks_and_ends_with_its_connection(wsgi: Server) -> None:
    response = ask(wsgi, packet(SERVER_PROTOCOL="HTTP/1.1", HTTP_CONNECTION="keep-alive"))
    assert response.version == "HTTP/1.1"
    assert response.header("Connection") == "close"
    assert response.header("Transfer-Encoding") is None


def test_a_head_request_has_no_body(wsgi: Server) -> None:
    assert ask(wsgi, packet(REQUEST_METHOD="HEAD"), "HEAD").status == 200


def test_early_hints_are_not_sent(wsgi: Server) -> None:
    response = ask(wsgi, packet(QUERY_STRING="hints", SERVER_PROTOCOL="HTTP/1.1"))
    assert response.interim == []


# ASGI


def test_a_scope_is_made_of_a_packet(asgi: Server) -> None:
    seen = told(
        asgi,
        REQUEST_URI="/a%20b?c=d",
        PATH_INFO="/a b",
        QUERY_STRING="c=d",
        REMOTE_ADDR="192.0.2.7",
        REMOTE_PORT="56324",
        HTTPS="on",
        HTTP_HOST="www.example",
        HTTP_X_ID="7",
        HTTP_CONTENT_TYPE="text/html",
        CONTENT_TYPE="text/plain",
        CONTENT_LENGTH="",
        HTTP_UPGRADE="websocket",
        HTTP_CONNECTION="upgrade",
    )
    del seen["server"]
    assert seen == {
        "type": "http",
        "http_version": "1.1",
        "client": ("192.0.2.7", 56324),
        "scheme": "https",
        "method": "GET",
        "root_path": "",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"c=d",
        "headers": [
            (b"host", b"www.example"),
            (b"x-id", b"7"),
            (b"content-type", b"text/plain"),
            (b"upgrade", b"websocket"),
            (b"connection", b"upgrade"),
        ],
    }


@pytest.mark.parametrize(("path", "raw"), [("/app/a b", "/app/a%20b"), ("/a b", "/a%20b")])
def test_a_script_name_is_the_root_path(asgi: Server, path: str, raw: str) -> None:
    seen = told(asgi, SCRIPT_NAME="/app", PATH_INFO=path, REQUEST_URI=raw)
    assert (seen["root_path"], seen["path"]) == ("/app", "/app/a b")
    assert seen["raw_path"] == b"/app/a%20b"


def test_fields_are_believed_if_the_client_in_the_packet_is_a_proxy(asgi: Server) -> None:
    forwarded = {"HTTP_X_FORWARDED_FOR": "203.0.113.9"}
    seen = told(asgi, REMOTE_ADDR="192.0.2.7", REMOTE_PORT="1", **forwarded)
    assert seen["client"] == ("192.0.2.7", 1)
    seen = told(asgi, REMOTE_ADDR="127.0.0.1", REMOTE_PORT="1", **forwarded)
    assert seen["client"] == ("203.0.113.9", 0)


def test_an_asynchronous_application_takes_the_body_while_it_comes(serve: Serve) -> None:
    server = serve(ASGI, "--protocol", "uwsgi")
    head = packet(REQUEST_METHOD="POST", PATH_INFO="/echo", CONTENT_LENGTH="6")
    with server.connect() as connection:
        connection.send(head).send(b"abc")
        connection.send(b"def")
        assert b"abcdef" in connection.receive().body


# Who, what and how much


def test_whoever_is_not_allowed_is_refused(serve: Serve, folder: Path) -> None:
    options = ("--protocol", "uwsgi", "--uwsgi-allow-from", "10.0.0.0/8")
    server = serve("tells:app", *options, cwd=folder)
    assert ask(server, packet()).status == 403
    server.wait_for_log(r"ip=127\.0\.0\.1: uwsgi from an address that is not in uwsgi_allow_ips")


def test_networks_may_be_allowed(serve: Serve, folder: Path) -> None:
    options = ("--protocol", "uwsgi", "--uwsgi-allow-from", "192.0.2.1,127.0.0.0/8")
    server = serve("tells:app", *options, cwd=folder)
    assert ask(server, packet()).status == 200


def test_http_is_refused_with_advice(wsgi: Server) -> None:
    assert ask(wsgi, message("/")).status == 400
    wsgi.wait_for_log(r"not a uwsgi packet; perhaps HTTP, on a socket for uwsgi \(400\)")


def test_a_malformed_packet_is_refused(wsgi: Server) -> None:
    assert ask(wsgi, b"\0\x05\0\0\x09\0abc").status == 400
    wsgi.wait_for_log(r"a malformed uwsgi packet \(400\)")
    assert ask(wsgi, b"\x05\0\0\0").status == 501


def test_a_body_over_the_limit_is_refused(serve: Serve, folder: Path) -> None:
    options = ("--protocol", "uwsgi", "--limit-request-body", "4")
    server = serve("tells:app", *options, cwd=folder)
    assert ask(server, packet(REQUEST_METHOD="POST", CONTENT_LENGTH="5") + b"hello").status == 413


def test_a_packet_that_does_not_come_is_answered_with_408(serve: Serve, folder: Path) -> None:
    options = ("--protocol", "uwsgi", "--head-timeout", "1")
    server = serve("tells:app", *options, cwd=folder)
    assert ask(server, packet()[:-1]).status == 408


def test_the_access_log_names_the_client_and_its_request(serve: Serve, folder: Path) -> None:
    options = ("--protocol", "uwsgi", "--access-logfile", "-")
    server = serve("tells:app", *options, cwd=folder)
    ask(server, packet(REQUEST_URI="/x?y", PATH_INFO="/x", REMOTE_ADDR="192.0.2.7"))
    server.wait_for_log(r'192\.0\.2\.7 - - \[.*\] "GET /x\?y HTTP/1\.1" 200')


def test_a_worker_can_ask_its_application_before_it_serves(serve: Serve, folder: Path) -> None:
    options = ("--protocol", "uwsgi", "--ready-check", "/", "--proxy-protocol-required")
    assert ask(serve("tells:app", *options, cwd=folder), packet()).status == 200


def test_a_request_in_a_packet_has_an_id(serve: Serve, folder: Path) -> None:
    options = ["--protocol", "uwsgi", "--request-id-header", "X-Request-ID"]
    server = serve("tells:app", *options, cwd=folder)
    for sent, kept in (("of-nginx", True), ("no id", False), (None, False)):
        more = [("HTTP_X_REQUEST_ID", sent)] if sent else []
        response = ask(server, packet(*more))
        [id_] = response.all("X-Request-ID")
        assert f"'HTTP_X_REQUEST_ID': '{id_}'" in response.text
        assert id_ == sent if kept else re.fullmatch("[0-9a-f]{32}", id_)

"""TLS, and asynchronous applications: what their clients and they themselves see is gunicorn's."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.certificates import Authority
from harness.client import Connection, Ended, chunked, message
from harness.pair import Side, agree, differs, pair
from harness.server import Server

ASGI = """
import json

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            what = (await receive())["type"].rpartition(".")[0]
            kind = "startup" if what.endswith("startup") else "shutdown"
            await send({"type": f"lifespan.{kind}.complete"})
            if kind == "shutdown":
                return
    path = scope["path"]
    if path == "/raise":
        raise RuntimeError("of the application")
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    if path == "/blocks":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for block in (b"first", b"", b"second"):
            await send({"type": "http.response.body", "body": block, "more_body": True})
        await send({"type": "http.response.body"})
        return
    if path == "/nothing":
        return
    if path == "/empty":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
        return
    told = {
        key: scope[key]
        for key in ("type", "http_version", "method", "scheme", "path", "query_string", "root_path")
    }
    told["query_string"] = told["query_string"].decode()
    told["raw_path"] = scope["raw_path"].decode()
    told["headers"] = [[key.decode(), value.decode("latin-1")] for key, value in scope["headers"]]
    told["client"] = scope["client"][0]
    told["asgi"] = scope["asgi"]["version"]
    told["body"] = body.decode()
    answer = json.dumps(told).encode()
    length = str(len(answer)).encode()
    await send({
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-length", length), (b"x-own", b"1")],
    })
    await send({"type": "http.response.body", "body": answer})
"""

REQUESTS = {
    "GET": message("/one%20two?a=b"),
    "HEAD": message("/", "HEAD"),
    "POST": message("/", "POST", body=b"posted"),
    "a chunked body": message("/", "POST", headers=[("Transfer-Encoding", "chunked")])
    + chunked([b"one", b"two"]),
    "repeated fields": message(
        headers=[("X-A", "1"), ("x-a", "2"), ("Cookie", "a"), ("Cookie", "b")]
    ),
    "an underscore": message(headers=[("X_A", "1")]),
    "https by a proxy": message(headers=[("X-Forwarded-Proto", "https")]),
    "HTTP/1.0": message(version="HTTP/1.0"),
    "Connection: close": message(headers=[("Connection", "close")]),
    "blocks": message("/blocks"),
    "204": message("/empty"),
    "an application that raises": message("/raise"),
    "an application that answers nothing": message("/nothing"),
    "no request": b"nonsense\r\n\r\n",
    "no host": message(host=None),
    "a length beside chunks": message(
        "/", "POST", body=b"", headers=[("Transfer-Encoding", "chunked")]
    ),
    "a long line": message("/" + "a" * 5000),
}

DIFFERENCES = {
    "an application that raises": differs(
        "a fault of the application is none of the connection: nothing else was sent",
        "- afterwards: closed",
        "+ afterwards: 204",
    ),
    "no host": differs("it has to be refused (RFC 9112 §3.2)", "- 200 OK", "+ 400 Bad Request"),
}


def ask(server: Server, request: bytes) -> list[str]:
    """The answer, and what becomes of the connection."""
    method = request.split(b" ")[0].decode()
    with server.connect() as connection:
        response = connection.send_pieces([request]).receive(method)
        refused = response.status >= 400
        fields = sorted((name.lower(), value) for name, value in response.headers)
        own = ("server", "date", "connection", *(("content-type", "content-length") * refused))
        body = "a page" if refused else _told(response.body)
        return [
            f"{response.status} {response.reason}",
            *(f"{name}: {value}" for name, value in fields if name not in own),
            *([body] if isinstance(body, str) else body),
            f"afterwards: {_end(connection)}",
        ]


def _told(body: bytes) -> list[str] | str:
    try:
        told = json.loads(body)
    except ValueError:
        return repr(body)
    return [f"{key} = {value!r}" for key, value in told.items()]


def _end(connection: Connection) -> str:
    try:
        return f"{connection.send_pieces([message('/empty')]).receive().status}"
    except (Ended, OSError):
        return "closed"


@pytest.fixture(scope="module")
def asgi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Both, with an asynchronous application."""
    with pair(tmp_path_factory.mktemp("asgi"), site_app=ASGI) as made:
        yield made.both(lambda side: side.serve("-k", "asgi", "--keep-alive", "60"))


@pytest.mark.parametrize("situation", REQUESTS)
def test_an_asynchronous_application_and_its_client_see_the_same(
    asgi: tuple[Server, Server], situation: str
) -> None:
    theirs, ours = (ask(server, REQUESTS[situation]) for server in asgi)
    if theirs[0].startswith("4") != ours[0].startswith("4"):
        # One of them has refused it: what the other one has answered is not of interest.
        theirs, ours = theirs[:1], ours[:1]
    agree(situation, (theirs, ours), DIFFERENCES)


# TLS.


def tls(side: Side, authority: Authority, *options: str) -> Server:
    identity = authority.issue()
    server = side.launch(*identity.options, *options, app="apps.same:app")
    server.tls = authority.client()
    server.wait_for_log("Listening at: https://")
    return server


def test_https_is_spoken_and_said_to_the_application(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")

    def seen(side: Side) -> list[object]:
        server = tls(side, authority)
        environ = server.request("/environ").json()["plain"]
        names = ("wsgi.url_scheme", "SERVER_PROTOCOL", "REMOTE_ADDR")
        return [environ[name] for name in names]

    with pair(tmp_path) as made:
        theirs, ours = made.both(seen)
    assert ours == theirs == ["https", "HTTP/1.1", "127.0.0.1"]


def test_clients_certificates_are_required(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    client = authority.client(authority.issue("client"), ssl.TLSVersion.TLSv1_2)
    nobody = authority.client(version=ssl.TLSVersion.TLSv1_2)

    def seen(side: Side) -> list[object]:
        server = tls(side, authority, "--cert-reqs", "2", "--ca-certs", str(authority.cert))
        with server.connect(tls=client) as connection:
            status = connection.request().status
        with pytest.raises(OSError):
            server.connect(tls=nobody)
        return [status]

    with pair(tmp_path) as made:
        assert made.both(seen) == ([200], [200])


def test_the_list_of_differences_names_only_what_is_tested() -> None:
    assert DIFFERENCES.keys() <= REQUESTS.keys()

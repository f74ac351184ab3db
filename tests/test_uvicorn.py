"""What uvicorn's users type and rely on: their flags, on the real server."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from conftest import Serve
from harness.client import message
from harness.script import ASGI, WSGI
from harness.server import Server
from harness.wait import until

WSGI_PROBE = "apps.probe:application"
ASGI_PROBE = "apps.asgi_probe:application"
BOTH = pytest.mark.parametrize("app", [WSGI_PROBE, ASGI_PROBE])

TELLS = """
import json, os

def answer(scheme, client):
    return json.dumps({"scheme": scheme, "client": client, "env": dict(os.environ)}).encode()

def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [answer(environ["wsgi.url_scheme"], environ["SCRIPT_NAME"])]

async def asgi(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    client = scope["client"][0] if scope.get("client") else None
    await send({"type": "http.response.body", "body": answer(scope["scheme"], client)})

async def websocket(scope, receive, send):
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    await receive()

def asgi2(scope):
    async def instance(receive, send):
        await asgi(scope, receive, send)
    return instance
"""
PROXIED = [("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "6.6.6.6"), ("SCRIPT_NAME", "/a")]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tells.py").write_text(TELLS)
    return tmp_path


def told(server: Server, **how: Any) -> Any:
    return json.loads(server.request(**how).body)


# Addresses.


@BOTH
def test_host_and_port_are_listened_on(serve: Serve, app: str) -> None:
    server = serve(app, "--host", "127.0.0.1", "--port", "0", bind=None)
    assert server.request("/").status == 200


def test_a_unix_socket_is_listened_on(serve: Serve, folder: Path) -> None:
    server = serve("tells:asgi", "--uds", "s", bind=None, cwd=folder, launch=True)
    server.bind = f"unix:{folder}/s"
    server.wait_for_log("Listening at: unix:s")
    assert told(server.wait_accepting())["client"] is None


# What is added to responses.


@BOTH
def test_the_servers_own_fields_can_be_left_out(serve: Serve, app: str) -> None:
    response = serve(app).request("/")
    assert response.header("Server") == "oxicorn"
    assert response.header("Date") is not None
    response = serve(app, "--no-server-header").request("/")
    assert (response.header("Server"), response.header("Date") is not None) == (None, True)
    response = serve(app, "--no-date-header").request("/")
    assert (response.header("Server"), response.header("Date")) == ("oxicorn", None)
    response = serve(app, "--no-date-header", "--no-server-header").request("/")
    assert (response.header("Server"), response.header("Date")) == (None, None)


@BOTH
def test_every_response_can_have_more_fields(serve: Serve, app: str) -> None:
    server = serve(app, "--header", "X-Served-By: web-1", "--header", "server:mine")
    for _ in range(2):
        response = server.request("/")
        assert (response.header("X-Served-By"), response.header("Server")) == ("web-1", "mine")
    assert server.request("/nowhere-at-all").header("X-Served-By") == "web-1"


def test_the_answer_that_opens_a_websocket_has_them_too(serve: Serve, folder: Path) -> None:
    options = ("--header", "X-Served-By: web-1", "--no-server-header")
    server = serve("tells:websocket", *options, cwd=folder)
    fields = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "MDEyMzQ1Njc4OWFiY2RlZg=="),
        ("Sec-WebSocket-Version", "13"),
    ]
    with server.connect() as connection:
        head = connection.send(message("/", headers=fields)).read_some(65536)
    assert head.startswith(b"HTTP/1.1 101 ")
    assert head.count(b"X-Served-By: web-1\r\n") == 1
    assert b"Server:" not in head


# Proxies.


@pytest.mark.parametrize("app", ["wsgi", "asgi"])
@pytest.mark.parametrize("unix", [False, True])
def test_without_proxy_headers_nobody_is_believed(
    serve: Serve, folder: Path, app: str, unix: bool
) -> None:

    def seen(*options: str) -> tuple[str, str | None]:
        bind = f"unix:{folder}/s{len(options)}" if unix else "127.0.0.1:0"
        server = serve(f"tells:{app}", *options, bind=bind, cwd=folder)
        found = told(server, headers=PROXIED)
        return found["scheme"], found["client"]

    nobody = {"wsgi": "", "asgi": None if unix else "127.0.0.1"}[app]
    assert seen() == ("https", "6.6.6.6" if app == "asgi" else "/a")
    assert seen("--forwarded-allow-ips", "*", "--no-proxy-headers") == ("http", nobody)


# What is loaded.


@pytest.mark.parametrize("text", [WSGI, ASGI], ids=["wsgi", "asgi"])
@pytest.mark.parametrize("options", [(), ("--preload",), ("--reload",)])
def test_a_factory_makes_what_is_served(
    serve: Serve, folder: Path, text: str, options: tuple[str, ...]
) -> None:
    (folder / "made.py").write_text(text + "\ndef create():\n    return app\n")
    server = serve("made:create", "--factory", *options, cwd=folder)
    assert server.request().status == 200


def test_a_factory_that_fails_is_shown_with_its_traceback(serve: Serve, folder: Path) -> None:
    (folder / "made.py").write_text("def create():\n    raise ValueError('no database')\n")
    server = serve("made:create", "--factory", cwd=folder, launch=True)
    server.wait_for_log(r"'made:create\(\)' failed:\n(.*\n)+ValueError: no database")
    server.expect_exit(3)


def test_app_dir_is_importable(serve: Serve, folder: Path) -> None:
    (folder / "src").mkdir()
    (folder / "src/inner.py").write_text(ASGI)
    assert serve("inner:app", "--app-dir", "src", cwd=folder).request().status == 200


@pytest.mark.parametrize(("app", "interface"), [("asgi2", "asgi2"), ("asgi", "asgi3")])
def test_the_interface_may_be_said_in_uvicorns_words(
    serve: Serve, folder: Path, app: str, interface: str
) -> None:
    server = serve(f"tells:{app}", "--interface", interface, cwd=folder)
    assert told(server)["scheme"] == "http"


# The environment.


def test_a_file_of_variables_is_for_the_application(serve: Serve, folder: Path) -> None:
    (folder / "variables").write_text(
        "# a comment\nA=file\nexport B='two words'\nC=file\nD=${A}s\n"
    )
    options = ("--env-file", "variables", "-e", "C=typed", "--chdir", "/")
    server = serve(
        "tells:wsgi", *options, "--pythonpath", str(folder), cwd=folder, env={"A": "set"}
    )
    found = told(server)["env"]
    assert [found[name] for name in "ABCD"] == ["set", "two words", "typed", "sets"]


def test_a_restart_reads_the_file_of_variables_again(serve: Serve, folder: Path) -> None:
    (folder / "variables").write_text("A=one\nGONE=one\n")
    options = ("--env-file", "variables", "--observe-timeout", "0")
    server = serve("tells:wsgi", *options, cwd=folder)
    assert told(server)["env"]["A"] == "one"
    (folder / "variables").write_text("A=two\n")
    server.signal(signal.SIGHUP)
    server.wait_for_log("Generation 2 is confirmed")
    found = told(server)["env"]
    assert (found["A"], "GONE" in found) == ("two", False)


def test_a_file_of_variables_that_is_missing_ends_the_start(serve: Serve, folder: Path) -> None:
    server = serve("tells:wsgi", "--env-file", "nowhere", cwd=folder, launch=True)
    server.expect_exit(1)
    assert "Error: env_file: 'nowhere' cannot be read: " in server.log


# Development.


def test_a_change_in_a_directory_to_watch_reloads(serve: Serve, folder: Path) -> None:
    (folder / "pages").mkdir()
    (folder / "pages/a.html").write_text("one")
    options = ("--reload", "--reload-delay", "0.05", "--reload-dir", "pages")
    server = serve("tells:wsgi", *options, "--reload-include", "*.html", cwd=folder)
    (folder / "pages/b.html").write_text("new")
    until(lambda: (folder / "pages/a.html").write_text("other words") and reloaded(server), "it")


def reloaded(server: Server) -> bool:
    return "pages/a.html modified" in server.log

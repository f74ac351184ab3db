"""What the settings of HTTP and of proxies do."""

from __future__ import annotations

import fcntl
import struct
import termios
from pathlib import Path

from harness.client import Connection, message
from harness.server import Server
from harness.wait import until

from .process import facts, sockets_of, through_unix
from .stage import Stage, act, shows

BLANK = b"GET / HTTP/1.1\r\nHost: a\r\n"


@shows("limit_request_line")
def limit_request_line(stage: Stage) -> None:
    server = stage.server("whole")
    assert server.request("/" + "a" * 450).status == 200
    assert server.request("/" + "a" * 550).status == 414


@shows("limit_request_fields")
def limit_request_fields(stage: Stage) -> None:
    server = stage.server("whole")
    fields = [(f"X-{number}", "1") for number in range(10)]
    assert server.request(headers=fields[:9]).status == 200
    assert server.request(headers=fields).status == 431


@shows("limit_request_field_size")
def limit_request_field_size(stage: Stage) -> None:
    server = stage.server("whole")
    assert server.request(headers=[("X-A", "v" * 500)]).status == 200
    assert server.request(headers=[("X-A", "v" * 700)]).status == 431


@shows("header_map")
def header_map(stage: Stage) -> None:
    assert stage.server("whole").request(headers=[("X_A", "1")]).status == 400


@shows("permit_unconventional_http_method")
def permit_unconventional_http_method(stage: Stage) -> None:
    assert stage.server("whole").request("/facts", "A").status == 200
    assert stage.server("plain").request("/facts", "A").status == 400


@shows("permit_unconventional_http_version")
def permit_unconventional_http_version(stage: Stage) -> None:
    request = message(version="HTTP/1.7")
    assert stage.server("whole").send(request).status == 200
    assert stage.server("plain").send(message(version="HTTP/3.7")).status >= 400


@shows("casefold_http_method")
def casefold_http_method(stage: Stage) -> None:
    seen = stage.server("whole").request("/facts", "get").json()["environ"]
    assert seen["REQUEST_METHOD"] == "GET"
    assert stage.server("plain").request("/facts", "get").status == 400


@shows("forwarded_allow_ips", "secure_scheme_headers")
def secure_scheme_headers(stage: Stage) -> None:
    """The peer of a Unix socket is trusted, that of TCP is not on the list."""
    fields = [("X-TLS", "yes")]
    distrusted = facts(stage.server("whole"), headers=fields)["environ"]
    assert distrusted["wsgi.url_scheme"] == "http"
    with through_unix(stage, "whole") as connection:
        trusted = connection.request("/facts", headers=fields).json()["environ"]
        assert trusted["wsgi.url_scheme"] == "https"
        usual = [("X-Forwarded-Proto", "https")]
        other = connection.request("/facts", headers=usual).json()["environ"]
        assert other["wsgi.url_scheme"] == "http"


@shows("forwarder_headers")
def forwarder_headers(stage: Stage) -> None:
    fields = [("REMOTE_USER", "alice")]
    with through_unix(stage, "whole") as connection:
        seen = connection.request("/facts", headers=fields).json()["environ"]
        assert seen["HTTP_REMOTE_USER"] == "alice"
    assert stage.server("whole").request("/facts", headers=fields).status == 400


# Other protocols in front.


@act("proxied")
def proxied(stage: Stage, folder: Path) -> Server:
    return _behind(stage, folder, 'proxy_protocol = "v1"\nproxy_allow_ips = "10.1.1.1"\n')


@act("uwsgi")
def uwsgi(stage: Stage, folder: Path) -> Server:
    return _behind(stage, folder, 'protocol = "uwsgi"\nuwsgi_allow_ips = "10.1.1.1"\n')


def _behind(stage: Stage, folder: Path, config: str) -> Server:
    bind = f'bind = ["unix:{sockets_of(stage, folder)}", "127.0.0.1:0"]\n'
    return stage.launch(folder, bind + config, app="site_app:app").wait_accepting()


HEADER = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"


@shows("proxy_protocol")
def proxy_protocol(stage: Stage) -> None:
    stage.server("proxied")
    with through_unix(stage, "proxied") as connection:
        seen = connection.send(HEADER).request("/facts").json()["environ"]
    assert (seen["REMOTE_ADDR"], seen["REMOTE_PORT"]) == ("192.0.2.7", "56324")


@shows("proxy_allow_ips")
def proxy_allow_ips(stage: Stage) -> None:
    with stage.server("proxied").connect() as connection:
        assert connection.send(HEADER).request("/facts").status in (400, 403)


def _packet(**variables: str) -> bytes:
    parts = [part.encode() for pair in variables.items() for part in pair]
    text = b"".join(struct.pack("<H", len(part)) + part for part in parts)
    return struct.pack("<BHB", 0, len(text), 0) + text


PACKET = _packet(
    REQUEST_METHOD="GET", REQUEST_URI="/facts", PATH_INFO="/facts", SERVER_PROTOCOL="HTTP/1.1"
)


@shows("protocol")
def protocol(stage: Stage) -> None:
    stage.server("uwsgi")
    with through_unix(stage, "uwsgi") as connection:
        seen = connection.send(PACKET).receive().json()["environ"]
    assert (seen["REQUEST_METHOD"], seen["PATH_INFO"]) == ("GET", "/facts")


@shows("uwsgi_allow_ips")
def uwsgi_allow_ips(stage: Stage) -> None:
    with stage.server("uwsgi").connect() as connection:
        assert connection.send(PACKET).receive().status in (400, 403, 500)


# Files.

SIZE = 32 * 1024


@shows("sendfile")
def sendfile(stage: Stage) -> None:
    """What the kernel sends from a file is read when the client takes it, and else before."""
    assert _changes_on_its_way(stage, "") is True
    assert _changes_on_its_way(stage, "--no-sendfile") is False


def _changes_on_its_way(stage: Stage, option: str) -> bool:
    folder = stage.folder(f"sendfile{option}")
    served = folder / "served"
    served.write_bytes(b"before" * SIZE)
    config = 'bind = "127.0.0.1:0"\n'
    server = stage.launch(folder, config, *option.split(), app="site_app:app").wait_accepting()
    served.write_bytes(b"a" * SIZE)
    with server.connect(receive_buffer=4 * SIZE) as connection:
        connection.send(message("/file", version="HTTP/1.0"))
        until(lambda: _arrived(connection) >= SIZE, "the file is on its way")
        with served.open("r+b") as changed:
            changed.write(b"b" * SIZE)
        return connection.receive().body == b"b" * SIZE


def _arrived(connection: Connection) -> int:
    """How many bytes the kernel has for this end."""
    told = fcntl.ioctl(connection.socket, termios.FIONREAD, bytes(4))
    return int.from_bytes(told, "little")

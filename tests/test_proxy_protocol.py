"""A PROXY header in front of a connection, on the real server: what applications and logs see of
the client, who may send one, and that a restart loses nothing of it. The headers themselves are
`spec/edge/proxy.md`.
"""

from __future__ import annotations

import ast
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from conftest import Serve
from harness.certificates import Authority
from harness.client import Connection, message
from harness.server import Server
from harness.site import Site, restart

LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PROBE = "apps.probe:application"
ASGI = "apps.asgi_probe:application"


def block(command: int, family: int, rest: bytes) -> bytes:
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack(">H", len(rest)) + rest


def block_of(source: str, destination: str, ports: tuple[int, int] = (56324, 443)) -> bytes:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    ends = b"".join(socket.inet_pton(family, address) for address in (source, destination))
    code = 0x21 if family == socket.AF_INET6 else 0x11
    return block(1, code, ends + struct.pack(">HH", *ports))


def environ(connection: Connection) -> dict[str, Any]:
    found: dict[str, Any] = connection.request("/environ").json()
    return found


def scope(connection: Connection, **how: Any) -> dict[str, Any]:
    found: dict[str, Any] = ast.literal_eval(connection.request("/scope", **how).text)
    return found


def client(seen: dict[str, Any]) -> tuple[str, str | None]:
    return seen["REMOTE_ADDR"], seen.get("REMOTE_PORT")


def proxied(seen: dict[str, Any]) -> dict[str, Any]:
    return {key: seen[key] for key in seen if key.startswith("PROXY_")}


@pytest.mark.parametrize(
    "flag", [["--proxy-protocol", "--threads", "1"], ["--proxy-protocol", "v1"]]
)
def test_the_environ_names_the_client_for_every_request(shared: Serve, flag: list[str]) -> None:
    with shared(PROBE, *flag).connect() as connection:
        connection.send(LINE)
        for _ in range(3):
            seen = environ(connection)
            assert client(seen) == ("192.0.2.7", "56324")
            assert proxied(seen) == {
                "PROXY_PROTOCOL": "TCP4",
                "PROXY_ADDR": "198.51.100.1",
                "PROXY_PORT": "443",
            }


@pytest.mark.parametrize("options", [(), ("--threads", "2")])
def test_clients_of_one_worker_are_not_mixed_up(shared: Serve, options: tuple[str, ...]) -> None:
    server = shared(PROBE, "--proxy-protocol", "auto", *options)
    with server.connect() as first, server.connect() as second, server.connect() as plain:
        first.send(LINE)
        second.send(block_of("2001:db8::7", "2001:db8::1", (9, 80)))
        for _ in range(2):
            assert client(environ(first)) == ("192.0.2.7", "56324")
            assert client(environ(second)) == ("2001:db8::7", "9")
            assert proxied(environ(second))["PROXY_PROTOCOL"] == "TCP6"
            seen = environ(plain)
            port = str(plain.socket.getsockname()[1])
            assert (client(seen), proxied(seen)) == (("127.0.0.1", port), {})


def test_on_a_unix_socket_who_has_no_address_gets_nobodys(serve: Serve, tmp_path: Path) -> None:
    server = serve(PROBE, "--proxy-protocol", "auto", bind=f"unix:{tmp_path}/s")
    with server.connect() as named, server.connect() as plain:
        named.send(LINE)
        for _ in range(2):
            assert client(environ(named)) == ("192.0.2.7", "56324")
            assert client(environ(plain)) == ("", None)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (block(0, 0, b""), "LOCAL"),
        (block(1, 0, b""), "UNSPEC"),
        (block(1, 0x31, bytes(216)), "UNIX"),
        (b"PROXY UNKNOWN\r\n", "UNKNOWN"),
    ],
    ids=["local", "unspecified", "unix", "unknown"],
)
def test_a_header_without_addresses_leaves_the_connections_own(
    shared: Serve, header: bytes, name: str
) -> None:
    with shared(PROBE, "--proxy-protocol", "auto").connect() as connection:
        seen = environ(connection.send(header))
        assert client(seen) == ("127.0.0.1", str(connection.socket.getsockname()[1]))
        assert proxied(seen) == {"PROXY_PROTOCOL": name}


def test_a_scope_names_the_client_for_every_request(shared: Serve) -> None:
    server = shared(ASGI, "--proxy-protocol", "auto")
    with server.connect() as connection, server.connect() as plain:
        connection.send(LINE)
        for _ in range(2):
            assert scope(connection)["client"] == ("192.0.2.7", 56324)
            port = plain.socket.getsockname()[1]
            assert scope(plain)["client"] == ("127.0.0.1", port)


def test_a_balancers_own_fields_count_beside_its_header(shared: Serve) -> None:
    with shared(ASGI, "--proxy-protocol", "auto").connect() as connection:
        connection.send(LINE)
        fields = [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https")]
        seen = scope(connection, headers=fields)
        assert (seen["client"], seen["scheme"]) == (("203.0.113.9", 0), "https")


def test_the_access_log_names_the_client(serve: Serve) -> None:
    server = serve(PROBE, "--proxy-protocol", "--access-logfile", "-")
    with server.connect() as connection:
        connection.send(LINE + message("/")).receive()
    server.wait_for_log(r'192\.0\.2\.7 - - \[.*"GET / HTTP/1\.1" 200')


def test_a_header_that_comes_slowly_occupies_no_thread(shared: Serve) -> None:
    """One worker, one thread, and a header that is never completed."""
    server = shared(PROBE, "--proxy-protocol", "auto")
    with server.connect() as slow:
        slow.send(LINE[:20])
        for _ in range(5):
            assert server.request("/").status == 200
        slow.send(LINE[20:])
        assert client(environ(slow)) == ("192.0.2.7", "56324")


def refusal(server: Server, data: bytes) -> int:
    with server.connect() as connection:
        status = connection.send(data).receive().status
        assert connection.is_closed()
    return status


def test_whoever_is_not_allowed_is_refused(serve: Serve) -> None:
    server = serve(PROBE, "--proxy-protocol", "--proxy-allow-from", "10.0.0.0/8,192.0.2.7")
    assert refusal(server, LINE + message("/")) == 403
    assert refusal(server, SIGNATURE) == 403
    server.wait_for_log(r"Invalid request from ip=127\.0\.0\.1: a PROXY header from an address", 2)
    assert server.request("/").status == 200, "a header is optional"


def test_networks_may_be_allowed(shared: Serve) -> None:
    server = shared(PROBE, "--proxy-protocol", "--proxy-allow-from", "10.0.0.1,127.0.0.0/8")
    with server.connect() as connection:
        assert client(environ(connection.send(LINE))) == ("192.0.2.7", "56324")


def test_a_malformed_header_is_refused(serve: Serve) -> None:
    server = serve(PROBE, "--proxy-protocol", "auto")
    assert refusal(server, b"PROXY TCP4 1.2.3.4\r\n" + message("/")) == 400
    server.wait_for_log(r"ip=127\.0\.0\.1: a malformed PROXY line \(400\)")
    assert refusal(server, block(1, 0x12, bytes(12)) + message("/")) == 400
    server.wait_for_log(r"a PROXY header of what is no stream \(400\)")


def test_a_header_may_be_required(serve: Serve) -> None:
    server = serve(
        PROBE, "--proxy-protocol", "v2", "--proxy-protocol-required", "--ready-check", "/"
    )
    assert refusal(server, message("/")) == 400
    server.wait_for_log(r"no PROXY header, which is required here \(400\)")
    with server.connect() as connection:
        seen = environ(connection.send(block_of("192.0.2.7", "198.51.100.1")))
        assert client(seen) == ("192.0.2.7", "56324")


def test_without_the_setting_a_header_is_a_malformed_request(probe: Server) -> None:
    assert refusal(probe, LINE + message("/")) == 400


def test_a_header_that_never_ends_is_answered_with_408(serve: Serve) -> None:
    server = serve(PROBE, "--proxy-protocol", "--head-timeout", "1")
    assert refusal(server, LINE[:-2]) == 408


def test_the_client_stays_known_through_restarts(serve: Serve, tmp_path: Path) -> None:
    text = """
def app(environ, start_response):
    said = ["{version}", environ["REMOTE_ADDR"], environ.get("PROXY_PROTOCOL", "")]
    body = " ".join(said).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
    site = Site(tmp_path, serve, "--proxy-protocol", "auto", "--keep-alive", "600", app=text)
    server = site.launch("--restart-mode", "hot").wait_serving()
    with server.connect() as used, server.connect() as fresh, server.connect() as half:
        assert used.send(LINE + message("/")).receive().text == "one 192.0.2.7 TCP4"
        fresh.send(LINE)
        half.send(LINE[:30])
        site.write("two")
        restart(server)
        assert used.request("/").text == "two 192.0.2.7 TCP4"
        assert fresh.request("/").text == "two 192.0.2.7 TCP4"
        half.send(LINE[30:])
        assert half.request("/").text == "two 192.0.2.7 TCP4"


# In front of TLS, where load balancers that pass it on send it.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def secured(connection: Connection, authority: Authority) -> Connection:
    """Goes on with TLS."""
    connection.socket = authority.client().wrap_socket(
        connection.socket, server_hostname="localhost"
    )
    return connection


@pytest.mark.parametrize("header", [LINE, block_of("192.0.2.7", "198.51.100.1")])
def test_a_header_stands_in_front_of_the_handshake(
    serve: Serve, authority: Authority, header: bytes
) -> None:
    options = ("--proxy-protocol", "auto", "--proxy-protocol-required")
    tls = authority.issue().options
    server = serve(PROBE, *options, *tls, launch=True)
    server.wait_for_log("Booting worker")
    with server.connect(tls=None) as whole, server.connect(tls=None) as pieces:
        pieces.send(header[:20])
        secured(whole.send(header), authority)
        assert client(environ(whole)) == ("192.0.2.7", "56324")
        # The worker has looked at the first piece meanwhile.
        secured(pieces.send(header[20:]), authority)
        for _ in range(2):
            seen = environ(pieces)
            assert (client(seen), seen["wsgi.url_scheme"]) == (("192.0.2.7", "56324"), "https")


def test_what_stands_in_front_of_the_handshake_has_to_be_a_header(
    serve: Serve, authority: Authority
) -> None:
    options = ("--proxy-protocol", "auto", "--proxy-protocol-required")
    tls = authority.issue().options
    server = serve(PROBE, *options, *tls, launch=True)
    server.wait_for_log("Booting worker")
    with server.connect(tls=None) as connection, pytest.raises(OSError):
        secured(connection, authority)
    server.wait_for_log("no PROXY header, which is required here")
    with server.connect(tls=None) as connection:
        response = connection.send(b"PROXY TCP4 nobody\r\n").receive()
        assert (response.status, connection.is_closed()) == (400, True)
    with server.connect(tls=None) as connection:
        connection.send(LINE[:20]).finish_sending()
        assert connection.is_closed()


def test_over_tls_a_header_may_be_left_out(serve: Serve, authority: Authority) -> None:
    options = ("--proxy-protocol", "auto", *authority.issue().options)
    server = serve(PROBE, *options, tls=authority.client())
    with server.connect() as plain, server.connect(tls=None) as named:
        assert client(environ(plain))[0] == "127.0.0.1"
        assert client(environ(secured(named.send(LINE), authority)))[0] == "192.0.2.7"

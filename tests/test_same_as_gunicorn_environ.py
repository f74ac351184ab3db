"""What an application sees of a request: the same environ from gunicorn and from ours, whatever the
proxy in front is and whom the server trusts.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from harness.client import Connection, message
from harness.pair import Pair, Side, agree, differs, pair
from harness.server import Server

VOLATILE = {"REMOTE_PORT", "SERVER_PORT", "SERVER_SOFTWARE"}
"""Differs from server to server; that it is there is compared."""

OF_GUNICORN = {"gunicorn.socket"}
"""What only gunicorn has. Its socket is not ours to give: nobody else may read from it."""


class Setup(NamedTuple):
    """How a server is started."""

    options: tuple[str, ...] = ()
    config: str = ""
    env: dict[str, str] | None = None
    unix: bool = False


SETUPS = {
    "usual": Setup(),
    "threads": Setup(("-k", "gthread", "--threads", "2", "--workers", "2")),
    "distrustful": Setup(("--forwarded-allow-ips", "10.0.0.0/8")),
    "trusts everybody": Setup(("--forwarded-allow-ips", "*", "--forwarder-headers", "*")),
    "trusts by environment": Setup(env={"FORWARDED_ALLOW_IPS": "192.0.2.0/24,127.0.0.0/8"}),
    "own scheme headers": Setup(config="secure_scheme_headers = {'X-TLS': 'yes'}\n"),
    "dangerous": Setup(("--header-map", "dangerous")),
    "refuse": Setup(("--header-map", "refuse")),
    "mounted": Setup(env={"SCRIPT_NAME": "/mounted"}),
    "lenient": Setup(("--permit-unconventional-http-method", "--casefold-http-method")),
    "versions": Setup(("--permit-unconventional-http-version",)),
    "unix": Setup(unix=True),
    "proxied": Setup(("--proxy-protocol=auto",)),
    "proxied v1": Setup(("--proxy-protocol", "v1")),
    "proxied v2": Setup(("--proxy-protocol", "v2")),
    "proxied by others": Setup(("--proxy-protocol", "auto", "--proxy-allow-from", "10.1.1.1")),
    "uwsgi": Setup(("--protocol", "uwsgi")),
    "uwsgi of others": Setup(("--protocol", "uwsgi", "--uwsgi-allow-from", "10.1.1.1")),
}


def get(*fields: tuple[str, str], target: str = "/environ", **how: Any) -> bytes:
    return message(target, headers=fields, **how)


LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"
LINE_6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
BLOCK = (
    SIGNATURE
    + b"\x21\x11"
    + struct.pack(">H4s4sHH", 12, bytes([192, 0, 2, 7]), bytes([198, 51, 100, 1]), 56324, 443)
)
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"


def packet(**variables: str) -> bytes:
    """A packet of uwsgi."""
    always = {
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": "/environ",
        "PATH_INFO": "/environ",
        "QUERY_STRING": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "test.example",
    }
    parts = [part.encode() for one in (always | variables).items() for part in one]
    text = b"".join(struct.pack("<H", len(part)) + part for part in parts)
    return struct.pack("<BHB", 0, len(text), 0) + text


REQUESTS = {
    # usual
    "usual: a query": get(target="/environ?a=b&c=%20"),
    "usual: no query mark": get(),
    "usual: escapes": get(target="/%65nviron?%41"),
    "usual: an escaped slash": get(target="/environ%2Fmore"),
    "usual: UTF-8 in the path": get(target="/caf%C3%A9"),
    "usual: a target with a host": get(target="http://other.example/environ?x"),
    "usual: a double slash": get(target="//environ"),
    "usual: a fragment": get(target="/environ#part"),
    "usual: a body": get(("Content-Type", "text/x"), method="POST", body=b"body"),
    "usual: a chunked body": get(("Transfer-Encoding", "chunked"), method="POST")
    + b"1\r\nx\r\n0\r\n\r\n",
    "usual: repeated fields": get(("X-A", "1"), ("x-a", "2"), ("Cookie", "a=1"), ("Cookie", "b=2")),
    "usual: a value that is not ASCII": get(("X-A", "caf\xe9")),
    "usual: an empty value": get(("X-A", "")),
    "usual: an underscore": get(("X_A", "1")),
    "usual: HTTP/1.0": get(version="HTTP/1.0"),
    "usual: no host in HTTP/1.0": get(version="HTTP/1.0", host=None),
    "usual: https by a proxy": get(("X-Forwarded-Proto", "https")),
    "usual: https by another name": get(("X-Forwarded-Protocol", "ssl")),
    "usual: https by a third name": get(("X-Forwarded-Ssl", "on")),
    "usual: http by a proxy": get(("X-Forwarded-Proto", "http")),
    "usual: the address of a client": get(("X-Forwarded-For", "192.0.2.7")),
    "usual: contradictions": get(("X-Forwarded-Proto", "https"), ("X-Forwarded-Ssl", "off")),
    "usual: a script name": get(("SCRIPT_NAME", "/environ")),
    "usual: a script name that is not there": get(("SCRIPT_NAME", "/elsewhere")),
    "usual: a path of a proxy": get(("PATH_INFO", "/environ"), target="/other"),
    "usual: a proxy header that is not expected": LINE + get(),
    # others
    "threads: a request": get(),
    "distrustful: https by a proxy": get(("X-Forwarded-Proto", "https")),
    "distrustful: contradictions": get(("X-Forwarded-Proto", "https"), ("X-Forwarded-Ssl", "off")),
    "distrustful: a script name": get(("SCRIPT_NAME", "/environ")),
    "trusts everybody: https by a proxy": get(("X-Forwarded-Proto", "https")),
    "trusts everybody: an underscore": get(("X_A", "1"), ("REMOTE_USER", "alice")),
    "trusts by environment: https by a proxy": get(("X-Forwarded-Proto", "https")),
    "own scheme headers: its own": get(("X-TLS", "yes")),
    "own scheme headers: the usual": get(("X-Forwarded-Proto", "https")),
    "dangerous: an underscore": get(("X_A", "1"), ("X-A", "2")),
    "refuse: an underscore": get(("X_A", "1")),
    "refuse: a script name": get(("SCRIPT_NAME", "/environ")),
    "mounted: below": get(target="/mounted/environ"),
    "mounted: elsewhere": get(),
    "lenient: a lower-case method": get(method="get"),
    "lenient: an odd method": get(method="a#b"),
    "versions: another version": get(version="HTTP/1.7"),
    "unix: a request": get(),
    "unix: a host with a port": get(host="test.example:8080"),
    "unix: https by a proxy": get(("X-Forwarded-Proto", "https")),
    "unix: HTTP/1.0 without a host": get(version="HTTP/1.0", host=None),
    # below HTTP
    "proxied: without a header": get(),
    "proxied: version 1": LINE + get(),
    "proxied: version 1 of IPv6": LINE_6 + get(),
    "proxied: version 2": BLOCK + get(),
    "proxied: a health check": LOCAL + get(),
    "proxied: nonsense": b"PROXY to somewhere\r\n" + get(),
    "proxied v1: version 1": LINE + get(),
    "proxied v2: version 2": BLOCK + get(),
    "proxied by others: version 1": LINE + get(),
    "proxied by others: without a header": get(),
    "uwsgi: a packet": packet(),
    "uwsgi: a client": packet(REMOTE_ADDR="192.0.2.7", REMOTE_PORT="99", HTTPS="on"),
    "uwsgi: another modifier": b"\x05" + packet()[1:],
    "uwsgi of others: a packet": packet(),
}

CUT_OFF = differs(
    "a proxy that has taken the prefix off is served; gunicorn calls it an error of its own",
    "- status 500",
    "+ an answer",
)

DIFFERENCES = {
    "usual: a target with a host": differs(
        "the host of the target counts (RFC 9112 §3.2.2)",
        "- HTTP_HOST = 'test.example'",
        "+ HTTP_HOST = 'other.example'",
    ),
    "usual: a fragment": differs(
        "a target has none (RFC 9112 §3.2)", "- an answer", "+ status 400"
    ),
    "usual: a script name that is not there": CUT_OFF,
    "mounted: elsewhere": CUT_OFF,
    "versions: another version": differs(
        "what is served is HTTP/1.1",
        "- SERVER_PROTOCOL = 'HTTP/1.7'",
        "+ SERVER_PROTOCOL = 'HTTP/1.1'",
    ),
    "unix: HTTP/1.0 without a host": differs(
        "a path is no name of a server", "- SERVER_NAME = '{socket}'", "+ SERVER_NAME = ''"
    ),
    "proxied: a health check": differs(
        "the connection's own address is that of the proxy, which asks",
        *("- PROXY_PORT = 'None'", "- PROXY_ADDR is there", "- REMOTE_ADDR is there"),
        "+ REMOTE_ADDR = '127.0.0.1'",
    ),
    "uwsgi: a packet": differs(
        "all variables of the packet are there", "+ REQUEST_URI = '/environ'"
    ),
    "uwsgi: a client": differs(
        "all variables of the packet are there, and the client's address is what nginx says",
        "- REMOTE_ADDR = '127.0.0.1'",
        *("+ HTTPS = 'on'", "+ REMOTE_ADDR = '192.0.2.7'", "+ REQUEST_URI = '/environ'"),
    ),
    "uwsgi: another modifier": differs(
        "a fault of the sender is none of the server", "- status 500", "+ status 501"
    ),
    "uwsgi of others: a packet": differs(
        "a fault of the sender is none of the server", "- status 500", "+ status 403"
    ),
}


class Site:
    """All servers of one side, each started when it is first asked."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._servers: dict[str, Server] = {}

    def ask(self, situation: str) -> list[str]:
        """The environ, or the status of the refusal."""
        name = situation.partition(":")[0]
        if name not in self._servers:
            self._servers[name] = self._start(SETUPS[name])
        with self._servers[name].connect() as connection:
            return _seen(connection, REQUESTS[situation])

    def _start(self, setup: Setup) -> Server:
        self._side.write(conf=setup.config)
        how: dict[str, Any] = {"app": "apps.same:show", "env": setup.env}
        if setup.unix:
            how["bind"] = f"unix:{self._side.short}/unix"
        # It has read the file before it accepts; the next server has another one.
        return self._side.launch(*setup.options, **how).wait_accepting()


def _seen(connection: Connection, request: bytes) -> list[str]:
    connection.versions = ("HTTP/1.0", "HTTP/1.1", "HTTP/1.7")
    response = connection.send_pieces([request]).receive()
    if response.status != 200:
        return [f"status {response.status}"]
    told = json.loads(response.body)
    plain = told["plain"]
    return [
        *(f"{key} = {_shown(plain[key])}" for key in sorted(plain.keys() - VOLATILE)),
        *(f"{key} is there" for key in sorted(plain.keys() & VOLATILE)),
        *(f"{key} is there" for key in sorted(set(told["others"]) - OF_GUNICORN)),
    ]


def _shown(value: object) -> str:
    """A value without the folder of the test."""
    return re.sub(r"'/[^']*/oxi-[^/]*/unix'", "'{socket}'", repr(value))


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pair, dict[str, Site]]]:
    """Gunicorn's servers and ours."""
    with pair(tmp_path_factory.mktemp("environ")) as made:
        yield made, {side.program: Site(side) for side in made.sides}


@pytest.mark.parametrize("situation", REQUESTS)
def test_an_application_sees_the_same(sites: tuple[Pair, dict[str, Site]], situation: str) -> None:
    made, of = sites
    theirs, ours = made.both(lambda side: of[side.program].ask(situation))
    if len(theirs) != len(ours) and 1 in (len(theirs), len(ours)):
        # One of them has refused it: what the other one has answered is not of interest.
        theirs, ours = (seen if len(seen) == 1 else ["an answer"] for seen in (theirs, ours))
    agree(situation, (theirs, ours), DIFFERENCES)


def test_the_list_of_differences_names_only_what_is_tested() -> None:
    assert DIFFERENCES.keys() <= REQUESTS.keys()

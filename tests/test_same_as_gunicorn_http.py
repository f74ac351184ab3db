"""The same request to gunicorn and to ours: the same response, byte for byte but for `Server` and
`Date`, and the same end of the connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from harness.client import Connection, Ended, Response, chunked, message
from harness.pair import Difference, Pair, Side, agree, differs, pair
from harness.server import Server

PROBE = message("/after")


IGNORED = ("server", "date")
OWN_PAGE = ("content-type", "content-length")
"""Fields that go with a page of the server, whose words are its own."""


def ask(server: Server, request: bytes) -> list[str]:
    """Sends the request: its answer, and whether the connection serves another one."""
    method = request.split(b" ")[0].decode("latin-1")
    with server.connect() as connection:
        connection.send_pieces([request])
        response = connection.receive(method)
        is_own_page = response.status >= 400 and not response.all("x-by-application")
        body = "a page" if is_own_page else repr(response.body)
        return [
            *(f"interim {status}" for status in response.interim),
            f"{response.version} {response.status} {response.reason}",
            *fields(response, is_own_page, b"HTTP/1.0\r\n" in request),
            f"body: {body}" if response.complete else f"body, cut: {body}",
            f"afterwards: {_end(connection)}",
        ]


def fields(response: Response, is_own_page: bool, is_old: bool) -> list[str]:
    """What the response says of itself, sorted."""
    left_out = (*IGNORED, *(OWN_PAGE if is_own_page else ()))
    # What HTTP/1.1 means without it (RFC 9112 §9.3), and gunicorn says all the same.
    usual = None if is_old else ("connection", "keep-alive")
    found = sorted((name.lower(), value) for name, value in response.headers)
    return [f"{one[0]}: {one[1]}" for one in found if one[0] not in left_out and one != usual]


def _end(connection: Connection) -> str:
    try:
        return f"{connection.send_pieces([PROBE]).receive().status}"
    except (Ended, OSError):
        return "closed"


def of(status: str, body: str = "", **fields: str) -> bytes:
    """Has the application answer so."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return message("/status?" + urlencode({"status": status, "body": body, **named}))


def with_field(*fields: tuple[str, str], target: str = "/", **how: str) -> bytes:
    return message(target, headers=fields, **how)


CHUNKED = ("Transfer-Encoding", "chunked")
BODY = chunked([b"one", b"two" * 100])

REQUESTS = {
    # methods and targets
    "GET": message(),
    "HEAD": message(method="HEAD"),
    "HEAD of what has no length": message("/blocks", "HEAD"),
    "OPTIONS *": message("*", "OPTIONS"),
    "a method of one's own": message(method="BREW"),
    "a long query": message("/?" + "q" * 3000),
    "an absolute target": message("http://test.example/environ-of?x=1"),
    "a target with an escape": message("/%41%2F?%20"),
    # bodies
    "POST": message("/echo", "POST", body=b"posted" * 1000),
    "POST of nothing": message("/echo", "POST", body=b""),
    "POST without a length": message("/echo", "POST"),
    "a chunked body": message("/echo", "POST", headers=[CHUNKED]) + BODY,
    "a chunked body with extensions and trailers": message("/echo", "POST", headers=[CHUNKED])
    + b"3;a=b\r\none\r\n0\r\nX-Trailer: 1\r\n\r\n",
    "a body that is not read": message("/", "POST", body=b"x" * 2000),
    "a body read in lines": message("/lines", "POST", body=b"a\nbcdef\nghijk\nl\n"),
    "Expect: 100-continue": with_field(
        ("Expect", "100-continue"), ("Content-Length", "2"), target="/echo", method="POST"
    )
    + b"hi",
    "another expectation": with_field(("Expect", "the-moon")),
    # versions and connections
    "HTTP/1.0": message(version="HTTP/1.0"),
    "HTTP/1.0 with keep-alive": with_field(("Connection", "keep-alive"), version="HTTP/1.0"),
    "HTTP/1.0 without a length": message("/blocks", version="HTTP/1.0"),
    "HTTP/1.0 without a host": message(version="HTTP/1.0", host=None),
    "Connection: close": with_field(("Connection", "close")),
    "Connection: keep-alive": with_field(("Connection", "keep-alive")),
    "HTTP/1.0 with Expect": with_field(("Expect", "100-continue"), version="HTTP/1.0"),
    "a leading empty line": b"\r\n" + message(),
    # responses
    "blocks without a length": message("/blocks"),
    "one block without a length": message("/one-block"),
    "write()": message("/written"),
    "start_response again with exc_info": message("/replaced"),
    "204": of("204 No Content"),
    "204 with a body": of("204 No Content", "never sent"),
    "304": of("304 Not Modified", ETag='"e"'),
    "304 with a length": of("304 Not Modified", Content_Length="10"),
    "404 of the application": of("404 Not Found", "nothing", X_By_Application="1"),
    "500 of the application": of("500 Oh No", "broken", X_By_Application="1"),
    "a status of one's own": of("299 Fine So Far", "fine"),
    "a body longer than its length": of("200 OK", "ninechars", Content_Length="4"),
    "an empty body without a length": of("200 OK", ""),
    "fields that end at the server": of("200 OK", "x", Connection="close", Keep_Alive="timeout=9"),
    "a field twice": message(
        "/status?status=200+OK&Set-Cookie=a%3D1&Set-Cookie=b%3D2&Content-Length=0"
    ),
    "Date and Server of the application": of("200 OK", "x", Server="mine", Date="now"),
    "an application that raises": message("/raises"),
    "start_response twice": message("/twice"),
    "no start_response": message("/silent"),
    "a text for bytes": message("/text"),
    "a status without a number": of("OK", "x"),
    "a field name that is none": of("200 OK", "x", **{"a b": "c"}),
    "a field value with a line break": of("200 OK", "x", X_A="one\r\ntwo"),
    "an application that raises after its first block": message("/raises-late"),
    # what is refused
    "no request": b"this is not HTTP at all, is it?\r\n\r\n",
    "a lower-case method": message(method="get"),
    "a method with a slash": message(method="GE/T"),
    "HTTP/2.0": message(version="HTTP/2.0"),
    "a version that is none": message(version="HTTQ/1.1"),
    "a target with a blank": message("/a b"),
    "a target that is not ASCII": "GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n".encode("latin-1"),
    "a line that is too long": message("/" + "a" * 4100),
    "too many fields": message(headers=[(f"X-{n}", "1") for n in range(101)]),
    "a field that is too large": with_field(("X-Large", "v" * 8200)),
    "a blank before the colon": b"GET / HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n",
    "a folded field": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n  c\r\n\r\n",
    "a field without a colon": b"GET / HTTP/1.1\r\nHost: a\r\nXA\r\n\r\n",
    "a field name that is empty": b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    "a control character in a field": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\x01c\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: a\n\n",
    "two hosts": with_field(("Host", "b")),
    "no host": message(host=None),
    "a length that is no number": with_field(("Content-Length", "two"), method="POST"),
    "a length with a sign": with_field(("Content-Length", "+2"), method="POST"),
    "two lengths that differ": with_field(
        ("Content-Length", "2"), ("Content-Length", "3"), method="POST"
    ),
    "two lengths that agree": with_field(
        ("Content-Length", "2"), ("Content-Length", "2"), method="POST"
    )
    + b"hi",
    "a length beside chunks": with_field(CHUNKED, ("Content-Length", "2"), method="POST") + BODY,
    "an unknown coding": with_field(("Transfer-Encoding", "rot13, chunked"), method="POST") + BODY,
    "a coding that does not end in chunked": with_field(
        ("Transfer-Encoding", "gzip"), method="POST"
    ),
    "chunked twice": with_field(("Transfer-Encoding", "chunked, chunked"), method="POST") + BODY,
    "chunked on HTTP/1.0": with_field(CHUNKED, method="POST", version="HTTP/1.0") + BODY,
    "a size of a chunk that is none": message("/echo", "POST", headers=[CHUNKED]) + b"zz\r\n",
    "a name with an underscore": with_field(("X_Under", "1"), target="/environ-less"),
}

OLD = differs(
    "a server says its own version, also to an older client (RFC 9110 §6.2)",
    "- HTTP/1.0 200 OK",
    "+ HTTP/1.1 200 OK",
)

SURVIVES = differs(
    "a fault of the application is none of the connection: nothing else was sent",
    "- connection: close",
    "- afterwards: closed",
    "+ afterwards: 200",
)


def length(number: int) -> Difference:
    """A body that is complete when the head is sent."""
    reason = "its length is known, and cheaper for both than chunks"
    return differs(reason, "- transfer-encoding: chunked", f"+ content-length: {number}")


DIFFERENCES = {
    "Expect: 100-continue": differs(
        "the client has not waited for it (RFC 9110 §10.1.1)", "- interim 100"
    ),
    "HTTP/1.0": OLD,
    "HTTP/1.0 with keep-alive": OLD,
    "HTTP/1.0 without a length": OLD,
    "HTTP/1.0 without a host": OLD,
    "HTTP/1.0 with Expect": OLD,
    "one block without a length": length(3),
    "404 of the application": length(7),
    "500 of the application": length(6),
    "a status of one's own": length(4),
    "an empty body without a length": length(0),
    "Date and Server of the application": length(1),
    "start_response again with exc_info": differs(
        "what is replaced is gone (PEP 3333)", "- transfer-encoding: chunked", "- x-first: 1"
    ),
    "fields that end at the server": differs(
        "the application may end the connection",
        *("- transfer-encoding: chunked", "- afterwards: 200"),
        *("+ connection: close", "+ content-length: 1", "+ afterwards: closed"),
    ),
    "an application that raises": SURVIVES,
    "start_response twice": SURVIVES,
    "no start_response": SURVIVES,
    "a status without a number": SURVIVES,
    "a field name that is none": SURVIVES,
    "a field value with a line break": SURVIVES,
    "a text for bytes": differs(
        "nothing has been sent yet, so that it can be said",
        *("- HTTP/1.1 200 OK", "- transfer-encoding: chunked", "- body, cut: b''"),
        "- afterwards: closed",
        *("+ HTTP/1.1 500 Internal Server Error", "+ body: a page", "+ afterwards: 200"),
    ),
    "HTTP/2.0": differs(
        "there is a status that says what is wrong (RFC 9110 §15.6.6)",
        "- HTTP/1.1 400 Bad Request",
        "+ HTTP/1.1 505 HTTP Version Not Supported",
    ),
    "no host": differs(
        "it has to be refused (RFC 9112 §3.2)",
        *("- HTTP/1.1 200 OK", "- content-length: 6", "- content-type: text/plain"),
        *("- body: b'hello\\n'", "- afterwards: 200"),
        *("+ HTTP/1.1 400 Bad Request", "+ connection: close", "+ body: a page"),
        "+ afterwards: closed",
    ),
    "an unknown coding": differs(
        "the reason is that of the code",
        "- HTTP/1.1 501 Bad Request",
        "+ HTTP/1.1 501 Not Implemented",
    ),
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Gunicorn and ours, on which connections are kept alive."""
    with pair(tmp_path_factory.mktemp("http")) as made:
        yield started(made)


def started(made: Pair) -> tuple[Server, Server]:
    def start(side: Side) -> Server:
        options = ("-k", "gthread", "--threads", "2", "--keep-alive", "60")
        return side.serve(*options, app="apps.same:app")

    return made.both(start)


def test_a_client_that_waits_is_told_to_continue(servers: tuple[Server, Server]) -> None:
    fields = [("Expect", "100-continue"), ("Content-Length", "2")]
    for server in servers:
        with server.connect() as connection:
            connection.send(message("/echo", "POST", headers=fields))
            assert connection.receive_interim() == 100
            assert connection.send(b"hi").receive().body == b"hi"


def test_pipelined_requests_are_answered_in_order(servers: tuple[Server, Server]) -> None:
    seen = []
    for server in servers:
        with server.connect() as connection:
            posts = [message("/echo", "POST", body=b"%d" % number) for number in range(20)]
            connection.send(b"".join(posts) + b"nonsense\r\n\r\n" + message())
            bodies = [connection.receive().body for _ in posts]
            seen.append((bodies, connection.receive().status, connection.is_closed()))
    assert seen[0] == seen[1]
    assert seen[1] == ([b"%d" % number for number in range(20)], 400, True)


@pytest.mark.parametrize("situation", REQUESTS)
def test_a_request_has_the_same_answer(servers: tuple[Server, Server], situation: str) -> None:
    theirs, ours = (ask(server, REQUESTS[situation]) for server in servers)
    agree(situation, (theirs, ours), DIFFERENCES)


def test_the_list_of_differences_names_only_what_is_tested() -> None:
    assert DIFFERENCES.keys() <= REQUESTS.keys()

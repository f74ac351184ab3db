"""Framework-free WSGI applications, one per scenario, as small as PEP 3333 allows.

They are not examples of good style for a site: each does one thing, so that what is measured is the
server. Every answer is fixed, so that the harness can compare it byte for byte.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]

HELLO = b"Hello, world!"
TEN_KILOBYTES = b"0123456789abcdef" * 640
BLOCK = b"0123456789abcdef" * 256
BLOCKS = 16
MEGABYTE = b"0123456789abcdef" * 65536
PROBE_PAUSE = 0.1
"""Seconds between two blocks of the streaming probe."""


def _answer(start_response: StartResponse, body: bytes) -> list[bytes]:
    start_response(
        "200 OK",
        [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))],
    )
    return [body]


def _read_body(environ: Environ) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    return body


def hello(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Answer 13 bytes of text."""
    return _answer(start_response, HELLO)


def body_in(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Read the whole request body and answer its length in decimal."""
    return _answer(start_response, str(len(_read_body(environ))).encode())


def body_out(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Answer 10 KB from one list element."""
    return _answer(start_response, TEN_KILOBYTES)


def _blocks(pause: float) -> Iterator[bytes]:
    for index in range(BLOCKS):
        if index and pause:
            time.sleep(pause)
        yield BLOCK


def stream(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer 16 blocks of 4 KB from a generator, without a Content-Length.

    `/probe` waits between the blocks: it shows whether the server sends them as they come.
    """
    start_response("200 OK", [("Content-Type", "text/plain")])
    return _blocks(PROBE_PAUSE if environ["PATH_INFO"] == "/probe" else 0.0)


def sleep_10ms(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Wait 10 ms, as for a database, then answer 13 bytes."""
    time.sleep(0.010)
    return _answer(start_response, HELLO)


def sleep_100ms(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Sleep 100 ms, then answer 13 bytes of text."""
    time.sleep(0.1)
    return _answer(start_response, HELLO)


def mixed_50ms(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Answer 13 bytes; `/slow` waits 50 ms first."""
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.050)
    return _answer(start_response, HELLO)


def site(environ: Environ, start_response: StartResponse) -> list[bytes]:
    """Answer 13 bytes; a POST answers its length, `/big` one megabyte."""
    if environ["REQUEST_METHOD"] == "POST":
        return body_in(environ, start_response)
    return _answer(start_response, MEGABYTE if environ["PATH_INFO"] == "/big" else HELLO)

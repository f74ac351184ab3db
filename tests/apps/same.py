"""The application that gunicorn and ours serve side by side: each path does one thing, whatever
serves it, and nothing in an answer depends on the process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl

Environ = dict[str, Any]
Start = Callable[..., Any]


def app(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Calls the view of the path; an unknown one is greeted."""
    view = VIEWS.get(environ["PATH_INFO"], hello)
    return view(environ, start_response)


def hello(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "6")])
    return [b"hello\n"]


def show(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Everything of the environ that can be compared."""
    kinds = (str, int, tuple)
    plain = {key: value for key, value in environ.items() if isinstance(value, kinds)}
    others = sorted(environ.keys() - plain.keys())
    body = json.dumps({"plain": plain, "others": others}).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def echo(environ: Environ, start_response: Start) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def lines(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """The body by each of the ways in which PEP 3333 lets it be read."""
    stream = environ["wsgi.input"]
    seen = [stream.readline(), stream.readline(3), stream.read(4), stream.readlines(), list(stream)]
    body = repr(seen).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def blocks(environ: Environ, start_response: Start) -> Iterator[bytes]:
    """Two blocks and an empty one, without a length."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"first"
    yield b""
    yield b"second"


def one_block(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"one"]


def status(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """The status, fields and body that the query says."""
    query = parse_qsl(environ["QUERY_STRING"], keep_blank_values=True)
    said = dict(query)
    fields = [(name, value) for name, value in query if name not in ("status", "body")]
    start_response(said["status"], fields)
    return [said.get("body", "").encode()]


def written(environ: Environ, start_response: Start) -> Iterable[bytes]:
    write = start_response("200 OK", [])
    write(b"written,")
    write(b"")
    return [b"returned"]


def replaced(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """An error page instead of what was begun."""
    start_response("200 OK", [("X-First", "1")])
    try:
        raise ValueError
    except ValueError as error:
        start_response("418 Teapot", [("X-Second", "2")], (ValueError, error, None))
    return [b"error page"]


def twice(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [])
    start_response("200 OK", [])
    return [b"never"]


def raises(environ: Environ, start_response: Start) -> Iterable[bytes]:
    raise RuntimeError("of the application")


def raises_late(environ: Environ, start_response: Start) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"first"
    raise RuntimeError("of the application, later")


def silent(environ: Environ, start_response: Start) -> Iterable[bytes]:
    return [b"without a head"]


def text(environ: Environ, start_response: Start) -> Iterable[Any]:
    start_response("200 OK", [])
    return ["a text"]


VIEWS: dict[str, Callable[[Environ, Start], Iterable[bytes]]] = {
    "/blocks": blocks,
    "/echo": echo,
    "/environ": show,
    "/lines": lines,
    "/one-block": one_block,
    "/raises": raises,
    "/raises-late": raises_late,
    "/replaced": replaced,
    "/silent": silent,
    "/status": status,
    "/text": text,
    "/twice": twice,
    "/written": written,
}

"""An application behind `wsgiref.validate`, which raises at every breach of PEP 3333."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.validate import validator


def _application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    stream = environ["wsgi.input"]
    first = stream.readline(100)
    size = len(first) + len(stream.read(1 << 30))
    environ["wsgi.errors"].write("validated\n")
    environ["wsgi.errors"].flush()
    write = start_response("200 OK", [("Content-Type", "text/plain"), ("X-Size", str(size))])
    if environ["PATH_INFO"] == "/write":
        write(b"written ")
    return _blocks()


def _blocks() -> Iterator[bytes]:
    yield b"one "
    yield b"two"


application = validator(_application)

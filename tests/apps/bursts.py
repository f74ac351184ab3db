"""Blocks in quick succession, and then something that takes its time.

The query: `count` blocks of `size` bytes, numbered; `before`, seconds of waiting that come first;
`via`, how they are sent (`yield` or `write`); `then`, what follows until the file `FILE.open` is
there: `wait`, `compute`, or `keep` the interpreter lock (until a byte comes from `FILE.fifo`).
"""

import ctypes
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

_pause = threading.Event()


def numbered(number: int, size: int) -> bytes:
    """A block that can be told from the others."""
    return f"{number:>{size}}".encode()


def wait(base: str) -> None:
    while not Path(base + ".open").exists():
        _pause.wait(0.005)


def compute(base: str) -> None:
    while not Path(base + ".open").exists():
        pass


def keep(base: str) -> None:
    """Nobody else runs Python until the byte comes."""
    with open(base + ".fifo", "rb", buffering=0) as fifo:
        ctypes.PyDLL(None).read(fifo.fileno(), ctypes.create_string_buffer(1), 1)


THEN: dict[str, Callable[[str], None]] = {"wait": wait, "compute": compute, "keep": keep}


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """See the module."""
    query = dict(parse_qsl(environ["QUERY_STRING"]))
    count, size = int(query.get("count", 3)), int(query.get("size", 10))
    write = start_response("200 OK", [("Content-Type", "text/plain")])

    def blocks() -> Iterator[bytes]:
        _pause.wait(float(query.get("before", 0)))
        for number in range(count):
            yield numbered(number, size)
        if "then" in query:
            THEN[query["then"]](query["file"])
        if "raise" in query:
            raise RuntimeError("broken behind a burst")

    if query.get("via") == "write":
        for block in blocks():
            write(block)
        return []
    return blocks()

"""The application most tests talk to: each path does one thing.

A view gets the environ and the query's values, and returns a body (bytes or an iterable); `Reply`
carries another status or headers. What a view did can be read back from `/events`.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import io
import json
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

Environ = dict[str, Any]
Query = dict[str, str]
EVENTS: deque[str] = deque(maxlen=500)
VIEWS: dict[str, Callable[[Environ, Query], Any]] = {}
_pause = threading.Event()


@dataclass
class Reply:
    """A body with a status and headers of its own."""

    body: Any
    status: str = "200 OK"
    headers: list[tuple[str, str]] = field(default_factory=list)


def view(path: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declares the view of a path."""

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        VIEWS[path] = function
        return function

    return declare


def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Finds the view of the path and answers with what it returns."""
    found = VIEWS.get(environ["PATH_INFO"])
    if found is None:
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"no such view\n"]
    reply = found(environ, dict(parse_qsl(environ["QUERY_STRING"])))
    if not isinstance(reply, Reply):
        reply = Reply(reply)
    body = reply.body
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
    start_response(reply.status, [("Content-Type", "text/plain"), *reply.headers])
    return [body] if isinstance(body, bytes) else body


class Closing:
    """An iterable that records its end: `close` under its name, once for each call."""

    def __init__(self, name: str, parts: Iterable[bytes]):
        self.name = name
        self.parts = iter(parts)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self.parts)

    def close(self) -> None:
        EVENTS.append(f"close {self.name}")


@view("/")
def hello(environ: Environ, query: Query) -> bytes:
    return b"Hello, world!\n"


@view("/environ")
def show_environ(environ: Environ, query: Query) -> dict[str, Any]:
    shown = (str, int, bool, tuple)
    return {key: value for key, value in environ.items() if isinstance(value, shown)}


@view("/types")
def show_types(environ: Environ, query: Query) -> dict[str, str]:
    return {key: type(value).__name__ for key, value in environ.items()}


@view("/process")
def process(environ: Environ, query: Query) -> dict[str, Any]:
    gc.collect()
    return {
        "pid": os.getpid(),
        "thread": threading.get_ident(),
        "objects": len(gc.get_objects()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "blocks": sys.getallocatedblocks(),
    }


@view("/events")
def events(environ: Environ, query: Query) -> list[str]:
    return [event for event in EVENTS if event.endswith(query.get("name", ""))]


# bodies


@view("/body")
def body(environ: Environ, query: Query) -> dict[str, Any]:
    """Length and hash of the request body, read in blocks."""
    EVENTS.append(f"called {query.get('name', 'body')}")
    digest, size = hashlib.sha256(), 0
    while block := environ["wsgi.input"].read(65536):
        digest.update(block)
        size += len(block)
    return {"size": size, "sha256": digest.hexdigest(), "pid": os.getpid()}


@view("/unread")
def unread(environ: Environ, query: Query) -> bytes:
    """Answers without looking at the body."""
    return b"unread\n"


@view("/bytes")
def many_bytes(environ: Environ, query: Query) -> Reply:
    """`size` bytes in one piece."""
    size = int(query["size"])
    return Reply(b"x" * size, headers=[("Content-Length", str(size))])


@view("/stream")
def stream(environ: Environ, query: Query) -> Iterable[bytes]:
    """`count` blocks of `size` bytes."""
    block = b"y" * int(query.get("size", 1000))
    parts = (block for _ in range(int(query.get("count", 4))))
    return Closing(query.get("name", "stream"), parts)


@view("/endless")
def endless(environ: Environ, query: Query) -> Iterable[bytes]:
    """Blocks without end, until somebody calls `close`."""
    return Closing(query["name"], iter(lambda: b"z" * 16384, b""))


@view("/gated-stream")
def gated_stream(environ: Environ, query: Query) -> Iterable[bytes]:
    """One block, a gate, a second block."""

    def parts() -> Iterator[bytes]:
        yield b"first"
        pass_gate(query)
        yield b"second"

    return Closing(query["file"], parts())


@view("/breaks")
def breaks(environ: Environ, query: Query) -> Iterable[bytes]:
    """Raises in the middle of its blocks."""

    def parts() -> Iterator[bytes]:
        yield b"first"
        raise RuntimeError("broken in the middle")

    return Closing(query["name"], parts())


@view("/file")
def send_file(environ: Environ, query: Query) -> Reply:
    """A file through `wsgi.file_wrapper`: `path`, `offset`, `length` (Content-Length)."""
    opened = RecordedFile(query["path"], query.get("name", "file"))
    opened.seek(int(query.get("offset", 0)))
    headers = [("Content-Length", query["length"])] if "length" in query else []
    return Reply(environ["wsgi.file_wrapper"](opened, 8192), headers=headers)


@view("/memory-file")
def send_memory_file(environ: Environ, query: Query) -> Iterable[bytes]:
    """Something that can only `read`, through `wsgi.file_wrapper`."""
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](io.BytesIO(b"m" * int(query["size"])))
    return wrapped


@view("/upper-file")
def send_changed_file(environ: Environ, query: Query) -> Iterable[bytes]:
    """What middleware does: it goes over the wrapper's blocks itself."""
    return (block.upper() for block in environ["wsgi.file_wrapper"](open(query["path"], "rb")))


@view("/pipe-file")
def send_pipe(environ: Environ, query: Query) -> Iterable[bytes]:
    """A real file without a size."""
    reader, writer = os.pipe()
    os.write(writer, query["text"].encode())
    os.close(writer)
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](os.fdopen(reader, "rb"))
    return wrapped


class RecordedFile(io.FileIO):
    """A real file that records its `close`."""

    def __init__(self, path: str, name: str):
        super().__init__(path)
        self.recorded = name

    def close(self) -> None:
        if not self.closed:
            EVENTS.append(f"close {self.recorded}")
        super().close()


# waiting and hanging


def pass_gate(query: Query) -> None:
    """Announces itself by FILE.entered and waits until FILE.open exists."""
    base = query["file"]
    Path(base + ".entered").touch()
    while not Path(base + ".open").exists():
        _pause.wait(0.005)


@view("/gate")
def gate(environ: Environ, query: Query) -> dict[str, Any]:
    pass_gate(query)
    return {"pid": os.getpid(), "thread": threading.get_ident()}


@view("/pause")
def pause(environ: Environ, query: Query) -> bytes:
    threading.Event().wait(float(query["seconds"]))
    return b"paused\n"


@view("/nap")
def nap(environ: Environ, query: Query) -> dict[str, Any]:
    """Waits for so long, and tells who has."""
    threading.Event().wait(float(query["seconds"]))
    return {"pid": os.getpid()}


@view("/compute")
def compute(environ: Environ, query: Query) -> bytes:
    """Computes for so long, in pure Python."""
    end = time.monotonic() + float(query["seconds"])
    while time.monotonic() < end:
        pass
    return b"computed\n"


@view("/hang")
def hang_in_python(environ: Environ, query: Query) -> bytes:
    """Never comes back; waits without the interpreter lock."""
    threading.Event().wait()
    return b""


@view("/fork")
def fork(environ: Environ, query: Query) -> bytes:
    """Forks; the child leaves the view as asked, the parent answers with the child's exit code."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return b"%d" % os.waitstatus_to_exitcode(status)
    if "exit" in query:
        raise SystemExit(int(query["exit"]))
    return b"from the child"


@view("/spin")
def hang_in_a_loop(environ: Environ, query: Query) -> bytes:
    """Never comes back; computes."""
    while True:
        pass


@view("/hang-in-c")
def hang_in_c(environ: Environ, query: Query) -> bytes:
    """Never comes back: C code that keeps the interpreter lock."""
    ctypes.PyDLL(None).pause()
    return b""


@view("/gate-and-hang-in-c")
def hang_in_c_later(environ: Environ, query: Query) -> bytes:
    """As above, behind a gate; makes FILE.hangs when it has the lock for ever."""
    pass_gate(query)
    library = ctypes.PyDLL(None)
    library.creat(f"{query['file']}.hangs".encode(), 0o600)
    library.pause()
    return b""


# errors


@view("/raise")
def raise_error(environ: Environ, query: Query) -> bytes:
    raise ValueError(query.get("text", "a view that fails"))


@view("/raise-base")
def raise_base(environ: Environ, query: Query) -> bytes:
    kinds: dict[str, type[BaseException]] = {
        "SystemExit": SystemExit,
        "KeyboardInterrupt": KeyboardInterrupt,
        "GeneratorExit": GeneratorExit,
    }
    raise kinds[query["kind"]]("from a view")


@view("/die")
def die(environ: Environ, query: Query) -> bytes:
    """The worker ends at once: by exit code, or by signal if negative."""
    code = int(query["code"])
    if code < 0:
        os.kill(os.getpid(), -code)
        signal.pause()
    os._exit(code)


@view("/status")
def any_status(environ: Environ, query: Query) -> Reply:
    return Reply(b"body\n", status=query["status"], headers=[("Content-Length", "5")])


@view("/log")
def write_log(environ: Environ, query: Query) -> bytes:
    environ["wsgi.errors"].write(query["text"] + "\n")
    environ["wsgi.errors"].flush()
    print("printed:", query["text"])
    return b"logged\n"

"""What is particular to applications in greenlets; everything else is `apps.probe`'s."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from apps.probe import EVENTS, VIEWS, Environ, Query, view
from apps.probe import application as probe

LOCAL = threading.local()
DOORS: dict[str, threading.Event] = {}
INSIDE: dict[str, int] = {"now": 0, "most": 0}


def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """As the probe's; for `/write` the old way to send."""
    if environ["PATH_INFO"] in WRITERS:
        query = dict(pair.split("=") for pair in environ["QUERY_STRING"].split("&") if pair)
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        return WRITERS[environ["PATH_INFO"]](write, query)
    return probe(environ, start_response)


@view("/sleep")
def sleep(environ: Environ, query: Query) -> bytes:
    """Sleeps in the standard library's way, and counts who does so together."""
    INSIDE["now"] += 1
    INSIDE["most"] = max(INSIDE["most"], INSIDE["now"])
    try:
        time.sleep(float(query.get("seconds", 0.1)))
    finally:
        INSIDE["now"] -= 1
    return b"slept\n"


@view("/inside")
def inside(environ: Environ, query: Query) -> dict[str, int]:
    return INSIDE


@view("/who")
def who(environ: Environ, query: Query) -> dict[str, Any]:
    """What runs this request, and what an earlier one has left in it."""
    import gevent

    current = gevent.getcurrent()
    before = getattr(LOCAL, "value", None)
    LOCAL.value = "left"
    return {
        "greenlet": isinstance(current, gevent.Greenlet),
        "hub": current.parent is gevent.get_hub(),
        "before": before,
        "pid": os.getpid(),
    }


@view("/patched")
def patched(environ: Environ, query: Query) -> dict[str, bool]:
    """Which modules are, and were when this one was imported."""
    from gevent import monkey

    names = ("os", "socket", "ssl", "threading", "time", "select", "subprocess", "queue")
    found = {name: monkey.is_module_patched(name) for name in names}
    return {**found, "class": socket.socket.__module__.startswith("gevent")}


@view("/wait")
def wait(environ: Environ, query: Query) -> bytes:
    """Waits for another request, which opens the door."""
    DOORS.setdefault(query["door"], threading.Event()).wait()
    return b"through\n"


@view("/open")
def open_door(environ: Environ, query: Query) -> bytes:
    DOORS.setdefault(query["door"], threading.Event()).set()
    return b"open\n"


@view("/ask")
def ask(environ: Environ, query: Query) -> bytes:
    """Asks this very worker, which can answer only if this request lets it."""
    with urlopen(f"http://127.0.0.1:{environ['SERVER_PORT']}/") as answer:
        body: bytes = answer.read()
    return body


@view("/steps")
def steps(environ: Environ, query: Query) -> Iterator[bytes]:
    """Blocks with a pause before each."""
    for number in range(int(query["count"])):
        time.sleep(0.002)
        yield b"%d\n" % number


@view("/cleanup")
def cleanup(environ: Environ, query: Query) -> bytes:
    """Waits for ever, and cleans up when it is ended."""
    EVENTS.append("waits")
    try:
        time.sleep(1000)
    finally:
        print("cleaned up", flush=True)
    return b""


@view("/exit")
def leave(environ: Environ, query: Query) -> bytes:
    import gevent

    raise gevent.GreenletExit


@view("/kill")
def kill(environ: Environ, query: Query) -> bytes:
    """Is ended by another greenlet while it waits."""
    import gevent

    gevent.spawn(gevent.getcurrent().kill, block=False)
    time.sleep(1000)
    return b""


@view("/limited")
def limited(environ: Environ, query: Query) -> Iterator[bytes]:
    """A response that may take so long, however slow its client is."""
    import gevent

    block = b"l" * 1_000_000
    with gevent.Timeout(float(query["seconds"])):
        for _ in range(int(query["count"])):
            yield block


@view("/fork-and-wait")
def fork_and_wait(environ: Environ, query: Query) -> bytes:
    """A child that uses the hub while its parent serves, and leaves by a return from here."""
    child = os.fork()
    if child:
        while not os.waitpid(child, os.WNOHANG)[0]:
            time.sleep(0.01)
        return b"waited\n"
    door = Path(query["file"] + ".open")
    Path(query["file"] + ".entered").touch()
    while not door.exists():
        time.sleep(0.005)
    Path(query["file"] + ".left").touch()
    return b"from the child"


@view("/fork-and-exit")
def fork_and_exit(environ: Environ, query: Query) -> bytes:
    """As the probe's `/fork`, with the exit code of the child for an answer."""
    import gevent

    # gevent does it only after the first fork, and never hears of a child that is gone by then.
    gevent.get_hub().loop.install_sigchld()
    answer: bytes = VIEWS["/fork"](environ, query)
    return answer


@view("/background")
def background(environ: Environ, query: Query) -> bytes:
    """A thread of the application, which is a greenlet."""
    threading.Thread(target=lambda: EVENTS.append("background"), daemon=True).start()
    return b"started\n"


@view("/handle")
def handle(environ: Environ, query: Query) -> bytes:
    """From now on SIGUSR2 leaves an event."""
    import gevent

    gevent.spawn(signal.signal, signal.SIGUSR2, lambda *_: EVENTS.append("usr2")).join()
    return b"handled\n"


def write_blocks(write: Any, query: Query) -> Iterable[bytes]:
    """So many blocks, each by a call of `write`."""
    for _ in range(int(query["count"])):
        write(b"w" * 1_000_000)
    EVENTS.append("written")
    return []


def write_elsewhere(write: Any, query: Query) -> Iterable[bytes]:
    """Returns while another greenlet is still writing."""
    import gevent

    def rest() -> None:
        for _ in range(int(query["count"])):
            write(b"w" * 1_000_000)
        EVENTS.append("written")

    gevent.spawn(rest)
    gevent.sleep(0)
    EVENTS.append("returned")
    return [b"end"]


WRITERS = {"/write": write_blocks, "/write-elsewhere": write_elsewhere}

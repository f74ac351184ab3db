"""What the settings of workers' lives do: how long they live, how they end, what is loaded anew."""

from __future__ import annotations

import os
import time
from pathlib import Path
from signal import SIGTERM

from harness.client import Connection, Ended, message
from harness.server import Server
from harness.wait import until

from .process import facts
from .stage import Stage, act, shows

TCP = 'bind = "127.0.0.1:0"\n'


def _serving(stage: Stage, name: str, config: str) -> Server:
    server = stage.launch(stage.folder(name), TCP + config, app="site_app:app").wait_accepting()
    server.request()
    return server


@shows("max_requests")
def max_requests(stage: Stage) -> None:
    server = _serving(stage, "few", "max_requests = 3\n")
    seen: list[int] = []

    def three_workers() -> bool:
        seen.append(_pid(server))
        return len(set(seen)) == 3

    until(three_workers, "three workers have answered")
    server.wait_for_log("Autorestarting worker after current request.", 2)


def _pid(server: Server) -> int:
    """Who answers; a worker that leaves may be asked."""

    def asked() -> int:
        try:
            return int(facts(server)["pid"])
        except (OSError, Ended):
            return 0

    return until(asked, "a worker answers")


@shows("max_requests_jitter")
def max_requests_jitter(stage: Stage) -> None:
    """So much that a worker with a limit of one serves on: it fails once in 50 000 000 times."""
    server = _serving(stage, "jitter", "max_requests = 1\nmax_requests_jitter = 1000000000\n")
    assert len({_pid(server) for _ in range(20)}) == 1


@shows("timeout", "graceful_timeout")
def timeout(stage: Stage) -> None:
    server = _serving(stage, "stuck", "timeout = 2\n")
    worker = server.worker
    with server.connect() as connection:
        connection.send(message("/hang"))
        server.wait_for_log(rf"WORKER TIMEOUT \(pid:{worker}\)")
        until(lambda: worker not in server.workers(), "it is ended")
    patient = _serving(stage, "patient", "timeout = 60\ngraceful_timeout = 1\n")
    with patient.connect() as connection:
        connection.send(message("/hang"))
        until((stage.folder("patient") / "hanging").exists, "it hangs")
        began = time.monotonic()
        patient.signal(SIGTERM)
        assert patient.wait() == 0
    assert 0.8 < time.monotonic() - began < 15


@act("crowded")
def crowded(stage: Stage, folder: Path) -> Server:
    config = "worker_connections = 2\nkeepalive = 60\nthreads = 2\n"
    return _serving(stage, folder.name, config)


@shows("threads")
def threads(stage: Stage) -> None:
    """Two requests in the application, each of which waits for the other."""
    server = stage.server("crowded")
    assert facts(server)["environ"]["wsgi.multithread"] is True
    with server.connect() as first, server.connect() as second:
        for connection in (first, second):
            connection.send(message("/meet"))
        assert [one.receive().json() for one in (first, second)] == ["met", "met"]


@shows("worker_connections")
def worker_connections(stage: Stage) -> None:
    """At the limit the longest idle connection makes room."""
    server = stage.server("crowded")
    first, second = until(lambda: _two(server), "nobody else is connected")
    with first, second, server.connect() as third:
        third.send(message())
        assert first.readable(30)
        assert first.is_closed()
        assert third.receive().status == 200
        assert second.request().status == 200


def _two(server: Server) -> tuple[Connection, Connection] | None:
    """Two connections, if there is room for both."""
    both = server.connect(), server.connect()
    try:
        assert [one.request().status for one in both] == [200, 200]
        assert both[0].request().status == 200
    except (Ended, OSError):
        for one in both:
            one.close()
        return None
    return both[1], both[0]


# Development.


@act("reloading")
def reloading(stage: Stage, folder: Path) -> Server:
    (folder / "extra.txt").write_text("extra")
    config = 'reload = True\nreload_engine = "poll"\nreload_extra_files = ["extra.txt"]\n'
    server = stage.launch(folder, TCP + config, app="site_app:app").wait_accepting()
    server.request()
    return server


def _touch(path: Path) -> None:
    """Changes a file at once, and so that it cannot go unnoticed."""
    before, new = path.stat(), path.with_suffix(".new")
    new.write_text(path.read_text() + "\n")
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns + 2_000_000_000))
    os.replace(new, path)


def replaces_its_worker(stage: Stage, name: str) -> None:
    server = stage.server("reloading")
    # What is watched is known a moment after the first answer.
    before = _pid(server)
    path = stage.folder("reloading") / name

    def replaced() -> bool:
        _touch(path)
        return _pid(server) != before

    until(replaced, f"{name} has been seen")


@shows("reload")
def reload(stage: Stage) -> None:
    replaces_its_worker(stage, "site_app.py")


@shows("reload_extra_files")
def reload_extra_files(stage: Stage) -> None:
    replaces_its_worker(stage, "extra.txt")

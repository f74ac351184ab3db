"""`max_worker_memory`: a worker that has grown too large is replaced, and nobody notices. And what
a restart does when there is no memory for a second set of workers.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conftest import Serve
from harness import processes
from harness.client import Connection
from harness.deployment import Deployment
from harness.load import Load
from harness.server import Server
from harness.wait import throughout, until

APP = """
{before}
import os
KEPT = []

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/grow/"):
        KEPT.append(b"x" * (int(path[6:]) << 20))
    body = b"{version}" if path != "/pid" else str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""

LIMIT = ("--max-worker-memory", "150M", "--keep-alive", "30")


@pytest.fixture
def site(tmp_path: Path, serve: Serve) -> Iterator[Deployment]:
    # The path of a Unix socket is short, and that of a test's folder may be long.
    with tempfile.TemporaryDirectory(prefix="oxi-") as runtime:
        yield Deployment(tmp_path, Path(runtime), serve, APP)


def replaced(server: Server, count: int = 1) -> tuple[int, int]:
    """Waits until a worker said that it is too large; who, and its MiB."""
    line = server.wait_for_log(r"pid:(\d+)\) uses (\d+) MiB, and max_worker_memory is 150", count)
    return int(line.group(1)), int(line.group(2))


@pytest.mark.parametrize("threads", ["1", "3"])
def test_a_worker_that_grows_too_large_is_replaced_and_keeps_its_connections(
    site: Deployment, threads: str
) -> None:
    server = site.start(*LIMIT, "--threads", threads, workers=1)
    old = server.worker
    with Load(server, clients=3) as load, server.connect() as kept:
        load.wait_for("one", 10)
        assert kept.request("/grow/200").status == 200
        pid, size = replaced(server)
        assert pid == old and 200 <= size < 400
        server.wait_for_log(rf"Worker \(pid:{old}\) exited with code 0. It finished its work")
        load.wait_for("one", 20)
        assert kept.request().status == 200
    (new,) = server.wait_for_workers(1)
    assert new != old
    assert processes.resident(new) < 150 << 10


def one_connection_each(server: Server, stack: ExitStack) -> dict[int, Connection]:
    """A connection to every worker."""
    found: dict[int, Connection] = {}

    def complete() -> bool:
        connection = stack.enter_context(server.connect())
        found[int(connection.request("/pid").text)] = connection
        return set(found) == set(server.workers())

    until(complete, "a connection to every worker")
    return found


def test_workers_that_grow_together_are_replaced_one_by_one(site: Deployment) -> None:
    server = site.start(*LIMIT, workers=3)
    old = server.workers()
    counts = set()

    def all_are_replaced() -> bool:
        # Nobody looks at a worker that nobody asks.
        assert {connection.request().text for connection in connections.values()} == {"one"}
        counts.add(len(server.workers()))
        return not set(old) & set(server.workers())

    with ExitStack() as stack:
        connections = one_connection_each(server, stack)
        for connection in connections.values():
            assert connection.request("/grow/150").status == 200
        until(all_are_replaced, "all are replaced")
    assert max(counts) <= 4
    assert {replaced(server, count)[0] for count in (1, 2, 3)} == set(old)


def test_a_limit_that_is_too_small_does_not_become_a_loop(site: Deployment) -> None:
    server = site.start("--max-worker-memory", "1M", workers=1)
    with Load(server, clients=2) as load:
        warning = r"Worker \(pid:\d+\) uses \d+ MiB within [\d.]+ s of its boot, .* in 60 s\."
        server.wait_for_log(warning)
        after = server.wait_for_workers(1)
        load.wait_for("one", 20)
        throughout(lambda: server.workers() == after, "the worker stays", 2.5)
    assert len(re.findall("uses .* MiB", server.log)) == 2
    assert len(re.findall("asks to be replaced", server.log)) == 1


def test_without_a_limit_nobody_looks(site: Deployment) -> None:
    server = site.start(workers=1)
    worker = server.worker
    assert server.request("/grow/200").status == 200
    for _ in range(20):
        server.request()
    assert server.worker == worker
    assert "max_worker_memory" not in server.log


def test_a_limit_that_a_restart_brings_is_kept(site: Deployment) -> None:
    server = site.start(workers=1)
    site.configure("max_worker_memory = '150M'")
    assert site.restart()[0] == 0
    assert server.request("/grow/150").status == 200
    until(lambda: server.request().text == "one" and "uses" in server.log, "it is too large")
    replaced(server)


def test_without_memory_for_two_generations_a_restart_is_regular(site: Deployment) -> None:
    """A large worker, and a configuration that asks for more of them than fit."""
    site.write("one", "LARGE = b'x' * (400 << 20)")
    site.configure("workers = 1")
    server = site.launch()
    server.wait_for_log("is ready")
    too_many = processes.available() // (300 << 10)
    site.configure(f"workers = {too_many}")
    site.write("two", "raise RuntimeError('only one of them finds out')")
    code, printed = site.restart()
    assert code != 0 and "RuntimeError: only one of them finds out" in printed
    figures = rf"1 worker uses 4\d\d MiB, {too_many} new ones need \d+ MiB, and \d+ MiB are free"
    server.wait_for_log(f"The restart is regular, not hot: {figures}")
    assert "Restart (regular): generation 2 boots beside 1." in server.log
    assert len(re.findall("Booting worker", server.log)) == 2
    assert server.request().text == "one"
    site.configure("workers = 2")
    site.write("three")
    assert site.restart()[0] == 0
    assert server.log.count("Restart (hot)") == 1

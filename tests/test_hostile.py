"""Clients, applications and surroundings that do their worst: the server lives on and says why."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conftest import Serve
from harness import processes
from harness.client import Connection
from harness.server import Server
from harness.wait import until

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HALF_BODY = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + b"x" * 100_000

APPLICATION = """
import os, signal, sys, threading

def application(environ, start_response):
    answer = globals()[environ["PATH_INFO"][1:] or "fine"](start_response)
    if answer is not None:
        return answer
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]

def fine(start_response):
    pass

def closes_everything(start_response):
    os.closerange(3, 4096)

def ignores_signals(start_response):
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)

def answers_late(start_response):
    def late():
        try:
            start_response("200 OK", [])
        except AssertionError as error:
            print("late:", error, flush=True)
    threading.Timer(0.05, late).start()

def runs_out_of_memory(start_response):
    blocks = []
    while True:
        blocks.append(bytearray(10_000_000))

def will_not_close(start_response):
    start_response("200 OK", [])
    return stubborn()

def stubborn():
    while True:
        try:
            yield b"z" * 100_000
        except GeneratorExit:
            yield b"no"
"""


@pytest.fixture
def hostile(serve: Serve, tmp_path: Path) -> Iterator[Server]:
    """A server of an application that harms its own process."""
    (tmp_path / "hostile_app.py").write_text(APPLICATION)
    yield serve("hostile_app", cwd=tmp_path)


def lives(server: Server) -> bool:
    """The server answers as if nothing had been."""
    return server.request("/").status == 200


# applications


def test_an_application_that_closes_every_descriptor_costs_its_worker_only(hostile: Server) -> None:
    victim = hostile.worker
    with hostile.connect() as connection:
        connection.send(b"GET /closes_everything HTTP/1.1\r\nHost: x\r\n\r\n").rest()
    until(lambda: victim not in hostile.workers(), "the worker is gone")
    hostile.wait_for_log(rf"Worker \(pid:{victim}\) (exited with code|was sent)")
    assert lives(hostile)


def test_an_application_that_ignores_every_signal_can_be_stopped(hostile: Server) -> None:
    assert hostile.request("/ignores_signals").text == "fine"
    hostile.stop()


def test_start_response_outside_its_request_is_refused(hostile: Server) -> None:
    assert hostile.request("/answers_late").text == "fine"
    hostile.wait_for_log("late: start_response was called outside its request")
    assert lives(hostile)


def test_a_generator_that_will_not_close_is_logged(hostile: Server) -> None:
    worker = hostile.worker
    with hostile.connect() as connection:
        connection.send(b"GET /will_not_close HTTP/1.1\r\nHost: x\r\n\r\n").read_some(1)
    hostile.wait_for_log("generator ignored GeneratorExit")
    assert lives(hostile)
    assert hostile.worker == worker


def test_running_out_of_memory_in_the_application_is_a_500(hostile: Server) -> None:
    limit = 800_000_000
    resource.prlimit(hostile.worker, resource.RLIMIT_AS, (limit, limit))
    assert hostile.request("/runs_out_of_memory").status == 500
    hostile.wait_for_log("MemoryError")
    assert lives(hostile)


# clients


@pytest.mark.parametrize("reset", [False, True])
def test_clients_that_leave_at_any_byte_leave_nothing_behind(probe: Server, reset: bool) -> None:
    whole = REQUEST + HALF_BODY[:200]
    before = processes.descriptors(probe.worker)
    for end in range(len(whole)):
        connection = probe.connect().send(whole[:end])
        connection.abort() if reset else connection.close()
    assert lives(probe)
    processes.wait_for_no_more_than(before, lambda: [probe.worker])


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + bytes(200), 400),
        (b"\x00" * 10_000, 400),
        (b"\r\n" * 100_000 + REQUEST, 400),
        (b"A" * 1_000_000, 414),
        (REQUEST[:-2] + b"a: b\r\n" * 100_000, 431),
        (REQUEST[:-2] + b"a: " + b"b" * 10_000_000, 431),
    ],
    ids=["tls", "nul", "line-ends", "endless-method", "endless-fields", "endless-value"],
)
def test_a_flood_in_place_of_a_head_is_refused_and_not_kept(
    probe: Server, data: bytes, status: int
) -> None:
    before = processes.resident(probe.worker)
    with probe.connect() as connection:
        connection.send_pieces([data])
        assert connection.receive().status == status
    assert processes.resident(probe.worker) - before < 2000
    assert lives(probe)


# surroundings


def half_heads(server: Server, stack: ExitStack, count: int) -> list[Connection]:
    def one() -> Connection:
        return stack.enter_context(server.connect()).send(REQUEST[:20])

    return [one() for _ in range(count)]


def test_a_worker_without_descriptors_left_recovers(serve: Serve) -> None:
    server = serve()
    resource.prlimit(server.worker, resource.RLIMIT_NOFILE, (64, 64))
    worker = server.worker
    with ExitStack() as stack:
        half_heads(server, stack, 120)
        assert lives(server)
    assert lives(server)
    assert server.worker == worker


@pytest.mark.parametrize("log", ["--access-logfile", "--error-logfile"])
def test_a_log_on_a_full_disk_stops_nobody(serve: Serve, log: str) -> None:
    server = serve("apps.probe:application", log, "/dev/full", bind="127.0.0.1:0", launch=True)
    if log == "--error-logfile":
        until(lambda: processes.children(server.pid), "the worker is there")
        server._port = listening_port(server)
    server.wait_accepting()
    assert all(lives(server) for _ in range(20))


@pytest.mark.parametrize("reads", [True, False], ids=["stuck", "absent"])
@pytest.mark.parametrize("log", ["--access-logfile", "--error-logfile"])
def test_a_pipe_that_nobody_empties_stops_nobody(
    serve: Serve, tmp_path: Path, log: str, reads: bool
) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with ExitStack() as stack:
        if reads:
            stack.callback(os.close, os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        server = serve("apps.probe:application", log, str(path), launch=True)
        until(lambda: processes.children(server.pid), "the worker is there")
        server._port = listening_port(server)
        connection = stack.enter_context(server.connect())
        # More than twice of what a pipe holds.
        for _ in range(40):
            assert connection.request("/log?text=" + "x" * 3500).status == 200
        server.stop()


def listening_port(server: Server) -> int:
    """The port, from the kernel: the log that names it is lost."""
    inodes = {
        link.readlink().name
        for link in Path(f"/proc/{server.pid}/fd").iterdir()
        if link.readlink().name.startswith("socket:")
    }
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    ports = [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]
    return int(ports[0].rpartition(":")[2], 16)


def test_sockets_in_listen_fds_are_served(tmp_path: Path) -> None:
    code = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
if listener.fileno() != 3:
    os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-m", "oxicorn", "apps.probe:application"])
"""
    server = Server(tmp_path, bind="127.0.0.1:0")
    server.command = [sys.executable, "-c", code]
    try:
        server.launch().wait_accepting()
        assert lives(server)
        server.stop()
    finally:
        server.destroy()


def test_the_first_process_of_a_container_reaps_and_stops(tmp_path: Path) -> None:
    isolated = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*isolated, "true"], capture_output=True).returncode != 0:
        isolated = ["unshare", "--pid", "--fork", "--mount-proc"]
    server = Server(tmp_path)
    server.command = [*isolated, *server.command]
    try:
        server.launch().wait_accepting()
        assert re.search(r"\[1\] \[INFO\] Starting", server.log)
        assert lives(server)
        init = processes.children(server.pid)[0]
        subprocess.run(["kill", "-TERM", str(init)], check=True)
        server.expect_exit(0)
    finally:
        server.destroy()

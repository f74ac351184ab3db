"""What `oxicornctl status` counts of each worker: connections, threads and requests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from conftest import Serve
from harness import control
from harness.client import Connection, message
from harness.gate import Gate
from harness.server import Server
from harness.wait import PATIENCE, until

APP = "apps.probe:application"
#: Nobody is closed for being slow, nor waited for at the end.
CALM = ("--keep-alive", "60", "--graceful-timeout", "1", "--linger-timeout", "60")


class Counted:
    """A server, its control socket, and connections that are closed at the end."""

    def __init__(self, serve: Serve, runtime: Path, open_until: ExitStack) -> None:
        self._serve = serve
        self._socket = runtime / "ctl"
        self._open_until = open_until
        self.server: Server

    def start(self, *options: str, workers: int = 1) -> Server:
        place = ("--control-socket", str(self._socket))
        self.server = self._serve(APP, *CALM, *place, *options, workers=workers)
        # Those of the harness itself are gone.
        self.expect(open=0)
        return self.server

    def ctl(self, *words: str) -> str:
        command = [sys.executable, "-m", "oxicorn.ctl", "--socket", str(self._socket), *words]
        return subprocess.run(
            command, check=True, timeout=PATIENCE, stdout=subprocess.PIPE, text=True
        ).stdout

    def status(self) -> dict[str, Any]:
        return control.status(self._socket)

    def generation(self, number: int) -> dict[str, Any]:
        """The sums of a generation; empty if it has no worker."""
        sums = self.status()["generations"]
        return next((one for one in sums if one["generation"] == number), {})

    def expect(self, generation: int = 1, busy: int | None = None, **wanted: int) -> None:
        """Waits until the generation's connections are these, and in no other state.

        With `busy`, also until so many threads are: one is for a moment more once its
        client has the answer.
        """

        def counted() -> bool:
            self.seen = self.generation(generation)
            connections = self.seen.get("connections", {})
            threads = self.seen.get("threads", {}).get("busy")
            return (busy is None or threads == busy) and expected == {
                name: number for name, number in connections.items() if number
            }

        expected = {name: number for name, number in wanted.items() if number}
        try:
            until(counted, f"{expected}", seconds=10)
        except AssertionError as error:
            raise AssertionError(f"{error}, busy {busy}, but {self.seen}") from None

    def expect_moved(self, generation: int, taken: int) -> None:
        """Waits until both workers together have taken so many more connections than they gave.

        A connection is open a moment before it is counted as taken; and one that a busy worker gave
        to its sibling was given and taken within a generation.
        """

        def counted() -> bool:
            self.seen = self.generation(generation)
            total = self.seen["total"]
            return self.seen["workers"] == 2 and total["taken"] - total["given"] == taken

        until(counted, f"{taken} taken", seconds=10)

    def connect(self, sends: bytes = b"") -> Connection:
        return self._open_until.enter_context(self.server.connect()).send(sends)

    def idle(self, count: int) -> list[Connection]:
        """Connections that have asked once."""
        connections = [self.connect() for _ in range(count)]
        for connection in connections:
            assert connection.request().status == 200
        return connections


@pytest.fixture
def counted(serve: Serve) -> Iterator[Counted]:
    with tempfile.TemporaryDirectory(prefix="oxi-") as runtime, ExitStack() as open_until:
        yield Counted(serve, Path(runtime), open_until)


def test_every_connection_is_counted_under_what_happens_on_it(
    counted: Counted, tmp_path: Path
) -> None:
    counted.start("--threads", "2")
    counted.idle(4)
    counted.expect(open=4, idle=4)
    counted.connect()
    counted.expect(open=5, idle=5)
    head = counted.connect(b"GET / HTTP/1.1\r\nHos")
    counted.expect(open=6, idle=5, head=1)
    body = counted.connect(message("/body", "POST", [("Content-Length", "10")]) + b"12345")
    counted.expect(open=7, idle=5, head=1, body=1)
    gate = Gate(tmp_path)
    inside = counted.connect(message(gate.target))
    gate.wait_entered()
    counted.expect(open=8, idle=5, head=1, body=1, application=1, busy=1)
    assert counted.seen["threads"] == {"all": 2, "busy": 1}
    before = counted.seen["total"]["answered"]
    slow = counted.connect(message("/bytes?size=60000000"))
    counted.expect(open=9, idle=5, head=1, body=1, application=1, sending=1)
    bad = counted.connect(b"NONSENSE\r\n\r\n")
    counted.expect(open=10, idle=5, head=1, body=1, application=1, sending=1, closing=1)
    assert counted.seen["total"]["refused"] == 1

    gate.open()
    inside.receive()
    head.send(b"t: example\r\n\r\n").receive()
    body.send(b"67890").receive()
    bad.rest()
    bad.close()
    counted.expect(open=9, idle=8, sending=1)
    assert len(slow.receive().body) == 60_000_000
    counted.expect(open=9, idle=9, busy=0)
    assert counted.seen["total"]["answered"] == before + 4
    assert counted.seen["total"]["accepted"] >= 10


@pytest.mark.parametrize("target", ["/spin", "/hang", "/hang-in-c"])
def test_a_worker_that_hangs_is_counted_too(counted: Counted, target: str) -> None:
    counted.start("--timeout", "60")
    others = counted.idle(5)
    counted.connect(message(target))
    counted.expect(open=6, idle=5, application=1)
    for connection in others[:3]:
        connection.send(message())
    others[3].send(b"GET / HT")
    counted.expect(open=6, idle=1, head=1, application=1, waiting=3, busy=1)
    assert counted.seen["threads"] == {"all": 1, "busy": 1}
    counted.server.signal(signal.SIGQUIT)
    counted.server.expect_exit(0)


def test_a_worker_that_does_not_run_at_all_is_counted_too(counted: Counted) -> None:
    server = counted.start()
    counted.idle(3)
    counted.expect(open=3, idle=3)
    os.kill(server.worker, signal.SIGSTOP)
    try:
        counted.expect(open=3, idle=3)
    finally:
        os.kill(server.worker, signal.SIGCONT)


def test_the_numbers_move_to_the_new_generation(counted: Counted) -> None:
    counted.start("--observe-timeout", "600", workers=2)
    idle = counted.idle(20)
    counted.connect(b"GET / HTTP/1.1\r\nHos")
    counted.expect(open=21, idle=20, head=1)
    counted.ctl("restart")
    counted.expect(generation=2, open=21, idle=20, head=1)
    counted.expect_moved(generation=2, taken=21)
    counted.expect(generation=1)
    counted.expect_moved(generation=1, taken=-21)
    for connection in idle:
        assert connection.request().status == 200

    def answered() -> int:
        # The last one is counted a moment after it has left.
        number: int = counted.generation(2)["total"]["answered"]
        return number

    until(lambda: answered() == 20, "20 answers of the new generation")


def test_a_successor_is_counted_from_nothing(counted: Counted) -> None:
    server = counted.start()
    counted.idle(3)
    counted.expect(open=3, idle=3)
    first = server.worker
    os.kill(first, signal.SIGKILL)
    server.wait_for_successor(first)
    counted.idle(1)
    counted.expect(open=1, idle=1)
    assert counted.seen["total"]["answered"] == 1


def test_what_a_child_of_the_application_does_is_not_counted(counted: Counted) -> None:
    counted.start("--threads", "2")
    connection = counted.connect()
    for answered in (1, 2):
        assert connection.request("/fork").status == 200
        counted.expect(open=1, idle=1, busy=0)
        assert counted.seen["total"]["answered"] == answered


def test_the_table_has_the_workers_and_their_sum(counted: Counted) -> None:
    counted.start(workers=2)
    counted.idle(3)
    counted.expect(open=3, idle=3)
    assert json.loads(counted.ctl("status", "--json"))["generations"] == [counted.seen]
    _, _, _, heading, *rows = counted.ctl("status").splitlines()
    columns = heading.split()[-8:]
    assert columns[:2] == ["OPEN", "IDLE"] and columns[-2:] == ["BUSY", "ANSWERED"]
    workers, total = [row.split()[-8:] for row in rows[:2]], rows[2].split()[-8:]
    assert total[:2] == ["3", "3"] and total[-2:] == ["0/2", "3"]
    assert sum(int(row[0]) for row in workers) == 3
    assert rows[2].split()[:3] == ["1", "in", "all"]

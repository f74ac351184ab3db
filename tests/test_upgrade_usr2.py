"""USR2: a second server beside the first, as gunicorn's operators know it, but no client sees it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from signal import SIGHUP, SIGKILL, SIGQUIT, SIGTERM, SIGUSR2, SIGWINCH

import pytest

from conftest import Serve
from harness import processes
from harness.server import Server
from harness.wait import until
from test_moved_connections import CLIENTS, Orders, check, under_load

DEBUG = ("--log-level", "debug")


class Dance:
    """A server, the elder, and the successor that it started last."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.elder = server.pid
        self.successor = 0

    def ask(self) -> int:
        """Has the elder start a successor."""
        mark = self.server.mark()
        os.kill(self.elder, SIGUSR2)
        line = self.server.wait_for_log(r"Successor \(pid:(\d+)\) was started", since=mark)
        self.successor = int(line.group(1))
        return self.successor

    def begin(self) -> None:
        """The same, and waits until both can take each other's connections."""
        self.ask()
        self.wait_for(self.elder, "The other arbiter is able")
        self.wait_for(self.successor, "The other arbiter is able")

    def wait_for(self, pid: int, text: str, since: int = 0) -> None:
        """Waits until this process has logged the text."""
        until(lambda: says(self.server, pid, text, since), f"{text!r} of {pid}")

    def workers(self, pid: int) -> list[int]:
        """The workers of one of the two."""
        return [child for child in processes.children(pid) if child != self.successor]

    def wait_for_workers(self, pid: int, count: int) -> None:
        """Waits until one of the two has so many workers."""
        until(lambda: len(self.workers(pid)) == count, f"{count} workers of {pid}")

    def end(self) -> None:
        """Ends whoever is left by TERM; no process remains."""
        for pid in (self.elder, self.successor):
            if pid and processes.alive(pid):
                os.kill(pid, SIGTERM)
        until(lambda: not survivors(self.server), "no process is left")


def survivors(server: Server) -> list[int]:
    """What lives of the server's session. The elder is a zombie until the harness asks for it."""
    server.process.poll()
    return [pid for pid in server.family() if processes.alive(pid)]


def says(server: Server, pid: int, text: str, since: int = 0) -> bool:
    lines = server.log[since:].splitlines()
    return any(f"[{pid}]" in line and text in line for line in lines)


@pytest.mark.parametrize("delay", [0, 0.025], ids=["near", "25-ms-away"])
def test_the_dance_closes_no_connection(tmp_path: Path, serve: Serve, delay: float) -> None:
    orders = Orders(tmp_path, serve, seconds_to_import="1")
    dance = Dance(orders.start(*DEBUG))

    def work() -> None:
        dance.begin()
        os.kill(dance.elder, SIGWINCH)
        dance.wait_for_workers(dance.elder, 0)
        os.kill(dance.elder, SIGTERM)
        assert dance.server.wait() == 0

    tally = under_load(dance.server, work, delay)
    check(tally, orders.executed())
    dance.end()

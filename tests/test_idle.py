"""An idle server does nothing at all: no processor time, no wake-up."""

from __future__ import annotations

import threading

import pytest

from conftest import Serve
from harness import processes
from harness.server import Server
from harness.wait import until

SECONDS = 3


def work(server: Server) -> tuple[int, int]:
    """Clock ticks and voluntary context switches of all processes so far."""
    family = server.family()
    ticks = sum(processes.ticks(pid) for pid in family)
    return ticks, sum(processes.wakeups(pid) for pid in family)


def rests(server: Server) -> bool:
    """Whether nothing at all happens for some seconds."""
    before = work(server)
    threading.Event().wait(SECONDS)
    return work(server) == before


@pytest.mark.parametrize("threads", ["1", "4"])
def test_an_idle_server_with_four_workers_never_wakes_up(serve: Serve, threads: str) -> None:
    server = serve("apps.probe:application", "--threads", threads, workers=4)
    for _ in range(20):
        server.request("/")
        server.request("/stream?count=100")
    until(lambda: rests(server), f"{SECONDS} s without a wake-up, once its timers have run out")


def test_idle_connections_wake_nobody_up(serve: Serve) -> None:
    server = serve("apps.probe:application", "--keep-alive", "60")
    connections = [server.connect() for _ in range(50)]
    for connection in connections:
        connection.request("/")
    until(lambda: rests(server), f"{SECONDS} s without a wake-up, once its timers have run out")
    for connection in connections:
        assert connection.request("/").status == 200
        connection.close()

"""`shutdown_delay`: after TERM the server serves on for a while, so that load balancers can notice;
and what is cut at the end is named.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM

import pytest

from conftest import Serve
from harness.client import message
from harness.gate import Gate
from harness.server import Server
from harness.wait import until

PROBE = "apps.probe:application"


def delaying(serve: Serve, *options: str, seconds: str = "600") -> Server:
    """A server that was told to stop, and serves on."""
    server: Server = serve(PROBE, "--shutdown-delay", seconds, "--keep-alive", "600", *options)
    server.signal(SIGTERM)
    server.wait_for_log(rf"Stopping in {seconds} s, serving on until then\.")
    return server


def test_the_server_accepts_and_keeps_connections_during_the_delay(serve: Serve) -> None:
    server = serve(PROBE, "--shutdown-delay", "600", "--keep-alive", "600")
    with server.connect() as kept:
        assert kept.request("/").status == 200
        server.signal(SIGTERM)
        server.wait_for_log("Stopping in 600 s")
        for _ in range(5):
            response = kept.request("/")
            assert (response.status, response.header("Connection")) == (200, None)
            assert server.request("/").status == 200
        server.signal(SIGTERM)
        server.expect_exit(0)


def test_the_stop_begins_by_itself_when_the_delay_is_over(serve: Serve) -> None:
    start = time.monotonic()
    server = delaying(serve, seconds="1.5")
    server.expect_exit(0)
    assert time.monotonic() - start >= 1.5


def test_a_worker_that_dies_during_the_delay_is_replaced(serve: Serve) -> None:
    server = delaying(serve)
    worker = server.worker
    mark = server.mark()
    os.kill(worker, SIGKILL)
    server.wait_for_log("Booting worker", since=mark)
    until(lambda: server.request("/").status == 200, "the new worker serves")
    server.signal(SIGTERM)
    server.expect_exit(0)


def test_a_second_term_begins_a_graceful_stop(serve: Serve, tmp_path: Path) -> None:
    server, gate = delaying(serve), Gate(tmp_path)
    with server.connect() as connection:
        connection.send(message(gate.target))
        gate.wait_entered()
        server.signal(SIGTERM)
        until(server.refuses, "new connections are refused")
        gate.open()
        response = connection.receive()
        assert (response.status, response.header("Connection")) == (200, "close")
    server.expect_exit(0)


@pytest.mark.parametrize("number", [SIGINT, SIGQUIT])
def test_int_and_quit_end_the_delay_and_wait_for_nothing(
    serve: Serve, tmp_path: Path, number: signal.Signals
) -> None:
    server, gate = delaying(serve), Gate(tmp_path)
    with server.connect() as connection:
        connection.send(message(gate.target))
        gate.wait_entered()
        server.signal(number)
        server.expect_exit(0)
        assert connection.is_closed()


def test_no_restart_begins_during_the_delay(serve: Serve) -> None:
    server = delaying(serve)
    worker = server.worker
    server.signal(SIGHUP)
    server.wait_for_log("Handling signal: hup")
    assert server.request("/").status == 200
    assert server.workers() == [worker]
    server.signal(SIGTERM)
    server.expect_exit(0)
    assert "boots beside" not in server.log


def test_a_server_that_never_served_stops_at_once(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "slow_app.py").write_text("import threading\nthreading.Event().wait(600)\n")
    options = ("--shutdown-delay", "600", "--boot-timeout", "0")
    server = serve("slow_app:app", *options, cwd=tmp_path, launch=True)
    server.wait_for_log("Booting worker")
    server.signal(SIGTERM)
    server.expect_exit(0)


# the graceful stop


def test_a_request_on_an_idle_connection_is_answered_with_close(serve: Serve) -> None:
    """It may have been on its way when the stop began: nobody closes the connection under it."""
    server = serve(PROBE, "--keep-alive", "600")
    with server.connect() as connection:
        assert connection.request("/").header("Connection") is None
        server.signal(SIGTERM)
        until(server.refuses, "the server stops")
        response = connection.request("/")
        assert (response.status, response.header("Connection")) == (200, "close")
        assert connection.is_closed()
    server.expect_exit(0)


@pytest.mark.parametrize("threads", ["1", "3"])
def test_requests_that_are_cut_at_the_deadline_are_named(
    serve: Serve, tmp_path: Path, threads: str
) -> None:
    """Also while the application holds every thread; a connection without one is not named."""
    server, gate = serve(PROBE, "--graceful-timeout", "1", "--threads", threads), Gate(tmp_path)
    with server.connect() as connection, server.connect() as idle:
        assert idle.request("/").status == 200
        connection.send(message(gate.target))
        gate.wait_entered()
        server.signal(SIGTERM)
        server.expect_exit(0)
        assert connection.is_closed()
    cut = server.wait_for_log(
        r'Request cut \(pid: \d+\): "GET /gate\S* HTTP/1\.1" from 127\.0\.0\.1 after ([\d.]+) s'
    )
    assert 0.5 < float(cut[1]) < 30
    assert server.log.count("Request cut") == 1


def test_a_quick_stop_names_the_requests_that_it_cuts(serve: Serve, tmp_path: Path) -> None:
    server, gate = serve(), Gate(tmp_path)
    with server.connect() as connection:
        connection.send(message(gate.target))
        gate.wait_entered()
        server.signal(SIGINT)
        server.expect_exit(0)
    assert server.wait_for_log(r'Request cut \(pid: \d+\): "GET /gate')

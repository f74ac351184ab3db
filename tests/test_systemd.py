"""What a service manager is told, with the real server and a manager of the test's own."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGHUP, SIGKILL, SIGTERM

import pytest

from conftest import Serve
from harness import processes
from harness.client import message
from harness.manager import Manager, Message
from harness.server import Server
from harness.wait import until

APP = """
import os

def app(environ, start_response):
    body = repr(sorted(os.environ)).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
WAITS = """
import threading
from pathlib import Path

while not Path({gate!r}).exists():
    threading.Event().wait(0.01)
"""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with Manager(tmp_path) as manager:
        yield manager


@pytest.fixture
def site(tmp_path: Path, serve: Serve) -> Serve:
    """Starts a server whose application is a file of the test."""
    (tmp_path / "site_app.py").write_text(APP)

    def start(*options: str, **how: object) -> Server:
        server: Server = serve("site_app:app", *options, cwd=tmp_path, **how)
        return server

    return start


def names(messages: list[Message]) -> list[str]:
    """The states that were told, without the texts."""
    states = ("READY", "RELOADING", "STOPPING", "WATCHDOG")
    return [state for message in messages for state in states if state in message]


def test_ready_is_told_when_the_first_worker_serves(
    site: Serve, manager: Manager, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    (tmp_path / "site_app.py").write_text(WAITS.format(gate=str(gate)) + APP)
    server = site("--workers", "2", env=manager.variables, launch=True)
    assert manager.next() == {"STATUS": "Generation 1 boots."}
    server.wait_for_log("Booting worker", 2)
    assert list(manager.rest()) == []
    gate.touch()
    ready = {"READY": "1", "MAINPID": str(server.pid), "STATUS": "Generation 1 serves."}
    assert manager.next() == ready
    assert server.request().status == 200
    server.stop()
    list(manager.rest())
    assert names(manager.told) == ["READY", "STOPPING"]


def test_an_abstract_socket_is_told_as_well(site: Serve, tmp_path: Path) -> None:
    with Manager(tmp_path, abstract=True) as manager:
        site(env=manager.variables)
        assert manager.wait_for("READY")["READY"] == "1"


def test_a_restart_is_reloading_until_it_is_confirmed(site: Serve, manager: Manager) -> None:
    server = site("--observe-timeout", "0.5", env=manager.variables)
    manager.wait_for("READY")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    server.signal(SIGHUP)
    reloading = manager.wait_for("RELOADING")
    assert before <= int(reloading["MONOTONIC_USEC"])
    assert int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert manager.next()["STATUS"] == "Restart (hot): generation 2 boots beside 1."
    assert manager.next()["STATUS"] == "Generation 2 serves; 1 stands by for 0.5 s."
    assert manager.next() == {
        "READY": "1",
        "MAINPID": str(server.pid),
        "STATUS": "Generation 2 serves.",
    }


def test_a_restart_that_fails_is_ready_again_and_the_text_says_why(
    site: Serve, manager: Manager, tmp_path: Path
) -> None:
    server = site(env=manager.variables)
    manager.wait_for("READY")
    (tmp_path / "site_app.py").write_text("import nothing_of_this_name\n")
    server.signal(SIGHUP)
    manager.wait_for("RELOADING")
    status = manager.wait_for("READY")["STATUS"]
    assert status.startswith("Generation 1 serves on, the restart failed: Worker (pid:")
    assert server.request().status == 200


def test_a_configuration_that_is_refused_is_a_restart_that_failed(
    site: Serve, manager: Manager, tmp_path: Path
) -> None:
    server = site(env=manager.variables)
    manager.wait_for("READY")
    (tmp_path / "gunicorn.conf.py").write_text("workers = 'many'\n")
    server.signal(SIGHUP)
    manager.wait_for("RELOADING")
    assert "workers" in manager.wait_for("READY")["STATUS"]


def test_stopping_is_told_when_a_shutdown_delay_begins(site: Serve, manager: Manager) -> None:
    server = site("--shutdown-delay", "600", env=manager.variables)
    manager.wait_for("READY")
    server.signal(SIGTERM)
    stopping = {"STOPPING": "1", "STATUS": "Serving on for 600 s before the stop."}
    assert manager.next() == stopping
    assert server.request().status == 200
    server.signal(SIGTERM)
    server.expect_exit(0)
    assert manager.next()["STATUS"] == "The workers finish their requests."
    assert list(manager.rest()) == []


def test_a_server_that_cannot_boot_was_never_ready(
    site: Serve, manager: Manager, tmp_path: Path
) -> None:
    (tmp_path / "site_app.py").write_text("import nothing_of_this_name\n")
    server = site(env=manager.variables, launch=True)
    server.expect_exit(3)
    assert names(list(manager.rest())) == ["STOPPING"]


# the watchdog


def test_the_watchdog_hears_of_the_server_at_half_its_time(site: Serve, manager: Manager) -> None:
    site(env={**manager.variables, "WATCHDOG_USEC": "400000"})
    manager.wait_for("WATCHDOG")
    start = time.monotonic()
    for _ in range(5):
        manager.wait_for("WATCHDOG")
    assert time.monotonic() - start >= 0.8


def test_a_watchdog_for_another_process_makes_no_pings(site: Serve, manager: Manager) -> None:
    variables = {**manager.variables, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}
    server = site(env=variables)
    manager.wait_for("READY")
    with pytest.raises(TimeoutError):
        manager.next(0.5)
    assert server.request().status == 200


def test_a_manager_that_is_told_nothing_new_wakes_nobody(site: Serve, manager: Manager) -> None:
    server = site(env=manager.variables)
    manager.wait_for("READY")

    def rests() -> bool:
        before = processes.wakeups(server.pid)
        with pytest.raises(TimeoutError):
            manager.next(1.0)
        return processes.wakeups(server.pid) == before

    until(rests, "a second without a wake-up of the arbiter")


# what could go wrong


def test_the_variables_are_not_the_workers(site: Serve, manager: Manager) -> None:
    variables = {"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1", **manager.variables}
    server = site(env=variables)
    names = server.request().text
    assert "'PATH'" in names
    assert [name for name in variables if f"'{name}'" in names] == []


@pytest.mark.parametrize("address", ["/nowhere/notify", "vsock:2:9", "relative", "@"])
def test_a_manager_that_cannot_be_reached_is_no_reason_not_to_serve(
    site: Serve, address: str
) -> None:
    server = site(env={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"})
    assert server.request().status == 200
    server.stop()


def test_a_manager_that_goes_away_is_no_reason_to_stop(site: Serve, tmp_path: Path) -> None:
    with Manager(tmp_path) as manager:
        server = site("--observe-timeout", "0", env=manager.variables)
        manager.wait_for("READY")
    server.signal(SIGHUP)
    server.wait_for_log("Generation 2 is confirmed")
    assert server.request().status == 200


def test_a_manager_that_reads_late_hears_everything_in_order(site: Serve, manager: Manager) -> None:
    """Its queue holds few messages; the rest waits in the arbiter, which serves meanwhile."""
    server = site("--observe-timeout", "0", "--log-level", "debug", env=manager.variables)
    for generation in range(2, 8):
        mark = server.mark()
        server.signal(SIGHUP)
        server.wait_for_log(f"Generation {generation} is confirmed", since=mark)
    last = f"Generation {generation} serves."
    while manager.next().get("STATUS") != last:
        pass
    assert names(manager.told) == ["READY", *(["RELOADING", "READY"] * 6)]


# the descriptor store

PASSES = """
import os, sys
os.dup2({number}, 3)
{number} == 3 or os.close({number})
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES={name!r})
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
Started = Callable[..., Server]


@pytest.fixture
def started_with(tmp_path: Path) -> Iterator[Started]:
    """Starts servers to which a socket is passed as systemd does it."""
    made = []

    def start(passed: socket.socket, name: str, bind: str, manager: Manager) -> Server:
        environ = {**manager.variables, "FDSTORE": "4"}
        server = Server(tmp_path / "again", bind=bind, env=environ)
        made.append(server)
        server.pass_fds = (passed.fileno(),)
        script = PASSES.format(number=passed.fileno(), name=name)
        server.command = [server.command[0], "-c", script, *server.command[1:]]
        return server.start()

    try:
        yield start
    finally:
        for server in made:
            server.destroy()


def test_a_killed_server_finds_its_queue_again(
    serve: Serve, started_with: Started, manager: Manager
) -> None:
    """A client that connects while no server runs is answered by the next one."""
    stored = {**manager.variables, "FDSTORE": "4"}
    options = ("apps.probe:application", "--orphan-timeout", "0")
    first = serve(*options, bind="127.0.0.1:0", env=stored)
    manager.wait_for("READY")
    [(name, listener)] = manager.store.items()
    assert name == "oxicorn-127.0.0.1-0"
    assert listener.getsockname()[1] == first.port
    first.signal(SIGKILL)
    first.wait()
    until(lambda: not first.family(), "the workers end without their arbiter")
    with first.connect() as waiting:
        waiting.send(message("/"))
        second = started_with(listener, name, "127.0.0.1:0", manager)
        assert second.port == first.port
        assert waiting.receive().status == 200
    second.stop()


def test_a_killed_server_finds_its_queue_and_its_workers_again(
    serve: Serve, started_with: Started, manager: Manager
) -> None:
    stored = {**manager.variables, "FDSTORE": "4", "OXICORN_KEEPALIVE": "60"}
    first = serve(bind="127.0.0.1:0", env=stored)
    manager.wait_for("READY")
    [(name, listener)] = manager.store.items()
    with first.connect() as connection:
        assert connection.request("/process").json()["pid"] == first.worker
        first.signal(SIGKILL)
        first.wait()
        second = started_with(listener, name, "127.0.0.1:0", manager)
        until(lambda: not first.family(), "the workers of the first one have left")
        assert connection.request("/process").json()["pid"] == second.worker
    second.stop()


def test_a_stored_socket_that_is_not_wanted_any_more_is_given_up(
    started_with: Started, manager: Manager
) -> None:
    old = socket.create_server(("127.0.0.1", 0))
    port = old.getsockname()[1]

    server = started_with(old, "oxicorn-elsewhere-1", "127.0.0.1:0", manager)
    old.close()
    forgotten = manager.wait_for("FDSTOREREMOVE")
    assert forgotten == {"FDSTOREREMOVE": "1", "FDNAME": "oxicorn-elsewhere-1"}
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port)).close()
    assert server.request().status == 200
    server.stop()


def test_nothing_is_stored_where_there_is_no_store(site: Serve, manager: Manager) -> None:
    site(env=manager.variables)
    manager.wait_for("READY")
    assert manager.store == {}


def test_sockets_of_a_socket_unit_are_not_stored(started_with: Started, manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = started_with(listener, "shop.socket", "127.0.0.1:0", manager)
        assert server.port == listener.getsockname()[1]
    manager.wait_for("READY")
    assert manager.store == {}
    server.stop()

"""USR2: a second server beside the first, as gunicorn has it; but no client sees it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from signal import SIGCONT, SIGHUP, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM, SIGUSR2, SIGWINCH

import pytest

from conftest import Serve
from harness import processes
from harness.client import Connection
from harness.gate import Gate
from harness.load import Load
from harness.manager import Manager
from harness.server import Server
from harness.wait import throughout, until
from test_moved_connections import Orders, check, pids, under_load
from test_systemd import PASSES

PROBE = "apps.probe:application"
DEBUG = ("--log-level", "debug")
ABLE = "The other arbiter is able"
SITE = """
import os

def app(environ, start_response):
    start_response("200 OK", [])
    return [repr(dict(os.environ)).encode()]
"""


class Dance:
    """An arbiter, the elder, and the one that it started last, its successor."""

    def __init__(self, elder: int, log: Callable[[], str]) -> None:
        self.elder = elder
        self.successor = 0
        self.log = log

    def ask(self) -> int:
        """Has the elder start a successor; its process."""
        mark = len(self.log())
        os.kill(self.elder, SIGUSR2)

        def started() -> list[str]:
            return [line for line in self.lines(self.elder, mark) if "was started." in line]

        [line] = until(started, "a successor was started")
        self.successor = int(line.partition("(pid:")[2].partition(")")[0])
        return self.successor

    def begin(self) -> None:
        """The same, and waits until each can take the other's connections."""
        mark = len(self.log())
        self.ask()
        self.wait_for(self.elder, ABLE, mark)
        self.wait_for(self.successor, ABLE, mark)

    def lines(self, pid: int, since: int = 0) -> list[str]:
        """What one of the two has logged."""
        return [line for line in self.log()[since:].splitlines() if f"[{pid}]" in line]

    def wait_for(self, pid: int, text: str, since: int = 0) -> None:
        """Waits until one of the two has logged the text."""
        until(lambda: any(text in line for line in self.lines(pid, since)), f"{text!r} of {pid}")

    def workers(self, pid: int) -> list[int]:
        """The workers of one of the two."""
        return [child for child in processes.children(pid) if child != self.successor]

    def wait_for_workers(self, pid: int, count: int) -> None:
        """Waits until one of the two has so many workers."""
        until(lambda: len(self.workers(pid)) == count, f"{count} workers of {pid}")

    def wait_for_promotion(self) -> None:
        """Waits until the successor has taken the elder's place."""
        self.wait_for(self.successor, "Master has been promoted.")

    def end(self) -> None:
        """Ends whoever lives by TERM."""
        for pid in (self.successor, self.elder):
            if pid and processes.alive(pid):
                os.kill(pid, SIGTERM)
        for pid in (self.successor, self.elder):
            until(lambda pid=pid: not processes.alive(pid), f"{pid} has ended")  # type: ignore[misc]


def of(server: Server) -> Dance:
    return Dance(server.pid, lambda: server.log)


@pytest.fixture
def dancing(serve: Serve) -> Iterator[Callable[..., tuple[Server, Dance]]]:
    """Starts servers as `serve`, and sees to it that no process of a dance is left."""
    made: list[tuple[Server, Dance]] = []

    def start(app: str = PROBE, *options: str, **how: object) -> tuple[Server, Dance]:
        server = serve(app, "--keep-alive", "60", *DEBUG, *options, **how)
        made.append((server, of(server)))
        return made[-1]

    yield start
    for server, dance in made:
        dance.end()
        server.process.poll()
        until(lambda server=server: not survivors(server), "no process is left")  # type: ignore[misc]


def survivors(server: Server) -> list[int]:
    return [pid for pid in server.family() if processes.alive(pid)]


# under load


@pytest.mark.parametrize("delay", [0, 0.025], ids=["near", "25-ms-away"])
def test_the_dance_closes_no_connection(tmp_path: Path, serve: Serve, delay: float) -> None:
    orders = Orders(tmp_path, serve, seconds_to_import="1")
    server = orders.start(*DEBUG)
    dance = of(server)

    def work() -> None:
        dance.begin()
        os.kill(dance.elder, SIGWINCH)
        dance.wait_for_workers(dance.elder, 0)
        os.kill(dance.elder, SIGTERM)
        assert server.wait() == 0
        dance.wait_for_promotion()

    tally = under_load(server, work, delay)
    check(tally, orders.executed())
    # Workers of one arbiter may have imported in two different seconds.
    assert len(tally.bodies) >= 2, "both have answered"
    dance.end()


@pytest.mark.parametrize("delay", [0, 0.025], ids=["near", "25-ms-away"])
def test_backing_out_closes_no_connection(tmp_path: Path, serve: Serve, delay: float) -> None:
    orders = Orders(tmp_path, serve, seconds_to_import="1")
    server = orders.start(*DEBUG, "--observe-timeout", "0.3")
    dance = of(server)

    def work() -> None:
        dance.begin()
        os.kill(dance.elder, SIGWINCH)
        dance.wait_for_workers(dance.elder, 0)
        mark = server.mark()
        os.kill(dance.elder, SIGHUP)
        dance.wait_for(dance.successor, ABLE, mark)
        os.kill(dance.successor, SIGQUIT)
        dance.wait_for(dance.elder, f"Successor (pid:{dance.successor}) exited with code 0", mark)

    check(under_load(server, work, delay), orders.executed())
    assert processes.children(dance.elder) == server.wait_for_workers(2)


@pytest.mark.parametrize("quits", ["elder", "successor"])
def test_term_right_after_usr2_waits_for_the_successor(
    tmp_path: Path, serve: Serve, quits: str
) -> None:
    orders = Orders(tmp_path, serve, seconds_to_import="0.5")
    server = orders.start(*DEBUG)
    dance = of(server)

    def work() -> None:
        if quits == "elder":
            dance.ask()
            os.kill(dance.elder, SIGTERM)
            assert server.wait() == 0
            return
        dance.begin()
        os.kill(dance.elder, SIGWINCH)
        dance.wait_for_workers(dance.elder, 0)
        # Nobody called the elder's workers back.
        os.kill(dance.successor, SIGTERM)
        dance.wait_for(dance.elder, f"Successor (pid:{dance.successor}) exited with code 0")
        assert len(dance.workers(dance.elder)) == 2

    check(under_load(server, work), orders.executed())
    dance.end()


def test_a_successor_that_is_killed_while_it_boots_costs_nothing(
    tmp_path: Path, serve: Serve
) -> None:
    orders = Orders(tmp_path, serve, seconds_to_import="1")
    server = orders.start(*DEBUG)
    dance = of(server)

    def work() -> None:
        dance.ask()
        os.kill(dance.elder, SIGWINCH)
        dance.wait_for(dance.successor, "Listening at")
        os.kill(dance.successor, SIGKILL)
        dance.wait_for(dance.elder, "was sent SIGKILL. This arbiter serves on.")

    check(under_load(server, work), orders.executed())
    server.wait_for_workers(2)


# one thing at a time


def test_a_request_is_answered_by_the_old_and_its_connection_goes_on_in_the_new(
    dancing: Callable[..., tuple[Server, Dance]], tmp_path: Path
) -> None:
    (server, dance), gate = dancing(), Gate(tmp_path)
    old = server.worker
    with server.connect() as connection:
        connection.send(f"GET {gate.target} HTTP/1.1\r\nHost: test.example\r\n\r\n".encode())
        gate.wait_entered()
        dance.begin()
        os.kill(dance.elder, SIGTERM)
        dance.wait_for(dance.elder, "Handling signal: term")
        assert processes.alive(old)
        gate.open()
        response = connection.receive()
        assert (response.status, response.header("Connection")) == (200, None)
        [new] = dance.workers(dance.successor)
        assert connection.request("/process").json()["pid"] == new
    assert server.wait() == 0


def test_idle_connections_move_and_come_back(
    dancing: Callable[..., tuple[Server, Dance]],
) -> None:
    server, dance = dancing(PROBE, "--workers", "2", "--observe-timeout", "0")
    connections = [server.connect() for _ in range(200)]
    old = set(server.workers())
    assert pids(connections) <= old
    dance.begin()
    new = set(dance.workers(dance.successor))
    os.kill(dance.elder, SIGWINCH)
    dance.wait_for_workers(dance.elder, 0)
    assert pids(connections) <= new
    mark = server.mark()
    os.kill(dance.elder, SIGHUP)
    dance.wait_for(dance.successor, ABLE, mark)
    back = set(dance.workers(dance.elder))
    os.kill(dance.successor, SIGTERM)
    dance.wait_for(dance.elder, "exited with code 0. This arbiter serves on.")
    assert pids(connections) <= back
    for connection in connections:
        connection.close()


def test_the_pidfile_has_gunicorns_names_at_each_step(
    dancing: Callable[..., tuple[Server, Dance]], tmp_path: Path
) -> None:
    pidfile, second = tmp_path / "web.pid", tmp_path / "web.pid.2"
    server, dance = dancing(PROBE, "--pid", str(pidfile))
    assert pidfile.read_text() == f"{dance.elder}\n"
    dance.begin()
    assert pidfile.read_text() == f"{dance.elder}\n"
    assert second.read_text() == f"{dance.successor}\n"
    os.kill(dance.elder, SIGWINCH)
    dance.wait_for_workers(dance.elder, 0)
    assert pidfile.read_text() == f"{dance.elder}\n"
    os.kill(dance.elder, SIGTERM)
    dance.wait_for_promotion()
    until(lambda: pidfile.exists() and not second.exists(), "the name is taken")
    assert pidfile.read_text() == f"{dance.successor}\n"
    assert server.request("/").status == 200
    os.kill(dance.successor, SIGTERM)
    until(lambda: not pidfile.exists(), "the pidfile is removed")
    assert list(tmp_path.glob("*.pid*")) == []


def test_a_promoted_server_can_be_succeeded_in_its_turn(
    dancing: Callable[..., tuple[Server, Dance]], tmp_path: Path
) -> None:
    pidfile = tmp_path / "web.pid"
    server, dance = dancing(PROBE, "--pid", str(pidfile))
    with server.connect() as connection:
        for _ in range(3):
            dance.begin()
            os.kill(dance.elder, SIGTERM)
            dance.wait_for_promotion()
            server.process.poll()
            dance.elder, dance.successor = dance.successor, 0
            [worker] = dance.workers(dance.elder)
            assert connection.request("/process").json()["pid"] == worker
            until(lambda: pidfile.read_text() == f"{dance.elder}\n", "the pidfile is its own")


def test_a_second_usr2_is_ignored_on_both_sides(
    dancing: Callable[..., tuple[Server, Dance]],
) -> None:
    _, dance = dancing()
    dance.begin()
    os.kill(dance.elder, SIGUSR2)
    dance.wait_for(dance.elder, "USR2 signal ignored. Child exists.")
    os.kill(dance.successor, SIGUSR2)
    dance.wait_for(dance.successor, "USR2 signal ignored. Parent exists.")


def test_new_code_that_is_broken_leaves_the_old_one_serving(
    dancing: Callable[..., tuple[Server, Dance]], tmp_path: Path
) -> None:
    site = tmp_path / "site_app.py"
    site.write_text(SITE)
    server, dance = dancing("site_app:app", "--pid", str(tmp_path / "pid"), cwd=tmp_path)
    descriptors = processes.descriptors(dance.elder)
    with Load(server):
        for broken in ("import nothing_of_this_name\n", "raise SystemExit(7)\n"):
            site.write_text(broken)
            mark = server.mark()
            dance.ask()
            dance.wait_for(dance.elder, f"Successor (pid:{dance.successor}) exited", mark)
        site.write_text(SITE)
        (tmp_path / "gunicorn.conf.py").write_text("workers = 'many'\n")
        mark = server.mark()
        dance.ask()
        dance.wait_for(dance.elder, "exited with code 1. This arbiter serves on.", mark)
    assert (tmp_path / "pid").read_text() == f"{dance.elder}\n"
    assert not (tmp_path / "pid.2").exists()
    processes.wait_for_no_more_than(descriptors, lambda: [dance.elder])
    assert processes.zombies(dance.elder) == []


def test_workers_come_back_when_the_successor_is_killed(
    dancing: Callable[..., tuple[Server, Dance]],
) -> None:
    server, dance = dancing(PROBE, "--workers", "2")
    dance.begin()
    os.kill(dance.elder, SIGWINCH)
    dance.wait_for_workers(dance.elder, 0)
    os.kill(dance.successor, SIGKILL)
    dance.wait_for(dance.elder, "was sent SIGKILL. This arbiter serves on.")
    dance.wait_for_workers(dance.elder, 2)
    until(lambda: set(server.workers()) == set(survivors(server)) - {dance.elder}, "orphans ended")
    assert server.request("/process").json()["pid"] in server.workers()


def test_a_successor_that_does_not_answer_costs_what_a_stop_costs(
    dancing: Callable[..., tuple[Server, Dance]], tmp_path: Path
) -> None:
    (server, dance), gate = dancing(PROBE, "--threads", "2"), Gate(tmp_path)
    with server.connect() as idle, server.connect() as busy:
        assert idle.request("/").status == 200
        busy.send(f"GET {gate.target} HTTP/1.1\r\nHost: test.example\r\n\r\n".encode())
        gate.wait_entered()
        dance.begin()
        [new] = dance.workers(dance.successor)
        os.kill(dance.successor, SIGSTOP)
        try:
            os.kill(dance.elder, SIGTERM)
            assert idle.is_closed(), "as at any stop"
            gate.open()
            response = busy.receive()
            assert (response.status, response.header("Connection")) == (200, "close")
            assert server.wait() == 0
        finally:
            os.kill(dance.successor, SIGCONT)
    dance.wait_for_promotion()
    assert server.request("/process").json()["pid"] == new


def test_a_killed_elder_leaves_everything_to_its_successor(
    dancing: Callable[..., tuple[Server, Dance]], tmp_path: Path
) -> None:
    pidfile = tmp_path / "web.pid"
    server, dance = dancing(PROBE, "--pid", str(pidfile))
    dance.begin()
    os.kill(dance.elder, SIGKILL)
    dance.wait_for_promotion()
    assert server.wait() == -SIGKILL
    until(lambda: pidfile.read_text() == f"{dance.successor}\n", "the pidfile is its own")
    [new] = dance.workers(dance.successor)
    until(lambda: set(survivors(server)) == {dance.successor, new}, "the old worker has left")
    assert server.request("/process").json()["pid"] == new


def test_a_unix_socket_keeps_its_path_until_the_last_one_ends(
    dancing: Callable[..., tuple[Server, Dance]], tmp_path: Path
) -> None:
    path = tmp_path / "web.sock"
    server, dance = dancing(PROBE, bind=f"unix:{path}")
    with server.connect() as connection:
        assert connection.request("/").status == 200
        dance.begin()
        os.kill(dance.elder, SIGTERM)
        assert server.wait() == 0
        dance.wait_for_promotion()
        assert path.is_socket()
        [new] = dance.workers(dance.successor)
        assert connection.request("/process").json()["pid"] == new
        assert server.request("/process").json()["pid"] == new
    os.kill(dance.successor, SIGTERM)
    until(lambda: not path.exists(), "the path is removed")


def test_a_successor_that_leaves_takes_no_path_with_it(
    dancing: Callable[..., tuple[Server, Dance]], tmp_path: Path
) -> None:
    path, control = tmp_path / "web.sock", tmp_path / "control"
    server, dance = dancing(PROBE, "--control-socket", str(control), bind=f"unix:{path}")
    dance.begin()
    os.kill(dance.successor, SIGTERM)
    dance.wait_for(dance.elder, "exited with code 0. This arbiter serves on.")
    assert path.is_socket()
    assert pid_over(control) == dance.elder
    assert server.request("/").status == 200
    server.stop()
    assert not path.exists()
    assert not control.exists()


def test_sockets_of_a_socket_unit_go_over_and_their_paths_stay(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    server = Server(tmp_path / "server", PROBE, DEBUG, bind=f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        server.pass_fds = (listener.fileno(),)
        script = PASSES.format(number=listener.fileno(), name="web.socket")
        server.command = [server.command[0], "-c", script, *server.command[1:]]
        server.start()
    dance = of(server)
    try:
        with server.connect() as connection:
            assert connection.request("/").status == 200
            dance.begin()
            os.kill(dance.elder, SIGTERM)
            dance.wait_for_promotion()
            [new] = dance.workers(dance.successor)
            assert connection.request("/process").json()["pid"] == new
            assert server.request("/process").json()["pid"] == new
        dance.end()
        assert path.is_socket()
    finally:
        server.destroy()


def pid_over(control: Path) -> int:
    """Which process answers on the control socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(control))
        client.sendall(b"oxicorn/1 status\n")
        answer = client.makefile().readline()
    return int(answer.partition('"pid":')[2].partition(",")[0])


@pytest.mark.parametrize("how", [SIGTERM, SIGKILL])
def test_the_control_socket_goes_over_with_the_promotion(
    dancing: Callable[..., tuple[Server, Dance]], tmp_path: Path, how: int
) -> None:
    control, second = tmp_path / "control", tmp_path / "control.2"
    server, dance = dancing(PROBE, "--control-socket", str(control))
    dance.begin()
    assert pid_over(control) == dance.elder
    assert pid_over(second) == dance.successor
    os.kill(dance.elder, how)
    server.wait()
    dance.wait_for_promotion()
    until(lambda: not second.exists(), "the name is taken")
    assert pid_over(control) == dance.successor
    os.kill(dance.successor, SIGTERM)
    until(lambda: not control.exists(), "the path is removed")


def test_no_worker_learns_of_the_dance(
    dancing: Callable[..., tuple[Server, Dance]], tmp_path: Path
) -> None:
    (tmp_path / "site_app.py").write_text(SITE)
    server, dance = dancing("site_app:app", "--env", "COLOUR=green", cwd=tmp_path)
    before = processes.descriptors(server.worker)
    dance.begin()
    os.kill(dance.elder, SIGTERM)
    dance.wait_for_promotion()
    seen = server.request("/").text
    assert "'COLOUR': 'green'" in seen
    assert "GUNICORN_" not in seen
    assert "OXICORN_" not in seen
    [new] = dance.workers(dance.successor)
    processes.wait_for_no_more_than(before, lambda: [new])


def test_two_idle_arbiters_wake_nobody(dancing: Callable[..., tuple[Server, Dance]]) -> None:
    _, dance = dancing()
    dance.begin()

    def wakeups() -> list[int]:
        return [processes.wakeups(pid) for pid in (dance.elder, dance.successor)]

    def rest() -> bool:
        before = wakeups()
        with suppress(AssertionError):
            throughout(lambda: wakeups() == before, "nobody wakes", seconds=1)
            return True
        return False

    until(rest, "a second without a wake-up")


def test_a_resized_terminal_means_nothing_without_a_successor(
    dancing: Callable[..., tuple[Server, Dance]],
) -> None:
    server, dance = dancing()
    worker = server.worker
    dance.begin()
    os.kill(dance.successor, SIGWINCH)
    dance.wait_for(dance.successor, "SIGWINCH ignored. Not daemonized")
    os.kill(dance.successor, SIGKILL)
    dance.wait_for(dance.elder, "was sent SIGKILL")
    os.kill(dance.elder, SIGWINCH)
    dance.wait_for(dance.elder, "SIGWINCH ignored. Not daemonized")
    assert dance.workers(dance.elder) == [worker]


# around it


def test_daemons_dance_as_well(serve: Serve, tmp_path: Path) -> None:
    pidfile, log = tmp_path / "pid", tmp_path / "error.log"
    options = ("-D", "--pid", str(pidfile), "--error-logfile", str(log), *DEBUG)
    launcher = serve(PROBE, *options, "--keep-alive", "60", launch=True)
    assert launcher.wait() == 0
    until(lambda: log.exists() and "is ready." in log.read_text(), "the daemon serves")
    dance = Dance(int(pidfile.read_text()), log.read_text)
    url = log.read_text().partition("Listening at: http://")[2].split()[0]
    host, _, port = url.partition(":")
    with Connection((host, int(port))) as connection:
        assert connection.request("/process").json()["pid"] in dance.workers(dance.elder)
        dance.begin()
        assert processes.parent(dance.successor) == dance.elder
        os.kill(dance.elder, SIGWINCH)
        dance.wait_for_workers(dance.elder, 0)
        assert connection.request("/process").json()["pid"] in dance.workers(dance.successor)
        os.kill(dance.elder, SIGTERM)
        dance.wait_for_promotion()
        until(lambda: pidfile.read_text() == f"{dance.successor}\n", "the pidfile is its own")
        assert connection.request("/").status == 200
    dance.end()
    assert not pidfile.exists()


GUNICORN = """
import os, signal, socket, sys

listener = socket.create_server(("127.0.0.1", 0))
listener.set_inheritable(True)
started = 0

def reexec(*_):
    global started
    pid = os.getpid()
    started = os.fork()
    if started == 0:
        environ = dict(os.environ, GUNICORN_PID=str(pid), GUNICORN_FD=str(listener.fileno()))
        os.execvpe(sys.executable, [sys.executable, "-m", "oxicorn", *sys.argv[1:]], environ)
    print(f"[{pid}] Successor (pid:{started}) was started.", flush=True)

signal.signal(signal.SIGUSR2, reexec)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("listening", listener.getsockname()[1], flush=True)
while True:
    signal.pause()
"""
"""What gunicorn's master does on USR2, with its variables; no more of it is needed here."""


def test_a_gunicorn_can_be_succeeded(tmp_path: Path, serve: Serve) -> None:
    pidfile, second, log = tmp_path / "pid", tmp_path / "pid.2", tmp_path / "log"
    pidfile.write_text("4194304\n")
    server = serve(PROBE, launch=True)
    command = [sys.executable, "-c", GUNICORN, "--pid", str(pidfile), *DEBUG, PROBE]
    # Addresses of the configuration are not bound: whoever listens there would refuse.
    command[3:3] = ["--bind", f"127.0.0.1:{server.port}"]
    with log.open("ab") as output:
        elder = subprocess.Popen(
            command, stdout=output, stderr=output, env=server.env, cwd=server.cwd
        )
    try:
        until(lambda: "listening" in log.read_text(), "the elder listens")
        port = int(log.read_text().split()[1])
        dance = Dance(elder.pid, log.read_text)
        dance.ask()
        dance.wait_for(dance.successor, "is ready.")
        with Connection(("127.0.0.1", port)) as connection:
            assert connection.request("/").status == 200
            assert second.read_text() == f"{dance.successor}\n"
            os.kill(dance.successor, SIGUSR2)
            dance.wait_for(dance.successor, "USR2 signal ignored. Parent exists.")
            elder.terminate()
            assert elder.wait() == 0
            dance.wait_for_promotion()
            until(lambda: not second.exists(), "the name is taken")
            assert pidfile.read_text() == f"{dance.successor}\n"
            assert connection.request("/").status == 200
        os.kill(dance.successor, SIGTERM)
        until(lambda: not processes.alive(dance.successor), "it has ended")
        assert not pidfile.exists()
    finally:
        elder.kill()
        elder.wait()


def test_the_service_manager_hears_who_the_main_process_is(
    dancing: Callable[..., tuple[Server, Dance]], tmp_path: Path
) -> None:
    with Manager(tmp_path) as manager:
        _, dance = dancing(env=manager.variables)
        assert manager.wait_for("READY")["MAINPID"] == str(dance.elder)
        dance.begin()
        assert [message for message in manager.rest() if "MAINPID" in message] == []
        os.kill(dance.elder, SIGTERM)
        # The elder says it, whom the manager believes; it does not say that the service stops.
        assert manager.next()["MAINPID"] == str(dance.successor)
        ready = manager.wait_for("READY")
        assert (ready["MAINPID"], ready["STATUS"]) == (
            str(dance.successor),
            "Generation 1 serves.",
        )
        os.kill(dance.successor, SIGTERM)
        manager.wait_for("STOPPING")
        assert [message for message in manager.told if "STOPPING" in message] == manager.told[-1:]


def test_the_watchdog_is_the_successors_after_the_promotion(
    dancing: Callable[..., tuple[Server, Dance]], tmp_path: Path
) -> None:
    watchdog = {"WATCHDOG_USEC": "400000"}
    with Manager(tmp_path) as manager:
        # A shell sets the one variable that names the process itself.
        server, dance = dancing(env={**manager.variables, **watchdog})
        dance.begin()
        os.kill(dance.elder, SIGTERM)
        assert server.wait() == 0
        manager.wait_for("READY")
        mark = len(manager.told)
        while len(manager.told) < mark + 3:
            manager.wait_for("WATCHDOG")

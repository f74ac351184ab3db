"""An arbiter that is killed: its workers, orphans now, serve on until the next one takes them over,
and no client notices.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGUSR2
from subprocess import PIPE, Popen, run

import pytest

from conftest import Serve
from harness import control, processes
from harness.client import message
from harness.folders import open_to_everybody
from harness.gate import Gate
from harness.halves import HALVES
from harness.holders import holder
from harness.load import Load
from harness.server import Server
from harness.wait import throughout, until
from test_moved_connections import Orders, check, under_load

PROBE = (
    "apps.probe:application",
    *("--keep-alive", "60", "--head-timeout", "60", "--body-timeout", "60"),
)
"""However busy the machine is, no client is too slow for it."""
TAKEN = r"(its connections are|their connections are) taken over"


@pytest.fixture
def bind() -> str:
    """An address that two servers can be started with, one after the other.

    The system chooses no such port for anybody else meanwhile.
    """
    while True:
        address = ("127.0.0.1", random.randrange(15_000, 30_000))
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(address)
            return f"{address[0]}:{address[1]}"


APP = """
{before}
import os

def app(environ, start_response):
    body = b"{version}" if environ["PATH_INFO"] == "/" else str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


GATED = """
from apps.probe import application as probe

def app(environ, start_response, _plain=app):
    if environ["PATH_INFO"] != "/gate":
        return _plain(environ, start_response)
    list(probe(environ, lambda *_: None))
    return _plain(environ, start_response)
"""
"""After the application: with a gate in front of the answer."""

STARTS_UP_FOR_EVER = """
import asyncio

async def app(scope, receive, send):
    print("starts up", flush=True)
    await asyncio.Event().wait()
"""


class Site:
    """An application that is a file of the test, and servers of it."""

    def __init__(self, folder: Path, serve: Serve, bind: str) -> None:
        self._folder = folder
        self._serve = serve
        self.bind = bind
        self.write("one")

    def write(self, version: str, before: str = "", after: str = "") -> None:
        """Deploys a version; `before` and `after` are executed when it is imported."""
        text = APP.format(version=version, before=before)
        (self._folder / "site_app.py").write_text(text + after)

    def start(self, *options: str) -> Server:
        """A server that serves."""
        return self.launch(*options).wait_serving()

    def launch(self, *options: str) -> Server:
        server: Server = self._serve(
            *("site_app:app", "--keep-alive", "60", *options),
            bind=self.bind,
            cwd=self._folder,
            launch=True,
        )
        return server


@pytest.fixture
def site(tmp_path: Path, serve: Serve, bind: str) -> Site:
    return Site(tmp_path, serve, bind)


def kill(server: Server) -> None:
    """Kills the arbiter alone."""
    os.kill(server.pid, SIGKILL)
    assert server.wait() == -SIGKILL


def wait_for_orphan(server: Server, text: str) -> None:
    """Waits until a worker of the killed server says this."""
    until(lambda: text in server.log, f"{text!r} in the log of the orphans")


def wait_until_gone(server: Server) -> None:
    until(lambda: server.family() == [], "no orphan is left")


def taken_over(first: Server, launch: Callable[[], Server]) -> Server:
    """The server that follows on the first, which is killed."""
    kill(first)
    return follows(first, launch)


def follows(first: Server, launch: Callable[[], Server]) -> Server:
    """The server that takes the orphans of the first over."""
    second = launch()
    second.wait_for_log(TAKEN)
    wait_until_gone(first)
    return second


# nobody notices


@pytest.mark.parametrize("delay", [0, 0.025], ids=["near", "25-ms-away"])
@pytest.mark.parametrize(
    "options", [(), ("--threads", "4"), ("--preload",)], ids=["sync", "threads", "preload"]
)
def test_an_arbiter_that_is_killed_and_started_again_costs_no_connection(
    tmp_path: Path, serve: Serve, bind: str, options: tuple[str, ...], delay: float
) -> None:
    orders = Orders(tmp_path, serve, seconds_to_import="0.5")
    server = orders.start(*options, bind=bind)

    def work() -> None:
        second = taken_over(server, lambda: orders.launch(*options, bind=bind))
        taken_over(second, lambda: orders.launch(*options, bind=bind))

    check(under_load(server, work, delay), orders.executed())


def test_one_that_comes_three_seconds_later_takes_over_as_well(
    tmp_path: Path, serve: Serve, bind: str
) -> None:
    orders = Orders(tmp_path, serve)
    first = orders.start(bind=bind)

    def work() -> None:
        kill(first)
        throughout(lambda: first.request().status == 200, "the orphans serve", seconds=3)
        follows(first, lambda: orders.launch(bind=bind))

    check(under_load(first, work), orders.executed())


@pytest.fixture
def path() -> Iterator[Path]:
    """Of a Unix socket: it is short, and that of a test's folder may be long."""
    with tempfile.TemporaryDirectory(prefix="oxi-") as folder:
        yield Path(folder) / "web.sock"


def test_a_unix_socket_is_taken_over_with_its_path(site: Site, path: Path) -> None:
    site.bind = f"unix:{path}"
    first = site.start()
    file = path.stat().st_ino
    with Load(first) as load:
        second = taken_over(first, site.launch)
        third = taken_over(second, site.launch)
        load.wait_for("one", 20)
    assert path.stat().st_ino == file
    third.stop()
    assert not path.exists()


def test_several_addresses_are_taken_over(serve: Serve, bind: str, path: Path) -> None:
    def launch() -> Server:
        return serve(*PROBE, "--bind", f"unix:{path}", bind=bind, launch=True)

    first = launch().wait_serving()
    second = taken_over(first, launch)
    assert "Connection in use" not in second.log
    assert second.request().status == 200
    second.bind = f"unix:{path}"
    assert second.request().status == 200


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_a_broken_application_leaves_everything_to_the_orphans(
    site: Site, path: Path, family: str
) -> None:
    if family == "unix":
        site.bind = f"unix:{path}"
    first = site.start("--workers", "2")
    with Load(first) as load:
        kill(first)
        for _ in range(2):
            site.write("two", "raise RuntimeError('broken')")
            broken = site.launch()
            broken.expect_exit(3)
            assert "taken over" not in broken.log
            load.wait_for("one", 20)
            assert first.request().text == "one"
        site.write("three")
        follows(first, site.launch)
        load.wait_for("three", 20)
        assert set(load.answers) == {"one", "three"}


# what is under way


def test_a_request_that_runs_is_answered_by_the_orphan_and_its_connection_moves(
    serve: Serve, tmp_path: Path, bind: str
) -> None:
    first, gate = serve(*PROBE, bind=bind), Gate(tmp_path)
    old = first.worker
    with first.connect() as connection:
        connection.send(message(gate.target))
        gate.wait_entered()
        kill(first)
        second = serve(*PROBE, bind=bind, launch=True)
        second.wait_for_log(TAKEN)
        assert second.request("/process").json()["pid"] == second.worker
        assert processes.alive(old)
        gate.open()
        response = connection.receive()
        assert (response.status, response.header("Connection")) == (200, None)
        assert connection.request("/process").json()["pid"] == second.worker
    wait_until_gone(first)


def test_a_request_that_does_not_end_is_cut_after_the_graceful_timeout(
    serve: Serve, tmp_path: Path, bind: str
) -> None:
    first, gate = serve(*PROBE, "--graceful-timeout", "1", bind=bind), Gate(tmp_path)
    with first.connect() as connection:
        connection.send(message(gate.target))
        gate.wait_entered()
        taken_over(first, lambda: serve(*PROBE, bind=bind, launch=True))
        assert connection.is_closed()
    assert f'Request cut (pid: {first_pid(first)}): "GET {gate.target}' in first.log


def first_pid(server: Server) -> int:
    """The worker that was booted first."""
    return int(server.wait_for_log(r"Booting worker with pid: (\d+)").group(1))


@pytest.mark.parametrize("what", HALVES)
def test_a_request_that_is_half_sent_goes_on_at_the_new_worker(
    serve: Serve, bind: str, what: str
) -> None:
    first = serve(*PROBE, bind=bind)
    request, cut = HALVES[what]
    with first.connect() as connection:
        assert connection.request("/process").json()["pid"] == first.worker
        connection.send(request[:cut])
        second = taken_over(first, lambda: serve(*PROBE, bind=bind, launch=True))
        connection.send(request[cut:])
        assert connection.receive().status == 200
        assert connection.request("/process").json()["pid"] == second.worker


# nobody comes, or somebody else


def test_orphans_leave_when_nobody_comes(serve: Serve, bind: str) -> None:
    first = serve(*PROBE, "--orphan-timeout", "3", bind=bind, workers=2)
    assert first.request().status == 200
    kill(first)
    assert first.request().status == 200
    wait_until_gone(first)
    assert "No new arbiter has come" in first.log
    assert first.refuses()
    assert serve(*PROBE, bind=bind).request().status == 200


def test_without_an_orphan_timeout_workers_leave_at_once(serve: Serve, bind: str) -> None:
    first = serve(*PROBE, "--orphan-timeout", "0", bind=bind, workers=2)
    kill(first)
    wait_until_gone(first)
    assert "serves on" not in first.log


@pytest.mark.parametrize("number", [SIGTERM, SIGINT, SIGQUIT])
def test_a_signal_ends_an_orphan(serve: Serve, bind: str, number: int) -> None:
    first = serve(*PROBE, bind=bind)
    worker = first.request("/process").json()["pid"]
    kill(first)
    wait_for_orphan(first, "serves on")
    os.kill(worker, number)
    wait_until_gone(first)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_an_orphan_that_hangs_ends(serve: Serve, bind: str, threads: str) -> None:
    limits = ("--timeout", "1", "--graceful-timeout", "1", "--threads", threads)
    first = serve(*PROBE, *limits, bind=bind)
    assert first.request().status == 200
    kill(first)
    with first.connect() as connection:
        connection.send(message("/hang"))
        wait_until_gone(first)
    assert "hangs and there is no arbiter: the worker ends" in first.log


def test_orphans_are_shown_until_they_have_left(
    serve: Serve, tmp_path: Path, bind: str, path: Path
) -> None:
    first, gate, place = serve(*PROBE, bind=bind), Gate(tmp_path), path.with_name("ctl")
    orphan = {"pid": first.worker, "state": "leaving"}
    with first.connect() as connection:
        connection.send(message(gate.target))
        gate.wait_entered()
        kill(first)
        second = serve(*PROBE, "--control-socket", str(place), bind=bind, launch=True)
        second.wait_for_log(TAKEN)
        assert control.status(place)["orphans"] == [orphan]
        ask = [sys.executable, "-m", "oxicorn.ctl", "--socket", str(place), "status"]
        shown = run(ask, check=True, capture_output=True, text=True).stdout
        line = f"Worker of an arbiter that is gone: pid {orphan['pid']}, leaving"
        assert line in shown.splitlines()
        gate.open()
        assert connection.receive().status == 200
    until(lambda: control.status(place)["orphans"] == [], "the orphan has left")


def test_whoever_stops_the_new_server_stops_the_orphans(
    serve: Serve, tmp_path: Path, bind: str
) -> None:
    first, gate = serve(*PROBE, bind=bind), Gate(tmp_path)
    with first.connect() as connection:
        connection.send(message(gate.target))
        gate.wait_entered()
        kill(first)
        second = serve(*PROBE, bind=bind, launch=True)
        second.wait_for_log(TAKEN)
        second.stop()
        gate.open()
        assert connection.receive().status == 200
    wait_until_gone(first)


def test_of_two_that_are_started_at_once_one_takes_over(
    tmp_path: Path, serve: Serve, bind: str
) -> None:
    orders = Orders(tmp_path, serve)
    first = orders.start(bind=bind)

    def work() -> None:
        kill(first)
        both = [orders.launch(bind=bind) for _ in range(2)]
        [loser] = until(
            lambda: [one for one in both if one.process.poll() is not None], "one gives up"
        )
        assert loser.process.returncode == 1
        [winner] = set(both) - {loser}
        winner.wait_for_log(TAKEN)
        wait_until_gone(first)

    check(under_load(first, work), orders.executed())


def test_whoever_comes_second_to_the_orphans_of_one_server_leaves_them_alone(
    serve: Serve, bind: str, path: Path, another: Callable[..., Popen[bytes]]
) -> None:
    place = path.with_name("ctl")
    first = serve(*PROBE, "--control-socket", str(place), bind=bind, workers=2)
    until(lambda: states(place) == ["serving"] * 2, "both serve")
    connections = [first.connect() for _ in range(20)]
    assert {holder(connection) for connection in connections} <= set(first.workers())
    kill(first)
    winner = another(HOLDS, place_of(bind))
    assert winner.stdout is not None
    assert winner.stdout.readline() == b"taken over\n"
    loser = serve(*PROBE, bind=bind, launch=True)
    loser.expect_exit(1)
    assert "Another arbiter takes over from the one that is gone" in loser.log
    assert {holder(connection) for connection in connections} <= set(first.family())
    winner.kill()
    second = follows(first, lambda: serve(*PROBE, bind=bind, launch=True))
    assert "Found 2 workers" in second.log
    assert {holder(connection) for connection in connections} == {second.worker}


def states(place: Path) -> list[str]:
    """What the workers do, as the server says."""
    return [worker["state"] for worker in control.status(place)["workers"]]


def test_a_second_server_beside_a_living_one_disturbs_nobody(serve: Serve, bind: str) -> None:
    first = serve(*PROBE, bind=bind)
    worker = first.request("/process").json()["pid"]
    serve(*PROBE, bind=bind, launch=True).expect_exit(1)
    assert first.workers() == [worker]
    second = taken_over(first, lambda: serve(*PROBE, bind=bind, launch=True))
    assert second.request("/process").json()["pid"] == second.worker


ROUNDS = 20


def test_arbiters_that_are_killed_at_any_moment_of_the_taking_over_cost_no_connection(
    tmp_path: Path, serve: Serve, bind: str
) -> None:
    orders, chance = Orders(tmp_path, serve), random.Random(7)
    first = orders.start(bind=bind)
    servers = [first]

    def work() -> None:
        for number in range(ROUNDS):
            kill(servers[-1])
            servers.append(orders.launch(bind=bind))
            # As far as it gets: from before its first step to long after its last.
            throughout(lambda: True, "a moment", seconds=chance.random() * 2.5)
            if number % 5 == 4:
                servers[-1].wait_for_log(TAKEN)
        servers[-1].wait_for_log(TAKEN)
        for server in servers[:-1]:
            wait_until_gone(server)

    check(under_load(first, work), orders.executed())
    servers[-1].wait_for_workers(2)


def test_an_application_that_hangs_holds_orphans_no_longer_than_theirs_may_boot(site: Site) -> None:
    first = site.start("--orphan-timeout", "600", "--boot-timeout", "1")
    kill(first)
    site.write("two", "import threading\nthreading.Event().wait()")
    second = site.launch()
    wait_for_orphan(first, "The new arbiter does not take over")
    wait_until_gone(first)
    second.stop()


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["worker", "stem"])
def test_whoever_imports_ends_with_its_arbiter(site: Site, options: tuple[str, ...]) -> None:
    site.write("one", "import threading\nthreading.Event().wait()")
    server = site.launch(*options)
    server.wait_for_log("Booting (worker|stem)")
    until(lambda: len(processes.children(server.pid)) == 1, "it imports")
    kill(server)
    wait_until_gone(server)


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["alone", "preload"])
def test_a_worker_whose_application_does_not_start_up_ends_with_its_arbiter(
    serve: Serve, tmp_path: Path, bind: str, options: tuple[str, ...]
) -> None:
    (tmp_path / "site_app.py").write_text(STARTS_UP_FOR_EVER)
    server = serve("site_app:app", *options, bind=bind, cwd=tmp_path, launch=True)
    server.wait_for_log("starts up")
    kill(server)
    wait_until_gone(server)


def test_a_loop_that_hangs_when_its_arbiter_is_killed_ends(
    serve: Serve, bind: str, path: Path
) -> None:
    place = path.with_name("ctl")
    options = ("--timeout", "2", "--control-socket", str(place))
    first = serve("apps.asgi_probe:application", *options, bind=bind)

    def is_inside() -> bool:
        [worker] = control.status(place)["workers"]
        inside: int = worker["connections"]["application"]
        return inside == 1

    with first.connect() as connection:
        connection.send(message("/block?seconds=600"))
        until(is_inside, "the loop is blocked")
        kill(first)
        wait_until_gone(first)
    assert "hangs and there is no arbiter: the worker ends" in first.log


def test_connections_that_a_worker_keeps_which_stands_by_are_taken_over(
    site: Site, tmp_path: Path
) -> None:
    site.write("one", after=GATED)
    first = site.start("--observe-timeout", "600", "--threads", "2")
    gate = Gate(tmp_path)
    old = first.worker
    with first.connect() as connection:
        connection.send(message(gate.target))
        gate.wait_entered()
        first.signal(SIGHUP)
        first.wait_for_log("Generation 2 serves; 1 stands by")
        second = taken_over_but_one(first, old, site.launch)
        gate.open()
        response = connection.receive()
        assert (response.text, response.header("Connection")) == (str(old), None)
        assert int(connection.request("/pid").text) == second.worker
    wait_until_gone(first)


def taken_over_but_one(first: Server, left: int, launch: Callable[[], Server]) -> Server:
    """The server that follows on the first, of which one worker is left."""
    kill(first)
    second = launch()
    second.wait_for_log(TAKEN)
    until(lambda: first.family() == [left], "one orphan is left")
    return second


def test_the_time_of_orphans_stands_still_while_a_new_arbiter_boots(site: Site) -> None:
    first = site.start("--orphan-timeout", "5")
    kill(first)
    site.write("two", "import threading\nthreading.Event().wait()")
    second = site.launch()
    second.wait_for_log("Booting worker")
    throughout(lambda: first.request().text == "one", "the orphan serves", seconds=6)
    kill(second)
    assert first.request().text == "one"
    wait_until_gone(first)
    assert "No new arbiter has come" in first.log
    wait_until_gone(second)


# other ways to a new arbiter


def test_the_second_of_two_arbiters_takes_the_workers_of_the_first(serve: Serve, bind: str) -> None:
    server = serve(*PROBE, "--log-level", "debug", bind=bind)
    old = server.worker
    with server.connect() as connection:
        assert connection.request("/process").json()["pid"] == old
        server.signal(SIGUSR2)
        server.wait_for_log("The other arbiter is able")
        successor = int(server.wait_for_log(r"Successor \(pid:(\d+)\)").group(1))
        kill(server)
        wait_for_orphan(server, "taken over")
        until(lambda: not processes.alive(old), "the orphan has left")
        [new] = processes.children(successor)
        assert connection.request("/process").json()["pid"] == new
    os.kill(successor, SIGTERM)
    wait_until_gone(server)


def test_the_first_of_two_arbiters_takes_the_workers_of_the_second(serve: Serve, bind: str) -> None:
    server = serve(*PROBE, "--log-level", "debug", bind=bind)
    server.signal(SIGUSR2)
    # Said by either to the other.
    server.wait_for_log("The other arbiter is able", 2)
    successor = int(server.wait_for_log(r"Successor \(pid:(\d+)\)").group(1))
    [new] = processes.children(successor)
    os.kill(successor, SIGKILL)
    server.wait_for_log(TAKEN)
    until(lambda: not processes.alive(new), "the orphan has left")
    assert server.request("/process").json()["pid"] == server.worker


def test_an_arbiter_that_has_become_another_version_is_followed_as_well(
    tmp_path: Path, serve: Serve, bind: str
) -> None:
    orders = Orders(tmp_path, serve)
    with tempfile.TemporaryDirectory(prefix="oxi-") as runtime:
        place = f"{runtime}/ctl"
        options = ("--observe-timeout", "0.1", "--control-socket", place)
        first = orders.start(*options, bind=bind)

        def work() -> None:
            second = taken_over(first, lambda: orders.launch(*options, bind=bind))
            ask = [sys.executable, "-m", "oxicorn.ctl", "--socket", place]
            run([*ask, "upgrade", "--wait"], check=True, timeout=60)
            taken_over(second, lambda: orders.launch(*options, bind=bind))

        check(under_load(first, work), orders.executed())


# strangers


@pytest.fixture
def stranger(another: Callable[..., Popen[bytes]]) -> Callable[..., Popen[bytes]]:
    """Runs a script that becomes another user: not all may read the interpreter's folders."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    return another


@pytest.fixture
def another() -> Iterator[Callable[..., Popen[bytes]]]:
    """Runs a script."""
    running: list[Popen[bytes]] = []

    def start(script: str, *arguments: str) -> Popen[bytes]:
        command = [sys.executable, "-c", script, *arguments]
        process = Popen(command, stdin=PIPE, stdout=PIPE)
        running.append(process)
        return process

    yield start
    for process in running:
        with contextlib.suppress(OSError):
            process.kill()
        process.communicate()


CALLS = """
import os, socket, sys
link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
os.setgroups([]), os.setgid(65534), os.setuid(65534)
link.settimeout(20)
link.connect("\\0" + sys.argv[1])
try:
    link.send(bytes([1, 1]))
    data, rights, *_ = socket.recv_fds(link, 64, 4)
except (BrokenPipeError, ConnectionResetError):
    data, rights = b"", []
print(len(data), len(rights), flush=True)
"""

HOLDS = """
import fcntl, os, socket, sys
link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
link.settimeout(20)
link.connect("\\0" + sys.argv[1])
link.send(bytes([1, 1]))
kept = []
while True:
    data, rights, *_ = socket.recv_fds(link, 64, 4)
    kept += rights
    if data[1] == 66:
        fcntl.lockf(rights[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
    if data[1] == 67:
        break
print("taken over", flush=True)
sys.stdin.read()
"""

SQUATS = """
import os, socket, sys
place = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
os.setgroups([]), os.setgid(65534), os.setuid(65534)
place.bind("\\0" + sys.argv[1])
place.listen()
print("there", flush=True)
sys.stdin.read()
"""


def place_of(bind: str) -> str:
    """The name under which orphans of our servers are found."""
    return f"oxicorn-{os.geteuid()}-{bind}"


def test_a_stranger_gets_nothing_from_an_orphan(
    serve: Serve, bind: str, stranger: Callable[..., Popen[bytes]]
) -> None:
    first = serve(*PROBE, "--log-level", "debug", bind=bind)
    assert first.request().status == 200
    kill(first)
    wait_for_orphan(first, "serves on")
    told, _ = stranger(CALLS, place_of(bind)).communicate(timeout=30)
    assert told == b"0 0\n"
    wait_for_orphan(first, "of another user away")
    follows(first, lambda: serve(*PROBE, bind=bind, launch=True))


def test_a_stranger_who_has_the_name_gets_nothing_and_disturbs_nothing(
    serve: Serve, bind: str, stranger: Callable[..., Popen[bytes]]
) -> None:
    squatter = stranger(SQUATS, place_of(bind))
    assert squatter.stdout is not None
    assert squatter.stdout.readline() == b"there\n"
    first = serve(*PROBE, bind=bind)
    assert first.log.count("A process of another user has the name") == 1
    assert first.request().status == 200
    kill(first)
    wait_until_gone(first)
    assert "serves on" not in first.log
    assert serve(*PROBE, bind=bind).request().status == 200


def test_workers_without_privileges_are_taken_over(site: Site, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    open_to_everybody(tmp_path)
    options = ("--user", "65534", "--group", "65534")
    first = site.start(*options)
    with first.connect() as connection:
        worker = int(connection.request("/pid").text)
        assert os.stat(f"/proc/{worker}").st_uid == 65534
        second = taken_over(first, lambda: site.launch(*options))
        assert int(connection.request("/pid").text) == second.worker

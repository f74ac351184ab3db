"""Requests that wait go to a sibling with less to do, and nothing moves without need."""

from __future__ import annotations

import os
import select
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import Serve
from harness import control, processes
from harness.client import Connection, message
from harness.gate import Gate
from harness.holders import ask_all, connections_of, holder
from harness.server import Server
from harness.wait import PATIENCE, throughout, until

APP = "apps.probe:application"
CALM = ("--graceful-timeout", "1", "--timeout", "60", "--keep-alive", "60", "--log-level", "debug")
OTHERS = 20
ASKS = message("/process")


class Askers:
    """Clients that ask again as soon as they are answered."""

    def __init__(self, connections: list[Connection], target: str) -> None:
        self._by_socket = {connection.socket: connection for connection in connections}
        self._request = message(target)
        self.answers = 0
        self.holders: dict[Connection, int] = {}
        """Who answered last on each connection."""

    def ask_until(self, done: Callable[[], bool], what: str) -> None:
        for connection in self._by_socket.values():
            connection.send(self._request)

        def asked_again() -> bool:
            readable, _, _ = select.select(list(self._by_socket), [], [], PATIENCE)
            for socket in readable:
                connection = self._by_socket[socket]
                self.holders[connection] = connection.receive().json()["pid"]
                self.answers += 1
                connection.send(self._request)
            return done()

        until(asked_again, what)
        for connection in self._by_socket.values():
            connection.receive()

    def held(self) -> Counter[int]:
        """How many connections each worker has, as far as it is known."""
        return Counter(self.holders.values())


@pytest.fixture
def runtime() -> Iterator[Path]:
    """The path of a Unix socket is short, and that of a test's folder may be long."""
    with tempfile.TemporaryDirectory(prefix="oxi-") as folder:
        yield Path(folder)


def moves(place: Path) -> int:
    """How many connections have moved between workers that live."""
    total: int = sum(worker["total"]["taken"] for worker in control.status(place)["workers"])
    return total


def as_started(server: Server) -> None:
    """Nothing has happened yet."""


def after_a_restart(server: Server) -> None:
    old = server.workers()
    server.signal(signal.SIGHUP)
    server.wait_for_log("Generation 2 is confirmed")
    until(lambda: len(server.workers()) == 2 and not set(old) & set(server.workers()), "new ones")


def after_a_death(server: Server) -> None:
    dead, left = server.workers()
    os.kill(dead, signal.SIGKILL)
    known = (dead, left)
    [new] = until(lambda: [pid for pid in server.workers() if pid not in known], "a new one")
    with connections_of(server, new, 1):
        pass


BEFORE = [as_started, after_a_restart, after_a_death]


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("preload", [False, True])
def test_what_waits_behind_long_requests_goes_to_an_idle_sibling(
    serve: Serve, tmp_path: Path, before: Callable[[Server], None], threads: str, preload: bool
) -> None:
    options = ("--threads", threads, "--observe-timeout", "0", *["--preload"] * preload)
    server = serve(APP, *CALM, *options, workers=2)
    before(server)
    busy, sibling = server.workers()
    gates = [Gate(tmp_path, f"gate-{number}") for number in range(int(threads))]
    with connections_of(server, busy, OTHERS + len(gates)) as connections:
        victims, others = connections[: len(gates)], connections[len(gates) :]
        for victim, gate in zip(victims, gates, strict=True):
            victim.send(message(gate.target))
            gate.wait_entered()
        answers = ask_all(others, ASKS)
        assert {answer.json()["pid"] for answer in answers} == {sibling}
        server.wait_for_log(rf"Requests wait in worker \(pid:{busy}\): .* worker \(pid:{sibling}\)")
        for victim, gate in zip(victims, gates, strict=True):
            gate.open()
            assert victim.receive().json()["pid"] == busy
        # Neither of them was told to stop serving.
        for pid in (busy, sibling):
            with connections_of(server, pid, 1) as fresh:
                assert holder(fresh[0]) == pid


def test_idle_connections_of_a_busy_worker_stay_where_they_are(
    serve: Serve, tmp_path: Path, runtime: Path
) -> None:
    server = serve(APP, *CALM, "--control-socket", str(runtime / "ctl"), workers=2)
    busy, sibling = server.workers()
    gate = Gate(tmp_path)
    with connections_of(server, busy, 12) as (victim, *others):
        waiting, idle = others[:3], others[3:]
        victim.send(message(gate.target))
        gate.wait_entered()
        answers = ask_all(waiting, ASKS)
        gate.open()
        assert victim.receive().json()["pid"] == busy
        assert {answer.json()["pid"] for answer in answers} == {sibling}
        if "is saturated" not in server.log:
            assert moves(runtime / "ctl") == len(waiting)
            assert {holder(connection) for connection in idle} == {busy}


@pytest.mark.parametrize("seconds", ["0.02", "0.002"])
def test_a_long_queue_of_short_requests_is_divided(serve: Serve, seconds: str) -> None:
    server = serve(APP, *CALM, workers=2)
    busy, sibling = server.workers()
    with connections_of(server, busy, 40) as connections:
        askers = Askers(connections, f"/nap?seconds={seconds}")
        askers.ask_until(lambda: askers.held()[sibling] >= 15, "15 connections have moved")
        # And there they stay, both having as much to do.
        askers.ask_until(lambda: askers.answers >= 1000, "everybody goes on being answered")
        assert min(askers.held()[busy], askers.held()[sibling]) >= 8


def test_a_much_longer_queue_is_shortened_although_the_sibling_is_busy(serve: Serve) -> None:
    server = serve(APP, *CALM, workers=2)
    busy, sibling = server.workers()
    with (
        connections_of(server, busy, 60) as many,
        connections_of(server, sibling, 4) as few,
    ):
        askers = Askers(many + few, "/nap?seconds=0.02")
        askers.ask_until(lambda: askers.held()[sibling] >= 20, "16 connections have moved")


def test_three_siblings_get_about_the_same(serve: Serve) -> None:
    server = serve(APP, *CALM, workers=4)
    busy = server.workers()[0]
    with connections_of(server, busy, 40) as connections:
        askers = Askers(connections, "/nap?seconds=0.02")

        def divided() -> bool:
            held = askers.held()
            return len(held) == 4 and min(held.values()) >= 5

        askers.ask_until(divided, "everybody has some")


@pytest.mark.parametrize("seconds", ["0.02", "0.002"])
def test_nothing_moves_between_workers_with_the_same_load(
    serve: Serve, runtime: Path, seconds: str
) -> None:
    server = serve(APP, *CALM, "--control-socket", str(runtime / "ctl"), workers=2)
    one, two = server.workers()
    with connections_of(server, one, 8) as ours, connections_of(server, two, 8) as theirs:
        before = moves(runtime / "ctl")
        askers = Askers(ours + theirs, f"/nap?seconds={seconds}")
        askers.ask_until(lambda: askers.answers >= 400, "many answers")
        # A machine that stops one of the two workers for a while makes the other one idle.
        assert moves(runtime / "ctl") - before <= 8


def test_no_connection_moves_on_at_once(serve: Serve, runtime: Path) -> None:
    server = serve(APP, *CALM, "--control-socket", str(runtime / "ctl"), workers=2)
    worker = server.workers()[0]
    with connections_of(server, worker, 3) as connections:
        # Two of them wait at one worker or the other, whoever has them.
        askers = Askers(connections, "/nap?seconds=0.03")
        before = moves(runtime / "ctl")
        askers.ask_until(lambda: askers.answers >= 100, "many answers")
        moved = moves(runtime / "ctl") - before
        assert 1 <= moved <= 20, "one at first, and then few: there is one too many to be equal"


def test_an_only_worker_asks_nobody(serve: Serve, tmp_path: Path) -> None:
    server, gate = serve(APP, *CALM), Gate(tmp_path)
    nobody_is_asked_while_requests_wait(server, [server.worker], [gate])
    assert "Requests wait" not in server.log


def test_nobody_is_asked_while_everybody_is_busy(serve: Serve, tmp_path: Path) -> None:
    server = serve(APP, *CALM, workers=2)
    gates = [Gate(tmp_path, "one"), Gate(tmp_path, "two")]
    nobody_is_asked_while_requests_wait(server, server.workers(), gates)


def nobody_is_asked_while_requests_wait(
    server: Server, workers: list[int], gates: list[Gate]
) -> None:
    """The arbiter, which would hear of it, hardly wakes up."""
    held = [connections_of(server, worker, 3) for worker in workers]
    groups = [one.__enter__() for one in held]
    for (victim, *_), gate in zip(groups, gates, strict=True):
        victim.send(message(gate.target))
        gate.wait_entered()
    begin = processes.wakeups(server.pid)
    for _, *others in groups:
        for connection in others:
            connection.send(ASKS)

    def asleep() -> bool:
        before = processes.wakeups(server.pid)
        throughout(lambda: True, "time passes", 1)
        return processes.wakeups(server.pid) == before

    until(asleep, "a second without a wake-up of the arbiter")
    # Each says once that all its threads are busy. To ask for help it would say so every 50 ms.
    assert processes.wakeups(server.pid) - begin <= 3 * len(workers)
    for gate in gates:
        gate.open()
    for group in groups:
        for connection in group:
            assert connection.receive().status == 200
    for one in held:
        one.__exit__(None, None, None)


def test_new_connections_are_left_to_an_idle_sibling_while_a_thread_comes_back_now_and_then(
    serve: Serve,
) -> None:
    server = serve(APP, *CALM, workers=2)
    busy, sibling = server.workers()
    naps = 40

    def all_are() -> bool:
        with connections_of(server, busy, 1) as (victim,):
            victim.send(message("/nap?seconds=0.05") * naps)
            newcomers = [server.request("/nap?seconds=0.03") for _ in range(naps)]
            theirs = {answer.json()["pid"] for answer in newcomers}
            own = {victim.receive().json()["pid"] for _ in range(naps)}
            return (theirs, own) == ({sibling}, {busy})

    # A sibling that the system does not let run leaves them to whoever comes.
    until(all_are, "every newcomer is answered by the idle one")


def test_new_connections_are_answered_while_everybody_is_busy(serve: Serve) -> None:
    server = serve(APP, *CALM, workers=2)
    one, two = server.workers()
    with connections_of(server, one, 6) as ours, connections_of(server, two, 6) as theirs:
        askers = Askers(ours + theirs, "/nap?seconds=0.02")
        newcomers: list[Connection] = []

        def answered() -> bool:
            if len(newcomers) < 5:
                newcomers.append(server.connect().send(ASKS))
            return all(one.readable(0) for one in newcomers) and len(newcomers) == 5

        askers.ask_until(answered, "five new connections are answered")
        for connection in newcomers:
            assert connection.receive().status == 200
            connection.close()


def test_a_sibling_that_is_stopped_keeps_nobody_waiting_for_ever(
    serve: Serve, tmp_path: Path
) -> None:
    server, gate = serve(APP, *CALM, workers=2), Gate(tmp_path)
    busy, sibling = server.workers()
    with connections_of(server, busy, 4) as (victim, *others):
        victim.send(message(gate.target))
        gate.wait_entered()
        os.kill(sibling, signal.SIGSTOP)
        try:
            for connection in others:
                connection.send(ASKS)
            server.wait_for_log(rf"Requests wait in worker \(pid:{busy}\)")
            gate.open()
            assert victim.receive().json()["pid"] == busy
            assert {connection.receive().json()["pid"] for connection in others} == {busy}
        finally:
            os.kill(sibling, signal.SIGCONT)


def test_a_sibling_that_dies_is_not_taken_for_an_idle_one(serve: Serve, tmp_path: Path) -> None:
    server, gate = serve(APP, *CALM, workers=2), Gate(tmp_path)
    busy, sibling = server.workers()
    with connections_of(server, busy, 4) as (victim, *others):
        victim.send(message(gate.target))
        gate.wait_entered()
        os.kill(sibling, signal.SIGKILL)
        answers = ask_all(others, ASKS)
        successors = {answer.json()["pid"] for answer in answers}
        assert not successors & {busy, sibling}
        gate.open()
        assert victim.receive().json()["pid"] == busy

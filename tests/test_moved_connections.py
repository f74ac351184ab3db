"""What clients see of their connections when the workers behind them are replaced: nothing. The
clients are those of `examples/restarts`: they keep their connections and never try again.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGHUP, SIGKILL

import pytest

from conftest import Serve
from harness import control, processes
from harness.client import Connection, Ended, message
from harness.gate import Gate
from harness.halves import HALVES
from harness.server import Server
from harness.wait import until

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "restarts"
sys.path.insert(0, str(EXAMPLE))

from clients import Fleet, Relay, Tally  # noqa: E402

CLIENTS = 60
RESTARTS = 10
QUICK = ("--observe-timeout", "0.3")


def restart(server: Server) -> None:
    """Restarts and waits until the new generation is confirmed."""
    mark = server.mark()
    server.signal(SIGHUP)
    server.wait_for_log(r"Generation \d+ is confirmed", since=mark)


class Orders:
    """The example's site, and what it executed."""

    def __init__(self, folder: Path, serve: Serve, seconds_to_import: str = "0") -> None:
        shutil.copy(EXAMPLE / "site_app.py", folder)
        self._file = folder / "orders"
        self._folder = folder
        self._serve = serve
        self._env = {"ORDERS": str(self._file), "SECONDS_TO_IMPORT": seconds_to_import}

    def launch(self, *options: str, workers: int = 2, **how: str) -> Server:
        server: Server = self._serve(
            *("site_app:app", "--workers", str(workers), "--keep-alive", "60", *options),
            cwd=self._folder,
            env=self._env,
            launch=True,
            **how,
        )
        return server

    def start(self, *options: str, workers: int = 2, **how: str) -> Server:
        return self.launch(*options, workers=workers, **how).wait_serving()

    def executed(self) -> Counter[str]:
        return Counter(self._file.read_text().split())


def under_load(
    server: Server, work: Callable[[], None], delay: float = 0, rate: float = 12
) -> Tally:
    """Runs `work` while the clients ask; what they saw."""

    async def run() -> Tally:
        relay = Relay(server.port, delay)
        async with relay, Fleet(relay.port if delay else server.port, CLIENTS, rate) as fleet:
            await asyncio.get_running_loop().run_in_executor(None, work)
        return fleet.tally

    return asyncio.run(run())


def check(tally: Tally, executed: Counter[str]) -> None:
    """Nobody noticed anything, and every order was executed exactly once."""
    assert not tally.failures, tally.failures[:5]
    assert tally.closed == 0
    assert tally.opened == CLIENTS
    assert tally.orders
    assert Counter(tally.orders) == executed


@pytest.mark.parametrize("delay", [0, 0.025], ids=["near", "25-ms-away"])
def test_ten_hot_restarts_close_no_connection(tmp_path: Path, serve: Serve, delay: float) -> None:
    orders = Orders(tmp_path, serve, seconds_to_import="1")
    server = orders.start(*QUICK)

    def work() -> None:
        for _ in range(RESTARTS):
            restart(server)

    tally = under_load(server, work, delay)
    check(tally, orders.executed())
    assert len(tally.bodies) > RESTARTS, "each generation has answered"
    server.wait_for_workers(2)


def test_phased_restarts_close_no_connection(tmp_path: Path, serve: Serve) -> None:
    orders = Orders(tmp_path, serve, seconds_to_import="0.3")
    server = orders.start(*QUICK, "--restart-mode", "phased")

    def work() -> None:
        for _ in range(3):
            restart(server)

    check(under_load(server, work), orders.executed())


def test_recycled_workers_close_no_connection(tmp_path: Path, serve: Serve, runtime: Path) -> None:
    orders, place = Orders(tmp_path, serve), runtime / "ctl"
    recycling = ("--max-requests", "200", "--max-requests-jitter", "50")
    server = orders.start(*recycling, "--control-socket", str(place), workers=4)
    least = []

    def work() -> None:
        def recycled() -> bool:
            states = [worker["state"] for worker in control.status(place)["workers"]]
            least.append(states.count("serving") + states.count("retiring"))
            return server.log.count("It finished its work") >= 12

        until(recycled, "a dozen workers have been replaced", seconds=60)

    check(under_load(server, work, rate=30), orders.executed())
    assert min(least) >= 4


@pytest.fixture
def runtime() -> Iterator[Path]:
    """The path of a Unix socket is short, and that of a test's folder may be long."""
    with tempfile.TemporaryDirectory(prefix="oxi-") as folder:
        yield Path(folder)


@pytest.mark.parametrize("what", HALVES)
def test_a_request_that_is_half_sent_is_answered_by_the_new_generation(
    serve: Serve, what: str
) -> None:
    server = serve("apps.probe:application", *QUICK)
    request, cut = HALVES[what]
    old = server.worker
    with server.connect() as connection:
        # Something before it, so that it is certain that the old worker has the connection.
        assert connection.request("/process").json()["pid"] == old
        connection.send(request[:cut])
        restart(server)
        until(lambda: server.workers() != [old] and len(server.workers()) == 1, "the old one left")
        connection.send(request[cut:])
        assert connection.receive().status == 200
        assert connection.request("/process").json()["pid"] == server.worker


def test_after_an_answer_of_the_old_generation_its_connection_moves(
    serve: Serve, tmp_path: Path
) -> None:
    server, gate = serve("apps.probe:application", *QUICK), Gate(tmp_path)
    old = server.worker
    with server.connect() as connection:
        connection.send(f"GET {gate.target} HTTP/1.1\r\nHost: test.example\r\n\r\n".encode())
        gate.wait_entered()
        restart(server)
        gate.open()
        response = connection.receive()
        assert (response.status, response.header("Connection")) == (200, None)
        assert connection.request("/process").json()["pid"] != old


def test_a_response_that_is_half_read_goes_on(serve: Serve) -> None:
    server = serve("apps.probe:application", *QUICK)
    old = server.worker
    with server.connect(receive_buffer=4096) as connection:
        connection.send(message("/bytes?size=5000000"))
        assert connection.readable(10)
        restart(server)
        until(lambda: server.workers() != [old] and len(server.workers()) == 1, "the old one left")
        response = connection.receive()
        assert response.complete
        assert response.body == b"x" * 5_000_000
        assert connection.request("/process").json()["pid"] == server.worker


def test_a_thousand_idle_connections_move(serve: Serve) -> None:
    server = serve("apps.probe:application", *QUICK, "--keep-alive", "60")
    connections = [server.connect() for _ in range(1000)]
    # All at once: who says nothing for `head_timeout` is left, however busy the machine is.
    for connection in connections:
        connection.send(message())
    for connection in connections:
        assert connection.receive().status == 200
    restart(server)
    new = server.wait_for_workers(1)[0]
    for connection in connections:
        assert connection.request("/process").json()["pid"] == new
        connection.close()


def test_connections_come_back_when_the_new_generation_fails(serve: Serve) -> None:
    server = serve("apps.probe:application", "--observe-timeout", "60", "--workers", "2")
    old = set(server.workers())
    connections = [server.connect() for _ in range(50)]
    for connection in connections:
        assert connection.request("/process").json()["pid"] in old
    server.signal(SIGHUP)
    server.wait_for_log("Generation 2 serves")
    new = set(server.workers()) - old
    until(lambda: pids(connections) <= new, "all connections moved")
    holders = [connection.request("/process").json()["pid"] for connection in connections]
    # The one with fewer of them, so that some are left.
    lost = min(new, key=holders.count)
    theirs = [c for c, holder in zip(connections, holders, strict=True) if holder == lost]
    os.kill(lost, SIGKILL)
    server.wait_for_log("rolled back")
    server.wait_for_workers(2)
    left = [connection for connection in connections if connection not in theirs]
    assert left
    until(lambda: pids(left) <= old, "the others are with the old generation again")
    assert server.request("/process").json()["pid"] in old
    for connection in connections:
        connection.close()


def pids(connections: list[Connection]) -> set[int]:
    """Who answers on these connections now."""
    return {connection.request("/process").json()["pid"] for connection in connections}


@pytest.mark.parametrize("victim", ["old", "new"])
def test_a_worker_that_is_killed_while_connections_move_costs_only_its_own(
    serve: Serve, victim: str
) -> None:
    server = serve("apps.probe:application", "--observe-timeout", "60", "--keep-alive", "60")
    old = server.worker
    connections = [server.connect() for _ in range(300)]
    for connection in connections:
        assert connection.request("/process").status == 200
    server.signal(SIGHUP)
    server.wait_for_log("Generation 2 serves")
    [new] = set(server.workers()) - {old}
    os.kill(old if victim == "old" else new, SIGKILL)
    # How far it had come when the victim died is chance, so all may be lost, or none; but nobody
    # waits in vain, and who is answered is answered by the other one.
    survivor = new if victim == "old" else old
    assert {answered_by(connection) for connection in connections} <= {survivor, None}
    until(lambda: server.request("/process").status == 200, "new clients are served")
    until(lambda: len(server.workers()) <= 2, "no more processes than wanted")


def answered_by(connection: Connection) -> int | None:
    """Who answers; nobody, if the connection was closed. Silence on an open one is an error."""
    try:
        pid: int = connection.request("/process").json()["pid"]
        return pid
    except (ConnectionError, Ended):
        return None
    finally:
        connection.close()


def test_fifty_restarts_leave_no_descriptor_process_or_memory_behind(
    tmp_path: Path, serve: Serve
) -> None:
    orders = Orders(tmp_path, serve)
    server = orders.start("--observe-timeout", "0", workers=1)
    connections = [server.connect() for _ in range(20)]

    def everybody() -> list[int]:
        for connection in connections:
            assert connection.request("/").status == 200
        return [server.pid, *server.wait_for_workers(1)]

    for _ in range(5):
        restart(server)
    before, memory = processes.descriptors(*everybody()), processes.resident(server.pid)
    for _ in range(45):
        restart(server)
    processes.wait_for_no_more_than(before, everybody)
    assert processes.resident(server.pid) - memory < 2048
    for connection in connections:
        connection.close()

"""Several requests at once: threads, queues, many connections."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from conftest import Serve
from harness.client import message
from harness.gate import Gate
from harness.server import Server
from harness.wait import until

PROBE = "apps.probe:application"


@pytest.fixture
def four(shared: Serve) -> Server:
    """One worker with four threads."""
    return shared(PROBE, "--threads", "4")


def gates(folder: Path, count: int) -> list[Gate]:
    return [Gate(folder, f"gate-{n}") for n in range(count)]


def test_a_waiting_request_does_not_hold_up_others(four: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    with four.connect() as waiting:
        waiting.send(message(gate.target))
        gate.wait_entered()
        for _ in range(50):
            assert four.request("/").status == 200
        gate.open()
        assert waiting.receive().status == 200


def test_four_threads_run_four_requests_at_once(four: Server, tmp_path: Path) -> None:
    doors = gates(tmp_path, 4)
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(four.connect()) for _ in doors]
        for connection, gate in zip(waiting, doors, strict=True):
            connection.send(message(gate.target))
        for gate in doors:
            gate.wait_entered().open()
        threads = {connection.receive().json()["thread"] for connection in waiting}
    assert len(threads) == 4


def test_a_fifth_request_waits_and_is_served_when_a_thread_is_free(
    four: Server, tmp_path: Path
) -> None:
    doors = gates(tmp_path, 4)
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(four.connect()) for _ in doors]
        fifth = stack.enter_context(four.connect())
        for connection, gate in zip(waiting, doors, strict=True):
            connection.send(message(gate.target))
            gate.wait_entered()
        assert not fifth.send(message("/")).readable(0.3)
        doors[2].open()
        assert fifth.receive().status == 200
        for gate in doors:
            gate.open()
        assert [connection.receive().status for connection in waiting] == [200] * 4


def test_all_busy_then_free_serves_what_has_come_meanwhile(four: Server, tmp_path: Path) -> None:
    doors = gates(tmp_path, 4)
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(four.connect()) for _ in doors]
        for connection, gate in zip(waiting, doors, strict=True):
            connection.send(message(gate.target))
            gate.wait_entered()
        queued = [stack.enter_context(four.connect()) for _ in range(50)]
        for connection in queued:
            connection.send(message("/"))
        for gate in doors:
            gate.open()
        assert {connection.receive().status for connection in [*waiting, *queued]} == {200}


def test_a_computing_request_lets_others_through(four: Server) -> None:
    with four.connect() as busy:
        busy.send(message("/compute?seconds=1"))
        for _ in range(10):
            assert four.request("/").status == 200
        assert busy.receive().status == 200


def test_streams_of_several_requests_do_not_mix(four: Server, tmp_path: Path) -> None:
    doors = gates(tmp_path, 4)
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(four.connect()) for _ in doors]
        for connection, gate in zip(streams, doors, strict=True):
            connection.send(message(gate.stream_target))
            gate.wait_entered()
        for gate in reversed(doors):
            gate.open()
        for connection in streams:
            assert connection.receive().chunks == [b"first", b"second"]


def test_each_block_of_a_stream_is_sent_at_once(probe: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    with probe.connect() as connection:
        connection.send(message(gate.stream_target))
        gate.wait_entered()
        seen = b""
        while b"first" not in seen:
            seen += connection.read_some(1000)
        assert b"second" not in seen
        gate.open()
        assert connection.rest_of_chunks().endswith(b"second\r\n0\r\n\r\n")


@pytest.mark.parametrize("threads", ["1", "4"])
def test_300_connections_are_served(serve: Serve, threads: str) -> None:
    server = serve(PROBE, "--threads", threads)
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(300)]
        for _ in range(3):
            for number, connection in enumerate(connections):
                connection.send(message(f"/bytes?size={number}"))
            for number, connection in enumerate(connections):
                assert len(connection.receive().body) == number


def test_workers_share_the_requests(serve: Serve) -> None:
    server = serve(workers=3)
    pids = set(server.wait_for_workers(3))
    seen: set[int] = set()

    def all_have_served() -> bool:
        seen.add(server.request("/process").json()["pid"])
        return seen == pids

    until(all_have_served, f"each of {pids} serves")


def test_a_busy_worker_does_not_take_what_an_idle_one_could(serve: Serve, tmp_path: Path) -> None:
    server, gate = serve(workers=2), Gate(tmp_path)
    with server.connect() as busy:
        busy.send(message(gate.target))
        gate.wait_entered()
        for _ in range(50):
            assert server.request("/").status == 200
        gate.open()
        assert busy.receive().status == 200


def test_at_the_limit_of_connections_idle_ones_make_room(serve: Serve) -> None:
    server = serve(PROBE, "--worker-connections", "10", "--keep-alive", "60")
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(server.connect()) for _ in range(10)]
        for connection in idle:
            assert connection.request("/").status == 200
        for _ in range(20):
            assert stack.enter_context(server.connect()).request("/").status == 200


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize(("query", "code"), [("", b"0"), ("?exit=7", b"7")])
def test_a_process_forked_by_a_view_ends_where_the_view_does(
    serve: Serve, threads: str, query: str, code: bytes
) -> None:
    server = serve(PROBE, "--threads", threads)
    with server.connect() as connection:
        assert connection.request(f"/fork{query}").body == code
        assert connection.request("/").status == 200

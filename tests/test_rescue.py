"""A worker that cannot come to its connections: a sibling answers them, long before `timeout`."""

from __future__ import annotations

import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGQUIT

import pytest

from conftest import Serve
from harness.client import Connection, elapsed, message
from harness.gate import Gate
from harness.holders import ask_all, connections_of, holder
from harness.wait import until

APP = "apps.probe:application"
#: Nobody waits for what hangs when the server is stopped.
BRIEF = ("--graceful-timeout", "1")
OTHERS = 20
#: What the specification promises.
SOON = 2.0

#: As a hook that sends a report to somebody else.
SLOW_ABORT = """
import os, pathlib, threading
def worker_abort(worker):
    pathlib.Path(os.environ["AT"]).touch()
    threading.Event().wait(60)
"""
HANGS = {"loop": "/spin", "wait": "/hang", "c-code": "/hang-in-c"}


def get(target: str) -> bytes:
    return message(target)


def hang(connection: Connection, target: str) -> None:
    connection.send(get(target))


@pytest.mark.parametrize("how", HANGS)
def test_a_stuck_worker_keeps_only_the_stuck_client_waiting(serve: Serve, how: str) -> None:
    server = serve(APP, *BRIEF, "--timeout", "5", "--keep-alive", "60", workers=2)
    stuck, sibling = server.workers()
    with connections_of(server, stuck, OTHERS + 1) as (victim, *others):
        began = time.monotonic()
        hang(victim, HANGS[how])
        answers = ask_all(others, get("/process"))
        assert elapsed(began) < SOON
        assert {answer.json()["pid"] for answer in answers} == {sibling}
        assert "WORKER TIMEOUT" not in server.log
        assert victim.is_closed()
        assert elapsed(began) >= 4.5, "the stuck request had its time"
        server.wait_for_log("WORKER TIMEOUT")
        server.wait_for_log("most recent call first")
        # The others did not notice that either.
        assert {holder(connection) for connection in others} == {sibling}
    server.wait_for_workers(2)


def test_all_threads_of_a_worker_may_be_stuck(serve: Serve, tmp_path: Path) -> None:
    server = serve(APP, *BRIEF, "--timeout", "6", "--threads", "4", "--keep-alive", "60", workers=2)
    stuck, sibling = server.workers()
    with connections_of(server, stuck, OTHERS + 4) as connections:
        victims, others = connections[:4], connections[4:]
        # One after the other: a request that waits for its thread may go to the sibling.
        for number, victim in enumerate(victims[1:]):
            gate = Gate(tmp_path, f"gate-{number}")
            hang(victim, gate.target)
            gate.wait_entered()
        began = time.monotonic()
        hang(victims[0], "/spin")
        answers = ask_all(others, get("/process"))
        assert elapsed(began) < SOON + 1, "four threads share one interpreter lock"
        # The last thread may have answered some before it was stuck.
        assert {answer.json()["pid"] for answer in answers} <= {stuck, sibling}
        assert all(victim.is_closed() for victim in victims)
        assert {answer.json()["pid"] for answer in ask_all(others, get("/process"))} == {sibling}


@pytest.mark.parametrize("size", [0, 10, 50_000, 2_000_000])
def test_requests_that_wait_behind_a_stuck_one_are_executed_once(serve: Serve, size: int) -> None:
    server = serve(APP, *BRIEF, "--timeout", "30", "--keep-alive", "60", workers=2)
    stuck, sibling = server.workers()
    body = os.urandom(size)
    with connections_of(server, stuck, 9) as (victim, *others):
        hang(victim, "/spin")
        names = [f"order-{number}" for number in range(len(others))]
        requests = [
            message(f"/body?name={name}", "POST", body=body) + get("/process") for name in names
        ]
        with ThreadPoolExecutor(len(others)) as pool:
            list(pool.map(lambda one: one[0].send(one[1]), zip(others, requests, strict=True)))
            answers = list(pool.map(lambda connection: connection.receive(), others))
        assert [answer.json()["size"] for answer in answers] == [size] * len(others)
        assert {answer.json()["pid"] for answer in answers} == {sibling}
        for connection in others:
            assert connection.receive().json()["pid"] == sibling
        events = Counter(others[0].request("/events").json())
        assert [events[f"called {name}"] for name in names] == [1] * len(names)


def test_a_worker_that_comes_back_serves_again(serve: Serve, tmp_path: Path) -> None:
    server = serve(APP, *BRIEF, "--timeout", "30", "--keep-alive", "60", workers=2)
    gate = Gate(tmp_path)
    slow, sibling = server.workers()
    with connections_of(server, slow, 6) as (first, *others):
        hang(first, gate.target)
        gate.wait_entered()
        assert {answer.json()["pid"] for answer in ask_all(others, get("/process"))} == {sibling}
        gate.open()
        assert first.receive().json()["pid"] == slow
        # It accepts again, and keeps what it accepts.
        with connections_of(server, slow, 3) as fresh:
            assert {holder(connection) for connection in fresh} == {slow}
    assert server.workers() == sorted([slow, sibling])


def test_the_sibling_may_become_stuck_as_well_and_its_connections_return(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(APP, *BRIEF, "--timeout", "30", "--keep-alive", "60", workers=2)
    one, two = server.workers()
    gate = Gate(tmp_path)
    with connections_of(server, one, 6) as (first, *others):
        hang(first, gate.target)
        gate.wait_entered()
        assert {answer.json()["pid"] for answer in ask_all(others, get("/process"))} == {two}
        # Now nobody is left who could answer; requests wait for the first who can.
        hang(others[0], "/spin")
        for connection in others[1:]:
            connection.send(get("/process"))
        assert not others[1].readable(1.5)
        gate.open()
        assert first.receive().json()["pid"] == one
        assert {connection.receive().json()["pid"] for connection in others[1:]} == {one}


def test_two_stuck_workers_do_not_exchange_connections(serve: Serve) -> None:
    server = serve(APP, *BRIEF, "--timeout", "30", "--log-level", "debug", workers=2)
    one, two = server.workers()
    with connections_of(server, one, 2) as ours, connections_of(server, two, 2) as theirs:
        hang(ours[0], "/hang")
        hang(theirs[0], "/hang")
        for connection in (ours[1], theirs[1]):
            connection.send(get("/process"))
        assert not ours[1].readable(2)
        assert server.log.count("is saturated") <= 1
        server.signal(SIGQUIT)
        server.expect_exit(0)


def test_the_connections_of_an_only_worker_go_to_its_successor_before_it_is_aborted(
    serve: Serve,
) -> None:
    server = serve(APP, *BRIEF, "--timeout", "2", "--keep-alive", "60")
    stuck = server.worker
    with connections_of(server, stuck, OTHERS + 1) as (victim, *others):
        hang(victim, "/spin")
        answers = ask_all(others, get("/process"))
        [successor] = {answer.json()["pid"] for answer in answers}
        assert successor != stuck
        assert victim.is_closed()
        server.wait_for_log("most recent call first")
    assert server.wait_for_workers(1) == [successor]


def test_who_comes_while_an_only_worker_is_aborted_is_answered_by_its_successor(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "conf.py").write_text(SLOW_ABORT)
    aborted = tmp_path / "aborted"
    server = serve(APP, "-c", str(tmp_path / "conf.py"), "--timeout", "1", env={"AT": str(aborted)})
    stuck = server.worker
    with server.connect() as victim:
        hang(victim, "/hang")
        until(aborted.exists, "the hook is called")
        assert server.request("/process").json()["pid"] != stuck


def test_an_only_worker_that_comes_back_answers_itself(serve: Serve, tmp_path: Path) -> None:
    server, gate = serve(APP, *BRIEF, "--timeout", "30", "--keep-alive", "60"), Gate(tmp_path)
    worker = server.worker
    with connections_of(server, worker, 6) as (first, *others):
        hang(first, gate.target)
        gate.wait_entered()
        for connection in others:
            connection.send(get("/process"))
        assert not others[0].readable(1)
        gate.open()
        assert first.receive().json()["pid"] == worker
        assert {connection.receive().json()["pid"] for connection in others} == {worker}
    assert server.worker == worker


def test_code_that_keeps_the_interpreter_lock_stops_no_other_thread_s_clients(
    serve: Serve,
) -> None:
    server = serve(APP, *BRIEF, "--timeout", "6", "--threads", "4", "--keep-alive", "60", workers=2)
    stuck, sibling = server.workers()
    with connections_of(server, stuck, OTHERS + 1) as (victim, *others):
        began = time.monotonic()
        hang(victim, "/hang-in-c")
        answers = ask_all(others, get("/process"))
        assert elapsed(began) < SOON
        assert {answer.json()["pid"] for answer in answers} == {sibling}
        assert victim.is_closed()


@pytest.mark.parametrize("threads", ["2", "4"])
def test_code_that_takes_the_interpreter_lock_while_another_thread_leads_stops_nobody_else(
    serve: Serve, tmp_path: Path, threads: str
) -> None:
    options = ("--timeout", "6", "--threads", threads, "--keep-alive", "60")
    server, gate = serve(APP, *BRIEF, *options, workers=2), Gate(tmp_path)
    stuck, sibling = server.workers()
    with connections_of(server, stuck, OTHERS + 1) as (victim, *others):
        hang(victim, gate.hanging_target)
        gate.wait_entered()
        # Another thread leads, and waits for the network when the lock is taken for ever. On a busy
        # machine some connections are given to the sibling before, which comes to them sooner.
        assert stuck in {answer.json()["pid"] for answer in ask_all(others, get("/process"))}
        gate.open()
        gate.wait_hanging()
        began = time.monotonic()
        answers = ask_all(others, get("/process"))
        assert elapsed(began) < SOON
        assert {answer.json()["pid"] for answer in answers} == {sibling}
        assert victim.is_closed()
        server.wait_for_log("WORKER TIMEOUT")
    server.wait_for_workers(2)

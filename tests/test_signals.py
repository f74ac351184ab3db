"""Signals and the lives of processes: stopping, scaling, reopening, replacing."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1

import pytest

from conftest import Serve
from harness import processes
from harness.client import Connection, message
from harness.gate import Gate
from harness.server import Server
from harness.wait import until

PROBE = "apps.probe:application"


def enter(server: Server, gate: Gate) -> Connection:
    """A connection whose request waits at the gate."""
    connection = server.connect().send(
        f"GET {gate.target} HTTP/1.1\r\nHost: test.example\r\n\r\n".encode()
    )
    gate.wait_entered()
    return connection


# stopping


@pytest.mark.parametrize("threads", ["1", "3"])
def test_term_lets_a_running_request_finish(serve: Serve, tmp_path: Path, threads: str) -> None:
    server, gate = serve(PROBE, "--threads", threads), Gate(tmp_path)
    with enter(server, gate) as connection:
        server.signal(SIGTERM)
        until(server.refuses, "new connections are refused")
        gate.open()
        response = connection.receive()
        assert (response.status, response.header("Connection")) == (200, "close")
    server.expect_exit(0)


def test_term_lets_a_stream_finish(serve: Serve, tmp_path: Path) -> None:
    server, gate = serve(), Gate(tmp_path)
    with server.connect() as connection:
        connection.send(f"GET {gate.stream_target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        gate.wait_entered()
        server.signal(SIGTERM)
        server.wait_for_log("Handling signal: term")
        gate.open()
        response = connection.receive()
        assert (response.body, response.complete) == (b"firstsecond", True)
    server.expect_exit(0)


def test_term_lets_a_slow_reader_take_the_rest(serve: Serve) -> None:
    server = serve()
    with server.connect(receive_buffer=4096) as connection:
        connection.send(b"GET /bytes?size=5000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.readable(10)
        server.signal(SIGTERM)
        until(server.refuses, "new connections are refused")
        assert len(connection.receive().body) == 5_000_000
    server.expect_exit(0)


def test_term_answers_a_request_that_is_half_received(serve: Serve) -> None:
    server = serve()
    with server.connect() as connection:
        connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        server.request("/")
        server.signal(SIGTERM)
        server.wait_for_log("Handling signal: term")
        assert connection.send(b"\r\n").receive().status == 200
    server.expect_exit(0)


def test_term_closes_idle_connections(serve: Serve) -> None:
    server = serve(PROBE, "--keep-alive", "60")
    with server.connect() as connection:
        connection.request("/")
        server.signal(SIGTERM)
        assert connection.is_closed()
    server.expect_exit(0, seconds=10)


def test_term_ends_a_request_that_outlives_the_graceful_timeout(serve: Serve) -> None:
    server = serve(PROBE, "--graceful-timeout", "1")
    with server.connect() as connection:
        connection.send(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
        server.signal(SIGTERM)
        server.expect_exit(0)
        assert connection.is_closed()


@pytest.mark.parametrize("number", [SIGINT, SIGQUIT])
def test_int_and_quit_do_not_wait_for_requests(
    serve: Serve, tmp_path: Path, number: signal.Signals
) -> None:
    server = serve(PROBE, "--graceful-timeout", "300")
    with enter(server, Gate(tmp_path)):
        server.signal(number)
        server.expect_exit(0)


def test_a_second_term_ends_the_waiting(serve: Serve, tmp_path: Path) -> None:
    server = serve(PROBE, "--graceful-timeout", "300")
    with enter(server, Gate(tmp_path)):
        server.signal(SIGTERM)
        server.wait_for_log("Handling signal: term")
        server.signal(SIGTERM)
        server.expect_exit(0)


def test_ctrl_c_on_the_whole_group_ends_cleanly(serve: Serve) -> None:
    server = serve(workers=3)
    os.killpg(server.pid, SIGINT)
    server.expect_exit(0)
    assert "Traceback" not in server.log


def test_term_on_the_whole_group_ends_cleanly(serve: Serve) -> None:
    server = serve(workers=3)
    os.killpg(server.pid, SIGTERM)
    server.expect_exit(0)
    assert "Traceback" not in server.log


def test_two_signals_at_once_are_both_obeyed(serve: Serve) -> None:
    server = serve()
    for number in (SIGTTIN, SIGUSR1, SIGTERM, SIGINT):
        server.signal(number)
    server.expect_exit(0)


def test_a_signal_during_boot_ends_the_server(serve: Serve) -> None:
    server = serve(PROBE, launch=True)
    server.wait_for_log("Listening at")
    server.signal(SIGTERM)
    server.expect_exit(0)


# scaling


def test_ttin_adds_a_worker_and_ttou_removes_the_oldest(serve: Serve) -> None:
    server = serve(workers=2)
    oldest = server.wait_for_workers(2)[0]
    server.signal(SIGTTIN)
    server.wait_for_workers(3)
    server.signal(SIGTTOU)
    assert oldest not in server.wait_for_workers(2)
    assert server.request("/").status == 200


def test_the_last_worker_is_never_removed(serve: Serve) -> None:
    server = serve()
    server.signal(SIGTTOU)
    server.wait_for_log("Handling signal: ttou")
    server.signal(SIGTTIN)
    server.wait_for_workers(2)
    assert server.request("/").status == 200


def test_a_removed_worker_finishes_its_request(serve: Serve, tmp_path: Path) -> None:
    server, gate = serve(), Gate(tmp_path)
    with enter(server, gate) as connection:
        server.signal(SIGTTIN)
        server.wait_for_workers(2)
        server.signal(SIGTTOU)
        server.wait_for_log("Handling signal: ttou")
        gate.open()
        assert connection.receive().status == 200
    server.wait_for_workers(1)


# signals that must not end it


@pytest.mark.parametrize("name", ["HUP", "WINCH"])
def test_other_signals_do_not_end_the_server(serve: Serve, name: str) -> None:
    server = serve(PROBE, "--observe-timeout", "0")
    server.signal(signal.Signals[f"SIG{name}"])
    server.signal(SIGTTIN)
    server.wait_for_workers(2)
    assert server.request("/").status == 200


def test_hup_to_a_group_does_not_end_the_workers(serve: Serve) -> None:
    server = serve(PROBE, "--log-level", "debug", workers=2)
    before = server.workers()
    os.killpg(server.pid, SIGHUP)
    server.wait_for_log("(?i)hup")
    assert server.request("/").status == 200
    assert set(before) <= set(server.workers())


# logs


def test_usr1_reopens_the_logs(serve: Serve, tmp_path: Path) -> None:
    access, error = tmp_path / "access.log", tmp_path / "error.log"
    server = serve(
        PROBE, "--access-logfile", str(access), "--error-logfile", str(error), launch=True
    )
    until(lambda: error.exists() and "Booting worker" in error.read_text(), "it boots")
    address = _address_in(error)
    with Connection(address) as connection:
        connection.request("/before")
        until(lambda: "/before" in access.read_text(), "the line is written")
        access.rename(tmp_path / "access.old")
        error.rename(tmp_path / "error.old")
        server.signal(SIGUSR1)
        until(lambda: access.exists() and error.exists(), "the logs are opened again")
        until(lambda: connection.request("/after") and "/after" in access.read_text(), "a line")
    assert "/before" not in access.read_text()
    server.stop()
    assert "Handling signal: term" in error.read_text()


def _address_in(log: Path) -> tuple[str, int]:
    text = log.read_text()
    return ("127.0.0.1", int(text.partition("Listening at: http://127.0.0.1:")[2].split()[0]))


# workers that die


def test_a_killed_worker_is_replaced(serve: Serve) -> None:
    server = serve(workers=2)
    victim = server.wait_for_workers(2)[0]
    os.kill(victim, SIGKILL)
    until(lambda: not processes.alive(victim), "it is dead")
    assert victim not in server.wait_for_workers(2)
    assert server.request("/").status == 200
    server.wait_for_log(rf"pid:\s?{victim}\b.*SIGKILL")
    assert processes.zombies(server.pid) == []


def test_a_worker_that_exits_is_replaced_and_its_code_is_logged(serve: Serve) -> None:
    server = serve()
    with server.connect() as connection:
        connection.send(b"GET /die?code=7 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.is_closed()
    server.wait_for_log(r"exited with code 7")
    assert server.request("/").status == 200


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS"])
def test_a_worker_that_dies_by_a_signal_is_replaced_and_it_is_named(
    serve: Serve, name: str
) -> None:
    server = serve()
    with server.connect() as connection:
        code = -signal.Signals[name]
        connection.send(f"GET /die?code={code} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert connection.is_closed()
    server.wait_for_log(name)
    assert server.request("/").status == 200


def test_a_worker_told_to_stop_finishes_and_is_replaced(serve: Serve, tmp_path: Path) -> None:
    server, gate = serve(), Gate(tmp_path)
    worker = server.worker
    with enter(server, gate) as connection:
        os.kill(worker, SIGTERM)
        gate.open()
        assert connection.receive().json()["pid"] == worker
    until(lambda: worker not in server.workers(), "the worker leaves")
    assert server.request("/process").json()["pid"] != worker


def test_workers_end_when_their_arbiter_is_killed(serve: Serve) -> None:
    server = serve(PROBE, "--orphan-timeout", "0", workers=2)
    server.wait_for_workers(2)
    os.kill(server.pid, SIGKILL)
    assert server.wait() == -SIGKILL
    until(lambda: server.family() == [], "no worker is left")


# workers that hang


@pytest.mark.parametrize(
    ("target", "function"),
    [("/hang", "hang_in_python"), ("/spin", "hang_in_a_loop"), ("/hang-in-c", "hang_in_c")],
)
@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_worker_that_hangs_is_replaced_and_shows_where(
    serve: Serve, target: str, function: str, threads: str
) -> None:
    # With a second thread that still serves, the worker has the graceful timeout to come clean.
    limits = ("--timeout", "1", "--graceful-timeout", "1")
    server = serve(PROBE, *limits, "--threads", threads)
    victim = server.worker
    with server.connect() as connection:
        connection.send(f"GET {target}?why=1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert connection.is_closed()
    server.wait_for_log(rf"WORKER TIMEOUT \(pid:{victim}\)")
    server.wait_for_log(rf"GET {target}\?why=1")
    server.wait_for_log(rf"in {function}")
    server.wait_for_successor(victim)
    assert server.request("/").status == 200


def test_a_long_request_beside_a_free_thread_harms_nobody(serve: Serve) -> None:
    server = serve(PROBE, "--timeout", "1", "--threads", "2")
    first = server.worker
    with server.connect() as connection:
        connection.send(b"GET /pause?seconds=3 HTTP/1.1\r\nHost: x\r\n\r\n")
        server.wait_for_log("others go on beside it")
        assert server.request("/").status == 200
        assert connection.receive().body == b"paused\n"
    server.wait_for_successor(first)
    assert "WORKER TIMEOUT" not in server.log


def test_a_long_request_beside_busy_threads_cuts_none_of_their_requests(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(PROBE, "--timeout", "2", "--threads", "2", "--keep-alive", "60")
    first, gate = server.worker, Gate(tmp_path)
    with enter(server, gate) as long, server.connect() as busy:
        # Nobody leads for most of the time, and every request comes to an end.
        naps = 8
        busy.send(message("/nap?seconds=0.7") * naps)
        server.wait_for_log("others go on beside it")
        assert [busy.receive().status for _ in range(naps)] == [200] * naps
        gate.open()
        assert long.receive().json()["pid"] == first
    server.wait_for_successor(first)
    assert "WORKER TIMEOUT" not in server.log


def test_a_hanging_worker_does_not_stop_its_siblings(serve: Serve, tmp_path: Path) -> None:
    server = serve(PROBE, "--timeout", "2", workers=2)
    with enter(server, Gate(tmp_path)) as connection:
        for _ in range(20):
            assert server.request("/").status == 200
        assert connection.is_closed()


def test_a_long_request_within_the_timeout_is_left_alone(serve: Serve) -> None:
    server = serve(PROBE, "--timeout", "30")
    assert server.request("/pause?seconds=1").body == b"paused\n"
    assert "WORKER TIMEOUT" not in server.log


def test_an_idle_worker_is_never_taken_for_a_hanging_one(serve: Serve) -> None:
    server = serve(PROBE, "--timeout", "1")
    worker = server.worker
    with server.connect() as connection:
        assert not connection.readable(2.5)
    assert server.request("/process").json()["pid"] == worker


# boots that fail


def test_a_failing_boot_does_not_stop_the_siblings(serve: Serve, tmp_path: Path) -> None:
    mood = tmp_path / "bad"
    server = serve("apps.moody:application", env={"MOODY_FILE": str(mood)}, workers=2)
    victim = server.wait_for_workers(2)[0]
    mood.touch()
    os.kill(victim, SIGKILL)
    server.wait_for_log("in a bad mood", 2)
    assert server.request("/").status == 200
    mood.unlink()
    booted = server.mark()
    server.wait_for_log("Booting worker", since=booted)
    assert victim not in server.wait_for_workers(2)


def test_an_application_that_fails_to_import_exits_3(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "bad").touch()
    mood = {"MOODY_FILE": str(tmp_path / "bad")}
    server = serve("apps.moody:application", env=mood, launch=True)
    server.expect_exit(3)
    assert "RuntimeError: in a bad mood" in server.log


def test_a_wrong_name_exits_4(serve: Serve) -> None:
    server = serve("apps.probe:applikation", launch=True)
    server.expect_exit(4)
    assert "applikation" in server.log


def test_an_address_in_use_is_tried_again_and_exits_1(serve: Serve) -> None:
    first = serve()
    second = serve(bind=f"127.0.0.1:{first.port}", launch=True)
    second.expect_exit(1)
    assert f"Connection in use: ('127.0.0.1', {first.port})" in second.log or (
        f"Connection in use: 127.0.0.1:{first.port}" in second.log
    )
    assert second.log.count("Retrying") >= 2
    assert first.request("/").status == 200


def test_an_address_that_becomes_free_is_taken(serve: Serve) -> None:
    first = serve()
    second = serve(bind=f"127.0.0.1:{first.port}", launch=True)
    second.wait_for_log("Retrying")
    first.stop()
    second.wait_for_log("Listening at")
    assert second.request("/").status == 200


# files


def test_the_pid_file_lives_as_long_as_the_server(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    server = serve(PROBE, "--pid", str(path))
    assert path.read_text() == f"{server.pid}\n"
    server.stop()
    assert not path.exists()


def test_a_stale_pid_file_is_replaced(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("4194303\n")
    server = serve(PROBE, "--pid", str(path))
    assert path.read_text() == f"{server.pid}\n"


def test_a_pid_file_of_a_living_process_is_respected(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text(f"{os.getpid()}\n")
    server = serve(PROBE, "--pid", str(path), launch=True)
    server.expect_exit(1)
    assert f"{os.getpid()}" in server.log
    assert path.read_text() == f"{os.getpid()}\n"


def test_a_unix_socket_lives_as_long_as_the_server(serve: Serve, tmp_path: Path) -> None:
    server = serve(bind=f"unix:{tmp_path}/socket")
    assert (tmp_path / "socket").is_socket()
    assert server.request("/").status == 200
    server.stop()
    assert not (tmp_path / "socket").exists()


def test_a_stale_unix_socket_is_replaced(serve: Serve, tmp_path: Path) -> None:
    first = serve(bind=f"unix:{tmp_path}/socket")
    os.killpg(first.pid, SIGKILL)
    assert first.wait() == -SIGKILL
    assert (tmp_path / "socket").is_socket()
    assert serve(bind=f"unix:{tmp_path}/socket").request("/").status == 200


def test_a_unix_socket_of_a_living_server_is_respected(serve: Serve, tmp_path: Path) -> None:
    first = serve(bind=f"unix:{tmp_path}/socket")
    second = serve(bind=f"unix:{tmp_path}/socket", launch=True)
    second.expect_exit(1)
    assert first.request("/").status == 200


# recycling


def test_max_requests_replaces_workers_without_a_failed_request(serve: Serve) -> None:
    server = serve(PROBE, "--max-requests", "20")
    pids = set()

    def some_have_followed() -> bool:
        pids.add(server.request("/process").json()["pid"])
        return len(pids) >= 4

    until(some_have_followed, "three workers have followed the first")
    assert "Traceback" not in server.log


def test_max_requests_moves_a_kept_connection_to_the_next_worker(serve: Serve) -> None:
    server = serve(PROBE, "--max-requests", "5")
    with server.connect() as connection:
        pids = set()

        def some_have_followed() -> bool:
            response = connection.request("/process")
            assert response.header("Connection") is None
            pids.add(response.json()["pid"])
            return len(pids) >= 4

        until(some_have_followed, "three workers have followed the first")


def test_a_daemon_leaves_the_terminal_and_stops_by_its_pid_file(
    serve: Serve, tmp_path: Path
) -> None:
    pid, log = tmp_path / "pid", tmp_path / "error.log"
    launcher = serve(PROBE, "-D", "--pid", str(pid), "--error-logfile", str(log), launch=True)
    assert launcher.wait() == 0
    until(lambda: log.exists() and "Booting worker" in log.read_text(), "the daemon boots")
    daemon = int(pid.read_text())
    assert daemon != launcher.pid
    with Connection(_address_in(log)) as connection:
        assert connection.request("/").status == 200
    os.kill(daemon, SIGTERM)
    until(lambda: not processes.alive(daemon), "the daemon ends")
    assert not pid.exists()


HEARS = """
import os, signal

heard = os.open("heard", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for number in (signal.SIGUSR2, signal.SIGWINCH):
    signal.signal(number, lambda *_: os.write(heard, b"x"))

def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "0")])
    return [b""]
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_a_signal_of_the_application_is_heard_also_just_before_a_wait(
    tmp_path: Path, serve: Serve, threads: int
) -> None:
    (tmp_path / "hears.py").write_text(HEARS)
    server = serve("hears:app", "--threads", str(threads), cwd=tmp_path)
    heard = tmp_path / "heard"
    for number in range(300):
        os.kill(server.worker, signal.SIGUSR2)
        # The second one comes while the first ends the wait, and sooner or later.
        begun = time.perf_counter()
        while time.perf_counter() - begun < number % 150 * 1e-6:
            pass
        os.kill(server.worker, signal.SIGWINCH)
        expected = 2 * number + 2
        until(lambda size=expected: heard.stat().st_size >= size, f"{expected} are heard", 10)

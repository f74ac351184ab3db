"""gunicornc's commands at `oxicornctl`, where they do more than gunicorn: nothing is lost when a
worker is killed, numbers add up, and a person can type them.
"""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from conftest import Serve
from harness import control, processes
from harness.client import message
from harness.control import Said
from harness.load import Load
from harness.server import Server
from harness.wait import PATIENCE, until

APP = "apps.probe:application"
#: Imported at once, but by workers that find a file where they start.
GATED = """
import os

if os.path.exists("closed"):
    with open("gate"):
        pass

def app(environ, start_response):
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


def place(server: Server) -> Path:
    return Path(server.runtime.name) / f"oxicorn-{server.pid}.ctl"


def ask(server: Server, *words: str) -> Said:
    return control.said(control.client(*words, at=place(server)))


def done(server: Server, *words: str) -> Any:
    """The JSON of a command that succeeds."""
    found = ask(server, "--json", *words)
    assert found.code == 0, found
    return found.json()


def refused(server: Server, *words: str) -> str:
    found = ask(server, *words)
    assert found.code == 1, found
    return found.err


# What is shown.


def test_every_command_is_shown_to_a_person(serve: Serve) -> None:
    server = serve(APP, workers=2)
    pids = [str(pid) for pid in server.workers()]
    shown = {what: ask(server, "show", what) for what in ("all", "workers", "stats", "listeners")}
    assert {said.code for said in shown.values()} == {0}
    for what in ("all", "workers"):
        assert all(pid in shown[what].out for pid in pids)
        assert "yes" in shown[what].out and "serving" in shown[what].out
    assert f"pid: {server.pid}" in shown["stats"].out
    assert f"http://127.0.0.1:{server.port}" in shown["listeners"].out
    assert "workers: 2\n" in ask(server, "show", "config").out
    assert "total: 3\n" in ask(server, "worker", "add").out
    commands = ask(server, "help").out
    assert "worker kill <PID>" in commands and "restart" in commands


@pytest.mark.parametrize("words", [["status"], ["restart", "--wait"], ["workers", "2"]])
def test_our_own_commands_have_json_as_well(serve: Serve, words: list[str]) -> None:
    server = serve(APP, "--observe-timeout", "0.1")
    before, behind = ask(server, "-j", *words), ask(server, *words, "-j")
    assert before.code == behind.code == 0
    assert before.json().keys() == behind.json().keys() != set()
    line = ask(server, "-c", " ".join(words), "-j")
    assert line.json().keys() == behind.json().keys()


def test_the_kinds_of_listeners_are_told_apart(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "s"
    binds = ("--bind", "[::1]:0", "--bind", f"unix:{path}")
    server = serve(APP, *binds)
    listeners = done(server, "show", "listeners")["listeners"]
    assert [one["type"] for one in listeners] == ["tcp", "tcp6", "unix"]
    assert listeners[1]["address"].startswith("http://[::1]:")
    assert listeners[2]["address"] == f"unix:{path}"
    links = [os.readlink(f"/proc/{server.pid}/fd/{one['fd']}") for one in listeners]
    assert all(link.startswith("socket:") for link in links)


def test_the_settings_are_those_of_print_config_and_of_the_last_restart(
    serve: Serve, tmp_path: Path
) -> None:
    conf = tmp_path / "gunicorn.conf.py"
    conf.write_text("keepalive = 7\n")
    server = serve(APP, "--config", str(conf), "--observe-timeout", "0.1")
    before = done(server, "show", "config")
    printed = subprocess.run(
        [*server.command, "--print-config"],
        cwd=server.cwd,
        env=server.env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    names = [line.split(" = ")[0].strip() for line in printed.stdout.splitlines()]
    assert list(before) == names
    assert (before["keepalive"], before["bind"]) == (7, ["127.0.0.1:0"])
    conf.write_text("keepalive = 'soon'\n")
    assert ask(server, "restart", "--wait").code == 1
    assert done(server, "show", "config") == before
    conf.write_text("keepalive = 8\n")
    assert ask(server, "restart", "--wait").code == 0
    assert done(server, "show", "config") == {**before, "keepalive": 8}


def test_the_settings_and_numbers_outlive_an_upgrade(serve: Serve) -> None:
    server = serve(APP, "--observe-timeout", "0.1")
    done(server, "worker", "add")
    done(server, "worker", "remove")
    until(lambda: numbers(server) == (2, 1, 0), "the worker that was added is gone")
    settings = done(server, "show", "config")
    assert ask(server, "upgrade", "--wait").code == 0
    until(lambda: numbers(server) == (3, 2, 1), "the former worker is gone")
    assert done(server, "show", "config") == settings


def numbers(server: Server) -> tuple[int, int, int]:
    """Workers that were spawned and killed, and reloads."""
    stats = done(server, "show", "stats")
    return stats["workers_spawned"], stats["workers_killed"], stats["reloads"]


# Numbers of workers.


def test_those_who_add_at_once_add_up(serve: Serve) -> None:
    server = serve(APP)
    clients = [control.client("-j", "worker", "add", at=place(server)) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = [said.json() for said in pool.map(control.said, clients)]
    assert sorted(one["previous"] for one in found) == [1, 2, 3, 4]
    assert {one["added"] for one in found} == {1}
    server.wait_for_workers(5)


def test_a_number_that_nobody_means_is_refused(serve: Serve) -> None:
    server = serve(APP)
    for words in (["add", "0"], ["add", "5000"], ["add", "4096"], ["remove", "0"]):
        assert "refused" in refused(server, "worker", *words)
    assert done(server, "worker", "remove", "9") == {"removed": 0, "previous": 1, "total": 1}
    assert done(server, "show", "stats")["workers_target"] == 1


# One worker.


def replaced(server: Server, pid: int, count: int) -> list[int]:
    def found() -> list[int] | None:
        workers = server.workers()
        return workers if pid not in workers and len(workers) == count else None

    return until(found, f"{pid} is replaced")


def test_a_worker_that_is_killed_loses_no_request_and_no_connection(serve: Serve) -> None:
    server = serve(APP, "--keep-alive", "60", workers=2)
    idle = [server.connect() for _ in range(20)]
    for connection in idle:
        assert connection.request("/process").status == 200
    with Load(server, target="/status?status=200+OK") as load:
        for _ in range(2):
            pid = server.workers()[0]
            assert done(server, "worker", "kill", str(pid)) == {"success": True, "killed": pid}
            replaced(server, pid, 2)
        until(lambda: sum(load.answers.values()) > 50, "clients are answered")
    living = server.workers()
    for connection in idle:
        assert connection.request("/process").json()["pid"] in living
        connection.close()
    stats = done(server, "show", "stats")
    assert (stats["workers_spawned"], stats["workers_killed"]) == (4, 2)


def test_a_worker_that_hangs_is_replaced_and_ends_after_graceful_timeout(serve: Serve) -> None:
    server = serve(APP, "--timeout", "0", "--graceful-timeout", "1")
    pid = server.worker
    with server.connect() as victim:
        victim.send(message("/spin"))
        until(
            lambda: control.status(place(server))["workers"][0]["threads"]["busy"],
            "it is in the application",
        )
        done(server, "worker", "kill", str(pid))
        assert replaced(server, pid, 1)
    assert server.request("/process").json()["pid"] != pid
    server.wait_for_log(rf"Worker graceful timeout \(pid:{pid}\)")


def test_who_is_asked_for_twice_is_replaced_once(serve: Serve) -> None:
    server = serve(APP)
    pid = server.worker
    for _ in range(2):
        said = ask(server, "worker", "kill", str(pid))
        if said.code:
            # It was replaced meanwhile.
            assert "leaving" in said.err or "no worker" in said.err
    replaced(server, pid, 1)
    assert done(server, "show", "stats")["workers_spawned"] == 2


@pytest.fixture
def gated(serve: Serve, tmp_path: Path) -> Iterator[Server]:
    """A server whose next workers wait in their import until the fixture's file is opened."""
    (tmp_path / "site_app.py").write_text(GATED)
    os.mkfifo(tmp_path / "gate")
    server = serve("site_app:app", cwd=tmp_path)
    (tmp_path / "closed").touch()
    yield server
    (tmp_path / "closed").unlink()


def test_a_worker_that_boots_is_shown_so_and_not_killed(gated: Server) -> None:
    done(gated, "worker", "add")
    # While it is forked nobody knows its pid.
    until(lambda: done(gated, "show", "workers")["count"] == 2, "both are known")
    shown = {one["pid"]: one for one in done(gated, "show", "workers")["workers"]}
    assert [one["booted"] for one in shown.values()] == [True, False]
    booting = list(shown)[1]
    assert "booting" in refused(gated, "worker", "kill", str(booting))
    with open(gated.cwd / "gate", "w"):
        until(
            lambda: all(one["booted"] for one in done(gated, "show", "workers")["workers"]),
            "both have booted",
        )


def test_a_worker_that_stands_by_is_not_killed(serve: Serve) -> None:
    server = serve(APP, "--observe-timeout", "600")
    pid = server.worker
    assert done(server, "reload") == {"status": "reloading"}
    server.wait_for_log("Generation 2 serves; 1 stands by")
    assert "standing by" in refused(server, "worker", "kill", str(pid))
    until(lambda: len(server.workers()) == 2, "it stands by")


def test_only_a_worker_can_be_killed(serve: Serve) -> None:
    server = serve(APP)
    for pid in (server.pid, os.getpid(), 1):
        assert "oxicornctl status" in refused(server, "worker", "kill", str(pid))
    assert processes.alive(server.pid)


# The prompt.


class Terminal:
    """Somebody at a terminal, and the program that he has started."""

    def __init__(self, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "oxicorn.ctl", *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, "TERM": "dumb"},
            # Whoever runs the tests in the background may ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        os.close(theirs)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def until(self, words: str) -> str:
        """What appears, up to and including `words`."""
        text = ""
        while words not in text:
            ready, _, _ = select.select([self._ours], [], [], PATIENCE)
            assert ready, f"{words!r} did not appear, only {text!r}"
            text += os.read(self._ours, 4096).decode()
        return text

    def is_left(self) -> bool:
        """Whether the program has ended; if not, it gets an empty line."""
        if self.process.poll() is None:
            self.type("\n")
        return self.process.poll() is not None

    def ask(self, line: str) -> str:
        self.type(f"{line}\n")
        return self.until("oxicorn> ")


@pytest.mark.parametrize("leave", ["quit\n", "exit\n", "Q\n", "\x04"])
def test_a_person_types_commands_until_he_has_enough(serve: Serve, leave: str) -> None:
    server = serve(APP)
    with Terminal("-s", str(place(server))) as terminal:
        assert f"Connected to {place(server)}" in terminal.until("oxicorn> ")
        assert str(server.worker) in terminal.ask("show workers")
        assert "invalid choice" in terminal.ask("dance")
        assert "oxicornctl status" in terminal.ask("worker kill 1")
        assert "usage" in terminal.ask("restart --help")
        assert "worker kill <PID>" in terminal.ask("help")
        assert "total: 2" in terminal.ask("  WORKER add 1 ")
        terminal.ask("")
        assert "serving" in terminal.ask("status")
        terminal.type(leave)
        assert terminal.process.wait(PATIENCE) == 0
    server.wait_for_workers(2)


def test_a_server_that_goes_away_does_not_end_the_prompt(serve: Serve) -> None:
    server = serve(APP)
    with Terminal("-j", "-s", str(place(server))) as terminal:
        terminal.until("oxicorn> ")
        assert '"mode": "quick"' in terminal.ask("shutdown quick")
        server.expect_exit(0)
        assert "there is no" in terminal.ask("show workers")
        terminal.process.send_signal(signal.SIGINT)
        # Whoever has begun to wait for a line hears of the signal at once, others with a line.
        until(terminal.is_left, "the signal ends the prompt")
        assert terminal.process.returncode == 130


def test_without_a_server_there_is_no_prompt(tmp_path: Path) -> None:
    with Terminal("-s", str(tmp_path / "none")) as terminal:
        terminal.until("there is no")
        assert terminal.process.wait(PATIENCE) == 3


# The command line.


def test_without_a_terminal_a_command_is_required() -> None:
    for words in ([], ["-j"], ["-c", "show stats", "status"], ["worker", "kill"], ["show", "me"]):
        said = control.said(control.client(*words, at=None))
        assert said.code == 2 and "usage" in said.err


def test_a_server_of_an_older_version_is_named_as_the_reason(tmp_path: Path) -> None:
    old: dict[str, Any] = {"ok": True, "workers": [], "pid": 1, "uptime": 1, "target": 1}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        listener.settimeout(PATIENCE)

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(256)
                connection.sendall(json.dumps(old).encode() + b"\n")

        server = threading.Thread(target=answer)
        server.start()
        said = control.said(control.client("show", "stats", at=tmp_path / "s"))
        server.join()
    assert said.code == 1 and "another version" in said.err

"""The life of a server and of its workers: signals, the pidfile, sockets that are left and removed,
and what a worker's process is.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from signal import (
    SIGCHLD,
    SIGHUP,
    SIGINT,
    SIGQUIT,
    SIGTERM,
    SIGTTIN,
    SIGTTOU,
    SIGUSR2,
    SIGWINCH,
)
from typing import Any

import pytest

from effects.stage import SITE
from harness import processes
from harness.client import Connection, Ended, message
from harness.pair import Difference, Side, agree, pair
from harness.server import Server
from harness.wait import until

SITE_APP = SITE.read_text()


def pid_of(server: Server) -> int:
    """Who answers."""

    def asked() -> int:
        try:
            return int(server.request("/facts").json()["pid"])
        except (OSError, Ended):
            return 0

    return until(asked, "a worker answers")


def text_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


# The end.


@pytest.mark.parametrize("number", [SIGTERM, SIGINT, SIGQUIT], ids=lambda number: number.name)
def test_a_stop_leaves_nothing_behind(tmp_path: Path, number: int) -> None:
    def life(side: Side) -> list[Any]:
        place, pidfile = side.short / "s", side.folder / "a.pid"
        server = side.serve("--pid", "a.pid", bind=f"unix:{place}")
        before = [pidfile.read_text() == f"{server.pid}\n", stat.S_IMODE(pidfile.stat().st_mode)]
        server.signal(number)  # type: ignore[arg-type]
        return [*before, server.wait(), pidfile.exists(), place.exists(), server.family()]

    with pair(tmp_path, site_app=SITE_APP) as made:
        theirs, ours = made.both(life)
    assert ours == theirs == [True, 0o644, 0, False, False, []]


def test_a_request_under_way_is_answered_before_a_graceful_stop(tmp_path: Path) -> None:
    def life(side: Side) -> list[Any]:
        server = side.serve("--threads", "2")
        with server.connect() as first:
            first.send(message("/meet"))
            until((side.folder / "entered").exists, "it is in the application")
            server.signal(SIGTERM)
            server.wait_for_log("Handling signal: term")
            return [first.receive().status, server.wait()]

    app = SITE_APP.replace("MEETING.wait(30)", "open('entered', 'w'); threading.Event().wait(1)")
    with pair(tmp_path, site_app=app) as made:
        theirs, ours = made.both(life)
    assert ours == theirs == [200, 0]


@pytest.mark.parametrize("text", ["999999999\n", "nonsense\n", ""])
def test_a_stale_pidfile_is_replaced(tmp_path: Path, text: str) -> None:
    def life(side: Side) -> bool:
        (side.folder / "a.pid").write_text(text)
        server = side.serve("--pid", "a.pid")
        return (side.folder / "a.pid").read_text() == f"{server.pid}\n"

    with pair(tmp_path, site_app=SITE_APP) as made:
        assert made.both(life) == (True, True)


def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    def life(side: Side) -> int:
        place = side.short / "s"
        command = f"import socket; socket.socket(socket.AF_UNIX).bind({str(place)!r})"
        subprocess.run([sys.executable, "-c", command], check=True, timeout=30)
        assert place.exists()
        return side.serve(bind=f"unix:{place}").request().status

    with pair(tmp_path, site_app=SITE_APP) as made:
        assert made.both(life) == (200, 200)


# Signals.


def test_hup_replaces_the_workers_by_new_code_and_configuration(tmp_path: Path) -> None:
    def life(side: Side) -> list[Any]:
        side.write(conf="workers = 1\nraw_env = ['A=1']\n")
        server = side.serve("--pid", "a.pid", env={"OXICORN_OBSERVE_TIMEOUT": "0.2"})
        before = server.worker
        variables = server.request("/facts").json()["variables"]
        side.write(conf="workers = 2\nraw_env = ['B=2']\n", site_app=SITE_APP + "# new\n")
        server.signal(SIGHUP)
        until(lambda: before not in server.workers(), "the first worker is gone")
        after = server.request("/facts").json()["variables"]
        return [
            *(variables.get("A"), variables.get("B"), after.get("A"), after.get("B")),
            len(server.wait_for_workers(2)),
            text_of(side.folder / "a.pid") == f"{server.pid}\n",
        ]

    with pair(tmp_path, site_app=SITE_APP) as made:
        theirs, ours = made.both(life)
    assert ours == theirs == ["1", None, None, "2", 2, True]


def test_ttin_and_ttou_change_the_number_of_workers_down_to_one(tmp_path: Path) -> None:
    def life(side: Side) -> list[int]:
        server = side.serve()
        counts = []
        for number, wanted in (
            (SIGTTIN, 2),
            (SIGTTIN, 3),
            (SIGTTOU, 2),
            (SIGTTOU, 1),
            (SIGTTOU, 1),
        ):
            mark = server.mark()
            server.signal(number)
            server.wait_for_log("Handling signal: tt", since=mark)
            counts.append(len(server.wait_for_workers(wanted)))
        return counts

    with pair(tmp_path, site_app=SITE_APP) as made:
        theirs, ours = made.both(life)
    assert ours == theirs == [2, 3, 2, 1, 1]


def test_chld_and_winch_in_the_foreground_change_nothing(tmp_path: Path) -> None:
    def life(side: Side) -> bool:
        server = side.serve("--log-level", "debug")
        before = server.worker
        for number in (SIGCHLD, SIGWINCH):
            server.signal(number)
        server.wait_for_log("(?i)signal: winch")
        return server.workers() == [before] == [pid_of(server)]

    with pair(tmp_path, site_app=SITE_APP) as made:
        assert made.both(life) == (True, True)


def dance(side: Side) -> list[str]:
    """A second server on the same socket takes the place of the first one."""
    pidfile, second = side.folder / "a.pid", side.folder / "a.pid.2"
    server = side.serve("--pid", "a.pid", "--name", "shop")
    server.signal(SIGUSR2)
    pid = int(until(lambda: text_of(second), "the second pidfile is written"))
    until(lambda: len(processes.children(pid)) == 1, "it has a worker")
    until(lambda: pid_of(server) in processes.children(pid), "it answers")
    seen = [
        f"first pidfile: {text_of(pidfile) == f'{server.pid}{chr(10)}'}",
        f"parent: {processes.parent(pid) == server.pid}",
        f"title: {processes.title(pid).replace(side.program, '{program}')}",
    ]
    try:
        server.signal(SIGTERM)
        seen.append(f"first exit: {server.wait()}")
        until(lambda: text_of(pidfile) == f"{pid}\n", "the pidfile is the second one's")
        until(lambda: not second.exists(), "its former name is gone")
        seen.append(f"answers: {pid_of(server) in processes.children(pid)}")
        until(lambda: "shop]" in processes.title(pid), "it is promoted")
        seen.append(f"afterwards: {processes.title(pid).replace(side.program, '{program}')}")
    finally:
        os.kill(pid, SIGTERM)
    until(lambda: not processes.alive(pid), "the second one ends")
    return [*seen, f"pidfile: {pidfile.exists()}"]


def test_usr2_starts_a_second_server_that_takes_over(tmp_path: Path) -> None:
    with pair(tmp_path, site_app=SITE_APP) as made:
        seen = made.both(dance)
    agree("USR2", seen, DIFFERENCES)


def test_a_second_server_that_ends_leaves_the_first_one_as_it_was(tmp_path: Path) -> None:
    def life(side: Side) -> list[Any]:
        server = side.serve("--pid", "a.pid")
        server.signal(SIGUSR2)
        second = side.folder / "a.pid.2"
        pid = int(until(lambda: text_of(second), "the second pidfile is written"))
        until(lambda: len(processes.children(pid)) == 1, "it has a worker")
        os.kill(pid, SIGTERM)
        until(lambda: not second.exists(), "it is gone")
        until(lambda: pid_of(server) in server.workers(), "the first one answers")
        return [text_of(side.folder / "a.pid") == f"{server.pid}\n", server.request().status]

    with pair(tmp_path, site_app=SITE_APP) as made:
        assert made.both(life) == ([True, 200], [True, 200])


def test_in_the_background_winch_ends_the_workers_and_hup_brings_them_back(tmp_path: Path) -> None:
    def life(side: Side) -> list[Any]:
        place = side.short / "s"
        ended = side.run("-D", "-p", "a.pid", "-b", f"unix:{place}", "site_app:app")
        pid = int(until(lambda: text_of(side.folder / "a.pid"), "the pidfile is written"))
        try:
            until(lambda: len(processes.children(pid)) == 1, "it has a worker")
            facts = until(lambda: _asked(place), "it answers")
            os.kill(pid, SIGWINCH)
            until(lambda: not processes.children(pid), "it has none any more")
            os.kill(pid, SIGHUP)
            until(lambda: len(processes.children(pid)) == 1, "it has one again")
            until(lambda: _asked(place), "it answers again")
            return [
                *(ended.code, ended.out, ended.err, processes.parent(pid)),
                processes.session(pid) == pid or processes.session(pid) != os.getsid(0),
                facts["cwd"] == str(side.folder),
            ]
        finally:
            os.kill(pid, SIGTERM)
            until(lambda: not processes.alive(pid), "it ends")

    with pair(tmp_path, site_app=SITE_APP) as made:
        theirs, ours = made.both(life)
    assert ours == theirs
    assert ours[:3] == [0, "", ""]


def _asked(place: Path) -> Any:
    try:
        with Connection(str(place)) as connection:
            return connection.request("/facts").json()
    except (OSError, Ended):
        return None


# Workers.

PROCESSES: dict[str, tuple[str, tuple[str, ...]]] = {
    "usual": ("", ()),
    "threads": ("", ("--threads", "3")),
    "workers": ("", ("-w", "2")),
    "a directory": ("", ("--chdir", "inner")),
    "a directory in the file": ("chdir = 'inner'\n", ()),
    "importable directories": ("", ("--pythonpath", "lib,other")),
    "variables": ("raw_env = ['A=1', 'B=c=d', 'EMPTY=']\n", ()),
    "variables on the command line": ("", ("-e", "A=1", "--env", "B=2")),
    "a name": ("", ("-n", "shop")),
    "a name in the file": ("proc_name = 'shop'\n", ()),
    "a preloaded application": ("", ("--preload",)),
    "a number of nobody": ("", ("-u", "65534", "-g", "65534")),
    "a group alone": ("", ("-g", "65534")),
}


def process(side: Side, config: str, options: tuple[str, ...]) -> list[str]:
    """What a worker is."""
    for name in ("inner", "lib"):
        (side.folder / name).mkdir(exist_ok=True)
    (side.folder / "inner" / "site_app.py").write_text(SITE_APP)
    for folder in (side.folder, *side.folder.parents[:4]):
        if folder.stat().st_uid == os.getuid() and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o711)
    side.write(conf="import json, socket, threading\n" + config)
    server = side.serve(*options)
    facts = server.request("/facts").json()
    inside = [one for one in facts["path"] if one.startswith(str(side.folder))]
    environ = facts["environ"]
    names = ("A", "B", "EMPTY", "SERVER_SOFTWARE")
    variables = {name: facts["variables"].get(name) for name in names}
    shown = [
        f"cwd: {facts['cwd']}",
        f"path: {inside}",
        f"ids: {facts['ids']}",
        f"title: {facts['title']}",
        f"arbiter: {processes.title(server.pid)}",
        f"threads: {environ['wsgi.multithread']}, processes: {environ['wsgi.multiprocess']}",
        f"imported by itself: {facts['imported by'] == facts['pid']}",
        f"variables: {variables}",
    ]
    program = rf"{side.program}(?=:|/\d)"
    plain = [re.sub(program, "{program}", line.replace(str(side.folder), ".")) for line in shown]
    return [re.sub(r"/\d+\.\d+\.\d+", "/{version}", line) for line in plain]


DIFFERENCES: dict[str, Difference] = {}


@pytest.mark.parametrize("situation", PROCESSES)
def test_a_worker_is_the_same_process(tmp_path: Path, situation: str) -> None:
    with pair(tmp_path, site_app=SITE_APP) as made:
        seen = made.both(lambda side: process(side, *PROCESSES[situation]))
    agree(situation, seen, DIFFERENCES)


@pytest.mark.parametrize("mask", ["0", "0027", "0o77", "0x3f", "63"])
def test_the_mask_of_a_unix_socket(tmp_path: Path, mask: str) -> None:
    def mode(side: Side) -> int:
        side.serve("--umask", mask, bind=f"unix:{side.short}/s")
        return stat.S_IMODE((side.short / "s").stat().st_mode)

    with pair(tmp_path, site_app=SITE_APP) as made:
        theirs, ours = made.both(mode)
    assert ours == theirs


def test_a_worker_that_has_served_enough_is_replaced(tmp_path: Path) -> None:
    def life(side: Side) -> bool:
        server = side.serve("--max-requests", "5")
        seen: set[int] = set()

        def three() -> bool:
            seen.add(pid_of(server))
            return len(seen) == 3

        return until(three, "three workers have answered")

    with pair(tmp_path, site_app=SITE_APP) as made:
        assert made.both(life) == (True, True)


def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    def life(side: Side) -> bool:
        server = side.serve("--timeout", "1", "--graceful-timeout", "1")
        before = server.worker
        with server.connect() as connection:
            connection.send(message("/hang"))
            server.wait_for_successor(before)
        return pid_of(server) != before

    with pair(tmp_path, site_app=SITE_APP) as made:
        assert made.both(life) == (True, True)


def test_the_list_of_differences_names_only_what_is_tested() -> None:
    assert DIFFERENCES.keys() <= {*PROCESSES, "USR2"}

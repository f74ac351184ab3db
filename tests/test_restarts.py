"""Restarts on the real server: new code and new configuration go live, broken ones do not, and no
client sees either.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from signal import SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGSTOP, SIGTERM, SIGTTIN

import pytest

from conftest import Serve
from harness import processes
from harness.client import message
from harness.gate import Gate
from harness.load import Load
from harness.server import Server
from harness.site import APP, MODES, Site, deploy, fails, is_rolled_back, restart
from harness.wait import until


@pytest.fixture
def site(tmp_path: Path, serve: Serve) -> Site:
    return Site(tmp_path, serve)


# new code


@pytest.mark.parametrize("mode", MODES)
def test_a_restart_brings_new_code_and_fails_no_request(site: Site, mode: str) -> None:
    server = site.start("--restart-mode", mode)
    before = server.workers()
    deploy(site, server)
    after = server.wait_for_workers(2)
    assert not set(before) & set(after)
    assert server.request().text == "two"


def test_new_connections_reach_only_the_new_code_while_the_old_stands_by(site: Site) -> None:
    server = site.start("--observe-timeout", "600")
    site.write("two")
    server.signal(SIGHUP)
    server.wait_for_log("Generation 2 serves; 1 stands by for 600 s")
    assert len(server.workers()) == 4
    # Until both have heard the word to stop, they may still take a connection.
    server.wait_for_log("gave its connections away", 2)
    assert {server.request().text for _ in range(50)} == {"two"}


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_request_inside_the_application_is_answered_by_the_old_worker(
    serve: Serve, tmp_path: Path, threads: str
) -> None:
    """Also while nobody but the steward looks after the network in the old worker."""
    options = ("--observe-timeout", "600", "--threads", threads, "--log-level", "debug")
    server = serve("apps.probe:application", *options)
    gate, old = Gate(tmp_path), server.worker
    with server.connect() as connection:
        connection.send(message(gate.target))
        gate.wait_entered()
        server.signal(SIGHUP)
        server.wait_for_log("Generation 2 serves")
        server.wait_for_log(rf"Worker \(pid: {old}\) has given")
        assert old not in {server.request("/process").json()["pid"] for _ in range(50)}
        gate.open()
        assert connection.receive().status == 200
        assert connection.request("/process").status == 200


def test_a_request_that_is_longer_than_the_observation_is_answered(
    serve: Serve, tmp_path: Path
) -> None:
    server, gate = serve("apps.probe:application", "--observe-timeout", "0"), Gate(tmp_path)
    with server.connect() as connection:
        connection.send(message(gate.target))
        gate.wait_entered()
        restart(server)
        assert server.request("/").status == 200
        gate.open()
        assert connection.receive().status == 200
    server.wait_for_workers(1)


@pytest.mark.parametrize("threads", ["1", "3"])
def test_requests_wait_for_no_restart(site: Site, threads: str) -> None:
    """An import that takes three seconds is not felt: nobody waits for as long."""
    server = site.start("--threads", threads, "--observe-timeout", "0")
    site.write("two", before="import time; time.sleep(3)")
    with Load(server, clients=2) as load:
        restart(server)
        load.wait_for("two", 20)
    assert load.slowest < 3


def test_a_phased_restart_never_has_fewer_workers_than_configured(site: Site) -> None:
    server = site.start("--restart-mode", "phased", workers=3)
    site.write("two", before="import time; time.sleep(0.2)")
    fewest, most = 3, 3
    server.signal(SIGHUP)
    while "is confirmed" not in server.log:
        count = len(server.workers())
        fewest, most = min(fewest, count), max(most, count)
    assert fewest == 3
    assert most <= 3 + 3
    assert order_of(server.log) == ["ready", "boot"] * 2 + ["ready"]
    server.wait_for_workers(3)


def order_of(log: str) -> list[str]:
    """What new workers did during the restart, beginning with the first that is ready."""
    _, log = log.split("Restart (phased)")
    found = re.findall(r"Booting worker|is ready", log)
    return ["ready" if word == "is ready" else "boot" for word in found[1:]]


def test_a_regular_restart_never_serves_two_versions(site: Site) -> None:
    server = site.start("--restart-mode", "regular", workers=1)
    with Load(server, clients=2) as load:
        load.wait_for("one", 5)
        site.write("two")
        restart(server)
        ones = load.answers["one"]
        load.wait_for("two", 20)
        assert load.answers["one"] == ones


# configuration


def test_a_restart_brings_the_new_configuration(site: Site) -> None:
    server = site.start(configuration="raw_env = ['COLOUR=red', 'SHAPE=round']")
    assert (server.request("/COLOUR").text, server.request("/SHAPE").text) == ("red", "round")
    site.configure("workers = 3\nobserve_timeout = 0\nraw_env = ['COLOUR=blue']")
    restart(server)
    server.wait_for_workers(3)
    assert server.request("/COLOUR").text == "blue"
    assert server.request("/SHAPE").text == "none"
    site.configure("workers = 1\nobserve_timeout = 0")
    restart(server)
    server.wait_for_workers(1)


def test_a_restart_may_serve_another_application(site: Site) -> None:
    site.configure("")
    (site.folder / "other.py").write_text(APP.format(version="other", before=""))
    site.write("one")
    site.configure("wsgi_app = 'site_app:app'\nobserve_timeout = 0")
    server = Server(site.folder / "server", cwd=site.folder)
    server.command.remove("apps.probe:application")
    try:
        server.start()
        assert server.request().text == "one"
        site.configure("wsgi_app = 'other:app'\nobserve_timeout = 0")
        restart(server)
        until(lambda: server.request().text == "other", "the other application")
        server.stop()
    finally:
        server.destroy()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("workers = (\n", "SyntaxError"),
        ("workers = -1\n", "workers"),
        ("raise RuntimeError('no database')\n", "RuntimeError: no database"),
        ("import sys; sys.exit(3)\n", "failed"),
        ("chdir = '/no/such/folder'\n", "chdir"),
        ("tmp_upload_dir = '/no/such/folder'\n", "tmp_upload_dir"),
    ],
    ids=["syntax", "value", "exception", "exit", "chdir", "uploads"],
)
def test_a_wrong_configuration_changes_nothing(site: Site, text: str, reason: str) -> None:
    server = site.start()
    workers = server.workers()
    site.write("two")
    site.configure(text)
    server.signal(SIGHUP)
    line = server.wait_for_log(r"Restart refused, generation 1 goes on serving: ([^\[]*)")
    assert reason in line.group(1)
    assert server.workers() == workers
    assert server.request().text == "one"
    site.configure("workers = 1\nobserve_timeout = 0")
    restart(server)
    server.wait_for_workers(1)
    assert server.request().text == "two"


def test_a_configuration_that_hangs_changes_nothing(site: Site) -> None:
    server = site.start("--boot-timeout", "1")
    site.configure("import time\nwhile True:\n    time.sleep(60)")
    server.signal(SIGHUP)
    server.wait_for_log("Restart refused.*The configuration was not read within 1 s")
    site.configure("workers = 1\nobserve_timeout = 0")
    restart(server)
    server.wait_for_workers(1)


def test_what_only_a_start_can_change_is_named(site: Site) -> None:
    server = site.start()
    site.configure("workers = 2\nobserve_timeout = 0\nbacklog = 77\npidfile = 'x.pid'")
    restart(server)
    server.wait_for_log("Changed in the configuration, but not by a restart: backlog, pidfile")


def test_modules_that_the_configuration_imports_are_read_again(site: Site) -> None:
    (site.folder / "helper.py").write_text("COLOUR = 'red'")
    text = "import helper\nworkers = 1\nobserve_timeout = 0\nraw_env = ['COLOUR=' + helper.COLOUR]"
    server = site.start(workers=1, configuration=text)
    assert server.request("/COLOUR").text == "red"
    (site.folder / "helper.py").write_text("COLOUR = 'green-ish'")
    restart(server)
    until(lambda: server.request("/COLOUR").text == "green-ish", "the new colour")


def test_a_release_behind_a_moved_link_is_found(tmp_path: Path, serve: Serve) -> None:
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "site_app.py").write_text(APP.format(version=version, before=""))
    current = tmp_path / "current"
    current.symlink_to("one")
    env = {"PWD": str(current)}
    server = serve("site_app:app", "--observe-timeout", "0", cwd=current, env=env)
    assert server.request().text == "one"
    current.unlink()
    current.symlink_to("two")
    restart(server)
    until(lambda: server.request().text == "two", "the new release")


# broken code


BROKEN = {
    "syntax": ("def (", "SyntaxError"),
    "import": ("import no_such_library", "No module named 'no_such_library'"),
    "exception": ("raise RuntimeError('no database')", "RuntimeError: no database"),
    "exit-0": ("import os; os._exit(0)", "without being asked to"),
    "exit-1": ("import os; os._exit(1)", "with an error"),
    "segfault": ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
    "killed": ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
    "memory": (
        "from resource import *; setrlimit(RLIMIT_AS, (1 << 30, 1 << 30)); bytearray(1 << 31)",
        "MemoryError",
    ),
    "terminated": ("import os; os.kill(os.getpid(), 15)", "SIGTERM"),
    "system-exit": ("raise SystemExit(0)", "SystemExit"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", BROKEN)
def test_broken_code_changes_nothing(site: Site, what: str, mode: str) -> None:
    before, shown = BROKEN[what]
    server = site.start("--restart-mode", mode)
    workers = server.workers()
    with Load(server, clients=2) as load:
        site.write("two", before=before)
        fails(server, load, workers)
        assert shown in server.log
        site.write("three")
        restart(server)
        load.wait_for("three")


def test_code_that_hangs_at_import_changes_nothing_and_shows_where(site: Site) -> None:
    server = site.start("--boot-timeout", "1")
    workers = server.workers()
    with Load(server, clients=2) as load:
        site.write("two", before="import time\nwhile True:\n    time.sleep(60)")
        reason = fails(server, load, workers)
        assert "was not ready within 1 s" in reason
        assert "site_app.py" in server.log.split("Restart (hot)")[1]


def test_a_module_that_is_gone_changes_nothing(site: Site) -> None:
    server = site.start()
    workers = server.workers()
    with Load(server, clients=2) as load:
        (site.folder / "site_app.py").unlink()
        fails(server, load, workers)
        assert "There is no module 'site_app'" in server.log


def test_a_new_worker_that_is_killed_while_it_boots_ends_the_restart(site: Site) -> None:
    server = site.start()
    workers = server.workers()
    with Load(server, clients=2) as load:
        site.write("two", before="import time\nwhile True:\n    time.sleep(60)")
        mark = server.mark()
        server.signal(SIGHUP)
        new = until(lambda: set(server.workers()) - set(workers), "a new worker")
        os.kill(min(new), SIGKILL)
        assert "SIGKILL" in is_rolled_back(server, mark)
        until(lambda: server.workers() == workers, f"only {workers} are left")
        load.wait_for("one", 20)


@pytest.mark.parametrize("mode", ["hot", "phased"])
def test_a_new_worker_that_dies_while_it_is_watched_brings_the_old_ones_back(
    site: Site, mode: str
) -> None:
    server = site.start("--observe-timeout", "600", "--restart-mode", mode)
    workers = server.workers()
    site.write("two")
    mark = server.mark()
    server.signal(SIGHUP)
    server.wait_for_log("Generation 2 serves")
    new = next(iter(set(server.workers()) - set(workers)))
    os.kill(new, SIGKILL)
    assert "SIGKILL" in is_rolled_back(server, mark)
    until(lambda: server.workers() == workers, f"only {workers} are left")
    with Load(server, clients=2) as load:
        load.wait_for("one", 20)
        assert set(load.answers) == {"one"}


# many restarts


def test_twenty_requests_at_once_are_at_most_two_restarts(site: Site) -> None:
    server = site.start("--observe-timeout", "0.2")
    site.write("two")
    for number in range(20):
        server.signal(SIGHUP)
        server.wait_for_log("Handling signal: hup", number + 1)
    server.wait_for_log("Generation 3 is confirmed")
    server.wait_for_workers(2)
    assert len(re.findall(r"Restart \(hot\)", server.log)) == 2
    assert server.request().text == "two"


@pytest.mark.parametrize("preload", [False, True])
def test_fifty_restarts_leave_nothing_behind(site: Site, preload: bool) -> None:
    others = ["--preload"] if preload else []
    server = site.start("--observe-timeout", "0", "--keep-alive", "1", *others)
    expected = 4 if preload else 3

    def everybody() -> list[int]:
        server.wait_for_workers(2)
        until(lambda: len(server.family()) == expected, f"{expected} processes are all there is")
        return server.family()

    with Load(server, clients=2) as load:
        restart(server)
        before = processes.descriptors(*everybody())
        for number in range(50):
            site.write(f"version {number}")
            restart(server)
            if number == 9:
                memory = processes.resident(server.pid)
        load.wait_for("version 49", 10)
    processes.wait_for_no_more_than(before, everybody)
    assert processes.resident(server.pid) - memory < 1024, "KiB in the arbiter"


def test_no_signal_goes_to_a_worker_that_ended_with_the_one_that_failed(site: Site) -> None:
    server = site.start()
    both_end = site.folder / "both_end"
    waits = f"while not os.path.exists({str(both_end)!r}):\n    time.sleep(0.01)"
    site.write("two", before=f"import os, time\n{waits}\nos._exit(5)")
    old = server.workers()
    server.signal(SIGHUP)
    new = until(lambda: sorted(set(server.workers()) - set(old))[1:], "two more workers")
    # Neither ends before both are collected at once.
    server.signal(SIGSTOP)
    both_end.touch()
    until(lambda: len(processes.zombies(server.pid)) == 2, f"{new} and the other have ended")
    server.signal(SIGCONT)
    server.wait_for_log("Restart rolled back")
    until(lambda: server.workers() == old, f"only {old} are left")
    assert "Can't send" not in server.log


def test_restarts_that_fail_leave_nothing_behind(site: Site) -> None:
    server = site.start()
    workers = server.workers()
    before = processes.descriptors(server.pid, *workers)
    site.write("two", before="raise RuntimeError")
    for number in range(5):
        server.signal(SIGHUP)
        server.wait_for_log("Restart rolled back", number + 1)
    until(lambda: server.workers() == workers, f"only {workers} are left")
    processes.wait_for_no_more_than(before, lambda: [server.pid, *workers])


# what else happens during a restart


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
@pytest.mark.parametrize("moment", ["booting", "observed"])
def test_a_stop_during_a_restart_ends_everything(site: Site, number: object, moment: str) -> None:
    hang = "import time\nwhile True:\n    time.sleep(60)" if moment == "booting" else ""
    server = site.start("--observe-timeout", "600")
    site.write("two", before=hang)
    server.signal(SIGHUP)
    if moment == "observed":
        server.wait_for_log("Generation 2 serves")
    server.wait_for_workers(4)
    server.signal(number)  # type: ignore[arg-type]
    server.expect_exit(0)


def test_workers_without_an_arbiter_end_wherever_they_are_in_a_restart(site: Site) -> None:
    times = ("--observe-timeout", "600", "--graceful-timeout", "5", "--orphan-timeout", "0.5")
    server = site.start(*times)
    server.signal(SIGHUP)
    server.wait_for_log("Generation 2 serves")
    os.kill(server.pid, SIGKILL)
    server.expect_exit(-SIGKILL)
    assert server.log.count("serves on") <= 2, "only those that serve"


def test_workers_can_be_added_while_a_new_generation_is_watched(site: Site) -> None:
    server = site.start("--observe-timeout", "1")
    server.signal(SIGHUP)
    server.wait_for_log("Generation 2 serves")
    server.signal(SIGTTIN)
    server.wait_for_log("Generation 2 is confirmed")
    server.wait_for_workers(3)


def test_recycling_loses_no_request_across_restarts(site: Site) -> None:
    server = site.start("--max-requests", "30", "--observe-timeout", "0.3")
    with Load(server, clients=3) as load:
        server.wait_for_log("Autorestarting worker", 3)
        restart(server)
        server.wait_for_log("Autorestarting worker", 6)
        restart(server)
        load.wait_for("one", 50)
    server.wait_for_workers(2)

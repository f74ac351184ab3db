"""The arbiter becomes another version of itself, in place: same process, same connections. What
cannot take over leaves the place to the version before.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGHUP, SIGKILL, SIGTERM, SIGTTIN, SIGUSR2
from typing import Any

import pytest

import oxicorn
from conftest import Serve
from harness import processes
from harness.load import Load
from harness.manager import Manager
from harness.server import TESTS, Server
from harness.wait import PATIENCE, until
from test_moved_connections import Orders, check, under_load

INSTALLED = Path(oxicorn.__file__).parent
APP = """
import oxicorn

def app(environ, start_response):
    body = oxicorn.__version__.encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
RESUMES = "from oxicorn._native import beginning\nif beginning() == 'resume':\n    "
"""Code after this runs in the place of an arbiter, and not in a check."""


class Site:
    """A server that runs a package of the test's own."""

    def __init__(self, folder: Path, runtime: Path, serve: Serve) -> None:
        self.folder = folder
        self.control = runtime / "ctl"
        self._serve = serve
        self._path = folder / "packages"
        self._path.mkdir()
        self.env = {"PYTHONPATH": f"{self._path}{os.pathsep}{TESTS}"}
        (folder / "site_app.py").write_text(APP)
        self.install("1.0")

    def install(self, version: str, **code: str) -> None:
        """Replaces the package, as an installer does: files are removed and made anew."""
        package = self._path / "oxicorn"
        if package.exists():
            shutil.rmtree(package)
        shutil.copytree(INSTALLED, package, ignore=shutil.ignore_patterns("__pycache__"))
        self.append("__init__", f"__version__ = {version!r}\n")
        for module, text in code.items():
            self.append(module, text)

    def append(self, module: str, text: str) -> None:
        with (self._path / "oxicorn" / f"{module}.py").open("a") as file:
            file.write(f"\n{text}\n")

    def launch(self, *options: str, observe: str = "0.2", **how: Any) -> Server:
        env = {**self.env, **how.pop("env", {})}
        places = ("--control-socket", str(self.control), "--observe-timeout", observe)
        server: Server = self._serve(
            "site_app:app", *places, *options, cwd=self.folder, env=env, launch=True, **how
        )
        return server

    def start(self, *options: str, **how: Any) -> Server:
        server = self.launch(*options, **how)
        server.wait_serving()
        assert server.request().text == "1.0"
        return server

    def ctl(self, *words: str) -> tuple[int, str]:
        """Exit code, and everything that was printed."""
        process = subprocess.run(
            [sys.executable, "-m", "oxicorn.ctl", "--socket", str(self.control), *words],
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
        )
        return process.returncode, process.stdout + process.stderr

    def upgrade(self) -> None:
        code, text = self.ctl("upgrade", "--wait")
        assert code == 0, text
        assert text.startswith("Upgraded, and generation ")

    def refused(self) -> str:
        """The reason why there is no upgrade."""
        code, text = self.ctl("upgrade", "--wait")
        assert code == 1, text
        return text

    def status(self) -> dict[str, Any]:
        code, text = self.ctl("status", "--json")
        assert code == 0, text
        found: dict[str, Any] = json.loads(text)
        return found


@pytest.fixture
def site(tmp_path: Path, serve: Serve) -> Iterator[Site]:
    # The path of a Unix socket is short, and that of a test's folder may be long.
    with tempfile.TemporaryDirectory(prefix="oxi-") as runtime:
        yield Site(tmp_path, Path(runtime), serve)


# what goes well


@pytest.mark.parametrize("delay", [0, 0.025], ids=["near", "25-ms-away"])
def test_upgrades_under_load_close_no_connection(
    tmp_path: Path, serve: Serve, delay: float
) -> None:
    orders = Orders(tmp_path, serve, seconds_to_import="1")
    with tempfile.TemporaryDirectory(prefix="oxi-") as runtime:
        control = f"{runtime}/ctl"
        server = orders.start("--observe-timeout", "0.3", "--control-socket", control)
        pid = server.pid

        def work() -> None:
            for generation in range(2, 7):
                words = ["--socket", control, "upgrade", "--wait"]
                command = [sys.executable, "-m", "oxicorn.ctl", *words]
                said = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
                expected = f"Upgraded, and generation {generation} is confirmed.\n"
                assert said.stdout == expected, said.stderr

        tally = under_load(server, work, delay)
        check(tally, orders.executed())
        assert len(tally.bodies) > 5, "each generation has answered"
        assert server.pid == pid
        assert server.process.poll() is None
        server.stop()


def test_the_version_that_is_installed_runs_afterwards(site: Site) -> None:
    server = site.start("--workers", "2")
    before = site.status()
    assert (before["version"], before["upgrade"]) == ("1.0", None)
    site.install("2.0")
    with Load(server) as load:
        site.upgrade()
        load.wait_for("2.0", more=10)
    after = site.status()
    assert (after["version"], after["pid"]) == ("2.0", server.pid)
    assert after["generation"] == 2
    assert after["uptime"] > before["uptime"]
    upgrade = after["upgrade"]
    assert (upgrade["from"], upgrade["to"]) == ("1.0", "2.0")
    assert (upgrade["state"], upgrade["reason"]) == ("done", None)
    assert "upgrade: from 1.0 to 2.0, done" in site.ctl("status")[1]
    server.stop()


def the_stem(server: Server) -> int:
    """A worker just forked has its stem's title for a moment."""
    return until(lambda: server.stems() if len(server.stems()) == 1 else [], "one stem")[0]


def test_under_preload_the_new_version_goes_on_with_the_stem_and_boots_one_of_its_own(
    site: Site,
) -> None:
    server = site.start("--workers", "2", "--preload")
    old = the_stem(server)
    site.install("2.0")
    with Load(server) as load:
        site.upgrade()
        load.wait_for("2.0", more=10)
    until(lambda: old not in server.stems(), "the old stem leaves")
    new = the_stem(server)
    assert [stem["pid"] for stem in site.status()["stems"]] == [new]
    victim = server.wait_for_workers(2)[0]
    os.kill(victim, SIGKILL)
    until(lambda: victim not in server.wait_for_workers(2), "another worker")
    assert server.request().text == "2.0"
    server.stop()


def test_under_preload_the_old_stem_serves_on_when_the_new_application_fails(site: Site) -> None:
    server = site.start("--workers", "1", "--preload")
    stem, [worker] = the_stem(server), server.wait_for_workers(1)
    site.install("2.0")
    (site.folder / "site_app.py").write_text("raise RuntimeError('no database')")
    with Load(server):
        assert "no database" in site.refused()
    assert (server.stems(), server.workers()) == ([stem], [worker])
    os.kill(worker, SIGKILL)
    server.wait_for_successor(worker)
    assert server.request().text == "1.0"
    server.stop()


def test_there_is_no_upgrade_beside_a_second_arbiter_and_no_second_one_during_an_upgrade(
    site: Site,
) -> None:
    server = site.start()
    server.signal(SIGUSR2)
    found = server.wait_for_log(r"Successor \(pid:(\d+)\) was started")
    successor = int(found.group(1))
    assert "there is a second arbiter" in site.refused()
    os.kill(successor, SIGTERM)
    until(lambda: not processes.alive(successor), "the second arbiter leaves")
    waits = begin_check(site)
    server.signal(SIGUSR2)
    server.wait_for_log("USR2 signal ignored. An upgrade is under way.")
    assert go_on(site, waits)[0] == 0
    server.stop()


def test_an_upgrade_that_nobody_waits_for_happens_as_well(site: Site) -> None:
    server = site.start()
    site.install("2.0")
    assert site.ctl("upgrade") == (0, "")
    server.wait_for_log("Upgraded from 1.0 to 2.0")
    server.wait_for_log("Generation 2 is confirmed")
    assert server.request().text == "2.0"


def test_the_number_of_workers_and_the_pidfile_and_the_unix_socket_stay(site: Site) -> None:
    socket, pidfile = site.control.with_name("web"), site.folder / "pid"
    server = site.start("--pid", str(pidfile), bind=f"unix:{socket}")
    inode = socket.stat().st_ino
    for _ in range(2):
        site.upgrade()
        assert socket.stat().st_ino == inode
        assert pidfile.read_text() == f"{server.pid}\n"
        assert server.request().text == "1.0"
    server.stop()
    assert not socket.exists()
    assert not pidfile.exists()
    assert not site.control.exists()


def test_workers_that_were_added_stay_until_the_restart_decides(site: Site) -> None:
    server = site.start(observe="60")
    assert site.ctl("workers", "3")[0] == 0
    server.wait_for_workers(3)
    old = set(server.workers())
    assert site.ctl("upgrade")[0] == 0
    server.wait_for_log("Generation 2 serves")
    assert old <= set(server.workers())
    ids = [worker["id"] for worker in site.status()["workers"]]
    assert ids == [1, 2, 3, 4]


def test_a_check_ends_with_its_arbiter(site: Site) -> None:
    server = site.start()
    everybody = server.family()
    # Before it knows what it is for.
    site.append("__init__", "import os, threading")
    site.append("__init__", "if 'OXICORN_UPGRADE' in os.environ: threading.Event().wait()")
    assert site.ctl("upgrade")[0] == 0
    [check] = until(lambda: set(server.family()) - set(everybody), "it checks")
    os.kill(server.pid, SIGKILL)
    assert server.wait() == -SIGKILL
    until(lambda: not processes.alive(check), "the check has ended")


def test_signals_work_after_an_upgrade(site: Site) -> None:
    server = site.start()
    site.upgrade()
    mark = server.mark()
    server.signal(SIGHUP)
    server.wait_for_log("Generation 3 is confirmed", since=mark)
    [worker] = server.wait_for_workers(1)
    os.kill(worker, SIGKILL)
    server.wait_for_successor(worker)
    server.wait_accepting()
    assert server.request().text == "1.0"
    until(lambda: not processes.zombies(server.pid), "no zombie")
    server.stop()


def test_a_daemon_is_upgraded_as_any_server(site: Site) -> None:
    pidfile, log = site.folder / "pid", site.folder / "error.log"
    launcher = site.launch("--daemon", "--pid", str(pidfile), "--error-logfile", str(log))
    assert launcher.wait() == 0
    until(lambda: log.exists() and "Booting worker" in log.read_text(), "the daemon boots")
    daemon = int(pidfile.read_text())
    try:
        site.install("2.0")
        site.upgrade()
        assert (site.status()["version"], site.status()["pid"]) == ("2.0", daemon)
        assert "Upgraded from 1.0 to 2.0" in log.read_text()
        site.install("3.0", cli=RESUMES + "raise RuntimeError('broken later')")
        assert "broken later" in site.refused()
        assert (site.status()["version"], site.status()["pid"]) == ("2.0", daemon)
    finally:
        os.kill(daemon, SIGTERM)
        until(lambda: not processes.alive(daemon), "the daemon ends")


def test_twenty_upgrades_leave_nothing_behind(site: Site) -> None:
    server = site.start(observe="0")

    def everybody() -> list[int]:
        return [server.pid, *server.wait_for_workers(1)]

    for _ in range(3):
        site.upgrade()
    before, memory = processes.descriptors(*everybody()), processes.resident(server.pid)
    for _ in range(17):
        site.upgrade()
    processes.wait_for_no_more_than(before, everybody)
    assert processes.resident(server.pid) - memory < 2048
    until(lambda: not processes.zombies(server.pid), "no zombie")
    assert len(server.family()) == 2
    server.stop()


# what goes wrong in the check


BROKEN_IN_THE_CHECK = {
    "syntax error": ("cli", "def", "SyntaxError"),
    "exits": ("cli", "import sys; sys.exit('I leave')", "I leave"),
    "exits silently": ("cli", "raise SystemExit(0)", "ended its check with code 0"),
    "raises": ("__init__", "raise RuntimeError('broken')", "RuntimeError: broken"),
    "crashes": ("__init__", "import os; os.kill(os.getpid(), 11)", "ended by SIGSEGV"),
}


@pytest.mark.parametrize("what", BROKEN_IN_THE_CHECK)
def test_a_version_that_fails_its_check_is_refused_and_changes_nothing(
    site: Site, what: str
) -> None:
    server = site.start()
    module, code, reason = BROKEN_IN_THE_CHECK[what]
    site.install("2.0", **{module: code})
    worker = server.worker
    with Load(server) as load:
        assert reason in site.refused()
        load.wait_for("1.0")
    assert server.workers() == [worker]
    status = site.status()
    assert (status["version"], status["generation"]) == ("1.0", 1)
    assert status["upgrade"]["state"] == "refused"
    assert reason in status["upgrade"]["reason"]
    until(lambda: not processes.zombies(server.pid), "no zombie")
    site.install("2.0")
    site.upgrade()
    assert server.request().text == "2.0"


def test_a_version_that_hangs_in_its_check_is_refused_after_its_time(site: Site) -> None:
    server = site.start("--boot-timeout", "1")
    site.install("2.0", cli="import threading; threading.Event().wait()")
    with Load(server) as load:
        assert "did not finish its check within 10 s" in site.refused()
        load.wait_for("1.0")
    until(lambda: server.workers() == [server.worker], "the check is gone")


def test_a_configuration_that_cannot_be_read_is_found_by_the_check(site: Site) -> None:
    server = site.start()
    (site.folder / "gunicorn.conf.py").write_text("workers = 'many'\n")
    assert "workers" in site.refused()
    assert server.request().text == "1.0"


def test_an_application_that_is_gone_is_found_by_the_restart(site: Site) -> None:
    server = site.start()
    os.rename(site.folder / "site_app.py", site.folder / "gone.py")
    # The application is the workers' business: only the restart after it fails.
    reason = site.refused()
    assert "the workers of generation 1 go on serving" in reason
    assert server.request().text == "1.0"
    assert site.status()["upgrade"]["state"] == "done"


# what goes wrong later


BROKEN_LATER = {
    "raises": ("configuration", "raise RuntimeError('broken later')", "broken later"),
    "exits": ("configuration", "raise SystemExit('I leave')", "ended before it took over"),
    "fails to import": ("__init__", "raise ImportError('not this time')", "ImportError: not this"),
    "crashes": ("cli", "import os; os.kill(os.getpid(), 11)", "it took over: SIGSEGV"),
    "aborts": ("cli", "import os; os.abort()", "it took over: SIGABRT"),
    "hangs": ("cli", "import threading; threading.Event().wait()", "in time"),
}


@pytest.mark.parametrize("what", BROKEN_LATER)
def test_a_version_that_fails_to_take_over_leaves_the_place_to_the_one_before(
    site: Site, what: str
) -> None:
    server = site.start("--workers", "2")
    module, code, reason = BROKEN_LATER[what]
    site.install("2.0", **{module: RESUMES + code})
    workers = server.workers()
    with Load(server) as load:
        assert reason in site.refused()
        load.wait_for("1.0")
    assert server.workers() == workers
    status = site.status()
    assert (status["version"], status["generation"], status["pid"]) == ("1.0", 1, server.pid)
    assert status["upgrade"]["state"] == "undone"
    assert reason in status["upgrade"]["reason"]
    # It is whole: it replaces what dies, and can be upgraded.
    os.kill(workers[0], SIGKILL)
    server.wait_for_workers(2)
    until(lambda: server.request().text == "1.0", "it serves")
    server.wait_for_log(r"Booting worker with pid: \d+", 3)
    site.install("3.0")
    site.upgrade()
    assert server.request().text == "3.0"
    server.stop()


def test_a_version_that_comes_back_need_not_understand_the_new_configuration(site: Site) -> None:
    configuration = site.folder / "gunicorn.conf.py"
    configuration.write_text("raw_env = ['COLOUR=green']\nworkers = 2\n")
    server = site.start()
    server.wait_for_workers(2)
    # It is for a version that never takes over; the check understands it.
    code = "raise RuntimeError('broken later')"
    site.install("2.0", configuration=RESUMES + code, config_file=UNDERSTANDS)
    configuration.write_text("from_the_future()\n")
    with Load(server) as load:
        assert "broken later" in site.refused()
        load.wait_for("1.0")
    server.wait_for_log("The configuration is that of the start, for it cannot be read now")
    assert site.status()["target"] == 2
    victim = server.workers()[0]
    os.kill(victim, SIGKILL)
    until(lambda: victim not in server.wait_for_workers(2), "it is replaced")
    # A restart reads the file as ever.
    mark = server.mark()
    server.signal(SIGHUP)
    server.wait_for_log("Restart refused", since=mark)


UNDERSTANDS = """
import builtins
builtins.from_the_future = lambda: None
"""


# what happens meanwhile


SLOW = RESUMES + (
    "import os, threading\n"
    "    open('taking-over', 'w').close()\n"
    "    while not os.path.exists('go-on'): threading.Event().wait(0.01)\n"
)


def begin_slowly(site: Site, server: Server) -> subprocess.Popen[str]:
    """An upgrade that has reached the new version, and waits there until `go-on` exists."""
    site.install("2.0", cli=SLOW)
    command = [sys.executable, "-m", "oxicorn.ctl", "--socket", str(site.control)]
    waits = subprocess.Popen(
        [*command, "upgrade", "--wait"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    until((site.folder / "taking-over").exists, "the new version has begun")
    return waits


def go_on(site: Site, waits: subprocess.Popen[str]) -> tuple[int, str]:
    (site.folder / "go-on").touch()
    said, _ = waits.communicate(timeout=PATIENCE)
    return waits.returncode, said


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["plain", "preload"])
def test_a_worker_that_dies_meanwhile_is_reported_and_replaced(
    site: Site, options: tuple[str, ...]
) -> None:
    server = site.start("--workers", "2", *options)
    waits = begin_slowly(site, server)
    victim = server.workers()[0]
    os.kill(victim, SIGKILL)
    code, said = go_on(site, waits)
    assert (code, said) == (0, "Upgraded, and generation 2 is confirmed.\n")
    server.wait_for_log(rf"Worker \(pid:{victim}\) was sent SIGKILL!")
    server.wait_for_workers(2)
    until(lambda: not processes.zombies(server.pid), "no zombie")


def test_a_stop_that_is_asked_for_meanwhile_is_heeded(site: Site) -> None:
    server = site.start()
    waits = begin_slowly(site, server)
    server.signal(SIGTERM)
    code, said = go_on(site, waits)
    assert code == 1
    assert "the server stops" in said
    server.expect_exit(0)


def test_a_stop_right_after_the_order_is_heeded(site: Site) -> None:
    server = site.start()
    with ThreadPoolExecutor() as pool:
        waits = pool.submit(site.ctl, "upgrade", "--wait")
        server.wait_for_log("Asked over the control socket: upgrade")
        server.signal(SIGTERM)
        code, said = waits.result(PATIENCE)
    assert code == 1
    assert "the server stops" in said
    server.expect_exit(0)


def begin_check(site: Site) -> subprocess.Popen[str]:
    """An upgrade whose check lasts until `go_on`."""
    site.install("2.0", cli=SLOW.removeprefix(RESUMES).replace("\n    ", "\n"))
    command = [sys.executable, "-m", "oxicorn.ctl", "--socket", str(site.control)]
    waits = subprocess.Popen([*command, "upgrade", "--wait"], stdout=subprocess.PIPE, text=True)
    until(lambda: (site.status()["upgrade"] or {}).get("state") == "checking", "the check")
    return waits


def test_of_two_upgrades_at_once_the_second_is_refused(site: Site) -> None:
    site.start()
    with begin_check(site) as one:
        assert "an upgrade is under way" in site.refused()
        assert go_on(site, one) == (0, "Upgraded, and generation 2 is confirmed.\n")


def test_there_is_no_upgrade_while_a_restart_is_watched(site: Site) -> None:
    server = site.start(observe="60")
    server.signal(SIGHUP)
    server.wait_for_log("Generation 2 serves")
    assert "a restart is under way" in site.refused()


def test_a_restart_that_is_asked_for_meanwhile_follows(site: Site) -> None:
    server = site.start()
    waits = begin_slowly(site, server)
    server.signal(SIGHUP)
    assert go_on(site, waits)[0] == 0
    server.wait_for_log("Generation 3 is confirmed")
    assert server.request().text == "2.0"


LATE = (
    RESUMES
    + """made = Arbiter
    def Arbiter(*how):
        made(*how).bind()
        raise RuntimeError("broken at the last moment")
"""
)


def test_a_version_that_comes_back_at_the_last_moment_has_lost_nothing(site: Site) -> None:
    with Manager(site.folder) as manager:
        configuration = site.folder / "gunicorn.conf.py"
        configuration.write_text("raw_env = ['COLOUR=green']\n")
        server = site.start(env={**manager.variables, "WATCHDOG_USEC": "2000000"})
        manager.wait_for("READY")
        site.install("2.0", cli=LATE)
        assert "broken at the last moment" in site.refused()
        told = manager.wait_for("STATUS")["STATUS"]
        while not told.startswith("Upgrade undone"):
            told = manager.wait_for("STATUS")["STATUS"]
        for _ in range(3):
            manager.wait_for("WATCHDOG")
        # What the failed version had read is not taken for what the server was started with.
        configuration.write_text("")
        site.install("3.0")
        (site.folder / "site_app.py").write_text(COLOUR)
        site.upgrade()
        assert server.request().text == "no colour"
        assert manager.wait_for("READY")["MAINPID"] == str(server.pid)
        server.stop()


COLOUR = """
import os

def app(environ, start_response):
    body = os.environ.get("COLOUR", "no colour").encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


def test_a_service_manager_hears_of_the_restart_and_signs_of_life(site: Site) -> None:
    with Manager(site.folder) as manager:
        env = {**manager.variables, "WATCHDOG_USEC": "2000000"}
        server = site.start(env=env)
        manager.wait_for("READY")
        site.install("2.0")
        site.upgrade()
        manager.wait_for("RELOADING")
        ready = manager.wait_for("READY")
        assert ready["MAINPID"] == str(server.pid)
        manager.wait_for("WATCHDOG")
        told = [message.get("STATUS", "") for message in manager.told]
        assert "Upgrade: version 2.0 takes over." in told
        server.stop()


# hooks

HOOKS = """
import os
def on_starting(server): server.log.info("starting %s", os.getpid())
def nworkers_changed(server, new, old): server.log.info("changed %s %s %s", new, old, os.getpid())
def post_fork(server, worker): server.log.info("forked %s by %s", worker.age, server.pid)
def child_exit(server, worker):
    server.log.info("gone %s %s of %s", worker.age, worker.pid, sorted(server.WORKERS) != [])
def on_exit(server): server.log.info("exiting %s", os.getpid())
"""


def test_hooks_of_the_arbiter_go_on_in_the_next_version(site: Site) -> None:
    (site.folder / "gunicorn.conf.py").write_text(HOOKS)
    server = site.start()
    worker = server.worker
    site.install("2.0")
    site.upgrade()
    server.wait_for_log(f"gone 1 {worker} of True")
    server.signal(SIGTTIN)
    server.wait_for_log(f"changed 2 1 {server.pid}")
    server.wait_for_log(f"forked 3 by {server.pid}")
    server.stop()
    assert server.log.count("starting") == 1
    assert f"exiting {server.pid}" in server.log


def test_hooks_of_the_arbiter_go_on_when_the_next_version_fails(site: Site) -> None:
    (site.folder / "gunicorn.conf.py").write_text(HOOKS)
    server = site.start()
    worker = server.worker
    site.install("2.0", cli=RESUMES + "raise RuntimeError('two')")
    assert "two" in site.refused()
    server.signal(SIGTTIN)
    server.wait_for_log(f"changed 2 1 {server.pid}")
    os.kill(worker, SIGKILL)
    server.wait_for_log(f"gone 1 {worker} of")
    server.stop()
    assert f"exiting {server.pid}" in server.log

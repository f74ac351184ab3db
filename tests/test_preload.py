"""`--preload` on the real server: a stem imports, workers are forked from it, and a restart loads
new code all the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGUSR1

import pytest

from conftest import Serve
from harness import processes
from harness.load import Load
from harness.server import Server
from harness.site import MODES, Site, deploy, fails, is_rolled_back, restart
from harness.wait import throughout, until

HANG = "import time\nwhile True:\n    time.sleep(60)"
FACTS = """
import json, os
IMPORTED_BY = os.getpid()
class Application:
    def __call__(self, environ, start_response):
        start_response("200 OK", [])
        facts = {"pid": os.getpid(), "ppid": os.getppid(), "imported by": IMPORTED_BY}
        return [json.dumps(facts).encode()]
app = Application()
"""

HANGS = """
import time
def hang():
    time.sleep(600)
def app(environ, start_response):
    if environ["PATH_INFO"] == "/hang":
        hang()
    start_response("200 OK", [])
    return [b"one"]
"""


@pytest.fixture
def site(tmp_path: Path, serve: Serve) -> Site:
    return Site(tmp_path, serve, "--preload")


def the_stem(server: Server) -> int:
    """The pid of the only stem."""
    until(lambda: len(server.stems()) == 1, "one stem")
    return server.stems()[0]


def oxicornctl(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "oxicorn.ctl", *words]
    env = {**os.environ, "XDG_RUNTIME_DIR": server.runtime.name}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


# who does what


def test_a_stem_imports_and_the_workers_are_the_arbiters(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "facts.py").write_text(FACTS)
    server = serve("facts:app", "--preload", cwd=tmp_path, workers=2)
    found = server.request().json()
    assert found["imported by"] == the_stem(server)
    assert found["pid"] in server.workers()
    assert found["ppid"] == server.pid
    assert processes.parent(the_stem(server)) == server.pid
    everybody = [server.pid, the_stem(server)]
    until(lambda: not any(map(processes.zombies, everybody)), "no zombie")


def test_workers_share_what_was_imported(site: Site) -> None:
    megabytes = 50
    server = site.start(workers=4, before=f"import os; BALLAST = os.urandom({megabytes} << 20)")
    for worker in server.workers():
        assert processes.resident(worker) > megabytes << 10
        assert processes.shared_out(worker) < (megabytes << 10) / 2


def test_threads_that_the_import_starts_are_named(site: Site) -> None:
    lost = "import threading; threading.Thread(None, threading.Event().wait, 'lost', daemon=True)"
    server = site.start(before=f"{lost}.start()")
    server.wait_for_log(r"\[WARNING\] preload_app: threads started by the import end.*: lost\n")
    mark = server.mark()
    site.write("two")
    restart(server)
    assert "threads started by the import" not in server.log[mark:]


def test_signal_handlers_of_the_application_are_those_of_its_workers(site: Site) -> None:
    handler = "import signal; signal.signal(signal.SIGUSR2, lambda *_: print('heard', flush=True))"
    server = site.start(workers=1, before=handler)
    os.kill(the_stem(server), 12)
    os.kill(server.worker, 12)
    server.wait_for_log("heard")
    assert server.log.count("heard") == 1
    assert server.request().text == "one"


def test_the_status_shows_the_stem_of_each_generation(site: Site) -> None:
    server = site.start("--observe-timeout", "600")
    first = the_stem(server)
    server.signal(SIGHUP)
    server.wait_for_log("Generation 2 serves")
    shown = json.loads(oxicornctl(server, "status", "--json").stdout)["stems"]
    assert [(one["generation"], one["state"]) for one in shown] == [(1, "ready"), (2, "ready")]
    assert [one["pid"] for one in shown] == server.stems()
    assert f"Stem of generation 1: pid {first}, ready" in oxicornctl(server, "status").stdout


def test_what_workers_count_is_seen(site: Site) -> None:
    server = site.start()
    with server.connect() as connection:
        connection.request("/")
        workers = json.loads(oxicornctl(server, "status", "--json").stdout)["workers"]
    assert sum(worker["connections"]["open"] for worker in workers) >= 1
    assert sum(worker["total"]["answered"] for worker in workers) >= 1


def test_reload_imports_in_every_worker_all_the_same(site: Site) -> None:
    server = site.start("--reload")
    server.wait_for_log("preload_app is ignored under reload")
    assert server.stems() == []


def test_a_stem_that_waits_does_not_wake_up(site: Site) -> None:
    server = site.start()
    stem = the_stem(server)
    until(lambda: not _is_busy(stem), "it has come to rest")
    before = processes.wakeups(stem)
    throughout(lambda: processes.wakeups(stem) == before, "it sleeps", 1)


def _is_busy(pid: int) -> bool:
    before = processes.wakeups(pid), processes.ticks(pid)
    throughout(lambda: processes.alive(pid), "it lives", 0.1)
    return (processes.wakeups(pid), processes.ticks(pid)) != before


def test_a_worker_that_hangs_shows_where(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text(HANGS)
    server = serve("hangs:app", "--preload", "--timeout", "1", cwd=tmp_path)
    with server.connect() as connection:
        connection.send(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
        server.wait_for_log(r'WORKER TIMEOUT .*"GET /hang')
        server.wait_for_log(r"hangs\.py.* in hang")
        # Until it is gone it may accept connections that nobody will answer.
        server.wait_for_log("was sent SIGABRT")
    assert server.request().text == "one"


# new code


@pytest.mark.parametrize("mode", MODES)
def test_a_restart_brings_new_code_and_fails_no_request(site: Site, mode: str) -> None:
    server = site.start("--restart-mode", mode)
    old, workers = the_stem(server), server.workers()
    deploy(site, server)
    assert not set(workers) & set(server.wait_for_workers(2))
    assert server.request().text == "two"
    until(lambda: server.stems() and old not in server.stems(), "the old stem has gone")
    assert the_stem(server) != old


def test_a_hot_restart_keeps_every_connection(site: Site) -> None:
    server = site.start()
    connections = [server.connect() for _ in range(20)]
    assert {connection.request("/").text for connection in connections} == {"one"}
    for version in ("two", "three"):
        site.write(version)
        restart(server)
        assert {connection.request("/").text for connection in connections} == {version}
    for connection in connections:
        connection.close()


def test_a_restart_can_begin_and_end_preloading(tmp_path: Path, serve: Serve) -> None:
    site = Site(tmp_path, serve)
    server = site.start()
    assert server.stems() == []
    with Load(server, clients=2) as load:
        for version, preload in (("two", True), ("three", False), ("four", True)):
            site.write(version)
            site.configure(f"workers = 2\nobserve_timeout = 0\npreload_app = {preload}")
            restart(server)
            load.wait_for(version, 10)
            until(lambda: len(server.stems()) == preload, "a stem as configured")  # noqa: B023
    server.wait_for_workers(2)
    assert "not by a restart" not in server.log


def test_a_new_environment_reaches_the_new_stem(site: Site) -> None:
    server = site.start(configuration="raw_env = ['COLOUR=red']")
    assert server.request("/COLOUR").text == "red"
    site.configure("workers = 2\nobserve_timeout = 0\nraw_env = ['COLOUR=blue']")
    restart(server)
    assert server.request("/COLOUR").text == "blue"


# broken code


BROKEN = {
    "import": ("import no_such_library", "No module named 'no_such_library'", "could not load"),
    "exit-0": ("import os; os._exit(0)", "exited with code 0", "without being asked to"),
    "segfault": ("import os; os.kill(os.getpid(), 11)", "SIGSEGV", "SIGSEGV"),
    "system-exit": ("raise SystemExit(0)", "SystemExit", "could not load"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", BROKEN)
def test_broken_code_changes_nothing(site: Site, what: str, mode: str) -> None:
    before, shown, why = BROKEN[what]
    server = site.start("--restart-mode", mode)
    stem, workers = the_stem(server), server.workers()
    with Load(server, clients=2) as load:
        site.write("two", before=before)
        assert why in fails(server, load, workers)
        assert shown in server.log
        assert the_stem(server) == stem
        site.write("three")
        restart(server)
        load.wait_for("three")
    until(lambda: len(server.family()) == 4, "arbiter, stem and workers are all there is")


def test_code_that_hangs_at_import_changes_nothing_and_shows_where(site: Site) -> None:
    server = site.start("--boot-timeout", "1")
    workers = server.workers()
    with Load(server, clients=2) as load:
        site.write("two", before=HANG)
        reason = fails(server, load, workers)
    assert "was not ready within 1 s" in reason
    assert "site_app.py" in server.log.split("Restart (hot)")[1]
    until(lambda: len(server.family()) == 4, "arbiter, stem and workers are all there is")


def test_who_asked_for_a_restart_is_told_why_it_failed(site: Site) -> None:
    server = site.start()
    site.write("two", before="raise RuntimeError('no database')")
    told = oxicornctl(server, "restart", "--wait")
    assert told.returncode != 0
    assert "It could not load the application" in told.stderr
    assert "RuntimeError: no database" in told.stderr
    site.write("three")
    assert oxicornctl(server, "restart", "--wait").returncode == 0
    assert server.request().text == "three"


def test_a_killed_worker_comes_back_with_the_old_code_when_the_new_is_broken(site: Site) -> None:
    server = site.start()
    (site.folder / "site_app.py").write_text("def (")
    for _ in range(3):
        victim, *others = server.wait_for_workers(2)
        os.kill(victim, SIGKILL)
        until(lambda: victim not in server.workers(), "it has gone")  # noqa: B023
        until(lambda: set(others) < set(server.workers()), "it is replaced")  # noqa: B023
    assert {server.request().text for _ in range(20)} == {"one"}


def test_the_old_code_comes_back_from_the_old_stem_when_every_old_worker_is_gone(
    site: Site,
) -> None:
    server = site.start("--observe-timeout", "600", workers=1)
    old = server.worker
    site.write("two")
    mark = server.mark()
    server.signal(SIGHUP)
    server.wait_for_log("Generation 2 serves")
    (new,) = set(server.workers()) - {old}
    os.kill(old, SIGKILL)
    server.wait_for_log(rf"Worker \(pid:{old}\) was sent SIGKILL")
    os.kill(new, SIGKILL)
    assert "SIGKILL" in is_rolled_back(server, mark)
    assert server.request().text == "one"


# what a stem suffers


def test_a_fork_that_hangs_in_the_applications_hooks_leaves_no_process(site: Site) -> None:
    hook = "import os, time; os.register_at_fork(after_in_child=lambda: time.sleep(600))"
    server = site.launch("--boot-timeout", "1", before=hook)
    server.wait_for_log("has not forked a worker within 1 s: aborting it", 2)
    until(lambda: len(server.family()) <= 3, "those of the first try have ended")
    server.signal(SIGTERM)
    server.expect_exit(0)


def test_a_killed_stem_costs_nothing_and_is_replaced(site: Site) -> None:
    server = site.start()
    stem, workers = the_stem(server), server.workers()
    with Load(server, clients=2) as load:
        os.kill(stem, SIGKILL)
        server.wait_for_log(rf"Stem \(pid:{stem}\) was sent SIGKILL!.*The workers go on")
        until(lambda: server.stems() and server.stems() != [stem], "another stem")
        assert server.workers() == workers
        site.write("two")
        restart(server)
        load.wait_for("two")
    until(lambda: not processes.zombies(server.pid), "no zombie")


MOMENTS = ["Booting stem", "has loaded the application", "Booting worker", "Generation 2 serves"]


@pytest.mark.parametrize("whose", ["old", "new"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_stem_killed_at_any_moment_of_a_restart_costs_no_request(
    site: Site, moment: str, whose: str
) -> None:
    server = site.start(workers=3)
    the_stem(server)
    with Load(server, clients=3) as load:
        load.wait_for("one", 5)
        site.write("two")
        mark = server.mark()
        server.signal(SIGHUP)
        server.wait_for_log(moment, since=mark)
        os.kill(server.stems()[0 if whose == "old" else -1], SIGKILL)
        server.wait_for_log("is confirmed|goes on serving", since=mark)
        site.write("three")
        restart(server)
        load.wait_for("three", 20)
    until(lambda: len(server.family()) == 5, "arbiter, stem and workers are all there is")
    until(lambda: not processes.zombies(server.pid), "no zombie")


def test_workers_are_recycled_from_the_stem(site: Site) -> None:
    server = site.start("--max-requests", "30")
    stem = the_stem(server)
    with Load(server, clients=3) as load:
        server.wait_for_log("Autorestarting worker", 4)
        (site.folder / "site_app.py").unlink()
        server.wait_for_log("Autorestarting worker", 8)
        load.wait_for("one", 20)
        assert set(load.answers) == {"one"}
    assert the_stem(server) == stem


@pytest.mark.parametrize("number", [SIGTERM, SIGINT, SIGQUIT])
@pytest.mark.parametrize("moment", ["start", "restart"])
def test_a_stem_that_imports_does_not_hold_up_a_stop(site: Site, number: int, moment: str) -> None:
    if moment == "start":
        server = site.launch(before=HANG)
    else:
        server = site.start()
        site.write("two", before=HANG)
        server.signal(SIGHUP)
    wanted = 1 if moment == "start" else 2
    until(lambda: len(server.stems()) == wanted, "a stem that imports")
    os.kill(server.pid, number)
    server.expect_exit(0)


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_a_signal_to_the_whole_group_is_left_to_the_arbiter(site: Site, number: int) -> None:
    server = site.start()
    the_stem(server)
    os.killpg(server.pid, number)
    server.expect_exit(0)
    assert server.log.count("Booting stem") == server.log.count("It was let go") == 1


@pytest.mark.parametrize("moment", ["importing", "waiting"])
def test_everything_ends_when_the_arbiter_is_killed(site: Site, moment: str) -> None:
    server = site.start("--graceful-timeout", "5", "--orphan-timeout", "0.5")
    if moment == "importing":
        site.write("two", before=HANG)
        server.signal(SIGHUP)
        until(lambda: len(server.stems()) == 2, "a stem that imports")
    os.kill(server.pid, SIGKILL)
    server.expect_exit(-SIGKILL)


def test_workers_forked_after_a_rotation_write_to_the_new_files(site: Site) -> None:
    log, rotated = site.folder / "error.log", site.folder / "error.log.1"
    log.touch()
    options = ("--error-logfile", str(log), "--capture-output")
    server = site.start(*options, workers=1, log=log)
    log.rename(rotated)
    server.signal(SIGUSR1)
    until(lambda: _has_open(the_stem(server), log), "the stem has opened the new file")
    assert not _has_open(the_stem(server), rotated)
    old = server.worker
    os.kill(old, SIGKILL)
    server.wait_for_log("Booting worker with pid")
    new = until(lambda: [pid for pid in server.workers() if pid != old], "a worker")[0]
    server.wait_for_log(f"Booting worker with pid: {new}")
    assert not _has_open(new, rotated)


def _has_open(pid: int, path: Path) -> bool:
    folder = Path(f"/proc/{pid}/fd")
    for name in os.listdir(folder):
        # It may close others meanwhile.
        with suppress(FileNotFoundError):
            if os.readlink(folder / name) == str(path):
                return True
    return False


def test_orphans_of_the_application_are_reaped(site: Site) -> None:
    orphan = "if os.fork() == 0:\n    os.fork()\n    os._exit(0)\nos.wait()"
    server = site.start(before=f"import os\n{orphan}")
    server.wait_for_log("Reaped unknown child process")
    until(lambda: not processes.zombies(server.pid), "no zombie")

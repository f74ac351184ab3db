"""The control socket and `oxicornctl` on the real server."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from conftest import Serve
from harness import processes
from harness.load import Load
from harness.server import Server
from harness.wait import PATIENCE, until

#: Waiting times that mean nothing.
LIMITS = (
    ["restart", "--timeout", "5"],
    ["restart", "--wait", "--timeout", "0"],
    ["restart", "--wait", "--timeout", "nan"],
    ["restart", "--wait", "--timeout", "soon"],
)

APP = """
{before}
import time
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "{length}")])
    return [b"{version}"]
"""


class Site:
    """A server with a control socket, and the command that controls it."""

    def __init__(self, folder: Path, runtime: Path, serve: Serve) -> None:
        self.folder = folder
        self.runtime = runtime
        self._serve = serve

    @property
    def socket(self) -> Path:
        return self.runtime / "ctl"

    def deploy(self, version: str, before: str = "") -> None:
        text = APP.format(version=version, before=before, length=len(version))
        (self.folder / "site_app.py").write_text(text)

    def configure(self, text: str) -> None:
        (self.folder / "gunicorn.conf.py").write_text(text)

    def start(self, *options: str, configuration: str = "workers = 1", **how: Any) -> Server:
        """With `--control-socket` at `socket`, unless `options` say where."""
        self.deploy("one")
        self.configure(configuration)
        place = [] if "--control-socket" in options else ["--control-socket", str(self.socket)]
        options = ("--observe-timeout", "0.2", *(() if "env" in how else place), *options)
        server: Server = self._serve("site_app:app", *options, cwd=self.folder, launch=True, **how)
        server.wait_serving()
        assert server.request().text == "one"
        return server

    def launch(self, *words: str, at: Path | None = None, **environ: str) -> subprocess.Popen[str]:
        """`oxicornctl`, at this site's socket, or found if `environ` says where."""
        where = [] if environ else ["--socket", str(at or self.socket)]
        return subprocess.Popen(
            [sys.executable, "-m", "oxicorn.ctl", *where, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environ},
        )

    def ctl(self, *words: str, at: Path | None = None, **environ: str) -> tuple[int, str]:
        """Exit code, and everything that was printed."""
        process = self.launch(*words, at=at, **environ)
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out + err

    def done(self, *words: str) -> str:
        code, text = self.ctl(*words)
        assert code == 0, text
        return text

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.done("status", "--json"))
        return found

    def say(self, text: bytes) -> socket.socket:
        """A client of its own."""
        client = socket.socket(socket.AF_UNIX)
        # With Python's own timeout it would not wait for a place in the server's queue.
        patience = struct.pack("@ll", int(PATIENCE), 0)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        client.connect(str(self.socket))
        client.settimeout(PATIENCE)
        client.sendall(text)
        return client


def answer(client: socket.socket) -> dict[str, Any]:
    with client, client.makefile("rb") as lines:
        found: dict[str, Any] = json.loads(lines.readline())
        return found


@pytest.fixture
def site(tmp_path: Path, serve: Serve) -> Iterator[Site]:
    # The path of a Unix socket is short, and that of a test's folder may be long.
    with tempfile.TemporaryDirectory(prefix="oxi-") as runtime:
        yield Site(tmp_path, Path(runtime), serve)


# restarts


@pytest.mark.parametrize("mode", ["hot", "phased", "regular"])
def test_a_restart_that_is_waited_for_ends_when_the_new_code_is_confirmed(
    site: Site, mode: str
) -> None:
    server = site.start()
    site.deploy("two")
    assert site.done("restart", "--mode", mode, "--wait") == "Generation 2 is confirmed.\n"
    assert f"Restart ({mode})" in server.log and "Generation 2 is confirmed" in server.log
    until(lambda: server.request().text == "two", "the new code answers")
    restart = site.status()["restart"]
    assert (restart["generation"], restart["mode"], restart["state"]) == (2, mode, "confirmed")
    assert 0 < restart["served_after"] <= restart["ended_after"] <= restart["age"]


def test_a_restart_that_is_rolled_back_ends_with_the_reason_and_fails_no_request(
    site: Site,
) -> None:
    server = site.start()
    site.deploy("two", "raise RuntimeError('broken')")
    with Load(server) as load:
        code, text = site.ctl("restart", "--wait")
        load.wait_for("one", 20)
        assert set(load.answers) == {"one"}
    assert code == 1
    assert "generation 1 goes on serving" in text and "exited with code 3" in text
    restart = site.status()["restart"]
    assert restart["state"] == "rolled back" and "code 3" in restart["reason"]
    assert restart["served_after"] is None
    assert "rolled back" in site.done("status")
    site.deploy("three")
    site.done("restart", "--wait")
    until(lambda: server.request().text == "three", "the mended code answers")


def test_a_restart_that_is_refused_ends_with_the_reason(site: Site) -> None:
    site.start()
    site.configure("workers = 'many'")
    code, text = site.ctl("restart", "--wait")
    assert code == 1 and "workers" in text and "many" in text
    assert site.status()["restart"]["state"] == "refused"


def test_a_restart_that_is_not_waited_for_returns_at_once(site: Site) -> None:
    server = site.start("--observe-timeout", "600")
    assert site.done("restart") == ""
    server.wait_for_log("Generation 2 serves; 1 stands by")
    status = site.status()
    assert status["restart"]["state"] == "observing" and status["restart"]["ended_after"] is None
    states = {worker["generation"]: worker["state"] for worker in status["workers"]}
    assert states == {1: "standing by", 2: "serving"}


def test_twenty_who_ask_at_once_get_two_restarts_and_each_its_answer(site: Site) -> None:
    server = site.start()
    clients = [site.say(b"oxicorn/1 restart wait\n") for _ in range(20)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(answer, clients))
    assert all(one["ok"] for one in answers)
    assert {one["generation"] for one in answers} == {2, 3}
    assert site.status()["generation"] == 3
    server.wait_for_workers(1)


def test_two_who_wait_hear_of_their_own_restart(site: Site) -> None:
    server = site.start("--observe-timeout", "1")
    first = site.say(b"oxicorn/1 restart wait\n")
    server.wait_for_log("Generation 2 serves")
    site.deploy("two", "raise RuntimeError('broken')")
    second = site.say(b"oxicorn/1 restart wait\n")
    assert answer(first) == {"ok": True, "generation": 2}
    failed = answer(second)
    assert not failed["ok"] and failed["generation"] == 2


def test_who_waits_may_say_for_how_long(site: Site) -> None:
    server = site.start("--observe-timeout", "600")
    code, text = site.ctl("restart", "--wait", "--timeout", "0.3")
    assert code == 5 and "not over after 0.3 s" in text, text
    server.wait_for_log("Generation 2 serves")
    assert site.status()["restart"]["state"] == "observing"


def test_a_restart_that_ends_in_time_is_not_late(site: Site) -> None:
    site.start()
    assert "confirmed" in site.done("restart", "--wait", "--timeout", f"{PATIENCE}")


def test_a_restart_goes_on_when_who_asked_for_it_vanishes(site: Site) -> None:
    server = site.start()
    site.say(b"oxicorn/1 restart wait\n").close()
    server.wait_for_log("Generation 2 is confirmed")
    assert site.status()["generation"] == 2


def test_who_waits_is_told_that_the_server_stops(site: Site) -> None:
    server = site.start("--observe-timeout", "600")
    waiting = site.launch("restart", "--wait")
    server.wait_for_log("Generation 2 serves")
    server.stop()
    _, text = waiting.communicate(timeout=PATIENCE)
    assert waiting.returncode == 1 and "the server stops" in text


def test_who_waits_is_told_when_the_server_is_killed(site: Site) -> None:
    server = site.start("--observe-timeout", "600")
    waiting = site.launch("restart", "--wait")
    server.wait_for_log("Generation 2 serves")
    server.signal(signal.SIGKILL)
    _, text = waiting.communicate(timeout=PATIENCE)
    assert waiting.returncode == 4, text
    server.destroy()


# the other commands


def test_status_shows_the_arbiter_and_each_worker(site: Site) -> None:
    server = site.start(configuration="workers = 2")
    until(
        lambda: [worker["state"] for worker in site.status()["workers"]] == ["serving"] * 2,
        "both workers serve",
    )
    status = site.status()
    assert status["pid"] == server.pid and status["protocol"] == 1
    assert (status["state"], status["generation"], status["target"]) == ("serving", 1, 2)
    assert [worker["slot"] for worker in status["workers"]] == [0, 1]
    assert sorted(worker["pid"] for worker in status["workers"]) == sorted(server.workers())
    assert status["restart"] is None
    table = site.done("status")
    assert all(str(pid) in table for pid in [server.pid, *server.workers()])
    assert "\x1b" not in table


def test_the_number_of_workers_follows_and_is_never_zero(site: Site) -> None:
    server = site.start()
    site.done("workers", "3")
    server.wait_for_workers(3)
    site.done("workers", "1")
    server.wait_for_workers(1)
    for wrong in ("0", "-1", "5000"):
        code, text = site.ctl("workers", wrong)
        assert code in (1, 2) and text, text
    assert site.status()["target"] == 1


@pytest.mark.parametrize("options", [[], ["--quick"]])
def test_stop_ends_the_server_and_removes_the_socket(site: Site, options: list[str]) -> None:
    server = site.start()
    site.done("stop", *options)
    server.expect_exit(0)
    assert not site.socket.exists()
    code, text = site.ctl("status")
    assert code == 3 and "--control-socket" in text


def test_logs_are_reopened(site: Site) -> None:
    site.start("--access-logfile", str(site.folder / "access.log"))
    log = site.folder / "access.log"
    log.rename(site.folder / "access.log.1")
    site.done("reopen-logs")
    until(log.exists, "there is a new log file")


def test_a_server_that_accepts_nobody_is_an_error_not_an_endless_wait(site: Site) -> None:
    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(str(site.socket))
        frozen.listen(0)
        with site.say(b""), site.launch("status") as waiting:
            _, text = waiting.communicate(timeout=PATIENCE)
    assert waiting.returncode == 4 and "accepts no connection" in text


# clients that misbehave


def test_garbage_is_refused_and_harms_nobody(site: Site) -> None:
    site.start()
    for garbage in (b"\xff\x00\n", b"GET / HTTP/1.1\r\n\r\n", b"\n", b"x" * 100_000):
        client = site.say(b"")
        with contextlib.suppress(BrokenPipeError):
            client.sendall(garbage)
        assert answer(client)["ok"] is False
    code, text = site.ctl("status")
    assert code == 0, text


def test_clients_that_say_nothing_or_never_read_keep_nobody_else_out(site: Site) -> None:
    server = site.start()
    silent = [site.say(b"") for _ in range(100)] + [
        site.say(b"oxicorn/1 status\n") for _ in range(100)
    ]
    assert site.status()["state"] == "serving"
    assert server.request().text == "one"
    # The arbiter lets go of the oldest ones, and has no more descriptors than places.
    assert len(os.listdir(f"/proc/{server.pid}/fd")) < 32 + 20
    for client in silent:
        client.close()
    site.done("restart", "--wait")


def test_without_a_descriptor_left_the_arbiter_waits_and_does_not_spin(site: Site) -> None:
    server = site.start()
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    most = max(int(name) for name in os.listdir(f"/proc/{server.pid}/fd"))
    before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (most + 1, hard))
    fillers = [site.say(b"") for _ in range(most + 1)]
    with site.say(b"oxicorn/1 status\n") as client:
        used = _processor_time(server.pid)
        client.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert _processor_time(server.pid) - used < 0.2
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)
        client.settimeout(PATIENCE)
        assert answer(client)["state"] == "serving"
    for filler in fillers:
        filler.close()


def _processor_time(pid: int) -> float:
    """What a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_client_that_vanishes_in_the_middle_of_a_request_leaves_nothing(site: Site) -> None:
    server = site.start()
    before = processes.descriptors(server.pid)
    for _ in range(50):
        site.say(b"oxicorn/1 restart wai").close()
    site.done("status")
    processes.wait_for_no_more_than(before, lambda: [server.pid])
    assert site.status()["restart"] is None


def test_no_worker_has_the_control_socket(site: Site) -> None:
    server = site.start()
    with site.say(b"") as client:
        site.done("restart", "--wait")
        inodes = {
            line.split()[6]
            for line in Path("/proc/net/unix").read_text().splitlines()
            if line.endswith(str(site.socket))
        }
        assert inodes
        for worker in server.workers():
            links = [os.readlink(entry) for entry in Path(f"/proc/{worker}/fd").iterdir()]
            assert not [link for link in links if link.strip("socket:[]") in inodes]
        client.close()


# the socket


def test_only_our_own_user_may_open_the_socket(site: Site) -> None:
    site.start()
    mode = site.socket.stat().st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_is_refused_unless_the_mode_lets_him_in(site: Site) -> None:
    site.runtime.chmod(0o755)
    program = (
        "import contextlib, os, socket, sys\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        # The server may have said no by then.
        "with contextlib.suppress(BrokenPipeError): s.sendall(b'oxicorn/1 status\\n')\n"
        "print(s.recv(65536).decode())"
    )

    def asks_as_another() -> str:
        found = subprocess.run(
            [sys.executable, "-c", program, str(site.socket)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        return found.stdout + found.stderr

    server = site.start()
    assert "PermissionError" in asks_as_another()
    # Somebody changes the file's mode: the server still looks at who connects.
    site.socket.chmod(0o666)
    assert '"ok":false' in asks_as_another()
    server.stop()
    site.start("--control-socket-mode", "0666")
    assert '"ok":true' in asks_as_another()


def test_the_socket_of_a_dead_server_is_replaced(site: Site) -> None:
    server = site.start()
    server.signal(signal.SIGKILL)
    server.wait()
    server.destroy()
    assert site.socket.exists()
    code, text = site.ctl("status")
    assert code == 3 and "has ended" in text
    server = site.start()
    assert site.status()["pid"] == server.pid


def test_the_socket_of_a_living_server_is_left_alone(site: Site) -> None:
    first = site.start()
    second = site.start()
    assert "There is no control socket" in second.log
    assert site.status()["pid"] == first.pid
    second.stop()
    assert site.status()["pid"] == first.pid


def test_a_place_that_cannot_be_is_no_reason_not_to_start(site: Site) -> None:
    places = [site.runtime / "missing" / "ctl", Path("/proc/ctl"), site.runtime / ("x" * 200)]
    (site.runtime / "file").write_text("precious")
    for place in [*places, site.runtime / "file"]:
        server = site.start("--control-socket", str(place))
        assert "There is no control socket" in server.log
        code, text = site.ctl("status", at=place)
        assert code == 3 and text.startswith("oxicornctl: "), text
    assert (site.runtime / "file").read_text() == "precious"


def test_without_a_control_socket_there_is_none(site: Site) -> None:
    server = site.start("--no-control-socket")
    assert not site.socket.exists()
    assert "ontrol socket" not in server.log


def test_the_only_server_is_found_and_several_are_named(site: Site) -> None:
    place = {"XDG_RUNTIME_DIR": str(site.runtime)}
    code, text = site.ctl("status", **place)
    assert code == 3 and str(site.runtime) in text and "--control-socket" in text
    first = site.start(env=place)
    code, text = site.ctl("status", **place)
    assert code == 0 and str(first.pid) in text
    # Left by a server that was killed: passed over.
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(site.runtime / "oxicorn-1.ctl"))
    stale.close()
    second = site.start(env=place)
    code, text = site.ctl("status", **place)
    sockets = [str(site.runtime / f"oxicorn-{one.pid}.ctl") for one in (first, second)]
    assert code == 3 and all(f"--socket {path}" in text for path in sockets), text
    first.stop()
    code, text = site.ctl("status", **place)
    assert code == 0 and str(second.pid) in text


def test_help_names_the_exit_codes_and_nonsense_is_a_usage_error(site: Site) -> None:
    code, text = site.ctl("--help")
    assert code == 0 and "exit codes" in text
    for words in ([], ["dance"], ["restart", "--mode", "cold"], ["workers", "many"], *LIMITS):
        code, text = site.ctl(*words)
        assert code == 2 and "usage" in text

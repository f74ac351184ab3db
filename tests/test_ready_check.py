"""`ready_check`: no worker is ready before its application has answered a request."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM
from typing import Any

import pytest

from conftest import Serve
from harness.client import message
from harness.deployment import Deployment
from harness.server import Server
from harness.wait import throughout, until

APP = '''
{before}
import json
import os
import threading

HERE = os.path.dirname(os.path.abspath(__file__))


def health(environ, start_response):
    """Answers as the file says at this moment, and remembers who asked."""
    seen = {key: value for key, value in environ.items() if isinstance(value, str)}
    with open(os.path.join(HERE, "asked"), "a") as asked:
        asked.write(json.dumps({**seen, "pid": os.getpid()}) + "\\n")
    while (says := open(os.path.join(HERE, "health")).read()) == "hang":
        threading.Event().wait(0.01)
    if says == "raise":
        raise RuntimeError("unwell")
    if says == "hints":
        environ["wsgi.early_hints"]([("Link", "</style.css>")])
        says = "200 OK"
    if says == "stream":
        start_response("200 OK", [])
        return iter(lambda: b"x" * 1000, b"")
    start_response(says, [("Content-Length", "0")])
    return [b""]


def app(environ, start_response):
    if environ["PATH_INFO"].startswith("/healthz"):
        return health(environ, start_response)
    body = b"{version}"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
'''

CHECK = ("--ready-check", "/healthz")


class Site(Deployment):
    """One whose health is a file."""

    def says(self, health: str) -> None:
        """What `/healthz` answers from now on."""
        new = self.folder / "health.new"
        new.write_text(health)
        new.rename(self.folder / "health")

    @property
    def asked(self) -> list[dict[str, Any]]:
        """What the application was asked for its health."""
        file = self.folder / "asked"
        lines = file.read_text().splitlines(keepends=True) if file.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def wait_asked(self, times: int = 1) -> None:
        """Waits until it was asked so often."""
        until(lambda: len(self.asked) >= times, f"asked {times} times")


@pytest.fixture
def site(tmp_path: Path, serve: Serve) -> Iterator[Site]:
    # The path of a Unix socket is short, and that of a test's folder may be long.
    with tempfile.TemporaryDirectory(prefix="oxi-") as runtime:
        site = Site(tmp_path, Path(runtime), serve, APP)
        site.says("200 OK")
        yield site


def warnings(server: Server) -> list[str]:
    """The failures that were logged, without the worker's pid."""
    return re.findall(r"Not ready \(pid: \d+\): (GET [^;]*);", server.log)


@pytest.mark.parametrize("threads", ["1", "3"])
def test_nobody_is_served_before_the_check_is_answered(site: Site, threads: str) -> None:
    site.says("503 Starting")
    server = site.launch(*CHECK, "--threads", threads)
    server.wait_for_log(r"GET /healthz was answered 503 \(ready_check\); it is tried again")
    with server.connect() as connection:
        connection.send(message("/"))
        site.wait_asked(len(site.asked) + 1)
        assert not connection.readable(0)
        assert "is ready" not in server.log
        site.says("204 No Content")
        assert connection.receive().text == "one"
    server.wait_for_log("is ready")


def test_each_failure_is_logged_once_and_the_check_goes_on(site: Site) -> None:
    site.says("raise")
    server = site.launch(*CHECK)
    site.wait_asked(2)
    site.says("404 Not Here")
    server.wait_for_log("was answered 404")
    site.wait_asked(4)
    site.says("302 Found")
    server.wait_for_log("is ready")
    answered = "GET /healthz was answered {} (ready_check)"
    assert warnings(server) == [answered.format(500), answered.format(404)]


@pytest.mark.parametrize("health", ["hints", "stream"])
def test_only_the_final_status_counts_and_is_not_waited_beyond(site: Site, health: str) -> None:
    site.says(health)
    server = site.start(*CHECK, workers=1)
    assert warnings(server) == []
    assert server.request().text == "one"


def test_the_check_is_a_request_of_this_machine(site: Site) -> None:
    log = site.folder / "access.log"
    site.start("--ready-check", "/healthz/deep?really=1", "--access-logfile", str(log), workers=1)
    (asked,) = site.asked
    assert asked["HTTP_USER_AGENT"] == "oxicorn-ready-check"
    assert asked["HTTP_HOST"] == "localhost"
    assert asked["PATH_INFO"] == "/healthz/deep" and asked["QUERY_STRING"] == "really=1"
    assert asked["REMOTE_ADDR"] == "127.0.0.1"
    assert asked["wsgi.url_scheme"] == "http"
    until(lambda: "oxicorn-ready-check" in log.read_text(), "the line in the access log")
    assert '"GET /healthz/deep?really=1 HTTP/1.1" 200' in log.read_text()


def test_a_url_says_host_and_scheme_whoever_is_trusted(site: Site) -> None:
    check = ("--ready-check", "https://example.org/healthz", "--forwarded-allow-ips", "10.0.0.1")
    site.start(*check, workers=1)
    (asked,) = site.asked
    assert asked["HTTP_HOST"] == "example.org"
    assert asked["HTTP_X_FORWARDED_PROTO"] == "https"
    assert asked["wsgi.url_scheme"] == "https"


def test_a_server_on_a_unix_socket_is_checked_too(site: Site) -> None:
    bind = f"unix:{site.socket.parent}/web"
    server = site.start(*CHECK, workers=1, bind=bind)
    assert server.request().text == "one"
    assert [asked["REMOTE_ADDR"] for asked in site.asked] == [""]


def test_the_check_does_not_count_for_max_requests(site: Site) -> None:
    server = site.start(*CHECK, "--max-requests", "2", workers=1)
    assert server.request().text == "one"
    server.request()
    server.wait_for_log("Autorestarting worker")
    server.wait_for_log("is ready", 2)
    assert len(site.asked) == 2


def test_a_first_start_that_fails_the_check_ends_the_server(site: Site) -> None:
    site.says("500 Broken")
    server = site.launch(*CHECK, "--boot-timeout", "1.5")
    server.expect_exit(3)
    assert "Not ready in time" in server.log
    assert "It failed to boot: GET /healthz was answered 500 (ready_check)." in server.log


def test_a_replacement_is_checked_as_well(site: Site) -> None:
    server = site.start(*CHECK, workers=1)
    site.says("503 Busy")
    os.kill(server.worker, SIGKILL)
    with server.connect() as connection:
        connection.send(message("/"))
        server.wait_for_log("was answered 503")
        assert not connection.readable(0)
        site.says("200 OK")
        assert connection.receive().text == "one"


@pytest.mark.parametrize("mode", ["hot", "phased", "regular"])
def test_new_code_that_answers_with_errors_is_rolled_back_with_the_reason(
    site: Site, mode: str
) -> None:
    server = site.start(*CHECK, "--boot-timeout", "4")
    site.write("two")
    site.says("500 Broken")
    printed = site.fails_to_restart(server, "--mode", mode)
    reason = "It failed to boot: GET /healthz was answered 500 (ready_check)."
    assert reason in printed
    assert f"generation 1 goes on serving: Worker (pid:{pid_in(printed)}) exited" in server.log
    # Asked again and again, and logged once by each worker.
    new = {asked["pid"] for asked in site.asked[2:]}
    assert len(warnings(server)) <= len(new) < len(site.asked[2:])
    site.says("200 OK")
    assert site.restart("--mode", mode)[0] == 0
    until(lambda: server.request().text == "two", "the new code")


def pid_in(printed: str) -> str:
    """The worker that a reason names."""
    found = re.search(r"pid:(\d+)", printed)
    assert found, printed
    return found.group(1)


@pytest.mark.parametrize("threads", ["1", "3"])
def test_a_check_that_hangs_ends_with_boot_timeout_and_shows_where(
    site: Site, threads: str
) -> None:
    """Not with `timeout`, which is for clients' requests."""
    server = site.start(*CHECK, "--boot-timeout", "3", "--timeout", "1", "--threads", threads)
    site.says("hang")
    printed = site.fails_to_restart(server)
    assert "was not ready within 3 s (GET /healthz was not answered (ready_check))" in printed
    assert "site_app.py" in server.log.split("Restart (hot)")[1]
    assert "WORKER TIMEOUT" not in server.log


def test_a_check_may_take_longer_than_timeout(site: Site) -> None:
    site.says("hang")
    server = site.launch(*CHECK, "--timeout", "1")
    site.wait_asked()
    pids = server.workers()
    throughout(lambda: server.workers() == pids, "the worker lives", 1.5)
    site.says("200 OK")
    server.wait_for_log("is ready")
    assert "WORKER TIMEOUT" not in server.log


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("health", ["503 Starting", "hang"])
@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
def test_a_stop_does_not_wait_for_the_check(
    site: Site, number: Any, health: str, threads: str
) -> None:
    site.says(health)
    options = ("--threads", threads, "--graceful-timeout", "2", "--workers", "2")
    server = site.launch(*CHECK, *options)
    site.wait_asked(2)
    server.signal(number)
    server.expect_exit(0)
    assert "is ready" not in server.log


def test_workers_without_an_arbiter_end_during_the_check(site: Site) -> None:
    site.says("503 Starting")
    server = site.launch(*CHECK)
    server.wait_for_log("was answered 503")
    server.signal(SIGKILL)
    server.expect_exit(-SIGKILL)


def test_the_reloader_shows_its_page_unchecked(site: Site) -> None:
    site.write("one", "raise RuntimeError('broken')")
    server = site.launch(*CHECK, "--reload")
    server.wait_for_log("is ready")
    assert "broken" in server.wait_accepting().request().text

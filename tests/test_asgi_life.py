"""The life of a worker that serves an ASGI application: start, time limits, restarts, end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from signal import SIGINT, SIGTERM

import pytest

from conftest import Serve
from harness import processes
from harness.client import message
from harness.load import Load
from harness.server import Server
from harness.site import ASGI_APP, MODES, Site, deploy, restart
from harness.wait import until

APP = "apps.asgi_probe:application"
LOOPS = ["asyncio", "uvloop"]


def tasks(server: Server) -> int:
    """How many tasks there are, the lifespan's and that of this question included."""
    found: int = server.request("/process").json()["tasks"]
    return found


# The start.


@pytest.mark.parametrize("loop", LOOPS)
def test_the_loop_is_the_one_that_was_asked_for(serve: Serve, loop: str) -> None:
    server = serve(APP, "--asgi-loop", loop)
    assert server.request("/loop").text.startswith(loop)


def test_uvloop_is_taken_if_it_is_there(serve: Serve) -> None:
    assert serve(APP).request("/loop").text.startswith("uvloop")


@pytest.mark.parametrize("name", ["Own", "new_event_loop"])
def test_any_loop_can_be_named_by_what_makes_it(serve: Serve, name: str) -> None:
    server = serve(APP, "--asgi-loop", f"apps.loops:{name}")
    assert server.request("/loop").text.startswith("apps.loops")
    assert server.request("/sleep?seconds=0").status == 200


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("apps.loop:Own", "Package 'apps' exists, but it has no submodule 'loop'.*loops"),
        ("apps.loops:Owm", "has no .*'Owm'.*Own"),
        ("apps.loops:NUMBER", "is neither a function nor a class"),
        ("apps.loops:new_list", "made an object of type list, not a loop"),
        ("apps.loops:fail", "failed:\n(.*\n)*LookupError: the loop is sold out"),
    ],
)
def test_a_loop_that_cannot_be_made_is_named(serve: Serve, path: str, message: str) -> None:
    server = serve(APP, "--asgi-loop", path, launch=True)
    server.wait_for_log(f"asgi_loop = '{path}'.*{message}")
    server.expect_exit(3)


def test_an_asgi_application_needs_no_option(serve: Serve) -> None:
    assert serve(APP).request("/").text == "Hello, world!"
    assert serve("apps.asgi_probe").request("/").text == "Hello, world!"


@pytest.mark.parametrize("name", ["asgi", "uvicorn.workers.UvicornWorker"])
def test_the_worker_class_says_that_it_is_asgi(serve: Serve, name: str) -> None:
    server = serve("apps.asgi_probe:deferred", "-k", name)
    assert server.request("/").text == "Hello, world!"
    notice = f"worker_class = '{name}' (from the command line): served by the worker class asgi"
    assert (notice in server.log) == (name != "asgi"), server.log


def test_an_application_is_refused_that_has_another_interface(serve: Serve) -> None:
    server = serve(APP, "--interface", "wsgi", launch=True)
    server.wait_for_log("is an ASGI application .*, and `interface` says wsgi")
    server.expect_exit(4)
    server = serve("apps.probe:application", "-k", "asgi", launch=True)
    server.wait_for_log(r"takes \(environ.*not an ASGI application")
    server.expect_exit(4)


def test_a_start_up_that_fails_is_a_boot_that_fails(serve: Serve) -> None:
    server = serve("apps.asgi_probe:fails_to_start", launch=True)
    server.wait_for_log("The application could not be loaded. Its start-up failed: no database")
    server.expect_exit(3)


@pytest.mark.parametrize("mode", ["auto", "off"])
def test_an_application_may_know_no_lifespan(serve: Serve, mode: str) -> None:
    server = serve("apps.asgi_probe:raises_at_start", "--asgi-lifespan", mode)
    assert server.request("/").text == "{}"
    assert ("appears unsupported" in server.log) is (mode == "auto")


def test_a_lifespan_can_be_required(serve: Serve) -> None:
    server = serve("apps.asgi_probe:raises_at_start", "--asgi-lifespan", "on", launch=True)
    server.wait_for_log(r"Its start-up \(lifespan\) failed:\n(.*\n)+NotImplementedError: lifespan")
    server.expect_exit(3)


def test_an_application_is_served_from_a_preloaded_stem(serve: Serve) -> None:
    server = serve(APP, "--preload", workers=2)
    assert server.request("/state").json()[0] is True


def test_a_ready_check_is_answered_before_clients_are(serve: Serve) -> None:
    server = serve(APP, "--ready-check", "/events", "--log-level", "debug")
    server.wait_for_log(r"has answered GET /events")
    assert server.request("/").status == 200


# Time.


@pytest.mark.parametrize("loop", LOOPS)
def test_a_request_that_takes_too_long_is_cancelled_and_answered(serve: Serve, loop: str) -> None:
    server = serve(APP, "--timeout", "1", "--asgi-loop", loop)
    worker = server.worker
    with server.connect() as connection:
        response = connection.request("/sleep?seconds=60")
        assert (response.status, response.header("Connection")) == (504, "close")
        assert connection.is_closed()
    assert "cancelled" in server.request("/events").json()
    server.wait_for_log(r"Request timeout .*: GET /sleep\?seconds=60 from 127.0.0.1 was cancelled")
    assert "Traceback" not in server.log
    assert server.worker == worker


def test_an_interim_response_is_no_beginning(serve: Serve) -> None:
    server = serve(APP, "--timeout", "1")
    with server.connect() as connection:
        raw = connection.send(message("/hint-only")).rest()
    assert raw.startswith(b"HTTP/1.1 103 ")
    assert b"\r\n\r\nHTTP/1.1 504 " in raw


def test_a_stream_may_last_longer_than_the_timeout(serve: Serve) -> None:
    server = serve(APP, "--timeout", "1")
    with server.connect() as connection:
        connection.send(message("/headers-first"))
        assert connection.read_some(65536).endswith(b"\r\n\r\n")
        assert not connection.readable(2.5)
        server.request("/open?gate=headers-first")
        assert connection.rest_of_chunks().endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_that_is_blocked_is_a_worker_that_hangs(serve: Serve, loop: str) -> None:
    server = serve(APP, "--timeout", "1", "--asgi-loop", loop)
    worker = server.worker
    with server.connect() as connection:
        connection.send(message("/block?seconds=600"))
        server.wait_for_log(rf"WORKER TIMEOUT \(pid:{worker}\)")
        assert connection.is_closed()
    server.wait_for_log(r"Booting worker", 2)
    server.wait_for_successor(worker)
    assert server.wait_accepting().request("/").status == 200
    assert "asgi_probe.py" in server.log


def test_a_loop_that_is_busy_for_less_is_left_alone(serve: Serve) -> None:
    server = serve(APP, "--timeout", "3")
    worker = server.worker
    for _ in range(3):
        assert server.request("/block?seconds=0.5").text == "blocked"
    assert server.worker == worker
    assert "TIMEOUT" not in server.log


def test_an_idle_worker_does_not_wake_up(serve: Serve) -> None:
    server = serve(APP, "--timeout", "4", "--keep-alive", "60")
    with server.connect() as connection:
        connection.request("/")
        connection.request("/sleep")
        # The watchdog looks once more and then sleeps.
        until(lambda: processes.is_settled(server.worker), "no wake-up for a second")


# The end.


@pytest.mark.parametrize("loop", LOOPS)
def test_term_waits_for_requests_and_background_work_then_shuts_down(
    serve: Serve, loop: str
) -> None:
    server = serve(APP, "--asgi-loop", loop)
    with server.connect() as connection, server.connect() as other:
        assert other.request("/background?seconds=1").text == "answered"
        connection.send(message("/sleep?seconds=0.5"))
        until(lambda: tasks(server) >= 4, "both run")
        server.signal(SIGTERM)
        assert connection.receive().text == "slept"
        assert connection.is_closed()
    server.expect_exit(0)
    done = server.log.index("background done")
    assert server.log.index("lifespan shutdown") > done
    assert "Traceback" not in server.log


def test_work_that_outlives_the_graceful_timeout_is_cut(serve: Serve) -> None:
    server = serve(APP, "--graceful-timeout", "2")
    with server.connect() as connection:
        server.request("/background?seconds=600")
        connection.send(message("/sleep?seconds=600"))
        until(lambda: tasks(server) >= 4, "both run")
        server.signal(SIGTERM)
        server.wait_for_log(r'Request cut .*"GET /sleep')
        connection.rest()
    server.expect_exit(0)
    assert "lifespan shutdown" in server.log
    assert "Traceback" not in server.log


def test_int_does_not_wait(serve: Serve) -> None:
    server = serve(APP, "--graceful-timeout", "300")
    with server.connect() as connection:
        connection.send(message("/sleep?seconds=600"))
        until(lambda: tasks(server) >= 3, "it runs")
        server.signal(SIGINT)
        server.expect_exit(0)


def test_term_without_requests_runs_the_shutdown(serve: Serve) -> None:
    server = serve(APP, workers=2)
    server.signal(SIGTERM)
    server.expect_exit(0)
    assert server.log.count("lifespan shutdown") == 2


# Restarts.


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("loop", LOOPS)
def test_a_restart_brings_new_code_and_fails_no_request(
    serve: Serve, tmp_path: Path, loop: str, mode: str
) -> None:
    site = Site(tmp_path, serve, "--asgi-loop", loop, "--restart-mode", mode, app=ASGI_APP)
    server = site.start()
    deploy(site, server)
    server.wait_for_workers(2)
    assert server.log.count("shutdown of one") == 2


@pytest.mark.parametrize("loop", LOOPS)
def test_ten_hot_restarts_fail_no_request(serve: Serve, tmp_path: Path, loop: str) -> None:
    site = Site(tmp_path, serve, "--asgi-loop", loop, app=ASGI_APP)
    server = site.start("--observe-timeout", "0")
    with Load(server) as load:
        load.wait_for("one", 20)
        for number in range(10):
            site.write(f"version {number}")
            restart(server)
            load.wait_for(f"version {number}", 5)
    server.wait_for_workers(2)


def test_a_request_inside_stays_and_its_connection_moves(serve: Serve, tmp_path: Path) -> None:
    site = Site(
        tmp_path, serve, app=ASGI_APP.replace("0.001", "1 if scope['path'] == '/slow' else 0")
    )
    server = site.start("--observe-timeout", "0", "--keep-alive", "60", workers=1)
    before = server.workers()
    with server.connect() as connection:
        assert connection.request().text == "one"
        connection.send(message("/slow"))
        site.write("two")
        restart(server)
        response = connection.receive()
        assert (response.text, response.header("Connection")) == ("one", None)
        assert connection.request().text == "two"
    until(lambda: not set(before) & set(server.workers()), "the old worker has left")


def test_max_requests_replaces_the_worker_and_fails_no_request(serve: Serve) -> None:
    server = serve(APP, "--max-requests", "50")
    with Load(server):
        server.wait_for_log("Autorestarting worker after current request", 3)
    assert server.log.count("lifespan shutdown") >= 2


def test_a_worker_that_is_killed_is_replaced(serve: Serve) -> None:
    server = serve(APP)
    facts = json.loads(server.request("/process").text)
    server.request("/raise?when=later-exit")
    assert server.worker == facts["pid"]
    assert re.search("SystemExit: 7", server.log)

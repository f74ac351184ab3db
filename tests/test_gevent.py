"""`-k gevent`: each request in a greenlet of its own, and while one waits the others go on."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT, SIGTERM, SIGUSR2
from typing import Any

import pytest

from conftest import Serve
from harness import control, processes, programs, spec, wsgi_case
from harness.client import Connection, Response, chunked, message
from harness.gate import Gate
from harness.load import Load
from harness.server import Server
from harness.site import APP as SITE
from harness.site import MODES, Site, deploy, restart
from harness.wait import until

APP = "apps.greenlets:application"
GEVENT = ("-k", "gevent")
CASES = [
    case for case in spec.read("wsgi") if "wsgi.multithread" not in case.blocks.get("body", "")
]
"""One says that a worker runs one request at a time."""
TOGETHER = 500


@pytest.fixture
def server(shared: Serve) -> Server:
    """One worker for many tests."""
    return shared(APP, *GEVENT)


def events(server: Server) -> list[str]:
    found: list[str] = server.request("/events").json()
    return found


# Together.


@pytest.mark.parametrize("each", [0.1, 1])
def test_five_hundred_requests_wait_together(serve: Serve, each: float) -> None:
    server = serve(APP, *GEVENT)
    connections = [server.connect() for _ in range(TOGETHER)]
    request = message(f"/sleep?seconds={each}")
    began = time.monotonic()
    for connection in connections:
        connection.send(request)
    assert all(connection.receive().text == "slept\n" for connection in connections)
    took = time.monotonic() - began
    print(f"{TOGETHER} requests that wait {each} s each: {took * 1000:.0f} ms")
    for connection in connections:
        connection.close()
    # One after the other they would take 50 or 500 s.
    assert took < 10
    inside = server.request("/inside").json()
    assert inside["now"] == 0
    # A busy machine needs longer than 100 ms to send them all.
    assert inside["most"] >= (TOGETHER if each >= 1 else TOGETHER // 10)


def test_a_request_that_waits_for_another_one_gets_it(server: Server) -> None:
    with server.connect() as first, server.connect() as second:
        first.send(message("/wait?door=a"))
        second.send(message("/wait?door=a"))
        assert server.request("/open?door=a").text == "open\n"
        assert first.receive().text == second.receive().text == "through\n"


def test_sockets_of_the_application_let_others_go_on(server: Server) -> None:
    assert server.request("/ask").text == "Hello, world!\n"


def test_a_response_that_is_made_slowly_lets_others_go_on(server: Server) -> None:
    connections = [server.connect() for _ in range(20)]
    for connection in connections:
        connection.send(message("/steps?count=10"))
    wanted = [b"%d\n" % number for number in range(10)]
    assert all(connection.receive().chunks == wanted for connection in connections)


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    with server.connect() as connection:
        connection.send(message("/sleep?seconds=0.05") + message("/") + message("/steps?count=2"))
        assert connection.receive().text == "slept\n"
        assert connection.receive().text == "Hello, world!\n"
        assert connection.receive().text == "0\n1\n"


# What the application sees.


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_spec(shared: Serve, case: spec.Case) -> None:
    wsgi_case.run(shared("apps.cases:application", *GEVENT), case)


def test_each_request_has_a_greenlet_of_its_own(server: Server) -> None:
    with server.connect() as connection:
        for _ in range(3):
            seen = connection.request("/who").json()
            assert (seen["greenlet"], seen["hub"], seen["before"]) == (True, True, None)


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["worker", "stem"])
def test_everything_is_patched_before_the_application_is_imported(
    serve: Serve, options: tuple[str, ...]
) -> None:
    server = serve(APP, *GEVENT, *options, workers=2)
    assert all(server.request("/patched").json().values())
    assert server.request("/sleep?seconds=0.01").text == "slept\n"
    assert "WARNING" not in server.log


def test_an_application_that_uses_the_hub_while_it_is_preloaded_is_served(
    serve: Serve, tmp_path: Path
) -> None:
    site = Site(tmp_path, serve, *GEVENT, "--preload")
    server = site.start(before="import time; time.sleep(0.01)")
    deploy(site, server)


def test_a_thread_of_the_application_is_a_greenlet(server: Server) -> None:
    threads = processes.threads(server.worker)
    server.request("/background")
    until(lambda: "background" in events(server), "it runs")
    assert processes.threads(server.worker) == threads


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("body", [b"", b"b" * 100, b"b" * 1_000_000])
def test_bodies_arrive_whole(server: Server, body: bytes, head: bool) -> None:
    with server.connect() as connection:
        if head:
            found = connection.request("/body", "POST", body=body)
        else:
            parts = [body[at : at + 65536] for at in range(0, len(body), 65536)]
            coding = [("Transfer-Encoding", "chunked")]
            connection.send(message("/body", "POST", headers=coding) + chunked(parts))
            found = connection.receive()
        assert found.json()["size"] == len(body)


def test_a_file_is_sent(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3_000_000))
    assert server.request(f"/file?path={path}").body == path.read_bytes()


# As gunicorn.


@pytest.fixture(scope="module")
def gunicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Gunicorn's own worker, beside ours."""
    yield from programs.gunicorn(tmp_path_factory.mktemp("gunicorn"), APP, *GEVENT)


OURS = {"SERVER_SOFTWARE", "SERVER_PORT", "REMOTE_PORT", "HTTP_HOST", "wsgi.input_terminated"}
"""What differs between any two servers, or is ours."""


def test_the_environ_is_gunicorns(server: Server, gunicorn: Server) -> None:
    headers = [("X-Twice", "a"), ("X-Twice", "b"), ("Content-Type", "text/x"), ("Cookie", "c=1")]
    seen = []
    for one in (server, gunicorn):
        with one.connect() as connection:
            response = connection.request("/environ?a=%20b", headers=headers)
        found = response.json()
        seen.append({key: value for key, value in found.items() if key not in OURS})
    assert seen[0] == seen[1]
    assert seen[0]["wsgi.multithread"] is True
    assert seen[0]["wsgi.multiprocess"] is False


SAME = {
    "hello": message("/"),
    "stream": message("/steps?count=5"),
    "write": message("/write?count=3"),
    "upload": message("/body", "POST", body=b"b" * 300_000),
    "chunked upload": message("/body", "POST", headers=[("Transfer-Encoding", "chunked")])
    + chunked([b"one", b"two" * 1000]),
    "head": message("/", "HEAD"),
    "not found": message("/none"),
    "no body": message("/status?status=204%20No%20Content"),
    "old": message("/", version="HTTP/1.0"),
    "error": message("/raise"),
    "error inside": message("/breaks?name=x"),
}


@pytest.mark.parametrize("kind", SAME)
def test_a_response_is_gunicorns(server: Server, gunicorn: Server, kind: str) -> None:
    method = SAME[kind].split(b" ")[0].decode()
    ours, theirs = (answer(one, SAME[kind], method) for one in (server, gunicorn))
    assert (ours.status, ours.complete) == (theirs.status, theirs.complete)
    if ours.status == 200 and ours.complete and "upload" not in kind:
        assert ours.body == theirs.body
    if "upload" in kind:
        assert ours.json()["sha256"] == theirs.json()["sha256"]


def answer(server: Server, request: bytes, method: str) -> Response:
    with server.connect() as connection:
        return connection.send(request).receive(method)


# Slow clients.


def slow(server: Server) -> Connection:
    return server.connect(receive_buffer=4096)


BIG = ("--response-memory-limit", "65536", "--response-spool-limit", "1000000")
"""Little enough to wait for."""


@pytest.mark.parametrize("target", ["/write?count=30", "/stream?count=30&size=1000000"])
def test_who_waits_for_a_client_lets_others_go_on(serve: Serve, target: str) -> None:
    server = serve(APP, *GEVENT, *BIG)
    with slow(server) as connection:
        connection.send(message(target))
        connection.readable(5)
        for _ in range(20):
            assert server.request("/").status == 200
        assert not {"written", "close stream"} & set(events(server))
        assert len(connection.receive().body) == 30_000_000
    until(lambda: {"written", "close stream"} & set(events(server)), "it is through")


def test_a_client_that_reads_nothing_is_given_up(serve: Serve) -> None:
    server = serve(APP, *GEVENT, *BIG, "--write-timeout", "1")
    with slow(server) as connection:
        connection.send(message("/stream?count=300&size=1000000&name=slow"))
        server.wait_for_log("Closed: .* does not read its response")
        until(lambda: "close slow" in events(server), "the application is told")
    assert "Traceback" not in server.log


def test_a_client_that_leaves_while_it_is_waited_for_ends_the_wait(serve: Serve) -> None:
    server = serve(APP, *GEVENT, *BIG)
    with slow(server) as connection:
        connection.send(message("/stream?count=300&size=1000000&name=left"))
        connection.readable(5)
        connection.abort()
    until(lambda: "close left" in events(server), "the application is told")
    assert "Traceback" not in server.log


def test_a_timeout_of_the_application_ends_a_wait_for_the_client(serve: Serve) -> None:
    server = serve(APP, *GEVENT, *BIG)
    with slow(server) as connection:
        connection.send(message("/limited?seconds=0.5&count=300"))
        server.wait_for_log("Error handling request GET /limited.*\n(.*\n)*.*0.5 seconds")
        assert not connection.receive().complete
    assert server.request("/").status == 200


def test_a_greenlet_that_still_writes_is_waited_for(serve: Serve) -> None:
    server = serve(APP, *GEVENT, *BIG)
    with slow(server) as connection:
        connection.send(message("/write-elsewhere?count=30"))
        until(lambda: "returned" in events(server), "the view has returned")
        assert "written" not in events(server)
        assert connection.receive().body == b"w" * 30_000_000 + b"end"
        assert connection.request("/").text == "Hello, world!\n"
    assert "written" in events(server)


# Errors.


@pytest.mark.parametrize("target", ["/raise", "/raise-base?kind=SystemExit", "/exit", "/kill"])
def test_whatever_ends_a_request_ends_only_that(serve: Serve, target: str) -> None:
    server = serve(APP, *GEVENT)
    worker = server.worker
    with server.connect() as other:
        other.send(message("/wait?door=x"))
        assert server.request(target).status == 500
        server.request("/open?door=x")
        assert other.receive().text == "through\n"
    assert server.worker == worker
    server.wait_for_log("Error handling request GET /")


def test_a_hub_that_hangs_ends_the_worker_with_the_stack(serve: Serve) -> None:
    server = serve(APP, *GEVENT, "--timeout", "1")
    worker = server.worker
    with server.connect() as waiting, server.connect() as connection:
        waiting.send(message("/wait?door=x"))
        connection.send(message("/spin"))
        server.wait_for_log(rf"WORKER TIMEOUT \(pid:{worker}\)")
        assert connection.is_closed()
    server.wait_for_log("probe.py.* in hang_in_a_loop")
    server.wait_for_successor(worker)
    assert server.wait_accepting().request("/").status == 200


def test_a_request_may_take_longer_than_the_timeout(serve: Serve) -> None:
    server = serve(APP, *GEVENT, "--timeout", "1")
    worker = server.worker
    assert server.request("/sleep?seconds=2.5").text == "slept\n"
    assert server.worker == worker
    assert "TIMEOUT" not in server.log


def test_without_gevent_the_start_fails_and_says_what_to_do(serve: Serve, tmp_path: Path) -> None:
    # What an environment without it says.
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'gevent' else find(name, *rest)\n"
    )
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    server = serve(APP, *GEVENT, launch=True, env={"PYTHONPATH": path})
    server.expect_exit(1)
    assert "Error: worker_class = 'gevent' needs gevent: pip install gevent" in server.log


def test_what_was_imported_too_early_is_named(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "early.py").write_text("from time import sleep\nfrom threading import Lock\n")
    site = Site(tmp_path, serve, *GEVENT)
    server = site.start(configuration="import early", workers=1)
    server.wait_for_log(r"WARNING\] gevent: imported too early .*: early\.Lock, early\.sleep\.")


def test_a_configuration_that_patches_by_itself_is_fine(serve: Serve, tmp_path: Path) -> None:
    site = Site(tmp_path, serve, *GEVENT)
    text = "from gevent import monkey\nmonkey.patch_all()\nimport time\ntime.sleep(0.01)"
    server = site.start(configuration=text)
    assert "WARNING" not in server.log
    deploy(site, server)


def test_an_asynchronous_application_is_refused(serve: Serve) -> None:
    server = serve("apps.asgi_probe:application", *GEVENT, launch=True)
    server.wait_for_log("is an ASGI application")
    server.expect_exit(4)


# Forks.


def test_a_child_of_a_request_may_use_the_hub_and_serves_nobody(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(APP, *GEVENT)
    gate = Gate(tmp_path)
    base = tmp_path / "gate"
    with server.connect() as other, server.connect() as connection:
        other.send(message("/wait?door=x"))
        connection.send(message(f"/fork-and-wait?file={base}"))
        gate.wait_entered()
        for _ in range(20):
            assert server.request("/who").json()["pid"] == server.worker
        server.request("/open?door=x")
        assert other.receive().text == "through\n"
        gate.open()
        assert connection.receive().text == "waited\n"
    assert Path(f"{base}.left").exists()


def test_the_exit_code_of_a_child_is_its_own(server: Server) -> None:
    assert server.request("/fork-and-exit?exit=7").text == "7"
    assert server.request("/fork-and-exit").text == "0"


# The end, and restarts.


def test_term_waits_for_requests(serve: Serve) -> None:
    server = serve(APP, *GEVENT)
    with server.connect() as connection:
        connection.send(message("/sleep?seconds=0.5"))
        until(lambda: server.request("/inside").json()["now"] == 1, "it runs")
        server.signal(SIGTERM)
        response = connection.receive()
        assert (response.text, response.header("Connection")) == ("slept\n", "close")
    server.expect_exit(0)


def test_requests_that_outlive_the_graceful_timeout_are_ended_in_order(serve: Serve) -> None:
    server = serve(APP, *GEVENT, "--graceful-timeout", "2")
    with server.connect() as connection:
        connection.send(message("/cleanup"))
        until(lambda: "waits" in events(server), "it runs")
        server.signal(SIGTERM)
        server.wait_for_log(r'Request cut .*"GET /cleanup')
        connection.rest()
    server.expect_exit(0)
    assert "cleaned up" in server.log
    assert "Traceback" not in server.log


def test_int_does_not_wait(serve: Serve) -> None:
    server = serve(APP, *GEVENT, "--graceful-timeout", "300")
    with server.connect() as connection:
        connection.send(message("/cleanup"))
        until(lambda: "waits" in events(server), "it runs")
        server.signal(SIGINT)
        server.expect_exit(0)


def test_a_signal_for_a_handler_of_the_application_wakes_the_hub(serve: Serve) -> None:
    server = serve(APP, *GEVENT)
    server.request("/handle")
    os.kill(server.worker, SIGUSR2)
    until(lambda: "usr2" in events(server), "the handler ran")


@pytest.mark.parametrize("mode", MODES)
def test_a_restart_brings_new_code_and_fails_no_request(
    serve: Serve, tmp_path: Path, mode: str
) -> None:
    site = Site(tmp_path, serve, *GEVENT, "--restart-mode", mode)
    deploy(site, site.start())


def test_ten_hot_restarts_fail_no_request(serve: Serve, tmp_path: Path) -> None:
    site = Site(tmp_path, serve, *GEVENT)
    server = site.start("--observe-timeout", "0")
    with Load(server) as load:
        load.wait_for("one", 20)
        for number in range(10):
            site.write(f"version {number}")
            restart(server)
            load.wait_for(f"version {number}", 5)
    server.wait_for_workers(2)


SLOW_SITE = SITE.replace(
    "    body =", '    if path == "/slow":\n        import time; time.sleep(1)\n    body ='
).replace('path == "/" else', 'path in ("/", "/slow") else')


def test_a_request_inside_stays_and_its_connection_moves(serve: Serve, tmp_path: Path) -> None:
    site = Site(tmp_path, serve, *GEVENT, app=SLOW_SITE)
    server = site.start("--observe-timeout", "0", "--keep-alive", "60", workers=1)
    before = server.workers()
    with server.connect() as idle, server.connect() as connection:
        assert idle.request().text == "one"
        connection.send(message("/slow"))
        site.write("two")
        restart(server)
        # A request that is on its way when the connection is about to move is answered before.
        until(lambda: idle.request().text == "two", "the idle connection has moved")
        response = connection.receive()
        assert (response.text, response.header("Connection")) == ("one", None)
        assert connection.request().text == "two"
    until(lambda: not set(before) & set(server.workers()), "the old worker has left")


def test_max_requests_replaces_the_worker_and_fails_no_request(serve: Serve) -> None:
    server = serve(APP, *GEVENT, "--max-requests", "50")
    with Load(server):
        server.wait_for_log("Autorestarting worker after current request", 3)


def test_a_ready_check_is_answered_before_clients_are(serve: Serve) -> None:
    server = serve(APP, *GEVENT, "--ready-check", "/sleep", "--log-level", "debug")
    server.wait_for_log("has answered GET /sleep")
    assert server.request("/").status == 200


HOOKS = """
from gevent import sleep
seen = []
def pre_request(worker, req):
    sleep(0.001)
    seen.append(f"pre {req.path}")
def post_request(worker, req, environ, resp):
    sleep(0.001)
    worker.log.info("post %s %s", req.path, resp.status)
def post_worker_init(worker):
    worker.log.info("wait")
    sleep(0.001)
    worker.log.info("waited in %s", worker.cfg.worker_class_str)
def worker_exit(server, worker):
    worker.log.info("requests: %s", len(seen))
"""


def test_hooks_may_wait_as_well(serve: Serve, tmp_path: Path) -> None:
    site = Site(tmp_path, serve, *GEVENT)
    server = site.start(configuration=HOOKS, workers=1)
    server.wait_for_log("waited in gevent")
    with server.connect() as connection:
        for _ in range(3):
            connection.request("/")
    server.wait_for_log("post / 200 OK", 4)
    server.stop()
    assert re.search("requests: [4-9]", server.log)


def test_under_reload_saved_code_is_served(serve: Serve, tmp_path: Path) -> None:
    site = Site(tmp_path, serve, *GEVENT, "--reload", "--reload-delay", "0.05")
    server = site.start(workers=1)
    site.write("second version")
    until(lambda: server.request().text == "second version", "the new code")


def test_an_idle_worker_does_not_wake_up(serve: Serve) -> None:
    server = serve(APP, *GEVENT, "--timeout", "4", "--keep-alive", "60")
    with server.connect() as connection:
        connection.request("/sleep")
        until(lambda: processes.is_settled(server.worker), "no wake-up for a second")


def test_what_a_worker_does_is_counted(serve: Serve) -> None:
    server = serve(APP, *GEVENT)
    place = server.wait_for_log(r"Control socket listening at unix:(\S+)")[1]
    with server.connect() as connection:
        connection.send(message("/wait?door=x"))
        until(lambda: busy(place) == 1, "a busy worker")
        server.request("/open?door=x")
        connection.receive()
    until(lambda: busy(place) == 0, "an idle worker")


def busy(place: str) -> Any:
    [worker] = control.status(Path(place))["workers"]
    return worker["threads"]["busy"]


# Leaks.

LEAKS = {
    "hello": "/",
    "steps": "/steps?count=3",
    "sleep": "/sleep?seconds=0.001",
    "write": "/write?count=1",
    "error": "/raise",
    "exit": "/exit",
}


@pytest.mark.parametrize("kind", LEAKS)
def test_three_thousand_requests_leave_nothing_behind(server: Server, kind: str) -> None:
    ask_many(server, LEAKS[kind], 600)
    before = server.request("/process").json()
    ask_many(server, LEAKS[kind], 3_000)
    after = server.request("/process").json()
    assert after["pid"] == before["pid"]
    assert after["objects"] - before["objects"] < 300
    assert after["blocks"] - before["blocks"] < 2_000


def test_clients_that_leave_leave_nothing_behind(serve: Serve) -> None:
    server = serve(APP, *GEVENT, *BIG)
    leave_many(server, 100)
    before = server.request("/process").json()
    leave_many(server, 400)
    until(lambda: server.request("/inside").json()["now"] == 0, "all are through")
    after = server.request("/process").json()
    assert after["objects"] - before["objects"] < 300
    assert after["blocks"] - before["blocks"] < 2_000
    assert after["descriptors"] <= before["descriptors"] + 1


def ask_many(server: Server, target: str, count: int) -> None:
    """With six clients at once."""
    failed: list[object] = []

    def ask() -> None:
        try:
            with server.connect() as connection:
                for _ in range(count // 6):
                    connection.request(target)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed


def leave_many(server: Server, count: int) -> None:
    for number in range(count):
        target = "/stream?count=3&size=1000000" if number % 2 else "/sleep?seconds=0.01"
        connection = server.connect()
        connection.send(message(target))
        if number % 3 == 0:
            connection.readable(0.01)
        connection.abort()
    assert server.request("/").status == 200
